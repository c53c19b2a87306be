"""What a person does and sees in the Dagster UI, with a headless chromium: for its test and for the docs' pictures.

Add a page or a button here when a story needs it. Everything is found by its role or its words, and waited for by what
is to be seen; what should be seen is said by the callers.
"""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Locator, Page, expect, sync_playwright

BROWSER = "chromium"
_ARGUMENTS = ("--no-sandbox", "--no-proxy-server")
PATIENCE_MS = 120_000
WIDTH, HEIGHT = 1300, 900
_RUN_ENDED = re.compile("^(Success|Failure|Canceled)$")
_BACKFILL_ENDED = re.compile("^(Success|Completed|Failed|Canceled)$")


class DagsterUi:
    """The UI at `origin`, looked at in one browser tab."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin

    def open(self, path: str) -> None:
        """Go to an address below the origin, as a bookmark does."""
        self.page.goto(f"{self.origin}/{path}")

    def resize(self, width: int, height: int) -> None:
        """Make the window another size."""
        self.page.set_viewport_size({"width": width, "height": height})

    def menu(self, name: str) -> None:
        """Click an entry of the menu on the left."""
        self.page.get_by_role("navigation").get_by_role("link", name=name).click()

    def catalog(self) -> None:
        """Look at the list of all assets."""
        self.menu("Catalog")
        expect(self.page.get_by_role("button", name="Materialize selected")).to_be_visible()

    def groups(self) -> list[str]:
        """The groups of the asset graph."""
        self.menu("Lineage")
        labels = self.page.get_by_role("button", name="asset_group")
        expect(labels.first).to_be_visible()
        return [label.inner_text().split("\n")[-1] for label in labels.all()]  # a short form may stand before it

    def expand(self, group: str) -> None:
        """Unfold a group in the list beside the asset graph; `listed` finds what is in it."""
        label = self.page.get_by_role("button", name=f"asset_group {group}")
        label.locator("xpath=preceding::button[1]").click()

    def listed(self, asset: str) -> Locator:
        """An asset in the list beside the asset graph."""
        return self.page.get_by_role("button", name=f"{asset} {asset}")

    def materialize(self, assets: Sequence[str], tenants: Sequence[str]) -> str:
        """Choose assets in the catalog, tenants in the dialog, and launch; returns the run's or backfill's address."""
        self.catalog()
        for asset in assets:
            link = self.page.get_by_role("link", name=asset)
            link.locator("xpath=preceding::input[@type='checkbox'][1]/..").click()
        self.page.get_by_role("button", name="Materialize selected").click()
        dialog = self.page.get_by_role("dialog").first
        dialog.get_by_text("Select a partition").click()
        for tenant in tenants:
            self.page.get_by_role("menuitem", name=re.compile(f"^{re.escape(tenant)} ")).click()
        dialog.get_by_text("Launch runs to materialize").click()  # closes the list, which covers the button
        dialog.get_by_role("button", name="Launch").click()
        self.page.get_by_role("region", name="Notifications").get_by_role("link", name="View").click()
        self.page.wait_for_url(re.compile("/runs/"))
        return self.page.url.removeprefix(f"{self.origin}/")

    def run_ending(self, address: str) -> str:
        """How a run ended, once its page says so."""
        self.open(address)
        return _shown(self.page.get_by_text(_RUN_ENDED).first)

    def runs_started_by(self, sensor: str) -> list[str]:
        """The addresses of the runs that a sensor started, the newest first; waits for one."""
        self.menu("Runs")
        expect(self.page.get_by_text("Show runs within backfills")).to_be_visible()
        started = self.page.get_by_role("link", name=sensor)
        expect(started.first).to_be_visible()
        runs = [link.locator("xpath=preceding::a[contains(@href, '/runs/')][1]") for link in started.all()]
        return [str(run.get_attribute("href")).removeprefix("/") for run in runs]

    def backfill_ending(self, address: str) -> str:
        """How a backfill ended, once its page says so."""
        self.open(address)
        status = self.page.get_by_text("Status", exact=True).locator("xpath=..")
        return _shown(status.get_by_text(_BACKFILL_ENDED))

    def backfill_counts(self, asset: str) -> list[int]:
        """Of an asset, on a backfill's page: the partitions targeted, in progress, succeeded, failed."""
        link = self.page.get_by_role("link", name=asset)
        numbers = link.locator("xpath=following::*[not(*) and number() = number()]")
        expect(numbers.nth(3)).to_be_visible()
        return [int(number) for number in numbers.all_inner_texts()[:4]]

    def lineage(self, asset: str) -> None:
        """Look at an asset between its neighbours."""
        self.asset(asset)
        self.page.get_by_role("tab", name="Lineage").click()
        expect(self.page.get_by_text("Nearest Neighbors")).to_be_visible()
        expect(self.page.get_by_role("link", name="% filled")).to_have_count(3)

    def asset(self, asset: str) -> None:
        """Open an asset's page."""
        self.catalog()
        self.page.get_by_role("link", name=asset).click()

    def partitions(self, asset: str) -> None:
        """Open the partitions of an asset."""
        self.asset(asset)
        self.page.get_by_role("tab", name="Partitions").click()
        expect(self.page.get_by_placeholder("Filter by name")).to_be_visible()

    def filter_label(self, status: str, count: int) -> Locator:
        """How many partitions have a status, beside its filter."""
        return self.page.get_by_text(f"{status} ({count})", exact=True)

    def partition(self, asset: str, tenant: str) -> None:
        """Look at what an asset shows of one tenant."""
        self.partitions(asset)
        self.page.get_by_text(tenant, exact=True).first.click()

    def plots(self) -> None:
        """On an asset's page, look at plots instead of the table of metadata."""
        self.page.get_by_role("button", name="Plots").click()

    def plot(self, key: str) -> Locator:
        """The plot of a number in the metadata."""
        return self.page.get_by_text(key, exact=True).locator("xpath=ancestor::*[.//canvas][1]//canvas").first

    def metadata(self, key: str) -> Locator:
        """The row of a key in the metadata of a partition."""
        return self.page.get_by_role("row", name=re.compile(f"^{re.escape(key)}\\b"))

    def pictures(self, key: str) -> list[tuple[str, int]]:
        """The addresses and widths of the pictures in a row of the metadata, once each has been loaded and decoded."""
        expect(self.metadata(key)).to_be_visible()
        loaded = (
            self.metadata(key)
            .get_by_role("img")
            .evaluate_all(
                "all => Promise.all(all.map(async img => { await img.decode(); return [img.src, img.naturalWidth] }))"
            )
        )
        return [(source, width) for source, width in loaded]

    def links(self) -> list[str]:
        """The targets of all links on the page; those within the UI begin with a slash."""
        return list(self.page.locator("a[href]").evaluate_all("all => all.map(a => a.getAttribute('href'))"))

    def logs(self, words: str) -> Locator:
        """Open the log of the failed run that a partition's page names, and show only the lines with these words."""
        self.page.get_by_role("button", name="View logs").click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_placeholder("Filter").fill(words)
        return dialog

    def keep(self, folder: Path) -> None:
        """Save how the page looks and what it says."""
        folder.mkdir(exist_ok=True)
        self.page.screenshot(path=folder / "page.png")
        (folder / "page.txt").write_text(f"{self.page.url}\n\n{self.page.inner_text('body')}\n")


def _shown(found: Locator) -> str:
    expect(found).to_be_visible()
    return found.inner_text()


@contextmanager
def browsing(origin: str, names: Sequence[str] = ()) -> Iterator[DagsterUi]:
    """A browser that looks at the UI; raises `FileNotFoundError` where there is no chromium.

    It resolves the host `names` to 127.0.0.1, as the DNS of somebody else's domain may.
    """
    program = shutil.which(BROWSER)
    if program is None:
        raise FileNotFoundError(f"{BROWSER} is not installed")
    rules = ",".join(f"MAP {name} 127.0.0.1" for name in names)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=[*_ARGUMENTS, f"--host-resolver-rules={rules}"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        try:
            yield DagsterUi(page, origin)
        finally:
            browser.close()
