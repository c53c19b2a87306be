"""The registry becomes partitions: a new tenant gets one and its first sync, a retired one loses it once it is idle.

The decisions are the pure functions `registry_changes` and `touched_tenants`; the sensor is glue around them. A tick
asks the instance and the control database a fixed number of questions, however many tenants there are. Whose first sync
was never asked for is `first_syncs.py`; what a finished sync starts belongs in `image_sensor.py`, what happens every
night in `schedules.py`.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from cata_pipeline.foreign_text import one_line
from cata_pipeline.orchestration.first_syncs import first_syncs, never_asked
from cata_pipeline.orchestration.jobs import sync_tenants
from cata_pipeline.orchestration.owners import OWNERS
from cata_pipeline.orchestration.partitions import TENANTS, partitions_of_run
from cata_pipeline.orchestration.resources import PipelineResource
from cata_pipeline.orchestration.run_history import FINISHED_STATUSES
from cata_pipeline.tenants.model import TENANT_ID

NEW_TENANTS = 1_000
"""Added a tick: the daemon looks every key up once more, a thousand take it two seconds."""

UNFINISHED_RUNS = 500
"""Looked at a tick, to see which retired tenants they touch; with more than that, none loses its partition."""

_UNFINISHED = [status for status in dg.DagsterRunStatus if status not in FINISHED_STATUSES]
_CEILING = re.compile(r"\s*retire=(\d{1,9})\s*")


@dataclass(frozen=True)
class RegistryChanges:
    """Partition keys to add (in registry order) and to remove, and what is left as it is, with the reason.

    `later`: new tenants beyond what one tick adds. `waiting`: retired ones that an unfinished run touches. `refused`:
    retired ones, so many at once that it looks like a mistake. `unusable`: ids that cannot be a partition.
    """

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    later: int = 0
    waiting: int = 0
    refused: int = 0
    unusable: tuple[str, ...] = ()

    def left_as_they_are(self) -> str:
        """Sentences about whatever was not done; empty when all was."""
        said = []
        if self.later:
            said.append(f"{self.later} new ones follow with the next ticks.")
        if self.waiting:
            said.append(f"{self.waiting} retired ones wait until no unfinished run touches them.")
        if self.refused:
            said.append(
                f"{self.refused} tenants are retired at once, which looks like a mistake, so all keep their partition."
                f" If it is none, set this sensor's cursor to retire={self.refused}."
            )
        if self.unusable:
            said.append(
                f"{len(self.unusable)} rows of the registry have an id that no import lets through, such as"
                f" {self.unusable[0]!r}; correct the table tenants."
            )
        return " ".join(said)


def removal_limit(partitions: int) -> int:
    """How many tenants may lose their partition in one tick without being asked back."""
    return max(20, partitions // 10)


def registry_changes(
    known: Sequence[str],
    active: Sequence[str],
    retired: Collection[str],
    touched: Collection[str] | None,
    allowed: int = 0,
) -> RegistryChanges:
    """What the partitions (`known`) lack, and what they may lose.

    Only a tenant that the registry calls retired is removed: one it does not know at all may mean a wrong control
    database. Removing a key fails the runs that touch it; `touched` is None where that may be any. `allowed` is an
    operator's ceiling for this tick.
    """
    present = set(known)
    unusable = tuple(key for key in active if not TENANT_ID.fullmatch(key))
    new = [key for key in active if key not in present and key not in unusable]
    gone = sorted(present & set(retired))
    refused = len(gone) > max(removal_limit(len(present)), allowed)
    remove = () if refused or touched is None else tuple(key for key in gone if key not in touched)
    return RegistryChanges(
        add=tuple(new[:NEW_TENANTS]),
        remove=remove,
        later=len(new[NEW_TENANTS:]),
        waiting=0 if refused else len(gone) - len(remove),
        refused=len(gone) if refused else 0,
        unusable=unusable,
    )


def touched_tenants(keys: Sequence[str], runs: Iterable[Mapping[str, str]]) -> set[str] | None:
    """The tenants whose partitions these runs (by their tags) refer to; None where that cannot be told."""
    touched: set[str] = set()
    for tags in runs:
        served = partitions_of_run(keys, tags)
        if served is None:
            return None
        touched.update(served)
    return touched


@dg.sensor(
    job=sync_tenants,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Gives registered tenants their partition and first sync; retired ones lose it once no run touches them."
        " More than a tenth at once (and more than 20) is refused: set the cursor to retire=N to allow it once."
    ),
    owners=OWNERS,
)
def tenant_registry_sensor(
    context: dg.SensorEvaluationContext, pipeline: PipelineResource
) -> dg.SensorResult | dg.SkipReason:
    """Gives every registered tenant its partition and its first sync, and takes it from retired ones that are idle.

    A first sync that was never asked for, because the daemon was killed in mid-tick, is asked for by the next one.
    Retiring more than a tenth at once (and more than 20) looks like a mistake: set the cursor to `retire=N` to allow
    it once.
    """
    import sqlalchemy as sa

    from cata_pipeline.control.database import ControlDatabaseError

    try:
        tenants, retired = pipeline.get().registry.served(), pipeline.get().registry.retired_ids()
    except (ControlDatabaseError, sa.exc.SQLAlchemyError) as error:
        # Not the same as "nobody is registered".
        reason = one_line(str(error).splitlines()[0])
        return dg.SkipReason(f"The registry cannot be read, so no partition was touched. {reason}")
    known = context.instance.get_dynamic_partitions(str(TENANTS.name))
    may_remove = bool(set(known) & set(retired))
    touched = _touched(context.instance, known) if may_remove else set()
    changes = registry_changes(known, list(tenants), retired, touched, _ceiling(context.cursor))
    since = {tenant_id: served.since for tenant_id, served in tenants.items()}
    unsynced = [key for key in known if key in tenants and not tenants[key].synced]
    lost = never_asked(context.instance, {key: since[key] for key in unsynced})[:NEW_TENANTS]
    left = " ".join(filter(None, [_misunderstood(context.cursor), changes.left_as_they_are()]))
    # A ceiling is for the tenants it was given for: used up with the last of them, and not kept for others.
    cursor = context.cursor if changes.waiting else ""
    if not changes.add and not changes.remove and not lost:
        said = left or f"{len(tenants)} tenants are registered and all have their partition."
        return dg.SensorResult(skip_reason=said, cursor=cursor) if context.cursor else dg.SkipReason(said)
    context.log.info("Adding %s and removing %s tenants. %s", len(changes.add), len(changes.remove), left)
    if lost:
        context.log.warning("Tenants with a partition whose first sync was never asked for: %s", len(lost))
    requests = [TENANTS.build_add_request(list(changes.add))] if changes.add else []
    removals = [TENANTS.build_delete_request(list(changes.remove))] if changes.remove else []
    return dg.SensorResult(
        run_requests=list(first_syncs([*known, *changes.add], {*changes.add, *lost}, since)),
        dynamic_partitions_requests=[*requests, *removals],
        cursor=cursor,
    )


def _misunderstood(cursor: str | None) -> str:
    """A sentence about a cursor that is no ceiling; it is dropped, and allows nothing."""
    return f"The cursor {cursor!r} was dropped; expected retire=N." if cursor and not _CEILING.fullmatch(cursor) else ""


def _ceiling(cursor: str | None) -> int:
    given = _CEILING.fullmatch(cursor or "")
    return int(given[1]) if given else 0


def _touched(instance: dg.DagsterInstance, keys: Sequence[str]) -> set[str] | None:
    """Whom unfinished runs touch; a backfill that has yet to make its runs may touch anybody."""
    from cata_pipeline.orchestration.dagster_internals import BulkActionsFilter, BulkActionStatus

    backfills = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING])
    if instance.get_backfills(filters=backfills, limit=1):
        return None
    runs = instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED), limit=UNFINISHED_RUNS + 1)
    return None if len(runs) > UNFINISHED_RUNS else touched_tenants(keys, [run.tags for run in runs])
