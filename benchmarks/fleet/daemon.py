"""The real `dagster-daemon`, its code server and the processes of its runs: started, watched, ended.

What each of the three took is told apart by who is whose child: the daemon starts the code server, and that one starts
a process for each run. What they are made to do belongs to `nights.py`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from benchmarks.measure import peak_bytes

_SAMPLE_SECONDS = 0.2
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Spent:
    """CPU seconds so far, those of ended run processes included."""

    daemon: float
    code_server: float
    runs: float

    def all(self) -> float:
        """Of all three."""
        return self.daemon + self.code_server + self.runs


class Daemon:
    """`dagster-daemon run` on one workspace; a context manager. `peak_bytes` is that of the largest run process."""

    def __init__(self, workspace: Path, log: Path, timezone: str) -> None:
        self._workspace = workspace
        self._log = log
        self._timezone = timezone
        self._ending = threading.Event()
        self._looking = threading.Lock()
        self._seen: dict[psutil.Process, tuple[str, float]] = {}
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).with_name("dagster-daemon")), "run", "--workspace", str(self._workspace)],
                cwd=self._log.parent,
                env=os.environ | {"CATA_RESYNC_TIMEZONE": self._timezone},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._root = psutil.Process(self._process.pid)
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._watcher.join()
        family = _family(self._root)
        self._process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family)
        self._process.wait()

    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def spent(self) -> Spent:
        """What it, its code servers and its runs took so far."""
        self._look()
        with self._looking:
            return Spent(*(sum(s for r, s in self._seen.values() if r == role) for role in ("daemon", "server", "run")))

    def _watch(self) -> None:
        while not self._ending.wait(_SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        # Of those that end, what they took until the last look is kept: the daemon renews its code server every minute,
        # and with the old one goes what it knew of its runs.
        with self._looking:
            self._note(self._root, "daemon")
            for server in _children(self._root):
                if "grpc" in _words(server):
                    self._note(server, "server")
                    for run in _family(server):
                        self._note(run, "run")
                        # The kernel keeps each process's own peak, so that a look just has to come before its end.
                        self.peak_bytes = max(self.peak_bytes, peak_bytes(run.pid))

    def _note(self, process: psutil.Process, role: str) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            self._seen[process] = role, times.user + times.system


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children())
    except psutil.NoSuchProcess:
        return []


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
