"""What an outcome looks like in the UI, whatever the outcome."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cata_pipeline.catalog.model import Duplicate, Rejection
from cata_pipeline.catalog.snapshot import Notes, SnapshotRecord
from cata_pipeline.images.result import CopiedPicture, ImageFailure, ImageResult
from cata_pipeline.orchestration.metadata import (
    IMAGES,
    RECONCILED,
    SNAPSHOT,
    image_events,
    raise_failures,
    sync_events,
)
from cata_pipeline.outcomes import ImageOutcome, SyncOutcome
from cata_pipeline.reconcile.guard import PlanCounts, judge
from cata_pipeline.reconcile.report import Change, ChildCounts, ItemCounts, ReconcileReport
from cata_pipeline.tenants.stale import StaleItem

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
RECORD = SnapshotRecord(
    id="20250301T120000000000Z-0badcafe",
    tenant_id="kopi",
    provider="iseller",
    path="kopi/snapshots/20250301T120000000000Z-0badcafe/catalog.parquet",
    items=7,
    rejected=0,
    duplicates=0,
    bytes=1_234,
    content_hash="ab" * 32,
    run_id="run-1",
    fetched_at=NOON,
)
NOTHING_HAPPENED = ReconcileReport(
    items_in_snapshot=0,
    rejected=0,
    items=ItemCounts(),
    children=ChildCounts(),
    children_rejected=0,
    stale=0,
    findings=(),
    skipped=(),
    sample=(),
    change_rows=0,
    stale_codes=(),
    rejections=(),
    changes_path=None,
    warnings=(),
    dry_run=False,
    seconds_write=0.0,
)
NOTHING_COPIED = ImageResult(
    considered=0,
    not_modified=0,
    downloaded=0,
    bytes_downloaded=0,
    uploaded=0,
    already_stored=0,
    written_back=0,
    overridden=0,
    failed=0,
    seconds=0.0,
)
PLAN = PlanCounts(
    received=200,
    rejected=0,
    staged=200,
    tenant_items=200,
    tenant_visible=200,
    known=200,
    stale=0,
    inserts=0,
    updates=30,
    hides=30,
    renames=0,
    unpictures=0,
    recategorizes=0,
)


def reconciled(report: ReconcileReport, *, dry_run: bool = False) -> dict[str, Any]:
    """The metadata of a reconcile."""
    [event] = sync_events(SyncOutcome("kopi", RECORD, report=report), "snapshots", dry_run=dry_run)
    assert (event.asset_key, event.partition) == (RECONCILED, "kopi")
    return dict(event.metadata)


def copied(result: ImageResult) -> dict[str, Any]:
    [event] = image_events(ImageOutcome("kopi", result), "images", "https://cdn.example/")
    assert (event.asset_key, event.partition) == (IMAGES, "kopi")
    return dict(event.metadata)


def cells(value: Any) -> Sequence[dict[str, Any]]:
    assert isinstance(value, dg.TableMetadataValue)
    return [dict(record.data) for record in value.records]


def plotted(metadata: dict[str, Any]) -> set[str]:
    return {name for name, value in metadata.items() if isinstance(value, dg.IntMetadataValue | dg.FloatMetadataValue)}


def test_a_sync_in_which_nothing_happened_still_plots_every_count() -> None:
    metadata = reconciled(NOTHING_HAPPENED)
    assert plotted(metadata) == {
        "dagster/partition_row_count",
        *("items_in_snapshot", "rejected", "inserted", "updated", "unchanged", "renamed", "names_kept", "hidden"),
        *("shown", "image_urls_changed", "stale", "duplicates", "seconds_fetch", "seconds_write"),
        *("children_inserted", "children_updated", "children_hidden", "children_rejected"),
    }
    assert {metadata[name].value for name in plotted(metadata)} == {0}


def test_a_snapshot_says_what_was_refused_what_lost_its_code_and_what_was_left_out() -> None:
    notes = Notes(
        (Rejection("p-1", None, "has no SKU"),),
        (Duplicate("LAT", "p-2", "p-3"),),
        {"modifier without id left out": 12, "category that cannot be read left out": 1},
    )
    [event] = sync_events(SyncOutcome("kopi", RECORD, notes, fetched=True), "snapshots", dry_run=False)
    assert event.asset_key == SNAPSHOT
    assert cells(event.metadata["rejected_sample"]) == [{"item_code": "", "provider_id": "p-1", "reason": "has no SKU"}]
    assert cells(event.metadata["duplicates_sample"]) == [
        {"item_code": "LAT", "provider_id": "p-2", "kept_provider_id": "p-3"}
    ]
    assert event.metadata["warnings"].value == (
        "- `12 x modifier without id left out`\n- `1 x category that cannot be read left out`"
    )


def test_a_snapshot_without_a_note_has_none_in_its_metadata() -> None:
    [event] = sync_events(SyncOutcome("kopi", RECORD, fetched=True), "snapshots", dry_run=False)
    assert not {"rejected_sample", "duplicates_sample", "warnings"} & event.metadata.keys()


def test_an_image_copy_in_which_nothing_happened_still_plots_every_count() -> None:
    metadata = copied(NOTHING_COPIED)
    assert plotted(metadata) == {
        *("considered", "not_modified", "downloaded", "bytes_downloaded", "uploaded", "already_stored"),
        *("written_back", "overridden", "failed", "deferred", "seconds"),
    }
    assert {metadata[name].value for name in plotted(metadata)} == {0}


def test_each_count_of_a_reconcile_is_shown_under_its_own_name() -> None:
    items = ItemCounts(inserted=1, updated=2, renamed=3, names_kept=4, hidden=5, shown=6, image_urls_changed=7)
    report = replace(NOTHING_HAPPENED, items_in_snapshot=20, rejected=8, items=items, stale=9, seconds_write=1.23456)
    metadata = reconciled(report)
    names = ("inserted", "updated", "renamed", "names_kept", "hidden", "shown", "image_urls_changed", "rejected")
    assert [metadata[name].value for name in names] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [metadata[name].value for name in ("stale", "unchanged", "seconds_write")] == [9, 17, 1.235]


@pytest.mark.parametrize("dry_run", [False, True])
def test_only_a_dry_run_is_an_observation(dry_run: bool) -> None:  # noqa: FBT001
    outcome = SyncOutcome("kopi", RECORD, fetched=True, report=NOTHING_HAPPENED)
    events = list(sync_events(outcome, "snapshots", dry_run=dry_run))
    assert [event.asset_key for event in events] == [SNAPSHOT, RECONCILED]
    assert {type(event) for event in events} == {dg.AssetObservation if dry_run else dg.AssetMaterialization}


def test_a_refused_sync_shows_the_snapshot_it_took_and_nothing_more() -> None:
    outcome = SyncOutcome("kopi", RECORD, fetched=True, error="the plan is implausible")
    assert [event.asset_key for event in sync_events(outcome, "snapshots", dry_run=False)] == [SNAPSHOT]


def test_a_replayed_snapshot_is_not_shown_as_a_new_one() -> None:
    outcome = SyncOutcome("kopi", RECORD, report=NOTHING_HAPPENED)
    assert [event.asset_key for event in sync_events(outcome, "snapshots", dry_run=False)] == [RECONCILED]


def test_a_tenant_that_failed_early_shows_nothing() -> None:
    assert list(sync_events(SyncOutcome("kopi", error="no token"), "snapshots", dry_run=False)) == []
    assert list(image_events(ImageOutcome("kopi", error="no table items"), "images", "https://cdn.example/")) == []


def test_a_snapshot_is_shown_with_its_place_to_copy_and_a_link_to_open() -> None:
    outcome = SyncOutcome("kopi", RECORD, fetched=True)
    [event] = sync_events(outcome, "snapshots", dry_run=False)
    assert event.metadata["gcs"] == dg.MetadataValue.path(f"gs://snapshots/{RECORD.path}")
    folder = RECORD.path.removesuffix("/catalog.parquet")
    link = f"https://console.cloud.google.com/storage/browser/snapshots/{folder}"
    assert event.metadata["browse"] == dg.MetadataValue.url(link)
    assert event.metadata["dagster/partition_row_count"].value == event.metadata["items"].value == 7


@settings(deadline=None)
@given(lines=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=255), min_size=1, max_size=90))
def test_markdown_stays_short_enough_for_the_ui_and_counts_what_it_leaves_out(lines: list[str]) -> None:
    skipped = reconciled(replace(NOTHING_HAPPENED, skipped=tuple(lines)))["skipped"]
    assert isinstance(skipped, dg.MarkdownMetadataValue)
    assert len(skipped.value) < 1_000
    shown = re.findall("^- `", skipped.value, re.MULTILINE)
    assert skipped.value.endswith(f"- and {len(lines) - len(shown)} more") == (len(shown) < len(lines))


def test_a_long_list_ends_with_whole_lines_and_what_is_left_out() -> None:
    columns = tuple(f"column items.{name * 20} is absent" for name in "abcdefghijklmnopqrstuvwxyz")
    lines = reconciled(replace(NOTHING_HAPPENED, skipped=columns))["skipped"].value.splitlines()
    assert lines[:-1] == [f"- `{column}`" for column in columns[: len(lines) - 1]]
    assert lines[-1] == f"- and {len(columns) - len(lines) + 1} more"


def test_a_sentence_about_what_was_skipped_is_shown_whole() -> None:
    sentence = "table item_modifier_options is not written because item_modifiers is absent"
    assert sentence in reconciled(replace(NOTHING_HAPPENED, skipped=(sentence,)))["skipped"].value


def test_changes_are_a_table_of_old_and_new_values_in_short_cells() -> None:
    sample = (
        Change(
            "items", "updated", "LAT", None, "external_image_url", None, f"https://pos.example/{'x' * 99}/latte-2.jpg"
        ),
        Change("items", "inserted", "KS", None, None, None, "{}"),
    )
    metadata = reconciled(replace(NOTHING_HAPPENED, sample=sample, changes_path="kopi/changes.parquet"))
    described, inserted = cells(metadata["changes"])
    assert described | {"new": ""} == {
        "table": "items",
        "action": "updated",
        "item_code": "LAT",
        "column": "external_image_url",
        "old": "",
        "new": "",
    }
    assert described["new"] == "https://pos.e…xx/latte-2.jpg"
    assert (inserted["column"], inserted["new"]) == ("", "{}")
    assert metadata["changes_file"] == dg.MetadataValue.path("gs://snapshots/kopi/changes.parquet")


def test_rejected_rows_are_shown_with_their_reason() -> None:
    metadata = reconciled(replace(NOTHING_HAPPENED, rejected=1, rejections=(Rejection("p-1", None, "no name"),)))
    assert cells(metadata["rejected_sample"]) == [{"item_code": "", "provider_id": "p-1", "reason": "no name"}]


def test_an_allowance_is_shown_only_where_it_was_needed() -> None:
    needed = reconciled(replace(NOTHING_HAPPENED, findings=judge(PLAN, {"hide": 30, "rename": 400})))
    assert needed["allowed"].value == {"hide": 30}
    idle = reconciled(replace(NOTHING_HAPPENED, findings=judge(replace(PLAN, hides=3), {"hide": 30})))
    assert "allowed" not in idle


def test_a_dry_run_says_which_guards_would_refuse() -> None:
    metadata = reconciled(replace(NOTHING_HAPPENED, findings=judge(PLAN, {})), dry_run=True)
    assert metadata["guards_would_refuse"].value == "- `it would hide 30 of 200 items`"
    assert "guards_would_refuse" not in reconciled(NOTHING_HAPPENED, dry_run=True)


def test_a_dry_run_shows_every_guards_verdict_and_where_its_whole_plan_is() -> None:
    report = replace(
        NOTHING_HAPPENED,
        dry_run=True,
        findings=judge(PLAN, {"hide": 25}),
        change_rows=30,
        changes_path="kopi/snapshots/x/plan-run-1.parquet",
    )
    metadata = reconciled(report, dry_run=True)
    guards = {row["guard"]: row for row in cells(metadata["guards"])}
    assert guards["hide"] == {"guard": "hide", "count": "30", "limit": "20", "allowed": "25", "verdict": "refuses"}
    assert guards["rename"] == {
        "guard": "rename",
        "count": "0",
        "limit": "100",
        "allowed": "",
        "verdict": "lets through",
    }
    assert metadata["plan_rows"].value == 30
    assert metadata["plan_file"] == dg.MetadataValue.path("gs://snapshots/kopi/snapshots/x/plan-run-1.parquet")
    link = "https://console.cloud.google.com/storage/browser/snapshots/kopi/snapshots/x"
    assert metadata["browse"] == dg.MetadataValue.url(link)
    assert "changes_file" not in metadata


def test_a_real_run_shows_no_plan() -> None:
    report = replace(NOTHING_HAPPENED, findings=judge(PLAN, {}), change_rows=30, changes_path="kopi/changes.parquet")
    assert reconciled(report).keys().isdisjoint({"guards", "plan_rows", "plan_file"})


def test_stale_items_are_shown_with_since_when_and_without_where_that_is_not_on_record() -> None:
    report = replace(NOTHING_HAPPENED, stale=30, stale_codes=tuple(f"I{number:02}" for number in range(30)))
    outcome = SyncOutcome("kopi", RECORD, report=report, stale=(StaleItem("I07", NOON), StaleItem("I03", NOON)))
    [event] = sync_events(outcome, "snapshots", dry_run=False)
    assert cells(event.metadata["stale_sample"]) == [
        {"item_code": "I07", "since": "2025-03-01 12:00 UTC"},
        {"item_code": "I03", "since": "2025-03-01 12:00 UTC"},
    ]
    unknown = cells(reconciled(report)["stale_sample"])
    assert (len(unknown), unknown[0]) == (20, {"item_code": "I00", "since": ""})
    assert "stale_sample" not in reconciled(NOTHING_HAPPENED)


def test_the_newest_pictures_are_a_gallery_that_the_ui_shows_inline() -> None:
    newest = tuple(CopiedPicture(f"I{number}", f"kopi/items/{number:064x}.jpg") for number in range(6))
    shown = copied(replace(NOTHING_COPIED, newest=newest))["newest"]
    assert isinstance(shown, dg.MarkdownMetadataValue)
    assert shown.value.startswith(f"![I0](https://cdn.example/kopi/items/{0:064x}.jpg) ![I1](")
    assert (shown.value.count("!["), len(shown.value) < 1_000) == (6, True)
    assert "newest" not in copied(NOTHING_COPIED)


def test_a_copy_that_used_up_its_budget_says_how_many_items_wait_and_why() -> None:
    metadata = copied(replace(NOTHING_COPIED, deferred=7, deferred_reason="hosts took 3,600 seconds"))
    assert (metadata["deferred"].value, metadata["deferred_reason"].value) == (7, "hosts took 3,600 seconds")
    assert "deferred_reason" not in copied(NOTHING_COPIED)


def test_failed_pictures_are_shown_with_host_reason_and_next_try() -> None:
    failure = ImageFailure("LAT", "cdn.example", "the file ends too early", NOON)
    assert cells(copied(replace(NOTHING_COPIED, failed=1, failures=(failure,)))["failures"]) == [
        {
            "item_code": "LAT",
            "host": "cdn.example",
            "reason": "the file ends too early",
            "next_try": "2025-03-01 12:00 UTC",
        }
    ]


def test_a_batch_without_failures_ends_well() -> None:
    raise_failures({}, served=3)


def test_a_failed_batch_names_the_first_tenants_and_keeps_all_in_its_metadata() -> None:
    failed = {f"tenant-{number}": "no token" for number in range(7)}
    with pytest.raises(dg.Failure) as caught:
        raise_failures(failed, served=100)
    assert caught.value.description is not None
    assert caught.value.description.startswith("7 of 100 tenants failed: tenant-0: no token; tenant-1: no token")
    assert "tenant-6" not in caught.value.description
    assert caught.value.metadata["failed"].value == failed
    assert caught.value.allow_retries is False
