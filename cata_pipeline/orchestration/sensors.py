"""The sensors: the registry becomes partitions, finished syncs become image runs.

Each sensor is glue around a pure decision (`registry_changes`, `image_runs`). A tick asks the instance and the control
database a fixed number of questions, however many tenants there are.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

import dagster as dg
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from cata_pipeline.orchestration.jobs import copy_images
from cata_pipeline.orchestration.metadata import RECONCILED
from cata_pipeline.orchestration.partitions import TENANTS, contiguous_ranges, range_tags
from cata_pipeline.orchestration.resources import PipelineResource

PAGE = 1_000
"""Events read a tick; a thousand take 0.06 s."""

SETTLE_SECONDS = 10.0
"""Age at which an event is trusted: storage ids are given before commit, so a lower one can still appear later."""


@dataclass(frozen=True)
class RegistryChanges:
    """Partition keys to add (in registry order) and to remove, and how many removals wait for runs to end."""

    add: tuple[str, ...]
    remove: tuple[str, ...]
    waiting: int


def registry_changes(
    known: Collection[str], active: Sequence[str], retired: Collection[str], *, runs_unfinished: bool
) -> RegistryChanges:
    """What the partitions lack, and what they may lose.

    Only a tenant that the registry calls retired is removed: one it does not know at all may mean a wrong control
    database. Removing a key fails runs that touch it, so nothing is removed while any run is unfinished.
    """
    present = set(known)
    gone = tuple(sorted(present & set(retired)))
    return RegistryChanges(
        add=tuple(key for key in active if key not in present),
        remove=() if runs_unfinished else gone,
        waiting=len(gone) if runs_unfinished else 0,
    )


@dg.sensor(minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def tenant_registry_sensor(
    context: dg.SensorEvaluationContext, pipeline: PipelineResource
) -> dg.SensorResult | dg.SkipReason:
    """Gives every registered tenant its partition, and takes it away once the tenant is retired and idle."""
    registry = pipeline.get().registry
    known = context.instance.get_dynamic_partitions(str(TENANTS.name))
    active, retired = registry.active_ids(), registry.retired_ids()
    unfinished = bool(set(known) & set(retired)) and _anything_unfinished(context.instance)
    changes = registry_changes(known, active, retired, runs_unfinished=unfinished)
    if not changes.add and not changes.remove:
        waiting = f"; {changes.waiting} retired ones wait until no run is unfinished" if changes.waiting else ""
        return dg.SkipReason(f"{len(active)} tenants are registered and all have their partition{waiting}.")
    context.log.info("Adding %s and removing %s tenants", len(changes.add), len(changes.remove))
    requests = [TENANTS.build_add_request(list(changes.add))] if changes.add else []
    removals = [TENANTS.build_delete_request(list(changes.remove))] if changes.remove else []
    return dg.SensorResult(dynamic_partitions_requests=[*requests, *removals])


def _anything_unfinished(instance: dg.DagsterInstance) -> bool:
    """Whether a run is under way or still to come; a backfill has no run yet right after it was asked for."""
    backfills = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING])
    return bool(
        instance.get_run_ids(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES), limit=1)
        or instance.get_backfills(filters=backfills, limit=1)
    )


@dataclass(frozen=True)
class SyncEvent:
    """One materialization of `reconciled_items`."""

    storage_id: int
    tenant_id: str


def image_runs(events: Sequence[SyncEvent], keys: Sequence[str]) -> Iterator[dg.RunRequest]:
    """One image run for each stretch of neighbours among `keys` (insertion order) that were synced.

    Repeats of a tenant collapse; a tenant that has no partition any more is left out. The run key holds the newest
    event, because a key is never accepted twice, not even after a failed run.
    """
    newest = {event.tenant_id: event.storage_id for event in events}
    for chunk in contiguous_ranges(keys, newest):
        last = max(chunk, key=lambda key: newest[key])
        yield dg.RunRequest(run_key=f"{last}@{newest[last]}", tags={**range_tags(chunk), "trigger": "sync"})


@dg.sensor(job=copy_images, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def image_copy_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Starts the image copy of every tenant that was synced, in one run for all that a batch has finished."""
    return image_copies(context.instance, int(context.cursor or 0), now=time.time())


def image_copies(
    instance: dg.DagsterInstance, after: int, *, now: float, page: int = PAGE
) -> dg.SensorResult | dg.SkipReason:
    """The image runs that the next `page` syncs after the event `after` ask for, and the cursor behind them.

    `now` is in seconds since the epoch. Whatever is too young to be trusted ends the page: it stays for a later tick.
    """
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=RECONCILED, after_storage_id=after), limit=page, ascending=True
    ).records
    settled = list(takewhile(lambda record: record.timestamp <= now - SETTLE_SECONDS, records))
    if not settled:
        younger = f"; {len(records)} are younger than {SETTLE_SECONDS:.0f} s" if records else ""
        return dg.SkipReason(f"No tenant was synced since event {after}{younger}.")
    events = [SyncEvent(r.storage_id, r.partition_key) for r in settled if r.partition_key]
    keys = instance.get_dynamic_partitions(str(TENANTS.name))
    return dg.SensorResult(run_requests=list(image_runs(events, keys)), cursor=str(settled[-1].storage_id))
