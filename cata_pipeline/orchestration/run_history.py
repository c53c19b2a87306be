"""What Dagster's own storage (PostgreSQL) says of old runs, and how they are removed from it completely.

The statements know Dagster's tables because no call of its API serves all assets, or many runs, at once. Which runs may
go is decided in `retention`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

import dagster as dg

from cata_pipeline.orchestration.dagster_internals import (
    BULK_ACTION_TERMINAL_STATUSES,
    BulkActionsFilter,
    BulkActionStatus,
)

if TYPE_CHECKING:
    from dagster_postgres import PostgresEventLogStorage
    from sqlalchemy.engine import Connection

FINISHED_STATUSES = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

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

HOLDING_SLOTS = """
SELECT run_id FROM concurrency_slots WHERE run_id = ANY(:run_ids)
UNION
SELECT run_id FROM pending_steps WHERE run_id = ANY(:run_ids)
"""

# In this order; a run's tags go with it. Evaluations of checks stay, as they do when the UI deletes a run.
DELETIONS = (
    "DELETE FROM asset_event_tags WHERE event_id IN (SELECT id FROM event_logs WHERE run_id = ANY(:run_ids))",
    "DELETE FROM event_logs WHERE run_id = ANY(:run_ids)",
    "DELETE FROM runs WHERE run_id = ANY(:run_ids)",
)


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


def delete_runs(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> None:
    """Remove runs: what their steps printed, then events, tags and runs in one transaction.

    Not by Dagster's `delete_run`: it opens a dozen connections a run (117 ms on a busy machine, against 1 ms here), and
    begins with the run, so that an interrupt right after it leaves events that nobody finds again.
    """
    import sqlalchemy as sa

    for run_id in run_ids:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
    for row in _rows(instance, HOLDING_SLOTS, run_ids=list(run_ids)):
        instance.event_log_storage.free_concurrency_slots_for_run(row["run_id"])
    with _connection(instance) as connection, connection.execution_options(isolation_level="READ COMMITTED").begin():
        for statement in DELETIONS:
            connection.execute(sa.text(statement), {"run_ids": list(run_ids)})


def _rows(instance: dg.DagsterInstance, statement: str, **values: object) -> list[Mapping[str, str]]:
    import sqlalchemy as sa

    with _connection(instance) as connection:
        return [dict(row) for row in connection.execute(sa.text(statement), values).mappings()]


def _connection(instance: dg.DagsterInstance) -> AbstractContextManager["Connection"]:
    storage = cast("PostgresEventLogStorage", instance.event_log_storage)
    return storage.index_connection()
