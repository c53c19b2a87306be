"""Takes the pictures of the Dagster UI that the documentation shows; `make pictures` runs it (needs chromium).

Tells the demo's story in a folder of its own, goes through the UI as its test does (`dagster_ui`), and keeps what is to
be seen on the way. Look at the pictures before you commit them.
"""

import io
from pathlib import Path

from PIL import Image

from cata_pipeline.demo.menus import MENUS
from cata_pipeline_tests.integration.dagster_ui import DagsterUi, browsing
from cata_pipeline_tests.integration.dev_server import running_dev

IMAGES = Path(__file__).parent / "images"
SYNCED = ("provider_catalog_snapshot", "reconciled_items")
COLOURS = 256
"""What a palette can hold: a third of the bytes of a picture in all colours."""


def main() -> None:
    """Write one PNG for each view into `docs/images`."""
    ids = [menu.tenant_id for menu in MENUS]
    kopi, roti = ids[0], ids[-1]
    with running_dev(after_demo=True) as dev, browsing(dev.origin) as ui:
        dev.wait_for("the UI", dev.partitions)
        ui.open("")
        ui.run_ending(ui.materialize(SYNCED, [kopi]))
        copy = [{"key": "dagster/partition", "value": kopi}, {"key": "trigger", "value": "sync"}]
        dev.wait_for("the picture copy", lambda: dev.finished_run(tags=copy))
        ui.resize(1300, 620)
        ui.lineage("reconciled_items")
        take(ui, "lineage")
        ui.resize(1500, 1180)
        ui.partition("reconciled_items", kopi)
        ui.metadata("changes").scroll_into_view_if_needed()
        take(ui, "partition")
        ui.resize(2000, 1300)
        ui.partition("image_objects", kopi)
        ui.pictures("newest")
        ui.metadata("newest").get_by_role("img").first.scroll_into_view_if_needed()
        take(ui, "gallery", width=1200)
        ui.resize(1300, 900)
        ui.asset("reconciled_items")
        ui.plots()
        ui.plot("unchanged").scroll_into_view_if_needed()
        take(ui, "plots")
        dev.mix_up_credentials(roti, kopi)
        ui.resize(1300, 540)
        ui.backfill_ending(ui.materialize(SYNCED, ids))
        take(ui, "backfill")
        ui.resize(1300, 640)
        ui.partition("reconciled_items", roti)
        ui.logs(roti).get_by_text("Nothing was fetched").first.scroll_into_view_if_needed()
        take(ui, "failure")


def take(ui: DagsterUi, name: str, width: int | None = None) -> None:
    """Keep what is to be seen, in few colours and as wide as asked for."""
    shown = Image.open(io.BytesIO(ui.page.screenshot(animations="disabled"))).convert("RGB")
    if width:
        shown = shown.resize((width, shown.height * width // shown.width), Image.Resampling.LANCZOS)
    few = shown.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
