"""How a run, sensor or schedule gets at the pipeline: settings are read here, at run time.

Nothing heavy is imported until then, so that loading the definitions stays fast and needs no environment.
"""

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import PrivateAttr

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from cata_pipeline.pipeline import Pipeline


class PipelineResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The pipeline, made on first use; configured by the environment alone."""

    _pipeline: Any = PrivateAttr(default=None)

    def get(self) -> "Pipeline":
        """Return the pipeline. Raises `SettingsError` naming every variable that is missing or wrong."""
        if self._pipeline is None:
            from cata_pipeline.pipeline import Pipeline
            from cata_pipeline.settings import Settings

            self._pipeline = Pipeline(Settings.from_environment())
        pipeline: Pipeline = self._pipeline
        return pipeline

    def control(self) -> "Engine":
        """Return the control database alone, for runs that need no more: what serves tenants takes a second to import.

        Raises `SettingsError` as `get` does, and `ControlDatabaseError` when the database cannot be reached.
        """
        from cata_pipeline.control.database import open_control_database
        from cata_pipeline.settings import Settings

        return open_control_database(Settings.from_environment().control_database)


def shared_pipeline(pipeline: "Pipeline | None" = None) -> dg.ResourceDefinition:
    """Return a resource that hands one pipeline to all runs and ticks of its definitions; by default one of its own.

    Dagster makes a copy of a configurable resource for each run and tick, which would open the databases each time.
    """
    resource = PipelineResource()
    resource._pipeline = pipeline  # noqa: SLF001 its own maker
    return dg.ResourceDefinition.hardcoded_resource(resource, "The pipeline; configured by the environment alone.")
