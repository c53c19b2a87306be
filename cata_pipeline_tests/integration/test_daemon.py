"""Dagster's daemon itself: what the sensors ask for while it is killed in the middle of a tick, or runs twice."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml
from dagster._core.scheduler.instigation import TickStatus
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy.engine import URL

from cata_pipeline.control.database import open_control_database
from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.orchestration.metadata import RECONCILED
from cata_pipeline.orchestration.partitions import partitions_of_run
from cata_pipeline.settings import Settings
from cata_pipeline.tenants.model import Tenant
from cata_pipeline.tenants.registry import Registry

PROJECT = Path(__file__).parents[2]
PATIENCE_SECONDS = 180.0
TENANTS = [f"tenant-{number:02}" for number in range(60)]
EVERY_OTHER = TENANTS[::2]
"""No two are neighbours, so each gets an image run of its own: many submissions in one tick."""


class Daemons:
    """Daemons on one instance whose queue hands out no run, so that what was submitted stays to be counted."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._environment = {"PATH": os.defpath, "HOME": str(home), **environment, "DAGSTER_HOME": str(home)}
        self.log = home / "daemon.log"
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            daemon = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("dagster-daemon")),
                    *("run", "--workspace", str(PROJECT / "workspace.yaml")),
                ],
                cwd=self._environment["HOME"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(daemon)
        return daemon

    def end(self) -> None:
        for daemon in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()

    def wait_until(self, what: str, happens: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not happens():
            if time.monotonic() > deadline:
                pytest.fail(f"Waited for {what}. The log ends:\n{self.log.read_text(errors='replace')[-6_000:]}")
            time.sleep(0.1)


@pytest.fixture
def home(tmp_path: Path, servers: EmbeddedServers, new_database: Callable[..., URL]) -> Path:
    """A DAGSTER_HOME with the project's dagster.yaml, except that no queued run is ever launched."""
    configuration = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    configuration["concurrency"]["runs"]["max_concurrent_runs"] = 0
    storage = new_database().set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    for part in ("run_storage", "event_log_storage", "schedule_storage"):
        configuration[part]["config"] = {"postgres_url": storage}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(configuration))
    return tmp_path


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@pytest.fixture
def daemons(home: Path, settings_environment: dict[str, str]) -> Iterator[Daemons]:
    started = Daemons(home, settings_environment)
    try:
        yield started
    finally:
        started.end()


def served(instance: dg.DagsterInstance) -> Counter[str]:
    """How many image runs were submitted for each tenant."""
    runs = instance.get_runs(dg.RunsFilter(job_name="copy_images"))
    return Counter(run.tags["dagster/partition"] for run in runs)


def synced_every_other(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("tenants", TENANTS)
    for tenant_id in EVERY_OTHER:
        instance.report_runless_asset_event(dg.AssetMaterialization(RECONCILED, partition=tenant_id))


def passed(instance: dg.DagsterInstance) -> bool:
    """Whether the image sensor's cursor is behind the last sync, and the tick that moved it there has ended."""
    [newest] = instance.fetch_materializations(RECONCILED, limit=1).records
    for state in instance.all_instigator_state():
        if state.name == "image_copy_sensor" and getattr(state.instigator_data, "cursor", None) == str(
            newest.storage_id
        ):
            [tick] = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
            return tick.status is not TickStatus.STARTED
    return False


def test_a_daemon_killed_in_mid_tick_loses_no_image_run_and_doubles_none(
    daemons: Daemons, instance: dg.DagsterInstance
) -> None:
    synced_every_other(instance)
    first = daemons.start()
    daemons.wait_until("some of the runs", lambda: len(served(instance)) >= 3)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    submitted = served(instance)
    assert len(submitted) < len(EVERY_OTHER), "The daemon was too quick to be killed in mid-tick"
    daemons.start()
    daemons.wait_until("the sensor to be done", lambda: passed(instance))
    assert served(instance) == Counter(EVERY_OTHER)


_HOLD = """
    CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$;
    CREATE TRIGGER hold BEFORE UPDATE ON job_ticks FOR EACH ROW
    WHEN (NEW.tick_body LIKE '%first-sync%') EXECUTE FUNCTION hold()
"""
_LET_GO = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'PgSleep';
    DROP FUNCTION hold CASCADE
"""


def first_syncs(instance: dg.DagsterInstance) -> Counter[str]:
    """How many first syncs were submitted for each tenant."""
    keys = list(instance.get_dynamic_partitions("tenants"))
    runs = instance.get_runs(dg.RunsFilter(job_name="sync_tenants", tags={"trigger": "first sync"}))
    return Counter(key for run in runs for key in partitions_of_run(keys, run.tags) or ())


def test_a_daemon_killed_between_adding_partitions_and_noting_its_runs_loses_no_first_sync_and_doubles_none(
    daemons: Daemons, instance: dg.DagsterInstance, settings: Settings
) -> None:
    registry = Registry(open_control_database(settings.control_database))
    registry.import_tenants([Tenant(tenant_id, "iseller", "env:NOBODY") for tenant_id in TENANTS])
    storage = instance.event_log_storage
    assert isinstance(storage, PostgresEventLogStorage)
    storage_engine = sa.create_engine(storage.postgres_url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with storage_engine.connect() as connection:
        connection.execute(sa.text(_HOLD))
        first = daemons.start()
        daemons.wait_until("the partitions", lambda: len(instance.get_dynamic_partitions("tenants")) == len(TENANTS))
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        connection.execute(sa.text(_LET_GO))
    assert first_syncs(instance) == Counter()
    daemons.start()
    daemons.wait_until("the first syncs", lambda: len(first_syncs(instance)) == len(TENANTS))
    assert first_syncs(instance) == Counter(TENANTS)


def test_two_daemons_started_by_mistake_lose_no_image_run_and_say_that_there_are_two(
    daemons: Daemons, instance: dg.DagsterInstance
) -> None:
    synced_every_other(instance)
    daemons.start()
    daemons.start()
    daemons.wait_until("the sensor to be done", lambda: passed(instance))
    assert set(served(instance)) == set(EVERY_OTHER)
    daemons.wait_until(
        "the warning", lambda: "Another SENSOR daemon is still sending heartbeats" in daemons.log.read_text()
    )
