"""What Dagster's own storage (PostgreSQL) says of old runs, and how one run is removed from it completely.

The statements read Dagster's tables because no call of its API answers for all assets and runs at once. Which runs may
go is decided in `retention`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

import dagster as dg
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, BulkActionsFilter, BulkActionStatus
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.tags import BACKFILL_ID_TAG

if TYPE_CHECKING:
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

NEWEST_EVENTS = """
SELECT DISTINCT run_id, dagster_event_type
FROM event_logs
WHERE id IN (
    SELECT max(id)
    FROM event_logs
    WHERE asset_key IS NOT NULL
      AND dagster_event_type IN ('ASSET_MATERIALIZATION', 'ASSET_MATERIALIZATION_PLANNED')
    GROUP BY asset_key, dagster_event_type, partition
)
"""

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
            backfill=record.dagster_run.tags.get(BACKFILL_ID_TAG),
        )
        for record in records
    ]


def count_old_runs(instance: dg.DagsterInstance, before: datetime) -> int:
    """How many runs were finished before that time."""
    return instance.get_runs_count(dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=before))


def needed_runs(instance: dg.DagsterInstance) -> Needed:
    """What must stay, of every asset and check that the event log knows; one grouped query each."""
    unfinished = [status for status in BulkActionStatus if status not in BULK_ACTION_TERMINAL_STATUSES]
    # Before the event log is read: a backfill that ends meanwhile keeps its runs for this time.
    backfills = {b.backfill_id for b in instance.get_backfills(filters=BulkActionsFilter(statuses=unfinished))}
    newest = _rows(instance, NEWEST_EVENTS)
    return Needed(
        materializations=frozenset(r["run_id"] for r in newest if r["dagster_event_type"] == "ASSET_MATERIALIZATION"),
        attempts=frozenset(r["run_id"] for r in newest if r["dagster_event_type"] != "ASSET_MATERIALIZATION"),
        checks=frozenset(r["run_id"] for r in _rows(instance, NEWEST_CHECKS)),
        backfills=frozenset(backfills),
    )


def events_of(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> tuple[int, int]:
    """How many event rows these runs have, and the bytes of their events as stored."""
    [size] = _rows(instance, SIZE, run_ids=list(run_ids))
    return int(size["events"]), int(size["bytes"])


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove a run: what its steps printed, its events, then the run itself.

    Dagster's own `delete_run` begins with the run: interrupted after that, it leaves events that nobody finds again.
    """
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.event_log_storage.delete_events(run_id)
    instance.delete_run(run_id)


def _rows(instance: dg.DagsterInstance, statement: str, **values: object) -> list[Mapping[str, str]]:
    import sqlalchemy as sa

    storage = cast("SqlEventLogStorage", instance.event_log_storage)
    with storage.index_connection() as connection:
        return [dict(row) for row in connection.execute(sa.text(statement), values).mappings()]
