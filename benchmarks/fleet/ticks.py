"""What a tick of each sensor and of the nightly schedule takes with many tenants, and loading the definitions.

Ticks are evaluated as the code server does, in this process, on Dagster's PostgreSQL storage. What comes of a tick
(runs, partitions) is the daemon's work and part of a night.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

import dagster as dg
from dagster._core.definitions.sensor_definition import SensorExecutionData
from sqlalchemy.engine import Engine

from benchmarks.fleet import stores
from benchmarks.fleet.site import CONTROL, fresh_site
from benchmarks.measure import Stopwatch, run_measured
from cata_pipeline.control.database import open_control_database
from cata_pipeline.control.schema import tenant_runs
from cata_pipeline.definitions import defs
from cata_pipeline.orchestration.image_sensor import PAGE, SETTLE_SECONDS, image_copy_sensor
from cata_pipeline.orchestration.metadata import RECONCILED
from cata_pipeline.orchestration.partitions import TENANTS
from cata_pipeline.orchestration.registry_sensor import tenant_registry_sensor
from cata_pipeline.orchestration.resources import shared_pipeline
from cata_pipeline.orchestration.schedules import nightly_resync
from cata_pipeline.tenants.model import Tenant
from cata_pipeline.tenants.registry import Registry

_ROUNDS = 5
_RESOURCES = {"pipeline": shared_pipeline()}
_BASE = "import dagster"
_LOADING = "from cata_pipeline.definitions import defs; defs.get_repository_def()"


@dataclass(frozen=True)
class Tick:
    """The median of some ticks; `asked` is how many runs or partitions one of them asks for."""

    name: str
    asked: int
    seconds: float
    cpu_seconds: float


def loading_cpu_seconds() -> float:
    """What loading the definitions takes over `import dagster`, both in fresh processes; a difference of medians.

    In CPU seconds: it is one thread's work, and a busy machine stretches only the clock. The first process of each
    kind, which may compile, does not count.
    """
    base, whole = [], []
    for _ in range(_ROUNDS + 1):
        base.append(run_measured([sys.executable, "-c", _BASE]))
        whole.append(run_measured([sys.executable, "-c", _LOADING]))
    return median(cost.cpu_seconds for cost in whole[1:]) - median(cost.cpu_seconds for cost in base[1:])


def measure_ticks(tenants: int) -> list[Tick]:
    """Every tick, on a site without stores."""
    with fresh_site(0, 0) as site, dg.DagsterInstance.from_config(site.environment["DAGSTER_HOME"]) as instance:
        control = open_control_database(site.servers.postgresql_url(CONTROL))
        Registry(control).import_tenants(Tenant(key, "iseller", "env:NOBODY") for key in stores.tenant_ids(tenants))
        found = list(_ticks(instance, control, tenants))
        control.dispose()
    return found


def _ticks(instance: dg.DagsterInstance, control: Engine, tenants: int) -> Iterator[Tick]:
    def registry() -> int:
        requests = _sensor_tick(instance, tenant_registry_sensor).dynamic_partitions_requests or ()
        return sum(len(request.partition_keys) for request in requests)

    def images() -> int:
        return len(_sensor_tick(instance, image_copy_sensor, cursor="0").run_requests or ())

    def night() -> int:
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime.now(UTC),
            resources=_RESOURCES,
        )
        with context:
            return len(nightly_resync.evaluate_tick(context).run_requests or ())

    registry()  # imports what a code server has imported since its first tick
    yield _timed("tenant_registry_sensor, all tenants new", registry)
    instance.add_dynamic_partitions(str(TENANTS.name), stores.tenant_ids(tenants))
    _put_on_record(control, stores.tenant_ids(tenants))
    yield _timed("tenant_registry_sensor, nothing new", registry)
    yield _timed("image_copy_sensor, nothing synced", images)
    synced = stores.tenant_ids(tenants)[:PAGE]
    for key in synced:
        instance.report_runless_asset_event(dg.AssetMaterialization(RECONCILED, partition=key))
    time.sleep(SETTLE_SECONDS)
    yield _timed(f"image_copy_sensor, {len(synced):,} tenants synced", images)
    yield _timed("nightly_resync", night)


def _put_on_record(control: Engine, tenant_ids: Sequence[str]) -> None:
    """A sync of each tenant: who was never synced costs the registry's tick another query."""
    now = datetime.now(UTC) + timedelta(minutes=1)
    run = {"kind": "sync", "run_id": "run", "started_at": now, "finished_at": now, "counts": {}}
    with control.begin() as connection:
        connection.execute(tenant_runs.insert(), [{"tenant_id": tenant_id, **run} for tenant_id in tenant_ids])


def _sensor_tick(instance: dg.DagsterInstance, sensor: dg.SensorDefinition, cursor: str = "") -> SensorExecutionData:
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=_RESOURCES, definitions=defs) as context:
        return sensor.evaluate_tick(context)


def _timed(name: str, tick: Callable[[], int]) -> Tick:
    watches = []
    for _ in range(_ROUNDS):
        with Stopwatch() as watch:
            asked = tick()
        watches.append(watch)
    return Tick(name, asked, median(watch.seconds for watch in watches), median(watch.cpu_seconds for watch in watches))
