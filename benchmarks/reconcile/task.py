"""One measurement: who does what to which database, in a process of its own, and what it took.

A child prepares (imports, reads its input, connects where the peer allows it), then works against the clock. Only the
work counts, and CPU is counted on both sides: a busy machine stretches seconds, but hardly CPU seconds.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from benchmarks.measure import run_measured

_PROJECT = Path(__file__).parents[2]
FIRST, NO_CHANGE, CHANGED = "first sync", "no change", "1 % changed"

Work = Callable[[], None]
"""What is measured; a peer's `prepare` returns it."""


@dataclass(frozen=True)
class Task:
    """`peer` is a module beside this one; `catalog` and `state` are paths: what to sync, and room to keep things."""

    peer: str
    phase: str
    url: str
    server: int
    catalog: str
    state: str

    @property
    def on_postgresql(self) -> bool:
        """Which engine `url` leads to."""
        return self.url.startswith("postgresql")


@dataclass(frozen=True)
class Result:
    """Seconds of the work; CPU seconds of it, in the child and in the server; the child's peak of resident memory."""

    seconds: float
    client_cpu_seconds: float
    server_cpu_seconds: float
    peak_bytes: int

    @property
    def cpu_seconds(self) -> float:
        """On both sides."""
        return self.client_cpu_seconds + self.server_cpu_seconds


def measure(task: Task) -> Result:
    """Carry out a task in a fresh process; raises `BenchmarkError` when it fails."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.reconcile.work", json.dumps(asdict(task))]
    return Result(**json.loads(run_measured(command, cwd=_PROJECT).output.splitlines()[-1]))


def server_cpu_seconds(pid: int) -> float:
    """CPU that a server took since it began, processes of closed connections included."""
    server = psutil.Process(pid)
    return float(sum(server.cpu_times()[:4])) + sum(_cpu_seconds(child) for child in server.children())


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        return float(sum(process.cpu_times()[:2]))
    except psutil.NoSuchProcess:
        return 0.0
