"""First syncs: the runs that serve new tenants, and whose first sync was never asked for.

The daemon adds a tick's partitions before it notes the runs to submit. Killed in between, it would forget those runs:
the tenants have a partition then, and are new no more. So what counts is whether a sync was ever asked for; Dagster
plans one when it makes a run, long before the run is served.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import dagster as dg

from cata_pipeline.orchestration.metadata import RECONCILED
from cata_pipeline.orchestration.partitions import contiguous_ranges, range_tags

_SKEW = timedelta(hours=1)
"""What the clocks of Dagster's machines and of the control database may differ by."""


_BLOCK = 250
"""Tenants whose newest plans are neighbours in the event log, and are judged by the first of them."""

_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED


def first_syncs(
    keys: Sequence[str], wanted: Collection[str], served_since: Mapping[str, datetime]
) -> Iterator[dg.RunRequest]:
    """One run for each stretch of wanted tenants among `keys` (insertion order).

    The run key holds since when the first of them is served: a request that was lost is the same when it is made
    again, and a tenant that is retired and comes back has another first sync.
    """
    for chunk in contiguous_ranges(keys, wanted):
        since = served_since[chunk[0]].timestamp()
        yield dg.RunRequest(
            run_key=f"first-sync:{chunk[0]}@{since:.6f}", tags={**range_tags(chunk), "trigger": "first sync"}
        )


def never_asked(instance: dg.DagsterInstance, served_since: Mapping[str, datetime]) -> list[str]:
    """Return the tenants for whom Dagster has planned no sync since they are served, whatever became of it."""
    if not served_since:
        return []
    newest = instance.get_latest_storage_id_by_partition(RECONCILED, _PLANNED, set(served_since))
    if not newest:
        return list(served_since)
    # Retiring a tenant and serving it again leaves the plans of before, so their time counts. Reading 10,000 events
    # takes 1.5 s: they are in the order of their times, so that the first one of a block mostly vouches for all of it.
    planned = sorted(newest.items(), key=lambda item: item[1])
    blocks = [planned[start : start + _BLOCK] for start in range(0, len(planned), _BLOCK)]
    since = {tenant_id: (moment - _SKEW).timestamp() for tenant_id, moment in served_since.items()}
    times = _times(instance, [block[0][1] for block in blocks])
    unsure = [block for block in blocks if times[block[0][1]] < max(since[tenant_id] for tenant_id, _ in block)]
    times |= _times(instance, [event for block in unsure for _, event in block])
    asked = {tenant_id for tenant_id, event in planned if times.get(event, math.inf) >= since[tenant_id]}
    return [tenant_id for tenant_id in served_since if tenant_id not in asked]


def _times(instance: dg.DagsterInstance, events: Sequence[int]) -> dict[int, float]:
    """Return when these syncs were planned, by the storage ids of their events; in seconds since the epoch."""
    if not events:
        return {}
    found = dg.EventRecordsFilter(_PLANNED, asset_key=RECONCILED, storage_ids=events)
    return {record.storage_id: record.timestamp for record in instance.event_log_storage.get_event_records(found)}
