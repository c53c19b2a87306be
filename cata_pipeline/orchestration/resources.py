"""How a run, sensor or schedule gets at the pipeline: settings are read here, at run time, once a process.

Nothing heavy is imported until then, so that loading the definitions stays fast and needs no environment.
"""

import functools
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from cata_pipeline.pipeline import Pipeline


class PipelineResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The pipeline of this process; configured by the environment alone."""

    def get(self) -> "Pipeline":
        """The pipeline. Raises `SettingsError` naming every variable that is missing or wrong."""
        return _pipeline()

    def control(self) -> "Engine":
        """The control database alone, for runs that need no more: what serves tenants takes a second to import.

        Raises `SettingsError` as `get` does, and `ControlDatabaseError` when the database cannot be reached.
        """
        from cata_pipeline.control.database import open_control_database
        from cata_pipeline.settings import Settings

        return open_control_database(Settings.from_environment().control_database)


@functools.cache
def _pipeline() -> "Pipeline":
    from cata_pipeline.pipeline import Pipeline
    from cata_pipeline.settings import Settings

    return Pipeline(Settings.from_environment())
