"""Runs on Celery workers: Dagster's launcher, with an end that reaches the run and a lost worker that is noticed.

Named in `deploy/celery/dagster.yaml`; nothing else imports it. Dagster's own launcher interrupts a run that is
terminated without recording that its end is wanted, so that the run counts as crashed and starts again. It relies on a
result backend, in which the run of a killed worker stays *started*. Here no result is kept: `run_lock` says which runs
are alive. The process that serves runs is `celery_worker`.
"""

import warnings
from typing import Any

import dagster as dg
from celery.exceptions import DuplicateTaskNameWarning
from typing_extensions import override

from cata_pipeline.orchestration.dagster_internals import (
    DAGSTER_CELERY_TASK_ID_TAG,
    GRPC_INFO_TAG,
    CeleryRunLauncher,
    LaunchRunContext,
)
from cata_pipeline.orchestration.run_launchers import WatchedRuns
from cata_pipeline.orchestration.run_queue import watches_fleet

# Dagster's launcher defines its task again for each run; without this, every daemon would warn of it.
warnings.filterwarnings("ignore", message="Task name 'execute_job'", category=DuplicateTaskNameWarning)


class WarmRunLauncher(WatchedRuns, CeleryRunLauncher):
    """Hands runs to workers that stay warm.

    The run that watches the fleet goes to the code location instead: in Redis it would wait until a worker is free.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._beside_workers = dg.DefaultRunLauncher()

    @override
    def register_instance(self, instance: dg.DagsterInstance) -> None:
        super().register_instance(instance)
        self._beside_workers.register_instance(instance)

    @override
    def launch_run(self, context: LaunchRunContext) -> None:
        if watches_fleet(context.dagster_run):
            self._beside_workers.launch_run(context)
        else:
            super().launch_run(context)

    @override
    def terminate(self, run_id: str) -> bool:
        """Record that the end is wanted, then interrupt the process of the run; one that still waits never starts."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        if GRPC_INFO_TAG in run.tags:
            return bool(self._beside_workers.terminate(run_id))  # type: ignore[no-untyped-call]
        if run.status is not dg.DagsterRunStatus.CANCELING:
            self._instance.report_run_canceling(run)
        if DAGSTER_CELERY_TASK_ID_TAG in run.tags:
            # A connection of its own: one from Celery's pool may be broken since, and says so only when it is used.
            with self.celery.connection_for_write() as connection:
                self.celery.control.revoke(run.tags[DAGSTER_CELERY_TASK_ID_TAG], connection=connection, terminate=True)
        return True

    @override
    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> None:
        """Return nothing: without a result backend Celery knows no more than the run's log."""
