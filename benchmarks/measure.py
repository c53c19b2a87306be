"""What work costs (wall clock, CPU, resident memory), in this process or in a child, and how figures are shown.

Add here what two benchmarks need. What is measured, and which bars it is held against, belongs to each benchmark.
Linux only: peaks are read from `/proc`, because `ru_maxrss` of a child begins at the size of whoever forked it.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
from rich import box
from rich.console import Console
from rich.table import Table

_SAMPLE_SECONDS = 0.02
_ERROR_LINES = 20


class BenchmarkError(Exception):
    """A benchmark could not be carried out; says which part, and what to do."""


@dataclass(frozen=True)
class Cost:
    """What a child process took. `peak_bytes` is resident memory, summed over it and its children; 20 ms apart."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str


@dataclass(frozen=True)
class Bar:
    """One promise and what was found; `holds` is None where it could not be judged."""

    promise: str
    found: str
    holds: bool | None


class Stopwatch:
    """Wall clock and CPU seconds of this process (all its threads) inside a `with` block."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def __enter__(self) -> Self:
        self._started, self._cpu_started = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._started
        self.cpu_seconds = time.process_time() - self._cpu_started


def own_peak_bytes() -> int:
    """The most resident memory that this process ever had."""
    return peak_bytes(os.getpid())


def run_measured(
    command: Sequence[str], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> Cost:
    """Run a command to its end; its standard output comes back. Raises `BenchmarkError` when it fails.

    `environment` replaces this process's own. CPU seconds include those of descendants that the command waited for.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        child = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
        )
        try:
            cpu_seconds, peak_bytes = _watch(child)
        except BaseException:
            child.kill()
            child.wait()
            raise
        seconds = time.perf_counter() - started
        output.seek(0)
        errors.seek(0)
        if child.returncode:
            told = "\n".join(errors.read().decode(errors="replace").splitlines()[-_ERROR_LINES:])
            raise BenchmarkError(f"{' '.join(command)} ended with {child.returncode}:\n{told}")
        return Cost(seconds, cpu_seconds, peak_bytes, output.read().decode())


def _watch(child: "subprocess.Popen[bytes]") -> tuple[float, int]:
    """CPU seconds and peak memory of a child and its descendants, once it ended."""
    process, peak = psutil.Process(child.pid), 0
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime, peak
        peak = max(peak, _tree_bytes(process))
        time.sleep(_SAMPLE_SECONDS)


def _tree_bytes(process: psutil.Process) -> int:
    try:
        family = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return 0
    if not family:
        return peak_bytes(process.pid)  # exact between two samples too
    return sum(_resident_bytes(member) for member in (process, *family))


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def peak_bytes(pid: int) -> int:
    """The most resident memory that a process ever had; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def ratio(value: float, base: float) -> str:
    """How often `base` goes into `value`, as it is shown: 1.43x, 14.3x, 143x."""
    quotient = value / base
    return f"{quotient:.{2 if quotient < 10 else 1 if quotient < 100 else 0}f}x"  # noqa: PLR2004 three digits


def show_table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first column holds names, the rest figures."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def show_bars(console: Console, bars: Sequence[Bar]) -> None:
    """Print each promise, what was found, and whether it holds in this run."""
    words = {True: "holds", False: "does not hold", None: "not judged"}
    show_table(
        console, "Bars", ("bar", "found", "in this run"), [(bar.promise, bar.found, words[bar.holds]) for bar in bars]
    )
