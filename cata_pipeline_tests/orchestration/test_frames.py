"""Frames of real syncs of the demo's tenants, and the examples of the documentation as they are printed there."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from cata_pipeline import frames
from cata_pipeline.errors import UsageError
from cata_pipeline.orchestration.partitions import range_tags
from cata_pipeline_tests.orchestration.test_assets import EVERYBODY, KOPI, WARUNG, Fleet, fleet

__all__ = ["fleet"]

NOTEBOOK, ASSET = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs/frames.md").read_text(), re.DOTALL
)
NOW = datetime.now(UTC)


def schema_of(frame: pd.DataFrame) -> list[tuple[str, pa.DataType]]:
    return [(str(name), dtype.pyarrow_dtype) for name, dtype in frame.dtypes.items()]


def documented(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in schema]


def test_a_snapshot_has_a_row_an_item_and_names_its_tenant(fleet: Fleet) -> None:
    fleet.sync(*EVERYBODY)
    frame = frames.snapshot(fleet.pipeline, [KOPI, WARUNG])
    assert schema_of(frame) == documented(frames.SNAPSHOT)
    assert frame["tenant_id"].unique().tolist() == [KOPI, WARUNG]
    stored = fleet.rows(KOPI)
    assert frame[frame["tenant_id"] == KOPI]["item_code"].tolist() == sorted(
        (row["item_code"] for row in stored), key=str.encode
    )


def test_an_older_snapshot_is_read_by_its_id(fleet: Fleet) -> None:
    fleet.sync(KOPI)
    older = fleet.pipeline.snapshots.newest(KOPI).id
    fleet.sync(KOPI)
    assert frames.snapshot(fleet.pipeline, KOPI, older)["snapshot_id"].unique().tolist() == [older]
    assert frames.snapshot(fleet.pipeline, KOPI)["snapshot_id"].unique().tolist() != [older]
    with pytest.raises(UsageError, match="expected one tenant id beside it, found 2"):
        frames.snapshot(fleet.pipeline, [KOPI, WARUNG], older)


def test_a_tenant_without_a_snapshot_is_an_error_and_no_tenant_an_empty_frame(fleet: Fleet) -> None:
    with pytest.raises(UsageError, match=f"Tenant {KOPI} has no snapshot yet"):
        frames.snapshot(fleet.pipeline, KOPI)
    empty = frames.snapshot(fleet.pipeline, [])
    assert (len(empty), schema_of(empty)) == (0, documented(frames.SNAPSHOT))


def test_changes_of_a_night_are_those_of_all_tenants_in_that_time(fleet: Fleet) -> None:
    fleet.sync(KOPI, WARUNG)
    every = frames.changes(fleet.pipeline)
    assert schema_of(every) == documented(frames.CHANGES)
    assert set(every["tenant_id"]) == {KOPI, WARUNG}
    assert set(every["action"]) == {"inserted"}
    one = frames.changes(fleet.pipeline, KOPI)
    assert one["item_code"].tolist() == [change.item_code for _, change in fleet.pipeline.changes(KOPI)]
    ended = one["finished_at"].iloc[0].to_pydatetime()
    assert len(frames.changes(fleet.pipeline, KOPI, since=ended)) == len(one)
    assert len(frames.changes(fleet.pipeline, KOPI, until=ended)) == 0
    assert len(frames.changes(fleet.pipeline, since=NOW + timedelta(days=1))) == 0
    with pytest.raises(UsageError, match="since has no timezone"):
        frames.changes(fleet.pipeline, since=datetime(2026, 1, 1))  # noqa: DTZ001


def test_the_fleet_has_a_row_a_tenant_with_its_newest_runs(fleet: Fleet) -> None:
    fleet.sync(KOPI)
    fleet.pipeline.registry.retire([WARUNG])
    frame = frames.fleet(fleet.pipeline)
    assert schema_of(frame) == documented(frames.FLEET)
    assert frame["tenant_id"].tolist() == sorted(EVERYBODY)
    by_tenant = frame.set_index("tenant_id")
    assert by_tenant.loc[KOPI, "items_in_snapshot"] == len(fleet.rows(KOPI))
    assert by_tenant["retired"].to_dict() == {name: name == WARUNG for name in EVERYBODY}
    assert by_tenant["sync_run_id"].notna().to_dict() == {name: name == KOPI for name in EVERYBODY}
    assert by_tenant["images_finished_at"].isna().all()


def test_the_asset_of_the_documentation_takes_the_catalog_of_its_range(fleet: Fleet) -> None:
    fleet.sync(*EVERYBODY)
    example: dict[str, Any] = {}
    exec(compile(ASSET, "docs/frames.md", "exec"), example)  # noqa: S102
    job = dg.define_asset_job("count_pictures", ["items_without_picture"])
    extended = dg.Definitions.merge(example["extended"], dg.Definitions(jobs=[job]))
    result = extended.resolve_job_def("count_pictures").execute_in_process(
        instance=fleet.instance, tags=range_tags(EVERYBODY)
    )
    [materialization] = result.asset_materializations_for_node("items_without_picture")[:1]
    assert materialization.metadata["items"].value == sum(len(fleet.rows(name)) for name in EVERYBODY)


def test_the_notebook_of_the_documentation_counts_what_the_night_renamed(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.sync(KOPI)
    code = fleet.rows(KOPI)[0]["item_code"]
    fleet.edit(KOPI, f"UPDATE items SET original_name = 'Before' WHERE item_code = '{code}'")
    fleet.sync(KOPI)
    exec(compile(NOTEBOOK, "docs/frames.md", "exec"), {})  # noqa: S102
    assert re.search(rf"{KOPI}\s+1\b", capsys.readouterr().out)
