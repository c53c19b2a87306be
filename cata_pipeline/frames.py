"""Snapshots, changes and the fleet's state as pandas DataFrames, for notebooks, reports and downstream assets.

Reads the control database and the snapshot bucket, and writes nothing. Columns, order and dtypes are those of the Arrow
schemas below (pandas `ArrowDtype`), whatever the rows hold, so that an empty frame has them too. Add a frame here; the
SQL of a new question belongs to `cata_pipeline.tenants`.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from cata_pipeline.catalog.snapshot import SCHEMA as CATALOG
from cata_pipeline.errors import UsageError
from cata_pipeline.reconcile.changes import read_table

if TYPE_CHECKING:
    from cata_pipeline.pipeline import Pipeline

_TIME = pa.timestamp("us", tz="UTC")

SNAPSHOT = pa.schema([("tenant_id", pa.string()), ("snapshot_id", pa.string()), *CATALOG])
"""A row an item, sorted by tenant and by `item_code` as UTF-8 bytes; lists stay nested."""

CHANGES = pa.schema(
    [
        ("tenant_id", pa.string()),
        ("run_id", pa.string()),
        ("snapshot_id", pa.string()),
        ("finished_at", _TIME),
        ("table", pa.string()),
        ("action", pa.string()),
        ("item_code", pa.string()),
        ("key", pa.string()),
        ("column", pa.string()),
        ("old", pa.string()),
        ("new", pa.string()),
    ]
)
"""A row a changed value (`action` updated), inserted row (`new` is the row as JSON) or hidden child.

`key` names a child within its item, as a JSON list. `finished_at` is when the sync ended.
"""

FLEET = pa.schema(
    [
        ("tenant_id", pa.string()),
        ("provider", pa.string()),
        ("retired", pa.bool_()),
        *(
            (f"{kind}_{name}", dtype)
            for kind in ("sync", "images")
            for name, dtype in (
                ("run_id", pa.string()),
                ("finished_at", _TIME),
                ("error", pa.string()),
                ("error_kind", pa.string()),
            )
        ),
        ("snapshot_id", pa.string()),
        ("items_in_snapshot", pa.int64()),
        ("rejected", pa.int64()),
        ("inserted", pa.int64()),
        ("updated", pa.int64()),
        ("stale", pa.int64()),
        ("failing_images", pa.int64()),
    ]
)
"""A row a tenant, sorted by id: its newest sync and image copy, and counts of that sync. NULL where there is none."""

_COUNTS = ("items_in_snapshot", "rejected", "inserted", "updated", "stale")


def open_pipeline() -> "Pipeline":
    """The pipeline of this process's environment; raises `SettingsError` that lists what is missing or wrong."""
    from cata_pipeline.pipeline import Pipeline
    from cata_pipeline.settings import Settings

    return Pipeline(Settings.from_environment())


def snapshot(pipeline: "Pipeline", tenant_ids: str | Sequence[str], snapshot_id: str | None = None) -> pd.DataFrame:
    """The newest snapshot of each tenant, or one snapshot of one tenant, with the columns of `SNAPSHOT`.

    Raises `UsageError` where there is none, `StorageError` where an object cannot be read.
    """
    ids = [tenant_ids] if isinstance(tenant_ids, str) else list(tenant_ids)
    if snapshot_id is not None and len(ids) != 1:
        raise UsageError(f"A snapshot belongs to one tenant; expected one tenant id beside it, found {len(ids)}.")
    store = pipeline.snapshots
    records = [store.record(name, snapshot_id) if snapshot_id else store.newest(name) for name in ids]
    return _frame(SNAPSHOT, (_with(store.load(each).table, each.tenant_id, each.id) for each in records))


def changes(
    pipeline: "Pipeline",
    tenant_id: str | None = None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> pd.DataFrame:
    """What syncs changed, of one tenant or of all, with the columns of `CHANGES`; the newest sync comes first.

    `since` and `until` (timezone-aware, the end excluded) bound the time at which a sync ended: a night over all
    tenants, for instance. Reads one object a sync that changed anything. Raises `UsageError` for a naive time.
    """
    for name, time in (("since", since), ("until", until)):
        if time is not None and time.tzinfo is None:
            raise UsageError(f"{name} has no timezone: expected an aware time, found {time.isoformat()}.")

    def tables() -> Iterator[pa.Table]:
        for run in pipeline.history.syncs_with_changes(tenant_id, since=since, until=until):
            assert run.changes_path is not None
            rows = read_table(pipeline.snapshot_bucket.read(run.changes_path))
            given = (run.tenant_id, run.run_id, run.snapshot_id, run.finished_at)
            columns = [pa.repeat(pa.scalar(value, CHANGES.field(n).type), len(rows)) for n, value in enumerate(given)]
            yield pa.table([*columns, *rows.columns], names=CHANGES.names).cast(CHANGES)

    return _frame(CHANGES, tables())


def fleet(pipeline: "Pipeline") -> pd.DataFrame:
    """The state of every registered tenant, retired ones too, with the columns of `FLEET`."""
    entries = pipeline.registry.entries()
    ids = [entry.tenant.id for entry in entries]
    newest, failing = pipeline.history.newest(ids), pipeline.history.failing_pictures(ids)
    rows: list[dict[str, Any]] = []
    for entry in entries:
        tenant_id = entry.tenant.id
        row: dict[str, Any] = {"tenant_id": tenant_id, "provider": entry.tenant.provider}
        row |= {"retired": entry.retired_at is not None, "failing_images": failing.get(tenant_id, 0)}
        for kind in ("sync", "images"):
            if run := newest.get((tenant_id, kind)):
                row |= {f"{kind}_{n}": getattr(run, n) for n in ("run_id", "finished_at", "error", "error_kind")}
        if run := newest.get((tenant_id, "sync")):
            row |= {"snapshot_id": run.snapshot_id, **{name: run.counts.get(name) for name in _COUNTS}}
        rows.append(row)
    return _frame(FLEET, [pa.Table.from_pylist(rows, FLEET)])


def _with(table: pa.Table, tenant_id: str, snapshot_id: str) -> pa.Table:
    owner = [pa.repeat(tenant_id, len(table)), pa.repeat(snapshot_id, len(table))]
    return pa.table([*owner, *table.columns], names=SNAPSHOT.names).cast(SNAPSHOT)


def _frame(schema: pa.Schema, tables: Iterable[pa.Table]) -> pd.DataFrame:
    whole = pa.concat_tables([schema.empty_table(), *tables])
    frame: pd.DataFrame = whole.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
    return frame
