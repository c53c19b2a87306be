"""The run queue: the run that watches the fleet never waits in it behind the runs that it watches.

Named in each `dagster.yaml` as the run coordinator. How many other runs go at once is Dagster's configuration.
"""

import dagster as dg
from typing_extensions import override

from cata_pipeline.orchestration.fleet_checks import CHECK_FLEET, FLEET


def watches_fleet(run: dg.DagsterRun) -> bool:
    """Whether a run only looks at the fleet: the job, or the asset materialized alone."""
    return run.job_name == CHECK_FLEET or run.asset_selection == {FLEET}


class FleetRunCoordinator(dg.QueuedRunCoordinator):
    """Dagster's queue, past which the run that watches the fleet starts at once, whatever is under way."""

    @override
    def submit_run(self, context: dg.SubmitRunContext) -> dg.DagsterRun:
        run = context.dagster_run
        if run.status is dg.DagsterRunStatus.NOT_STARTED and watches_fleet(run):
            return self._instance.launch_run(run.run_id, context.workspace)
        return super().submit_run(context)
