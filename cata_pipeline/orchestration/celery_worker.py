"""A Celery worker that serves runs: `celery --app cata_pipeline.orchestration.celery_worker worker`.

Everything about the broker comes from the run launcher of the instance in DAGSTER_HOME, so that launcher and workers
cannot differ. How runs are handed over, watched and ended is `celery_launcher`.
"""

import os
import signal
from typing import Any

import dagster as dg
from celery.signals import task_postrun

from cata_pipeline.batch import left_behind
from cata_pipeline.orchestration.celery_launcher import WarmRunLauncher
from cata_pipeline.orchestration.dagster_internals import create_execute_job_task

with dg.DagsterInstance.get() as _instance:
    _launcher = _instance.run_launcher
    if not isinstance(_launcher, WarmRunLauncher):
        raise TypeError("The dagster.yaml in DAGSTER_HOME names another run launcher; see deploy/celery/README.md.")
    app = _launcher.celery

create_execute_job_task(app)


def _ready_for_the_next(**_: Any) -> None:
    """What the end of its process does elsewhere, here between two runs of one process."""
    # Dagster leaves SIGTERM ignored, as SIGINT is in every process of Celery: to terminate the next run before Dagster
    # listens would be in vain.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # A cancelled run leaves threads behind that a POS keeps waiting. Their tenants' locks go only with the process;
    # the run is on record, and Celery starts another process at once.
    if left_behind():
        os._exit(1)


task_postrun.connect(_ready_for_the_next)
