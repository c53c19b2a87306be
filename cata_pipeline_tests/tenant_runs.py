"""Runs of tenants at times that a test chooses: the product itself records only runs that end at that moment."""

from sqlalchemy.engine import Engine

from cata_pipeline.control.schema import tenant_runs
from cata_pipeline.tenants.history import TenantRun


def put_on_record(control: Engine, run: TenantRun) -> None:
    """Keep the row of a run that ended at its own time."""
    with control.begin() as connection:
        connection.execute(tenant_runs.insert().values(**run.__dict__))
