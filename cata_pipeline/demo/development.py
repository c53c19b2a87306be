"""`cata-pipeline dev`: the surroundings and `dagster dev` on top of them, until Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TextIO

import click
import psutil

from cata_pipeline.demo.surroundings import PROJECT, surroundings
from cata_pipeline.errors import UsageError
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.settings import Settings
from cata_pipeline.tenants.file import read_tenants

_HOST = "127.0.0.1"
_GRACE_SECONDS = 30
_PAUSE_SECONDS = 0.1
_LOOK_SECONDS = 0.5
_WARNINGS = "ignore:Function `dev_command` is superseded"


def serve(state: Path, port: int, tenant_ids: Sequence[str], announce: Callable[[str, Path], None]) -> int:
    """Run until a signal; returns the exit status of `dagster dev`, 0 when it was ended by Ctrl-C.

    Tables are made for `tenant_ids`, tenants of the user's own.
    `announce` is told the UI's address and the environment file once everything around Dagster is there. Dagster's own
    words go to this process's standard error. Raises `UsageError` when the UI cannot have `port`.
    """
    _require_free(port)
    # Also where SIGINT was ignored, as in a shell's background job: `dagster dev` would inherit that and never end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    with surroundings(state, afresh=False, tenant_ids=tenant_ids) as around:
        pipeline = Pipeline(Settings.from_environment())
        pipeline.registry.import_tenants(read_tenants(around.tenants_file))
        announce(f"http://{_HOST}:{port}", around.state / "environment")
        # A session of its own: Ctrl-C reaches this process alone, which then ends the other one in good order.
        dagster = subprocess.Popen(
            [
                *(sys.executable, "-m", "cata_pipeline.orchestration.guarded_dev"),
                *("--workspace", str(PROJECT / "workspace.yaml")),
                *("--host", _HOST, "--port", str(port)),
            ],
            # Elsewhere than the checkout, whose own dagster.yaml Dagster would warn about.
            cwd=around.state,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="backslashreplace",
            env=os.environ | {"PYTHONWARNINGS": _WARNINGS},
            start_new_session=True,
        )
        # Not inherited: runs log what tenants' texts say, and this process's own stream is what makes that printable.
        relay = threading.Thread(target=_relay, args=(dagster.stdout,), daemon=True)
        relay.start()
        try:
            return _watch(dagster, port)
        except KeyboardInterrupt:
            return 0
        finally:
            _end(dagster)
            relay.join(_GRACE_SECONDS)


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        # As the webserver binds: connections that are still closing do not keep a port busy.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise UsageError(
                f"The Dagster UI cannot have port {port} of {_HOST}: {error.strerror}. End what uses it, or choose"
                " another one: --port."
            ) from None


def _watch(dagster: "subprocess.Popen[str]", port: int) -> int:
    """Wait for the end of `dagster dev`; raises `UsageError` when another process takes the UI's port before it does.

    `dagster dev` itself would go on without a UI.
    """
    while not _listens(dagster.pid, port):
        try:
            return dagster.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        try:
            _require_free(port)
        except UsageError:
            if not _listens(dagster.pid, port):
                raise
    return dagster.wait()


def _listens(leader: int, port: int) -> bool:
    """Whether a process of the session listens on the UI's port."""
    for process in _session(leader):
        with suppress(psutil.Error):
            if any(
                connection.status == psutil.CONN_LISTEN and connection.laddr == (_HOST, port)
                for connection in process.net_connections("inet")
            ):
                return True
    return False


def _relay(output: TextIO) -> None:
    """Copy Dagster's output to standard error, without the colours that it has although it writes to no terminal."""
    for line in output:
        sys.stderr.write(click.unstyle(line))


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(leader: "subprocess.Popen[str]") -> None:
    """End `dagster dev` and its whole session: the code server outlives it, until the runs under way are done."""
    leader.send_signal(signal.SIGINT)
    for number in (signal.SIGINT, signal.SIGKILL):
        deadline = time.monotonic() + _GRACE_SECONDS
        while (members := _session(leader.pid)) and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
        for process in members:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
    leader.wait()


def _session(leader: int) -> list[psutil.Process]:
    """The living processes of a session; zombies have ended, whether or not anybody reaps them."""
    members = []
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    return members
