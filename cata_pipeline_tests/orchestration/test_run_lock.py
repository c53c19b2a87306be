"""The lock of a run, on a real PostgreSQL: who holds it, and when run monitoring takes a run for dead."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.launcher import WorkerStatus
from dagster_postgres import PostgresRunStorage
from sqlalchemy.engine import URL

from cata_pipeline.definitions import defs
from cata_pipeline.orchestration import run_launchers, run_lock
from cata_pipeline.orchestration.run_launchers import GRACE_SECONDS, LocalRunLauncher
from cata_pipeline.orchestration.run_lock import held_run_lock, run_lock_is_held
from cata_pipeline_tests.orchestration.conftest import overrides
from cata_pipeline_tests.pgbouncer import pooled

RUN, OTHER = "5d7b0f0e-0000-4000-8000-000000000001", "5d7b0f0e-0000-4000-8000-000000000002"
PATIENCE_SECONDS = 60.0
_SESSIONS = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'cata_pipeline run ' || :run_id
"""


def wait_until(what: str, happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happens():
        assert time.monotonic() < deadline, f"It never came about that {what}."
        time.sleep(0.02)


def wait_until_held(instance: dg.DagsterInstance, run_id: str = RUN) -> None:
    wait_until("the lock is held", lambda: run_lock_is_held(instance, run_id) is True)


def wait_until_free(instance: dg.DagsterInstance, run_id: str = RUN) -> None:
    wait_until("the lock is free", lambda: run_lock_is_held(instance, run_id) is False)


@pytest.fixture
def database(new_connection: Callable[[], sa.Connection]) -> Iterator[sa.Connection]:
    with new_connection() as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")


def sessions(database: sa.Connection, run_id: str = RUN) -> list[int]:
    return list(database.scalars(sa.text(_SESSIONS), {"run_id": run_id}))


def test_a_run_holds_its_own_lock_until_it_is_over(instance: dg.DagsterInstance) -> None:
    assert run_lock_is_held(instance, RUN) is False
    with held_run_lock(instance, RUN):
        wait_until_held(instance)
        assert run_lock_is_held(instance, OTHER) is False
    assert run_lock_is_held(instance, RUN) is False


def test_a_lost_connection_takes_the_lock_again(
    instance: dg.DagsterInstance, database: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "_HEARTBEAT_SECONDS", 0.05)
    with held_run_lock(instance, RUN):
        wait_until_held(instance)
        [first] = sessions(database)
        assert database.scalar(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": first})
        wait_until("another session holds it", lambda: bool(sessions(database)) and first not in sessions(database))
        wait_until_held(instance)
    assert sessions(database) == []


def test_the_session_of_a_holder_that_falls_silent_is_ended_by_postgresql(
    instance: dg.DagsterInstance, database: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(run_lock._SETTINGS, "idle_in_transaction_session_timeout", "1s")
    monkeypatch.setattr(run_lock, "_HEARTBEAT_SECONDS", PATIENCE_SECONDS * 2)
    with held_run_lock(instance, RUN):
        wait_until_held(instance)
        wait_until_free(instance)


def test_the_transaction_that_holds_the_lock_holds_no_snapshot_and_so_delays_no_vacuum(
    instance: dg.DagsterInstance, database: sa.Connection
) -> None:
    with held_run_lock(instance, RUN):
        wait_until_held(instance)
        state = sa.text("SELECT state, backend_xmin, backend_xid FROM pg_stat_activity WHERE pid = :pid")
        [pid] = sessions(database)
        wait_until("it waits", lambda: database.execute(state, {"pid": pid}).one().state == "idle in transaction")
        assert tuple(database.execute(state, {"pid": pid}).one()) == ("idle in transaction", None, None)


_HOLDER = """
import sys
import time
import dagster as dg
from cata_pipeline.orchestration.run_lock import held_run_lock

with dg.DagsterInstance.from_config(sys.argv[1]) as instance, held_run_lock(instance, sys.argv[2]):
    time.sleep(600)
"""


@pytest.mark.parametrize("through_pooler", [False, True])
def test_the_lock_of_a_killed_process_is_free_also_behind_a_pooler_in_transaction_mode(
    *, dagster_database: URL, through_pooler: bool
) -> None:
    with pooled(dagster_database, connections=3) as pooler:
        url = pooler if through_pooler else dagster_database
        with dg.instance_for_test(overrides=overrides(url)) as instance:
            words = [sys.executable, "-c", _HOLDER, instance.root_directory, RUN]
            holder = subprocess.Popen(words, stdin=subprocess.DEVNULL)
            try:
                wait_until_held(instance)
            finally:
                holder.kill()
                holder.wait()
            wait_until_free(instance)
            assert isinstance(instance.run_storage, PostgresRunStorage)
            with instance.run_storage.connect() as next_client:
                left = next_client.scalar(sa.text("SHOW idle_in_transaction_session_timeout"))
            assert left == "0", "no setting is left to the next client of the pooler"


@pytest.fixture
def run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    return instance.create_run_for_job(job_def=defs.resolve_job_def("check_fleet"))


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(run_launchers, "monotonic", clock)
    return clock


@pytest.fixture
def launcher(instance: dg.DagsterInstance) -> LocalRunLauncher:
    launcher = LocalRunLauncher()
    launcher.register_instance(instance)
    return launcher


def looks(launcher: LocalRunLauncher, clock: Clock, run: dg.DagsterRun, times: list[float]) -> list[WorkerStatus]:
    """What run monitoring is told at these times."""
    begin, found = clock.now, []
    for each in times:
        clock.now = begin + each
        found.append(launcher.check_run_worker_health(run).status)
    return found


LIVES, DEAD = WorkerStatus.RUNNING, WorkerStatus.FAILED


def test_a_run_is_dead_once_nobody_has_held_its_lock_for_the_grace(
    launcher: LocalRunLauncher, clock: Clock, run: dg.DagsterRun
) -> None:
    assert launcher.supports_check_run_worker_health
    assert looks(launcher, clock, run, [0, GRACE_SECONDS - 2, GRACE_SECONDS - 1, GRACE_SECONDS]) == [LIVES] * 3 + [DEAD]


def test_it_takes_three_looks_however_long_they_took(
    launcher: LocalRunLauncher, clock: Clock, run: dg.DagsterRun
) -> None:
    assert looks(launcher, clock, run, [0, GRACE_SECONDS, GRACE_SECONDS + 1]) == [LIVES, LIVES, DEAD]


def test_a_run_that_takes_its_lock_again_lives(
    instance: dg.DagsterInstance, launcher: LocalRunLauncher, clock: Clock, run: dg.DagsterRun
) -> None:
    assert looks(launcher, clock, run, [0, GRACE_SECONDS - 1]) == [LIVES, LIVES]
    with held_run_lock(instance, run.run_id):
        wait_until_held(instance, run.run_id)
        assert looks(launcher, clock, run, [1]) == [LIVES]
    assert looks(launcher, clock, run, [1, GRACE_SECONDS, GRACE_SECONDS + 1]) == [LIVES, LIVES, DEAD]


def test_looks_before_and_after_an_outage_of_the_storage_do_not_make_a_living_run_dead(
    instance: dg.DagsterInstance, launcher: LocalRunLauncher, clock: Clock, run: dg.DagsterRun
) -> None:
    outage = 3.5 * instance.run_monitoring_poll_interval_seconds
    again = outage + GRACE_SECONDS
    times = [0, 1, outage, again - 2, again - 1, again]
    assert looks(launcher, clock, run, times) == [LIVES] * 5 + [DEAD]


def test_what_is_found_of_one_run_does_not_count_for_another(
    instance: dg.DagsterInstance, launcher: LocalRunLauncher, clock: Clock, run: dg.DagsterRun
) -> None:
    other = instance.create_run_for_job(job_def=defs.resolve_job_def("check_fleet"))
    assert looks(launcher, clock, run, [0]) == [LIVES]
    assert looks(launcher, clock, other, [1, GRACE_SECONDS]) == [LIVES, LIVES]
    assert looks(launcher, clock, run, [0, 1]) == [LIVES, DEAD]
