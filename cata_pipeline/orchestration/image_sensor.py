"""Finished syncs become image runs.

The sensor is glue around the pure decisions `settled` and `image_runs`. A tick asks the instance a fixed number of
questions, however many tenants there are. What the registry asks for belongs in `registry_sensor.py`.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

import dagster as dg

from cata_pipeline.errors import UsageError
from cata_pipeline.orchestration.jobs import copy_images
from cata_pipeline.orchestration.metadata import RECONCILED
from cata_pipeline.orchestration.owners import OWNERS
from cata_pipeline.orchestration.partitions import TENANTS, contiguous_ranges, range_tags

PAGE = 1_000
"""Events read a tick; a thousand take 0.06 s."""

SETTLE_SECONDS = 10.0
"""Age at which an event is trusted: storage ids are given before commit, so a lower one can still appear later."""

SKEW_SECONDS = 60.0
"""An event from further in the future has its time from a clock that jumped, which must not stop those after it."""


_NO_EVENT = 2**63
"""PostgreSQL knows no id that large."""


@dataclass(frozen=True)
class SyncEvent:
    """One materialization of `reconciled_items`."""

    storage_id: int
    tenant_id: str


def settled(timestamp: float, now: float) -> bool:
    """Whether an event of this time may be passed by the cursor; both in seconds since the epoch."""
    return timestamp <= now - SETTLE_SECONDS or timestamp > now + SKEW_SECONDS


def image_runs(events: Sequence[SyncEvent], keys: Sequence[str]) -> Iterator[dg.RunRequest]:
    """One image run for each stretch of neighbours among `keys` (insertion order) that were synced.

    Repeats of a tenant collapse; a tenant that has no partition any more is left out. The run key holds the newest
    event, because a key is never accepted twice, not even after a failed run.
    """
    newest = {event.tenant_id: event.storage_id for event in events}
    for chunk in contiguous_ranges(keys, newest):
        last = max(chunk, key=lambda key: newest[key])
        yield dg.RunRequest(run_key=f"{last}@{newest[last]}", tags={**range_tags(chunk), "trigger": "sync"})


@dg.sensor(
    job=copy_images,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Copies the pictures of tenants that were synced at least 10 seconds ago, whoever asked for the sync.",
    owners=OWNERS,
)
def image_copy_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Starts the image copy of every tenant that was synced, in one run for all that a batch has finished."""
    after = passed(context.cursor)
    if after is None:
        # Not begun anew by itself: that would copy for every sync there ever was, or forget some.
        raise UsageError(
            f"The cursor is {context.cursor!r}; expected the storage id of the last event that was passed."
            " Set it to that, or to nothing to begin with the oldest sync."
        )
    return image_copies(context.instance, after, now=time.time())


def passed(cursor: str | None) -> int | None:
    """The last event that a kept cursor is behind, 0 for none; None for a cursor that this sensor did not write."""
    if not cursor:
        return 0
    event = int(cursor) if cursor.isdecimal() else _NO_EVENT
    return event if event < _NO_EVENT else None


def image_copies(
    instance: dg.DagsterInstance, after: int, *, now: float, page: int = PAGE
) -> dg.SensorResult | dg.SkipReason:
    """The image runs that the next `page` syncs after the event `after` ask for, and the cursor behind them.

    `now` is in seconds since the epoch. Whatever is too young to be trusted ends the page: it stays for a later tick.
    """
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=RECONCILED, after_storage_id=after), limit=page, ascending=True
    ).records
    trusted = list(takewhile(lambda record: settled(record.timestamp, now), records))
    if not trusted:
        younger = f"; {len(records)} are younger than {SETTLE_SECONDS:.0f} s" if records else ""
        return dg.SkipReason(f"No tenant was synced since event {after}{younger}.")
    events = [SyncEvent(r.storage_id, r.partition_key) for r in trusted if r.partition_key]
    keys = instance.get_dynamic_partitions(str(TENANTS.name))
    return dg.SensorResult(run_requests=list(image_runs(events, keys)), cursor=str(trusted[-1].storage_id))
