"""The tables of this benchmark, and its bars."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.console import Console

from benchmarks.measure import Bar, ratio, show_bars, show_table
from benchmarks.reconcile.comparison import BATCHED, DLT_ARROW, FLOOR, OURS, PEERS, Comparison, Figures, Peer
from benchmarks.reconcile.databases import POSTGRESQL
from benchmarks.reconcile.growth import Step
from benchmarks.reconcile.task import CHANGED, FIRST, NO_CHANGE

_PHASES = (FIRST, NO_CHANGE, CHANGED)
_MOST_BYTES_AN_ITEM = 3_000
_JUDGED_FROM = 100_000
_MOST_FLOORS = 1.7


def show_comparison(console: Console, title: str, peers: Sequence[Peer], size: int, figures: Comparison) -> None:
    """Seconds of wall clock, and how often the floor goes into them; CPU of client and server in the last column."""
    phases = [phase for phase in _PHASES if (FLOOR, phase) in figures]
    rows = [
        (
            peer.label,
            *(_beside(figures[peer, phase], figures[FLOOR, phase]) for phase in phases),
            ratio(figures[peer, NO_CHANGE].cpu_seconds, figures[FLOOR, NO_CHANGE].cpu_seconds),
        )
        for peer in peers
    ]
    columns = (f"seconds (x floor), {size:,} items", *phases, "CPU, no change")
    show_table(console, title, columns, rows)


def _beside(figures: Figures, floor: Figures) -> str:
    return f"{figures.seconds:.2f} ({ratio(figures.seconds, floor.seconds)})"


def show_dlt_on_mariadb(console: Console, found: Sequence[tuple[int, float]]) -> None:
    """What stands in for a row that dlt cannot have."""
    told = ", ".join(f"{size:,} items {seconds:.1f} s" for size, seconds in found)
    console.print(
        "MariaDB, dlt: it has no upsert there. Its delete-insert gives every item a new id at every sync, and takes"
        f" (no change): {told}.\n"
    )


def show_growth(console: Console, steps: Sequence[Step]) -> None:
    """Seconds for each 10,000 items, and memory for each item."""
    rows = [
        (
            f"{step.engine}, {step.size:,} items",
            f"{step.first.seconds / step.size * 10_000:.3f}",
            f"{step.no_change_seconds / step.size * 10_000:.3f}",
            f"{step.base_bytes / 1e6:.0f} MB",
            f"{step.bytes_an_item:,.0f} B",
        )
        for step in steps
    ]
    columns = ("seconds for 10,000 items", FIRST, NO_CHANGE, "base memory", "memory an item")
    show_table(console, "cata_pipeline, by size", columns, rows)


def show_verdict(
    console: Console,
    size: int,
    comparisons: dict[str, Comparison],
    with_children: dict[str, Comparison],
    steps: Sequence[Step],
) -> None:
    """Which bars hold in this run; they are about large catalogs, so small sizes judge nothing."""
    bars = [*_time_bars(comparisons), *_children_bars(with_children), *_memory_bars(steps)]
    show_bars(console, bars if size >= _JUDGED_FROM else [replace(bar, holds=None) for bar in bars])


def _time_bars(comparisons: dict[str, Comparison]) -> Iterator[Bar]:
    for engine, figures in comparisons.items():
        ours, floor = figures[OURS, NO_CHANGE].seconds, figures[FLOOR, NO_CHANGE].seconds
        yield Bar(f"{engine}, no change: at most 1.5x the floor", ratio(ours, floor), ours <= 1.5 * floor)
        yield _within(f"{engine}, first sync", figures, FIRST)
        first = figures[OURS, FIRST].seconds
        rivals = {peer: figures[peer, FIRST].seconds for peer in PEERS[engine] if peer not in {OURS, FLOOR}}
        best = min(rivals, key=lambda peer: rivals[peer])
        promise = f"{engine}, first sync: faster than every peer (best: {best.label})"
        yield Bar(promise, ratio(rivals[best], first), rivals[best] > first)
    figures = comparisons[POSTGRESQL]
    ours = figures[OURS, NO_CHANGE].seconds
    for peer, factor in ((DLT_ARROW, 3), (BATCHED, 20)):
        theirs = figures[peer, NO_CHANGE].seconds
        promise = f"{POSTGRESQL}, no change: at least {factor}x faster than {peer.label}"
        yield Bar(promise, ratio(theirs, ours), theirs >= factor * ours)


def _children_bars(comparisons: dict[str, Comparison]) -> Iterator[Bar]:
    for engine, figures in comparisons.items():
        for phase in (FIRST, NO_CHANGE):
            yield _within(f"{engine}, with modifiers, {phase}", figures, phase)


def _within(label: str, figures: Comparison, phase: str) -> Bar:
    ours, floor = figures[OURS, phase].seconds, figures[FLOOR, phase].seconds
    return Bar(f"{label}: at most {_MOST_FLOORS}x the floor", ratio(ours, floor), ours <= _MOST_FLOORS * floor)


def _memory_bars(steps: Sequence[Step]) -> Iterator[Bar]:
    for engine in dict.fromkeys(step.engine for step in steps):
        judged = [step for step in steps if step.engine == engine and step.size >= _JUDGED_FROM]
        most = max((step.bytes_an_item for step in judged), default=None)
        yield Bar(
            f"{engine}: at most {_MOST_BYTES_AN_ITEM:,} bytes an item over the base, from {_JUDGED_FROM:,} items",
            "smaller sizes only" if most is None else f"{most:,.0f}",
            None if most is None else most <= _MOST_BYTES_AN_ITEM,
        )
