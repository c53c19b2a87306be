"""One night of a fleet through the real daemon: made due, waited for, and what it took and left behind.

Each night has a daemon of its own: started, awaited until it ticks, told that a schedule is due, and ended once every
run that came of it is finished. Its start is not measured.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from benchmarks.fleet import reading
from benchmarks.fleet.daemon import Daemon
from benchmarks.fleet.instigators import Instigators, past_nights
from benchmarks.fleet.reading import ConnectionWatch, read_meters
from benchmarks.fleet.site import DAGSTER, PROJECT, Site
from benchmarks.measure import BenchmarkError

BATCHED, SINGLE = "nightly_resync", "one_run_a_tenant"
_REGISTRY_SENSOR, _IMAGE_SENSOR = "tenant_registry_sensor", "image_copy_sensor"
_PAUSE_SECONDS = 1.0
_START_SECONDS = 180.0
_NIGHT_SECONDS = 3_600.0
_IDLE_SECONDS = 10.0
_LOG_LINES = 30

_WORKSPACE = """
load_from:
  - python_module:
      module_name: benchmarks.fleet.location
      working_directory: {project}
      location_name: cata_pipeline
"""
_PROGRESS = """
SELECT (SELECT count(*) FROM runs WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')),
       (SELECT count(*) FROM runs WHERE status IN ('FAILURE', 'CANCELED')),
       (SELECT count(DISTINCT partition) FROM event_logs
        WHERE id > %s AND dagster_event_type = 'ASSET_MATERIALIZATION' AND asset_key = '["image_objects"]')
"""
_NEWEST_EVENT = "SELECT coalesce(max(id), 0) FROM event_logs"


@dataclass(frozen=True)
class Night:
    """What one night took for all of its `tenants`.

    `took` holds seconds, CPU seconds, rows and bytes by their names in `reading`. `idle_cpu_seconds` is what daemon and
    code server took in a second before it, `peak_bytes` the largest run process.
    """

    tenants: int
    took: Mapping[str, float]
    idle_cpu_seconds: float
    connections: int
    peak_bytes: int

    def cpu_seconds(self) -> float:
        """Daemon, code server and runs together."""
        return sum(self.took[name] for name in reading.OURS)


class Fleet:
    """One site's nights, one after the other."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._workspace = site.folder / "workspace.yaml"
        self._log = site.folder / "daemon.log"
        self._workspace.write_text(_WORKSPACE.format(project=PROJECT))
        self._instance = dg.DagsterInstance.from_config(site.environment["DAGSTER_HOME"])
        self._instigators = Instigators(self._instance, self._workspace)
        self._connection = site.connect(DAGSTER)  # kept, because connecting for each look would be measured too
        self._nights = iter(past_nights())

    def close(self) -> None:
        """Let go of the databases."""
        self._instance.dispose()
        self._connection.close()

    def night(self, schedule: str, tenants: int, *, with_pictures: bool = False) -> Night:
        """Let `schedule` sync `tenants` tenants and, if wanted, the sensor start their image runs meanwhile.

        Raises `BenchmarkError` when a run fails: figures of undone work are none.
        """
        zone, moment = next(self._nights)
        newest = self._ask(_NEWEST_EVENT)[0]
        self._instigators.stop_schedules()
        self._instigators.switch_sensor(_IMAGE_SENSOR, cursor=str(newest), running=with_pictures)
        self._site.settle()
        started = time.time()
        with Daemon(self._workspace, self._log, zone) as daemon, ConnectionWatch(self._site) as connections:
            self._await(daemon, lambda: self._ticks_since(started), patience=_START_SECONDS)
            idle = daemon.spent().all()
            time.sleep(_IDLE_SECONDS)
            idle = (daemon.spent().all() - idle) / _IDLE_SECONDS
            before = read_meters(self._site, daemon)
            self._instigators.tick(schedule, since=moment - 1)
            self._await(daemon, lambda: bool(self._instigators.ticks(schedule, after=moment - 1)))
            self._await(daemon, lambda: self._finished(newest, tenants if with_pictures else 0))
            took = read_meters(self._site, daemon).since(before)
        self._site.check()
        return Night(tenants, took, idle, connections.peak, daemon.peak_bytes)

    def _ticks_since(self, moment: float) -> bool:
        """Whether the daemon ticks by now, and every tenant has its partition."""
        ticks = self._instigators.ticks(_REGISTRY_SENSOR, after=moment)
        return bool(ticks) and len(self._instance.get_dynamic_partitions("tenants")) == self._site.tenants

    def _finished(self, newest: int, pictured: int) -> bool:
        unfinished, failed, copied = self._ask(_PROGRESS, newest)
        if failed:
            raise BenchmarkError(f"{failed} runs failed. The end of the daemon's log:\n{_end_of(self._log)}")
        return unfinished == 0 and copied >= pictured

    def _ask(self, statement: str, *parameters: int) -> tuple[int, ...]:
        row = self._connection.execute(statement, parameters).fetchone()
        assert row is not None
        return row

    def _await(self, daemon: Daemon, there: Callable[[], bool], *, patience: float = _NIGHT_SECONDS) -> None:
        deadline = time.monotonic() + patience
        while not there():
            if not daemon.runs() or time.monotonic() > deadline:
                raise BenchmarkError(f"The daemon does not get there:\n{_end_of(self._log)}")
            time.sleep(_PAUSE_SECONDS)


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
