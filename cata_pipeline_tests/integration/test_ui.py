"""A morning in the Dagster UI: one tenant is synced, its pictures are seen, a backfill fails for one tenant of three.

One server, one browser. Each fixture is something a person did, each test something that is to be seen because of it.
A failure leaves a screenshot and the page's text in pytest's temporary folder, which its report names.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from cata_pipeline.demo.menus import MENUS
from cata_pipeline_tests.integration.dagster_ui import BROWSER, DagsterUi, browsing
from cata_pipeline_tests.integration.dev_server import Dev, running_dev

KOPI, WARUNG, ROTI = [menu.tenant_id for menu in MENUS]
SYNCED = ("provider_catalog_snapshot", "reconciled_items")
PLOTS = {
    "reconciled_items": (
        *("items_in_snapshot", "rejected", "inserted", "updated", "unchanged", "renamed", "names_kept", "hidden"),
        *("shown", "image_urls_changed", "stale", "seconds_fetch", "seconds_write"),
    ),
    "image_objects": (
        *("considered", "not_modified", "downloaded", "bytes_downloaded", "uploaded", "already_stored"),
        *("written_back", "overridden", "failed", "deferred", "seconds"),
    ),
}
ERROR = re.compile("Store mismatch: the credentials belong to .* Nothing was fetched; correct store_url")

ALARMING = re.compile(r"WARNING|ERROR|CRITICAL|Traceback|[a-z]Warning\b")
EXPECTED = (
    # The failed tenant, as the run, Dagster and the alert say it.
    re.compile(f"WARNING - .* - catalog_sync - Not synced {ROTI}: Store mismatch: "),
    re.compile("ERROR - .* - catalog_sync - STEP_FAILURE - "),
    re.compile(r"ERROR - .* - RUN_FAILURE - .* Steps failed: \['catalog_sync'\]"),
    re.compile("WARNING - .* - run_failure_alert - "),
    # Dagster on its first day, before there is a run.
    re.compile(
        r"EventLogConsumerDaemon - WARNING - No cursor for event type DagsterEventType\.RUN_(FAILURE|SUCCESS), "
    ),
)


@pytest.fixture(scope="module")
def dev() -> Iterator[Dev]:
    if shutil.which(BROWSER) is None:
        pytest.skip(f"{BROWSER} is not installed")
    with running_dev() as running:
        first_sync = [{"key": "trigger", "value": "first sync"}]
        running.wait_for("the UI", running.partitions)
        running.wait_for("the first sync of the demo's tenants", lambda: running.finished_run(tags=first_sync))
        yield running


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def ui(dev: Dev, evidence: Path) -> Iterator[DagsterUi]:
    with browsing(dev.origin) as ui:
        ui.open("")
        yield ui


@pytest.fixture(scope="module")
def sync_of_one(ui: DagsterUi) -> str:
    """The run of one tenant, ended."""
    run = ui.materialize(SYNCED, [KOPI])
    assert ui.run_ending(run) == "Success"
    return run


@pytest.fixture(scope="module")
def backfill(dev: Dev, ui: DagsterUi, sync_of_one: str) -> str:
    """A backfill of all three, one of whom has another's credentials; only just launched."""
    dev.mix_up_credentials(ROTI, KOPI)
    return ui.materialize(SYNCED, [KOPI, WARUNG, ROTI])


@pytest.fixture(scope="module")
def copied(ui: DagsterUi, sync_of_one: str, backfill: str) -> None:
    """The pictures of the tenants are copied; nobody asked for it."""
    [*_, first] = ui.runs_started_by("image_copy_sensor")
    assert ui.run_ending(first) == "Success"


@pytest.fixture(scope="module")
def ended(ui: DagsterUi, backfill: str, copied: None) -> str:
    """The backfill, ended."""
    assert ui.backfill_ending(backfill) == "Failed"
    return backfill


def test_the_asset_graph_shows_every_asset_in_a_group_with_a_name(ui: DagsterUi) -> None:
    groups = ui.groups()
    assert {"catalog", "images"} <= set(groups)
    assert "default" not in groups
    ui.expand("catalog")
    for asset in SYNCED:
        expect(ui.listed(asset)).to_be_visible()
    expect(ui.listed("image_objects")).to_have_count(0)
    ui.expand("images")
    expect(ui.listed("image_objects")).to_be_visible()


def test_one_tenant_is_materialized_from_the_dialog_of_the_ui(ui: DagsterUi, sync_of_one: str) -> None:
    ui.open(sync_of_one)
    expect(ui.page.get_by_text(f"partition: {KOPI}")).to_be_visible()
    ui.partition("reconciled_items", KOPI)
    expect(ui.metadata("items_in_snapshot")).to_be_visible()


def test_the_pictures_of_a_synced_tenant_are_copied_by_themselves_and_shown_from_the_bucket(
    dev: Dev, ui: DagsterUi, copied: None
) -> None:
    ui.partition("image_objects", KOPI)
    pictures = ui.pictures("newest")
    assert len(pictures) == 6
    base = dev.environment()["CATA_IMAGE_BASE_URL"]
    for source, width in pictures:
        assert source.startswith(f"{base}{KOPI}/items/")
        assert width > 0
        assert httpx.get(source, trust_env=False).headers["content-type"].startswith("image/")


def test_what_a_sync_changed_is_a_table_and_nothing_hides_behind_a_button(ui: DagsterUi, ended: str) -> None:
    ui.partition("reconciled_items", ROTI)
    for column in ("item_code", "column", "old", "new"):
        expect(ui.metadata("changes").get_by_text(column, exact=True).first).to_be_visible()
    expect(ui.page.get_by_text("[Show")).to_have_count(0)


@pytest.mark.parametrize(("asset", "tenant"), [*((asset, ROTI) for asset in SYNCED), ("image_objects", KOPI)])
def test_every_link_leads_to_a_page(ui: DagsterUi, ended: str, asset: str, tenant: str) -> None:
    ui.partition(asset, tenant)
    expect(ui.metadata("browse")).to_be_visible()
    links = ui.links()
    assert [link for link in links if not re.match("https?://|/", link)] == []
    assert any(link.startswith("https://console.cloud.google.com/storage/browser/") for link in links)


@pytest.mark.parametrize("asset", PLOTS)
def test_every_count_of_the_contract_has_a_plot(ui: DagsterUi, ended: str, asset: str) -> None:
    ui.asset(asset)
    ui.plots()
    for count in PLOTS[asset]:
        expect(ui.plot(count)).to_be_visible()


def test_an_assets_description_is_prose_and_a_table(ui: DagsterUi) -> None:
    ui.asset("reconciled_items")
    for column in ("column", "owner", "on re-sync"):
        expect(ui.page.get_by_role("columnheader", name=column, exact=True).first).to_be_visible()
    expect(ui.page.get_by_text("If it fails").first).to_be_visible()
    expect(ui.page.get_by_text("---")).to_have_count(0)


def test_of_a_backfill_only_the_tenant_that_failed_is_red(ui: DagsterUi, ended: str) -> None:
    ui.backfill_ending(ended)
    for asset in SYNCED:
        assert ui.backfill_counts(asset) == [3, 0, 2, 1]
    for asset in SYNCED:
        ui.partitions(asset)
        expect(ui.filter_label("Failed", 1)).to_be_visible()
        expect(ui.filter_label("Materialized", 2)).to_be_visible()


def test_the_reason_is_one_click_from_the_failed_partition(ui: DagsterUi, ended: str) -> None:
    ui.partition("reconciled_items", ROTI)
    expect(ui.page.get_by_text("failed, and did not materialize this asset")).to_be_visible()
    expect(ui.logs(f"Not synced {ROTI}").get_by_text(ERROR).first).to_be_visible()


def test_what_dev_prints_is_quiet_but_for_the_tenant_that_failed(dev: Dev, ended: str) -> None:
    lines = re.sub(r"\x1b\[[0-9;]*m", "", dev.log.read_text()).splitlines()
    assert [line for line in lines if ALARMING.search(line) and not any(e.search(line) for e in EXPECTED)] == []
    assert sum(f"Not synced {ROTI}" in line for line in lines) == 1
