"""Turns outcomes into Dagster events: counts as plots, samples as small tables, paths as links.

Every count of the contract is always there, zeros included, because the UI draws a plot from each. Markdown stays
under 1,000 characters, which is what the UI shows inline.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from cata_pipeline.foreign_text import one_line
from cata_pipeline.orchestration.gallery import gallery
from cata_pipeline.reconcile.policy import ITEMS, TABLES, describe_rule

if TYPE_CHECKING:
    from cata_pipeline.catalog.model import Rejection
    from cata_pipeline.outcomes import ImageOutcome, SyncOutcome
    from cata_pipeline.reconcile.report import ReconcileReport

SNAPSHOT = dg.AssetKey("provider_catalog_snapshot")
RECONCILED = dg.AssetKey("reconciled_items")
IMAGES = dg.AssetKey("image_objects")

INLINE_CHARACTERS = 1_000
_CELL_CHARACTERS = 60
_LINE_CHARACTERS = 90
_VALUE_CHARACTERS = 28
_STALE_ROWS = 20


def column_schemas() -> dict[str, dg.TableSchema]:
    """Return what the policy says of each tenant table: `items` as the asset's own schema, the others beside it."""
    schemas = {
        table.name: dg.TableSchema(
            columns=[
                dg.TableColumn(
                    column.name,
                    column.kind.value if column.source else "any",
                    description=f"{column.owner.value}; {describe_rule(column)}",
                )
                for column in table.columns
            ]
        )
        for table in TABLES
    }
    return {"dagster/column_schema": schemas.pop(ITEMS.name), **schemas}


def sync_events(
    outcome: "SyncOutcome", bucket: str, *, dry_run: bool
) -> Iterator[dg.AssetMaterialization | dg.AssetObservation]:
    """What a sync did for one tenant: a materialization for each asset it renewed, observations in a dry run."""
    if outcome.snapshot and outcome.fetched:
        yield _event(SNAPSHOT, outcome.tenant_id, _snapshot_metadata(outcome, bucket), dry_run=dry_run)
    if outcome.report:
        yield _event(RECONCILED, outcome.tenant_id, _reconcile_metadata(outcome, bucket), dry_run=dry_run)


def image_events(
    outcome: "ImageOutcome", bucket: str, base_url: str
) -> Iterator[dg.AssetMaterialization | dg.AssetObservation]:
    """What an image copy did for one tenant; `base_url` leads a browser to the bucket's objects."""
    if outcome.result is None:
        return
    metadata: dict[str, Any] = dict(outcome.counts)
    prefix = f"{outcome.tenant_id}/items/"
    metadata |= {
        "dagster/uri": f"gs://{bucket}/{prefix}",
        "gcs": dg.MetadataValue.path(f"gs://{bucket}/{prefix}"),
        "browse": _browse(bucket, prefix),
    }
    failures = outcome.result.failures
    if failures:
        metadata["failures"] = table(
            ("item_code", "host", "reason", "next_try"),
            [(f.item_code, f.host, f.reason, f"{f.next_try_at:%Y-%m-%d %H:%M} UTC") for f in failures],
        )
    if outcome.result.deferred_reason:
        metadata["deferred_reason"] = outcome.result.deferred_reason
    if shown := gallery(outcome.result.newest, base_url, INLINE_CHARACTERS):
        metadata["newest"] = dg.MetadataValue.md(shown)
    yield _event(IMAGES, outcome.tenant_id, metadata, dry_run=False)


def _event(
    key: dg.AssetKey, tenant_id: str, metadata: dict[str, Any], *, dry_run: bool
) -> dg.AssetMaterialization | dg.AssetObservation:
    kind = dg.AssetObservation if dry_run else dg.AssetMaterialization
    return kind(key, partition=tenant_id, metadata=metadata)


def _snapshot_metadata(outcome: "SyncOutcome", bucket: str) -> dict[str, Any]:
    record, notes = outcome.snapshot, outcome.notes
    assert record is not None
    metadata: dict[str, Any] = {
        "dagster/partition_row_count": record.items,
        "items": record.items,
        "rejected": record.rejected,
        "duplicates": record.duplicates,
        "bytes": record.bytes,
        "seconds_fetch": round(outcome.seconds_fetch, 3),
        "provider": record.provider,
        "snapshot": record.id,
        "content_hash": record.content_hash,
        "dagster/uri": f"gs://{bucket}/{record.path}",
        "gcs": dg.MetadataValue.path(f"gs://{bucket}/{record.path}"),
        "browse": _browse(bucket, record.path.rpartition("/")[0]),
    }
    if notes.rejections:
        metadata["rejected_sample"] = _rejections_table(notes.rejections)
    if notes.duplicates:
        metadata["duplicates_sample"] = table(
            ("item_code", "provider_id", "kept_provider_id"),
            [(d.item_code, d.provider_id, d.kept_provider_id) for d in notes.duplicates],
        )
    if notes.warnings:
        metadata["warnings"] = dg.MetadataValue.md(_listed(notes.told, len(notes.told)))
    return metadata


def _reconcile_metadata(outcome: "SyncOutcome", bucket: str) -> dict[str, Any]:
    report, record = outcome.report, outcome.snapshot
    assert report is not None
    assert record is not None
    metadata: dict[str, Any] = dict(outcome.counts)
    # Every row of `items`: those that the snapshot names, and those that it does not.
    metadata["dagster/partition_row_count"] = metadata["items_in_snapshot"] + metadata["stale"]
    metadata["snapshot"] = record.id
    if report.dry_run:
        metadata |= {"plan_rows": report.change_rows, "guards": _guards_table(report)}
    if report.sample:
        metadata["changes"] = _changes_table(report)
    if report.changes_path:
        name = "plan_file" if report.dry_run else "changes_file"
        metadata[name] = dg.MetadataValue.path(f"gs://{bucket}/{report.changes_path}")
        metadata["browse"] = _browse(bucket, report.changes_path.rpartition("/")[0])
    if report.stale_codes:
        metadata["stale_sample"] = _stale_table(outcome, report)
    if report.rejections:
        metadata["rejected_sample"] = _rejections_table(report.rejections)
    if report.warnings:
        metadata["warnings"] = dg.MetadataValue.md(_listed(report.warnings, len(report.warnings)))
    if report.skipped:
        metadata["skipped"] = dg.MetadataValue.md(_listed(report.skipped, len(report.skipped)))
    if allowed := {f.guard: f.count for f in report.findings if f.used_allowance}:
        metadata["allowed"] = dg.MetadataValue.json(allowed)
    if refused := [f.meaning for f in report.findings if f.refuses]:
        metadata["guards_would_refuse"] = dg.MetadataValue.md(_listed(refused, len(refused)))
    return metadata


def _rejections_table(rejections: "Sequence[Rejection]") -> dg.TableMetadataValue:
    rows = [(r.item_code or "", r.provider_id or "", one_line(r.reason)) for r in rejections]
    return table(("item_code", "provider_id", "reason"), rows)


def _stale_table(outcome: "SyncOutcome", report: "ReconcileReport") -> dg.TableMetadataValue:
    """The longest stale items; where that is not on record, the first ones without a time."""
    rows = [(item.item_code, f"{item.since:%Y-%m-%d %H:%M} UTC") for item in outcome.stale]
    return table(("item_code", "since"), rows or [(code, "") for code in report.stale_codes[:_STALE_ROWS]])


def _guards_table(report: "ReconcileReport") -> dg.TableMetadataValue:
    rows = [
        (
            finding.guard,
            str(finding.count),
            str(finding.limit),
            "" if finding.allowed is None else str(finding.allowed),
            "refuses" if finding.refuses else "lets through",
        )
        for finding in report.findings
    ]
    return table(("guard", "count", "limit", "allowed", "verdict"), rows)


def _changes_table(report: "ReconcileReport") -> dg.TableMetadataValue:
    """What a narrow window cuts off on the right is what is nearly always the same."""
    rows = [
        (c.item_code, c.column or "", _ends(c.old or ""), _ends(c.new or ""), c.action, c.table) for c in report.sample
    ]
    return table(("item_code", "column", "old", "new", "action", "table"), rows)


def table(
    names: Sequence[str], rows: Sequence[Sequence[str]], longest: int = _CELL_CHARACTERS
) -> dg.TableMetadataValue:
    """Rows of text under their names; a cell longer than `longest` characters is cut."""
    schema = dg.TableSchema(columns=[dg.TableColumn(name, "string") for name in names])
    records = [
        dg.TableRecord({name: _short(cell, longest) for name, cell in zip(names, row, strict=True)}) for row in rows
    ]
    return dg.MetadataValue.table(records=records, schema=schema)


def _short(text: str, longest: int = _CELL_CHARACTERS) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _ends(value: str) -> str:
    """Both ends of a long value: two addresses of one shop begin alike."""
    room = _VALUE_CHARACTERS // 2
    return value if len(value) <= _VALUE_CHARACTERS else f"{value[: room - 1]}…{value[-room:]}"


def _listed(lines: Sequence[str], total: int) -> str:
    """As many whole lines as the UI shows inline, and how many of `total` are left out."""
    room = INLINE_CHARACTERS - len(f"- and {total} more") - 1
    shown: list[str] = []
    for line in lines:
        entry = f"- {_code(_short(one_line(line), _LINE_CHARACTERS))}"
        room -= len(entry) + 1
        if room < 0:
            break
        shown.append(entry)
    more = [f"- and {total - len(shown)} more"] if total > len(shown) else []
    return "\n".join(shown + more)


def _code(text: str) -> str:
    """Return `text` as code in Markdown, whatever backticks it has: it must not become a link or an image."""
    ticks = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (ticks + 1)
    return f"{fence} {text} {fence}" if ticks else f"`{text}`"


def _browse(bucket: str, prefix: str) -> dg.UrlMetadataValue:
    return dg.MetadataValue.url(f"https://console.cloud.google.com/storage/browser/{bucket}/{prefix}")


def raise_failures(failed: dict[str, str], served: int) -> None:
    """End the run as failed when any tenant was; what the others achieved is on record already."""
    if not failed:
        return
    raise dg.Failure(
        f"{len(failed)} of {served} tenants failed: "
        + "; ".join(f"{tenant_id}: {error}" for tenant_id, error in list(failed.items())[:5]),
        metadata={"failed": dg.MetadataValue.json(failed)},
        allow_retries=False,
    )
