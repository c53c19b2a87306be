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
import yaml
from dagster._core.scheduler.instigation import TickStatus
from sqlalchemy.engine import URL

from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.orchestration.metadata import RECONCILED

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
    configuration["storage"]["postgres"]["postgres_url"] = storage
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
