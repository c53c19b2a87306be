"""Runs on Celery workers: Dagster's launcher, with an end that reaches the run and a lost worker that is noticed.

Named in `deploy/celery/dagster.yaml`; nothing else imports it. Dagster's own launcher tells a run that is terminated
nothing, so that the run counts as crashed and is started again; and it trusts the last word in the result backend,
which a worker that was killed never takes back, so that its run goes on for ever. The process that serves runs is
`celery_worker`.
"""

import warnings
from typing import TYPE_CHECKING

import dagster as dg
from celery.exceptions import DuplicateTaskNameWarning
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG
from typing_extensions import override

if TYPE_CHECKING:
    from celery.result import AsyncResult

# Dagster's launcher defines its task again for each run; without this, every daemon would warn of it.
warnings.filterwarnings("ignore", message="Task name 'execute_job'", category=DuplicateTaskNameWarning)

_ANSWER_SECONDS = 5.0
"""What a worker has to say whether it still serves a run; its main process serves none itself and answers at once."""

_QUESTIONS = 2
"""A worker that is just connecting to Redis again misses the first."""

_OVER = {"SUCCESS", "FAILURE", "REVOKED"}


class WarmRunLauncher(CeleryRunLauncher):
    """Hands runs to workers that stay warm."""

    @override
    def terminate(self, run_id: str) -> bool:
        """Say that the end is wanted, then interrupt whoever serves the run; one that still waits never starts."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        if run.status is not dg.DagsterRunStatus.CANCELING:
            self._instance.report_run_canceling(run)
        if DAGSTER_CELERY_TASK_ID_TAG in run.tags:
            with self.celery.connection_for_write() as connection:
                self._task(run).revoke(connection, terminate=True)
        return True

    @override
    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the worker that took the run still serves it; asked only of a run that is under way."""
        if DAGSTER_CELERY_TASK_ID_TAG not in run.tags:  # it started before the launcher could write that down
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        task = self._task(run)
        meta = task._get_task_meta()  # noqa: SLF001 one read of the backend: state and worker belong together
        if meta["status"] in _OVER:
            return CheckRunHealthResult(WorkerStatus.FAILED, f"The worker's task is over ({meta['status']}).")
        # A Redis that was restarted may have forgotten who took the run: then everybody is asked.
        taken_by = [meta["result"]["hostname"]] if meta["status"] == "STARTED" else None
        # A connection of its own: one from Celery's pool may be broken since, and says so only when it is used.
        with self.celery.connection_for_write() as connection:
            inspection = self.celery.control.inspect(taken_by, timeout=_ANSWER_SECONDS, connection=connection)
            for _ in range(_QUESTIONS):
                answers = inspection.query_task(task.id) or {}
                if any(task.id in served for served in answers.values()):
                    return CheckRunHealthResult(WorkerStatus.RUNNING)
        who = f"Worker {taken_by[0]}" if taken_by else "Some worker, forgotten by Redis,"
        message = f"{who} took this run, and did not confirm when asked {_QUESTIONS} times that it still serves it."
        return CheckRunHealthResult(WorkerStatus.FAILED, message)

    def _task(self, run: dg.DagsterRun) -> "AsyncResult":
        return self.celery.AsyncResult(run.tags[DAGSTER_CELERY_TASK_ID_TAG])
