"""dlt's `merge` from Python rows, as its REST sources yield them."""

from benchmarks.reconcile.dlt_pipeline import Pipeline, rows_for_dlt
from benchmarks.reconcile.task import Task, Work


def prepare(task: Task) -> Work:
    """All of dlt's own steps are work: extract, normalize, load, merge."""
    rows = rows_for_dlt(task).to_pylist()
    pipeline = Pipeline(task)
    return lambda: pipeline.run(rows)
