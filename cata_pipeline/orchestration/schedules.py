"""What happens every night: everyone is synced, and pictures that no sync announced are looked for.

Each schedule cuts the tenants into ranged runs; the decision is the pure function `nightly_batches`.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

import dagster as dg

from cata_pipeline.orchestration.jobs import copy_images, sync_tenants
from cata_pipeline.orchestration.owners import OWNERS
from cata_pipeline.orchestration.partitions import TENANTS, contiguous_ranges, range_tags
from cata_pipeline.orchestration.resources import PipelineResource
from cata_pipeline.settings import resync_timezone


def nightly_batches(keys: Sequence[str], retired: Collection[str], night: datetime) -> Iterator[dg.RunRequest]:
    """One run for each stretch of neighbours that are still served; `keys` in insertion order."""
    gone = set(retired)
    for number, chunk in enumerate(contiguous_ranges(keys, [key for key in keys if key not in gone])):
        yield dg.RunRequest(run_key=f"{night:%Y-%m-%d}-{number}", tags={**range_tags(chunk), "trigger": "schedule"})


def _batches(context: dg.ScheduleEvaluationContext, pipeline: PipelineResource) -> list[dg.RunRequest] | dg.SkipReason:
    keys = context.instance.get_dynamic_partitions(str(TENANTS.name))
    requests = list(nightly_batches(keys, pipeline.get().registry.retired_ids(), context.scheduled_execution_time))
    return requests or dg.SkipReason(
        "No tenant to serve yet. Register some with `cata-pipeline tenants import`; the registry sensor adds them here."
    )


@dg.schedule(
    job=sync_tenants,
    description="Syncs every tenant, about a hundred in a run. The picture copies follow by themselves.",
    cron_schedule="0 2 * * *",
    execution_timezone=resync_timezone(),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    owners=OWNERS,
)
def nightly_resync(
    context: dg.ScheduleEvaluationContext, pipeline: PipelineResource
) -> list[dg.RunRequest] | dg.SkipReason:
    """Re-syncs every tenant at 02:00 (CATA_RESYNC_TIMEZONE), about a hundred in a run."""
    return _batches(context, pipeline)


@dg.schedule(
    job=copy_images,
    description="Copies pictures that no sync announced, and asks again for those whose last check is a day old.",
    cron_schedule="0 5 * * *",
    execution_timezone=resync_timezone(),
    default_status=dg.DefaultScheduleStatus.RUNNING,
    owners=OWNERS,
)
def daily_image_sweep(
    context: dg.ScheduleEvaluationContext, pipeline: PipelineResource
) -> list[dg.RunRequest] | dg.SkipReason:
    """Copies whatever no sensor announced, and revalidates pictures whose last check is a day old."""
    return _batches(context, pipeline)
