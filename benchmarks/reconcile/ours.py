"""This project: `reconcile` from a ready snapshot, contract check, guards, report and change file included."""

import time
from pathlib import Path

from sqlalchemy.engine import make_url

from benchmarks.reconcile.catalogs import load
from benchmarks.reconcile.task import Task, Work
from cata_pipeline.reconcile import steps
from cata_pipeline.reconcile.mysql import session  # noqa: F401 what a run imports is not part of its work
from cata_pipeline.tenants.mapping import TenantDatabase


def prepare(task: Task) -> Work:
    """The snapshot is read before the clock starts."""
    snapshot, bucket = load(Path(task.catalog))
    url = make_url(task.url)

    def work() -> None:
        steps.reconcile(snapshot, TenantDatabase(url), run_id=f"bench-{time.time_ns()}", bucket=bucket, allow={})

    return work
