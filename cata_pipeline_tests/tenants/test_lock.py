"""The tenant lock, on a real control database and between real processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cata_pipeline.errors import TenantBusyError
from cata_pipeline.tenants.lock import lock_holders, tenant_lock

ADVISORY = """
SELECT pid, granted FROM pg_locks
WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
HOLD = """
import sys
import sqlalchemy as sa
from cata_pipeline.tenants.lock import tenant_lock

with tenant_lock(sa.create_engine(sys.argv[1]), "kopi-kita", "sync", "run-of-another-process"):
    print("held", flush=True)
    sys.stdin.read()
"""


def rows(control: Engine, statement: str) -> list[Any]:
    with control.connect() as connection:
        return list(connection.execute(sa.text(statement)))


def waiting(control: Engine) -> bool:
    return any(not row.granted for row in rows(control, ADVISORY))


def until(happened: Callable[[], bool]) -> None:
    """Returns once it happened; fails when it does not."""
    for _ in range(3_000):
        if happened():
            return
        time.sleep(0.01)
    pytest.fail("It never happened.")


@contextmanager
def another_process_holding(control: Engine) -> Iterator[subprocess.Popen[str]]:
    url = control.url.render_as_string(hide_password=False)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def lose_connection(control: Engine) -> None:
    """What a restart of the control database does to whoever waits for or holds a tenant's lock."""
    [lost] = [row.pid for row in rows(control, ADVISORY)]
    rows(control, f"SELECT pg_terminate_backend({lost}, 10000)")


def test_a_second_run_waits_for_the_first_and_then_has_the_tenant(control: Engine) -> None:
    order: list[str] = []

    def second() -> None:
        with tenant_lock(control, "kopi-kita", "sync", "run-2", wait_seconds=60):
            order.append("second")

    with tenant_lock(control, "kopi-kita", "sync", "run-1"):
        thread = threading.Thread(target=second)
        thread.start()
        until(lambda: waiting(control))
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize("wait_seconds", [0, 0.05])
def test_a_run_that_waited_long_enough_is_told_which_run_holds_the_tenant(control: Engine, wait_seconds: float) -> None:
    with (
        tenant_lock(control, "kopi-kita", "sync", "run-1"),
        pytest.raises(
            TenantBusyError, match=r"^run run-1 still syncs tenant kopi-kita .* Nothing was written\. Wait for that run"
        ),
        tenant_lock(control, "kopi-kita", "sync", "run-2", wait_seconds=wait_seconds),
    ):
        pytest.fail("Two runs had the tenant at once.")


def test_a_run_waits_a_minute_unless_told_otherwise(control: Engine) -> None:
    with tenant_lock(control, "kopi-kita", "sync", "run-1") as lock:
        assert lock._connection.execute(sa.text("SHOW lock_timeout")).scalar_one() == "1min"


def test_an_image_copy_that_waited_long_enough_is_told_so_in_its_own_words(control: Engine) -> None:
    with (
        tenant_lock(control, "kopi-kita", "images", "run-1"),
        pytest.raises(TenantBusyError, match=r"^run run-1 still copies the pictures of tenant kopi-kita"),
        tenant_lock(control, "kopi-kita", "images", "run-2", wait_seconds=0.05),
    ):
        pytest.fail("Two runs had the tenant at once.")


@pytest.mark.parametrize(("tenant", "purpose"), [("kopi-kita", "images"), ("roti-pagi", "sync")])
def test_another_kind_of_work_and_another_tenant_need_not_wait(control: Engine, tenant: str, purpose: str) -> None:
    with (
        tenant_lock(control, "kopi-kita", "sync", "run-1") as first,
        tenant_lock(control, tenant, purpose, "run-2", wait_seconds=0.05) as second,
    ):
        first.verify()
        second.verify()
        assert len(rows(control, ADVISORY)) == 2


def test_a_killed_process_leaves_its_tenant_free(control: Engine) -> None:
    with another_process_holding(control) as process:
        with (
            pytest.raises(TenantBusyError, match="run run-of-another-process still syncs"),
            tenant_lock(control, "kopi-kita", "sync", "run-2", wait_seconds=0.05),
        ):
            pytest.fail("Two processes had the tenant at once.")
        os.kill(process.pid, signal.SIGKILL)
        with tenant_lock(control, "kopi-kita", "sync", "run-2", wait_seconds=60) as lock:
            lock.verify()


def test_an_error_under_the_lock_leaves_the_tenant_free(control: Engine) -> None:
    with pytest.raises(ZeroDivisionError), tenant_lock(control, "kopi-kita", "sync", "run-1"):
        raise ZeroDivisionError
    assert rows(control, ADVISORY) == []


def test_a_lock_whose_connection_was_lost_says_so_before_anything_is_written(control: Engine) -> None:
    def lose_it_and_go_on() -> None:
        with tenant_lock(control, "kopi-kita", "sync", "run-1") as lock:
            lock.verify()
            lose_connection(control)
            lock.verify()

    with pytest.raises(TenantBusyError, match=r"The lock on tenant kopi-kita was lost .* Nothing was written"):
        lose_it_and_go_on()
    with tenant_lock(control, "kopi-kita", "sync", "run-2", wait_seconds=0.05) as lock:
        lock.verify()


def test_a_connection_that_is_lost_while_nobody_looks_disturbs_nobody(control: Engine) -> None:
    with tenant_lock(control, "kopi-kita", "sync", "run-1"):
        lose_connection(control)
    with tenant_lock(control, "kopi-kita", "sync", "run-2", wait_seconds=0.05) as lock:
        lock.verify()


def test_a_run_whose_connection_is_lost_while_it_waits_says_so(control: Engine) -> None:
    said: list[str] = []

    def second() -> None:
        with (
            pytest.raises(TenantBusyError) as caught,
            tenant_lock(control, "kopi-kita", "sync", "run-2", wait_seconds=60),
        ):
            pytest.fail("Two runs had the tenant at once.")
        said.append(str(caught.value))

    with tenant_lock(control, "kopi-kita", "sync", "run-1"):
        thread = threading.Thread(target=second)
        thread.start()
        until(lambda: waiting(control))
        [pid] = [row.pid for row in rows(control, ADVISORY) if not row.granted]
        rows(control, f"SELECT pg_terminate_backend({pid}, 10000)")
        thread.join()
    assert len(said) == 1
    assert "The lock on tenant kopi-kita was lost with its connection to the control database" in said[0]


@pytest.mark.parametrize("outcome", ["held", "refused"])
def test_a_connection_goes_back_to_the_pool_as_it_was(control: Engine, outcome: str) -> None:
    state = "SELECT pg_backend_pid(), current_setting('application_name'), current_setting('lock_timeout')"
    if outcome == "held":
        with tenant_lock(control, "kopi-kita", "sync", "run-1", wait_seconds=7):
            holder = {row.pid for row in rows(control, ADVISORY)}
    else:
        with another_process_holding(control):
            foreign = {row.pid for row in rows(control, ADVISORY)}
            with (
                pytest.raises(TenantBusyError),
                tenant_lock(control, "kopi-kita", "sync", "run-1", wait_seconds=0.05),
            ):
                pytest.fail("Two processes had the tenant at once.")
        until(lambda: not {row.pid for row in rows(control, ADVISORY)} & foreign)
        holder = set()
    connections = [control.connect() for _ in range(3)]
    try:
        seen = [tuple(connection.execute(sa.text(state)).one()) for connection in connections]
        isolation = {connection.get_isolation_level() for connection in connections}
    finally:
        for connection in connections:
            connection.close()
    assert {(name, timeout) for _, name, timeout in seen} == {("cata_pipeline", "0")}
    assert holder <= {pid for pid, _, _ in seen}, "the connection that held the lock is not pooled again"
    assert isolation == {"READ COMMITTED"}
    assert rows(control, ADVISORY) == []


def test_it_can_be_seen_which_run_holds_which_tenant_for_what(control: Engine) -> None:
    fleet = ["kopi-kita", "roti-pagi", "warung"]
    assert lock_holders(control, fleet) == {}
    with (
        tenant_lock(control, "kopi-kita", "sync", "run-1"),
        tenant_lock(control, "kopi-kita", "images", "run-2"),
        tenant_lock(control, "warung", "sync", "run-1"),
    ):
        held = {("kopi-kita", "sync"): "run-1", ("kopi-kita", "images"): "run-2", ("warung", "sync"): "run-1"}
        assert lock_holders(control, fleet) == held
        assert lock_holders(control, ["roti-pagi"]) == {}
    assert lock_holders(control, fleet) == {}


def test_whoever_only_waits_for_a_tenant_is_not_told_to_hold_it(control: Engine) -> None:
    with tenant_lock(control, "kopi-kita", "sync", "run-1"):
        thread = threading.Thread(target=_hold_once, args=(control, "run-2"))
        thread.start()
        until(lambda: waiting(control))
        assert lock_holders(control, ["kopi-kita"]) == {("kopi-kita", "sync"): "run-1"}
    thread.join()


def test_a_killed_process_is_not_told_to_hold_a_tenant_any_more(control: Engine) -> None:
    with another_process_holding(control) as process:
        assert lock_holders(control, ["kopi-kita"]) == {("kopi-kita", "sync"): "run-of-another-process"}
        process.send_signal(signal.SIGKILL)
        until(lambda: lock_holders(control, ["kopi-kita"]) == {})


def _hold_once(control: Engine, run_id: str) -> None:
    with tenant_lock(control, "kopi-kita", "sync", run_id):
        pass
