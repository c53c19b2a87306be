"""`python -m benchmarks.images [--quick] [--recopy] [--backend filesystem]`: the whole comparison, in one run.

Exits 0 whatever the figures are, 2 when a program is missing or a client does not do its work.
"""

import argparse
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rich.console import Console

from benchmarks.images import clients, report
from benchmarks.images.clients import Client, Stage
from benchmarks.images.picture_host import SEARCH_PATH
from benchmarks.images.storage import FILESYSTEM, MEMORY
from benchmarks.images.trial import Figures, Means, run_trial
from benchmarks.measure import BenchmarkError, show_bars

_WIDTH = 170
_PACKAGES = {"nginx": "nginx-light", "rclone": "rclone"}


@dataclass(frozen=True)
class _Size:
    pictures: int
    repeats: int
    growth: Sequence[int]


_FULL = _Size(1_000, 3, (100, 1_000, 10_000))
_QUICK = _Size(100, 1, (10, 100))


def main() -> int:
    """Compare, grow, report; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.images", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 pictures, once: to try the benchmark itself")
    parser.add_argument(
        "--backend", choices=(MEMORY, FILESYSTEM), default=MEMORY, help="where the fake GCS keeps objects (%(default)s)"
    )
    parser.add_argument("--recopy", action="store_true", help="only the re-copy of unchanged pictures, beside rclone")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    try:
        programs = _programs()
        means = Means(programs["nginx"], arguments.backend)
        size = _QUICK if arguments.quick else _FULL
        if arguments.recopy:
            _recopy(console, means, programs["rclone"], size)
        else:
            _run(console, means, programs["rclone"], size)
    except BenchmarkError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _programs() -> dict[str, str]:
    found = {name: shutil.which(name, path=SEARCH_PATH) for name in _PACKAGES}
    missing = [_PACKAGES[name] for name, program in found.items() if program is None]
    if missing:
        raise BenchmarkError(
            f"Not installed: {', '.join(missing)}."
            f" On Debian: apt-get install -y --no-install-recommends {' '.join(missing)}"
        )
    return {name: program for name, program in found.items() if program is not None}


def _run(console: Console, means: Means, rclone_program: str, size: _Size) -> None:
    our, rclone = clients.ours(), clients.rclone(rclone_program)
    compared = [our, rclone, clients.by_hand()]
    if reason := clients.why_no_img2dataset():
        console.print(f"img2dataset is left out: {reason}")
    else:
        compared.append(clients.img2dataset())
    report.show_clients(console, compared)
    console.print(
        f"Machine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the first trial."
        f" The fake GCS keeps its objects in: {means.backend}."
    )

    trials = _trials(console, compared, size, means)
    for stage in Stage:
        report.show_stage(console, trials, stage, size.pictures, rclone.name)
    report.show_starts(console, trials)

    by_count: dict[int, dict[Stage, Figures]] = {}
    # In memory the fake itself would grow dearer with each object.
    growing = replace(means, backend=FILESYSTEM)
    for count in size.growth:
        with console.status(f"{our.name}, {count:,} pictures"):
            by_count[count] = run_trial(our, count, growing, (Stage.FIRST, Stage.UNCHANGED))
    report.show_growth(console, by_count)
    show_bars(console, report.bars(trials, our.name, rclone.name, size.pictures))


def _recopy(console: Console, means: Means, rclone_program: str, size: _Size) -> None:
    our, rclone = clients.ours(), clients.rclone(rclone_program)
    trials = _trials(console, [our, rclone], size, means, (Stage.FIRST, Stage.UNCHANGED))
    report.show_stage(console, trials, Stage.UNCHANGED, size.pictures, rclone.name)
    show_bars(console, report.bars(trials, our.name, rclone.name, size.pictures))


def _trials(
    console: Console,
    compared: Sequence[Client],
    size: _Size,
    means: Means,
    stages: Sequence[Stage] | None = None,
) -> dict[str, list[dict[Stage, Figures]]]:
    trials: dict[str, list[dict[Stage, Figures]]] = defaultdict(list)
    for client, number in _interleaved(compared, size.repeats):
        with console.status(f"{client.name}, {number} of {size.repeats}"):
            trials[client.name].append(run_trial(client, size.pictures, means, stages))
    return trials


def _interleaved(compared: Sequence[Client], repeats: int) -> Iterator[tuple[Client, int]]:
    """A B C A B C, so that a machine that slows down slows all of them."""
    for number in range(1, repeats + 1):
        for client in compared:
            yield client, number


if __name__ == "__main__":
    sys.exit(main())
