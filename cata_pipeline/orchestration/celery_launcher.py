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

_ANSWER_SECONDS = 10.0
"""What a worker has to say whether it still serves a run; its main process serves none itself and answers at once."""

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
            self._task(run).revoke(terminate=True)
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
        if meta["status"] != "STARTED":
            return CheckRunHealthResult(WorkerStatus.UNKNOWN, f"The result backend says {meta['status']}.")
        worker = meta["result"]["hostname"]
        inspection = self.celery.control.inspect(destination=[worker], timeout=_ANSWER_SECONDS)
        answer = inspection.query_task(task.id)
        if not answer:
            message = f"Worker {worker} has not answered for {_ANSWER_SECONDS:.0f} seconds."
            return CheckRunHealthResult(WorkerStatus.FAILED, message)
        if task.id not in answer[worker]:
            return CheckRunHealthResult(WorkerStatus.FAILED, f"Worker {worker} does not serve this run any more.")
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def _task(self, run: dg.DagsterRun) -> "AsyncResult":
        return self.celery.AsyncResult(run.tags[DAGSTER_CELERY_TASK_ID_TAG])
