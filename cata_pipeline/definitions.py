"""The table of contents of the Dagster code location; wiring only.

Loads without network, environment or heavy imports: what a run needs is imported when it runs.
"""

from typing import Any

import dagster as dg

from cata_pipeline.orchestration.alerts import run_failure_alert
from cata_pipeline.orchestration.assets import catalog_sync, image_objects
from cata_pipeline.orchestration.catalog_frame import catalog_frame
from cata_pipeline.orchestration.executor import locked_in_process_executor
from cata_pipeline.orchestration.fleet import check_fleet, fleet_check, fleet_health
from cata_pipeline.orchestration.image_sensor import image_copy_sensor
from cata_pipeline.orchestration.jobs import copy_images, sync_tenants
from cata_pipeline.orchestration.registry_sensor import tenant_registry_sensor
from cata_pipeline.orchestration.resources import shared_pipeline
from cata_pipeline.orchestration.retention import prune_runs, weekly_pruning
from cata_pipeline.orchestration.schedules import daily_image_sweep, nightly_resync


def build_defs(**resource_overrides: Any) -> dg.Definitions:
    """Assemble the definitions; `resource_overrides` replace resources by their keys, such as `pipeline`."""
    return dg.Definitions(
        assets=[catalog_sync, image_objects, fleet_health],
        jobs=[sync_tenants, copy_images, check_fleet, prune_runs],
        schedules=[nightly_resync, daily_image_sweep, fleet_check, weekly_pruning],
        sensors=[tenant_registry_sensor, image_copy_sensor, run_failure_alert],
        resources={"pipeline": shared_pipeline(), "catalog_frame": catalog_frame, **resource_overrides},
        executor=locked_in_process_executor,
    )


defs = build_defs()
