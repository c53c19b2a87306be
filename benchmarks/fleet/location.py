"""The project's code location, and one schedule more: one run for each tenant, as a first draft of the project had it.

Only the batched schedule is the project's own; this one is what it is held against.
"""

from collections.abc import Iterator

import dagster as dg

from cata_pipeline import definitions
from cata_pipeline.orchestration.jobs import sync_tenants
from cata_pipeline.orchestration.partitions import TENANTS
from cata_pipeline.settings import resync_timezone

SINGLE_RUNS = 20
"""Tenants that get a run of their own; what one costs does not depend on how many there are."""


@dg.schedule(job=sync_tenants, cron_schedule="0 2 * * *", execution_timezone=resync_timezone())
def one_run_a_tenant(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    """Asks for one run for each of the first tenants."""
    for key in context.instance.get_dynamic_partitions(str(TENANTS.name))[:SINGLE_RUNS]:
        yield dg.RunRequest(run_key=key, partition_key=key)


defs = dg.Definitions.merge(definitions.defs, dg.Definitions(schedules=[one_run_a_tenant]))
