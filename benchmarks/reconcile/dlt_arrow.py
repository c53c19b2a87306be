"""dlt's `upsert` by its quickest way: from an Arrow table, loaded as CSV."""

from benchmarks.reconcile.dlt_pipeline import Pipeline, rows_for_dlt
from benchmarks.reconcile.task import Task, Work


def prepare(task: Task) -> Work:
    """All of dlt's own steps are work: extract, normalize, load, merge."""
    rows = rows_for_dlt(task)
    pipeline = Pipeline(task)
    return lambda: pipeline.run([rows], loader_file_format="csv")
