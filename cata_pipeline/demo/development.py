"""`cata-pipeline dev`: the surroundings and `dagster dev` on top of them, until Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

import psutil

from cata_pipeline.demo.surroundings import PROJECT, surroundings
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.settings import Settings
from cata_pipeline.tenants.file import read_tenants

_GRACE_SECONDS = 30
_PAUSE_SECONDS = 0.1
_WARNINGS = "ignore:Function `dev_command` is superseded"


def serve(state: Path, port: int, tenant_ids: Sequence[str], announce: Callable[[str, Path], None]) -> int:
    """Run until a signal; returns the exit status of `dagster dev`, 0 when it was ended by Ctrl-C.

    Tables are made for `tenant_ids`, tenants of the user's own.
    `announce` is told the UI's address and the environment file once everything around Dagster is there. Dagster's own
    words go to standard error.
    """
    # Also where SIGINT was ignored, as in a shell's background job: `dagster dev` would inherit that and never end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    with surroundings(state, afresh=False, tenant_ids=tenant_ids) as around:
        pipeline = Pipeline(Settings.from_environment())
        pipeline.registry.import_tenants(read_tenants(around.tenants_file))
        announce(f"http://127.0.0.1:{port}", around.state / "environment")
        # A session of its own: Ctrl-C reaches this process alone, which then ends the other one in good order.
        dagster = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("dagster")),
                "dev",
                *("--workspace", str(PROJECT / "workspace.yaml")),
                *("--host", "127.0.0.1", "--port", str(port)),
            ],
            # Elsewhere than the checkout, whose own dagster.yaml Dagster would warn about.
            cwd=around.state,
            stdout=sys.stderr,
            env=os.environ | {"PYTHONWARNINGS": _WARNINGS},
            start_new_session=True,
        )
        try:
            return dagster.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            _end(dagster)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(leader: "subprocess.Popen[bytes]") -> None:
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
