"""First syncs: the runs that serve new tenants, and whose first sync was never asked for.

The daemon adds a tick's partitions before it notes the runs to submit. Killed in between, it would forget those runs:
the tenants have a partition then, and are new no more. So what counts is whether a sync was ever asked for; Dagster
plans one when it makes a run, long before the run is served.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import dagster as dg

from cata_pipeline.orchestration.metadata import RECONCILED
from cata_pipeline.orchestration.partitions import contiguous_ranges, range_tags

if TYPE_CHECKING:
    from dagster_postgres import PostgresEventLogStorage

_SKEW = timedelta(hours=1)
"""What the clocks of Dagster's machines and of the control database may differ by."""

# Knows Dagster's table because no call of its API asks for many partitions, each since a time of its own.
_ASKED = """
SELECT asked.tenant
FROM unnest(CAST(:tenants AS text[]), CAST(:since AS timestamp[])) AS asked(tenant, since)
WHERE EXISTS (
    SELECT FROM event_logs e
    WHERE e.asset_key = :asset AND e.dagster_event_type = 'ASSET_MATERIALIZATION_PLANNED'
      AND e.partition = asked.tenant AND e.timestamp >= asked.since
)
"""


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
    """Those of these tenants for whom no sync was asked for since they are served, whatever became of it; one query."""
    import sqlalchemy as sa

    if not served_since:
        return []
    given = {
        "asset": RECONCILED.to_string(),
        "tenants": list(served_since),
        "since": [(since.astimezone(UTC) - _SKEW).replace(tzinfo=None) for since in served_since.values()],
    }
    with cast("PostgresEventLogStorage", instance.event_log_storage).index_connection() as connection:
        asked = set(connection.scalars(sa.text(_ASKED), given))
    return [tenant_id for tenant_id in served_since if tenant_id not in asked]
