"""A dlt pipeline into a tenant database, kept in a folder from one run to the next, as a nightly job keeps it."""

import importlib
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy.engine import make_url

from benchmarks.reconcile.rows import tenant_rows
from benchmarks.reconcile.task import Task

# Nobody is told of this run; and dlt's warnings are about its own columns beside the reference schema's.
os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}


class Pipeline:
    """dlt's sqlalchemy destination, for MariaDB, knows no `upsert`: its default deletes and inserts again."""

    def __init__(self, task: Task, **options: bool) -> None:
        dlt: Any = importlib.import_module("dlt")
        url = make_url(task.url)
        # dlt insists on a host; the drivers take the socket of the query first.
        if task.on_postgresql:
            address = url.set(drivername="postgresql", host="localhost", password="none")  # noqa: S106 none is asked for
            destination: Any = dlt.destinations.postgres(address.render_as_string(hide_password=False))
            strategy, dataset = "upsert", "public"
        else:
            address = url.set(host="localhost")
            destination = dlt.destinations.sqlalchemy(address.render_as_string(hide_password=False))
            strategy, dataset = "delete-insert", str(url.database)
        self._disposition = {"disposition": "merge", "strategy": strategy, **options}
        self._pipeline = dlt.pipeline("bench", pipelines_dir=task.state, destination=destination, dataset_name=dataset)

    def run(self, rows: Any, **options: str) -> None:
        """One load."""
        self._pipeline.run(
            rows, table_name="items", primary_key="item_code", write_disposition=self._disposition, **options
        )


def rows_for_dlt(task: Task) -> pa.Table:
    """What it loads: without the column that is jsonb, which it can only load as text and then not compare."""
    return tenant_rows(Path(task.catalog)).drop_columns(["variant_options"])
