"""A server process of the benchmark: started on a loopback port of its own, its CPU read, ended by its process id.

What a server is told and what its log says belongs to the benchmark that needs it (as in `images/picture_host.py`).
"""

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.measure import BenchmarkError

HOST = "127.0.0.1"
_START_SECONDS = 20.0
_STOP_SECONDS = 20.0
_PAUSE_SECONDS = 0.02


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A running child process that listens on `port`; its output goes to the end of `log`."""

    def __init__(self, command: Sequence[str], port: int, log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        try:
            self._await(port, log)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def cpu_seconds(self) -> float:
        """CPU seconds of the process and its descendants so far."""
        return tree_cpu_seconds(psutil.Process(self._process.pid))

    def stop(self, signal_number: signal.Signals) -> None:
        """End it with the signal it takes as "finish what you have"; with force when that takes too long."""
        self._process.send_signal(signal_number)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _await(self, port: int, log: Path) -> None:
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
                return
            time.sleep(_PAUSE_SECONDS)
        told = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
        raise BenchmarkError(f"{self._process.args!r} does not listen on {HOST}:{port}. The end of its log:\n{told}")


def tree_cpu_seconds(root: psutil.Process) -> float:
    """CPU seconds of a process, its living descendants and the children it has outlived."""
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total
