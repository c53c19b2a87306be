"""What Dagster's own storage (PostgreSQL) says of old runs, and how they are removed from it completely.

Dagster's API finds and removes them. Two statements read its tables: the API lists no checks, and counts no events
without reading each. Which runs may go is decided in `retention`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

import dagster as dg

if TYPE_CHECKING:
    from dagster_postgres import PostgresEventLogStorage

FINISHED_STATUSES = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

NEWEST_CHECKS = """
SELECT DISTINCT run_id
FROM asset_check_executions
WHERE id IN (
    SELECT max(id) FROM asset_check_executions GROUP BY asset_key, check_name, partition, execution_status
)
"""

# pg_column_size reads the length of what is stored outside the row, not the thing itself.
SIZE = """
SELECT count(*) AS events, coalesce(sum(pg_column_size(event)), 0) AS bytes
FROM event_logs
WHERE run_id = ANY(:run_ids)
"""

_PAGE = 2_000
"""Events read at once: a thousand take 0.06 s."""


@dataclass(frozen=True)
class OldRun:
    """A finished run; `backfill` is the id of the backfill that started it."""

    run_id: str
    job: str
    ended: datetime
    backfill: str | None


@dataclass(frozen=True)
class Needed:
    """The runs that something still refers to, by what it is that they hold.

    `attempts`: the newest planned materialization of a partition, from which Dagster tells that it failed. `backfills`
    are backfills in progress, whose runs are all needed.
    """

    materializations: frozenset[str]
    attempts: frozenset[str]
    checks: frozenset[str]
    backfills: frozenset[str]


def old_runs(instance: dg.DagsterInstance, before: datetime, after: str | None, limit: int) -> list[OldRun]:
    """The next runs that were finished before that time, the oldest first, behind the run `after`, which must exist."""
    records = instance.get_run_records(
        dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=before), limit=limit, ascending=True, cursor=after
    )
    return [
        OldRun(
            run_id=record.dagster_run.run_id,
            job=record.dagster_run.job_name,
            ended=record.update_timestamp,
            backfill=record.dagster_run.tags.get("dagster/backfill"),
        )
        for record in records
    ]


def count_old_runs(instance: dg.DagsterInstance, before: datetime) -> int:
    """How many runs were finished before that time."""
    return instance.get_runs_count(dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=before))


def needed_runs(instance: dg.DagsterInstance) -> Needed:
    """Return what must stay, of every asset and check that the event log knows."""
    from cata_pipeline.orchestration.dagster_internals import (
        BULK_ACTION_TERMINAL_STATUSES,
        BulkActionsFilter,
        BulkActionStatus,
    )

    unfinished = [status for status in BulkActionStatus if status not in BULK_ACTION_TERMINAL_STATUSES]
    # Before the event log is read: a backfill that ends meanwhile keeps its runs for this time.
    backfills = {b.backfill_id for b in instance.get_backfills(filters=BulkActionsFilter(statuses=unfinished))}
    assets = instance.get_asset_keys()
    return Needed(
        materializations=_newest(instance, assets, dg.DagsterEventType.ASSET_MATERIALIZATION),
        attempts=_newest(instance, assets, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED),
        checks=frozenset(row["run_id"] for row in _rows(instance, NEWEST_CHECKS)),
        backfills=frozenset(backfills),
    )


def _newest(instance: dg.DagsterInstance, assets: Sequence[dg.AssetKey], kind: dg.DagsterEventType) -> frozenset[str]:
    """Return the runs of each asset's newest event of a kind, and of the newest one of each of its partitions."""
    storage = instance.event_log_storage
    runs: set[str] = set()
    for key in assets:
        newest = storage.get_event_records(dg.EventRecordsFilter(kind, asset_key=key), limit=1)
        runs.update(record.run_id for record in newest)
        ids = list(instance.get_latest_storage_id_by_partition(key, kind).values())
        for start in range(0, len(ids), _PAGE):
            page = dg.EventRecordsFilter(kind, asset_key=key, storage_ids=ids[start : start + _PAGE])
            runs.update(record.run_id for record in storage.get_event_records(page))
    return frozenset(runs)


def events_of(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> tuple[int, int]:
    """How many event rows these runs have, and the bytes of their events as stored."""
    [size] = _rows(instance, SIZE, run_ids=list(run_ids))
    return int(size["events"]), int(size["bytes"])


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove a run: what its steps printed, its events, its tags and the run.

    Evaluations of checks stay, as they do when the UI deletes a run. `DagsterInstance.delete_run` begins with the run;
    killed right after that it would leave events that no later pruning finds, so its events go first.
    """
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.event_log_storage.delete_events(run_id)
    instance.delete_run(run_id)


def _rows(instance: dg.DagsterInstance, statement: str, **values: object) -> list[Mapping[str, str]]:
    import sqlalchemy as sa

    storage = cast("PostgresEventLogStorage", instance.event_log_storage)
    with storage.index_connection() as connection:
        return [dict(row) for row in connection.execute(sa.text(statement), values).mappings()]
