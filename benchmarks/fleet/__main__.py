"""`python -m benchmarks.fleet [--quick]`: a fleet's nights, their trend, ticks and loading, in one run.

Exits 0 whatever the figures are, 2 when a run of the fleet fails.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from rich.console import Console

from benchmarks.fleet import report
from benchmarks.fleet.location import SINGLE_RUNS
from benchmarks.fleet.nights import BATCHED, SINGLE, Fleet, Night
from benchmarks.fleet.site import fresh_site
from benchmarks.fleet.ticks import loading_cpu_seconds, measure_ticks
from benchmarks.measure import BenchmarkError, show_bars

_WIDTH = 170


@dataclass(frozen=True)
class _Size:
    tenants: int
    items: int
    nights: int
    growth: tuple[int, ...]
    growth_items: int
    ticking: int


_FULL = _Size(tenants=500, items=200, nights=3, growth=(50, 500, 2_000), growth_items=50, ticking=10_000)
_QUICK = _Size(tenants=30, items=200, nights=1, growth=(10, 30), growth_items=50, ticking=1_000)


def main() -> int:
    """Measure and report; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="30 tenants, one night: to try the benchmark itself")
    size = _QUICK if parser.parse_args().quick else _FULL
    logging.disable(logging.INFO)  # what a tick asks for stands in the table
    console, progress = Console(width=None if sys.stdout.isatty() else _WIDTH), Console(stderr=True)
    try:
        with progress.status("Starting") as status:
            _run(console, size, status.update)
    except BenchmarkError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _run(console: Console, size: _Size, tell: Callable[[str], None]) -> None:
    console.print(f"Machine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the first night.")
    tell("Ticks and loading")
    loading, ticks = loading_cpu_seconds(), measure_ticks(size.ticking)
    report.show_ticks(console, size.ticking, ticks, loading)
    nights = _compare(size, tell)
    report.show_nights(console, size.items, nights)
    report.show_growth(console, size.growth_items, [_grow(tenants, size, tell) for tenants in size.growth])
    show_bars(console, report.bars(nights, ticks, loading))


def _compare(size: _Size, tell: Callable[[str], None]) -> report.Nights:
    """Both ways on one site; single runs take their turn between batched nights, so that a busy hour slows both."""
    with fresh_site(size.tenants, size.items) as site, closing(Fleet(site)) as fleet:

        def night(told: str, schedule: str, tenants: int, *, with_pictures: bool = False) -> Night:
            tell(f"{told}: {tenants} of {size.tenants} tenants, {size.items} items each")
            return fleet.night(schedule, tenants, with_pictures=with_pictures)

        first = night("First sync", BATCHED, size.tenants)
        batched = [night("Batched", BATCHED, size.tenants)]
        single = night("One run a tenant", SINGLE, min(SINGLE_RUNS, size.tenants))
        batched += [night("Batched", BATCHED, size.tenants) for _ in range(size.nights - 1)]
        copied = night("First pictures", BATCHED, size.tenants, with_pictures=True)
        site.let_pictures_age()
        pictured = night("Batched, with pictures", BATCHED, size.tenants, with_pictures=True)
        return report.Nights(first, batched, single, copied, pictured)


def _grow(tenants: int, size: _Size, tell: Callable[[str], None]) -> Night:
    with fresh_site(tenants, size.growth_items) as site, closing(Fleet(site)) as fleet:
        tell(f"First sync: {tenants:,} tenants, {size.growth_items} items each")
        fleet.night(BATCHED, tenants)
        tell(f"Batched: {tenants:,} tenants, {size.growth_items} items each")
        return fleet.night(BATCHED, tenants)


if __name__ == "__main__":
    sys.exit(main())
