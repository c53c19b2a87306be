"""What the figures say: one table a stage with ratios to rclone, our cost by the number of pictures, and the bars.

Figures of repeated trials are medians, ratios are ratios of medians.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from rich.console import Console

from benchmarks.images.clients import Client, Stage
from benchmarks.images.trial import Figures
from benchmarks.measure import Bar, ratio, show_table

_MB = 1_000_000
_PEAK_MB = 300
_SLOWER = 1.1
_CPU_MS = 0.3

Trials = Mapping[str, Sequence[Mapping[Stage, Figures]]]
"""The trials of each client, by its name."""


def show_clients(console: Console, clients: Sequence[Client]) -> None:
    """What each client does, in its own words."""
    for client in clients:
        console.print(f"[bold]{client.name}[/bold]: {client.note}.")


def show_stage(console: Console, trials: Trials, stage: Stage, count: int, base: str) -> None:
    """One row a client; rates are held against the client `base`."""
    columns = (
        *("", "seconds", "runs", f"rate / {base}", "CPU ms", "nginx ms", "GCS ms", "DB ms", "all ms", "peak MB"),
        *("connections", "requests", "bodies", "body MB", "uploads"),
    )
    rows = [_row(name, found, trials, stage, count, base) for name, found in _of_stage(trials, stage).items()]
    show_table(console, f"{stage.value}, {count:,} pictures (CPU: milliseconds a picture)", columns, rows)


def show_starts(console: Console, trials: Trials) -> None:
    """What stands beside the measured work, so that nobody has to guess it."""
    starts = [
        f"{name} {_median(found, lambda figures: figures.start_seconds):.1f} s"
        for name, found in _of_stage(trials, Stage.FIRST).items()
        if _median(found, lambda figures: figures.start_seconds)
    ]
    console.print(f"Start and imports of the Python clients, not counted above: {', '.join(starts)}.")


def show_growth(console: Console, growth: Mapping[int, Mapping[Stage, Figures]]) -> None:
    """Our own cost a picture by how many there are."""
    rows = [
        [
            f"{count:,}, {stage.value}",
            f"{figures.seconds:.2f}",
            f"{figures.seconds / count * 1000:.2f}",
            f"{figures.cpu_seconds / count * 1000:.2f}",
            f"{figures.database_cpu_seconds / count * 1000:.2f}",
            f"{figures.storage_cpu_seconds / count * 1000:.2f}",
            f"{figures.peak_bytes / _MB:.0f}",
        ]
        for stage in (Stage.FIRST, Stage.UNCHANGED)
        for count, stages in growth.items()
        for figures in [stages[stage]]
    ]
    columns = ("pictures", "seconds", "ms", "CPU ms", "DB ms", "GCS ms", "peak MB")
    show_table(
        console, "cata_pipeline by number of pictures, stored in a folder (milliseconds a picture)", columns, rows
    )


def bars(trials: Trials, our: str, base: str, count: int) -> list[Bar]:
    """The promises of the picture copy."""
    first, recopy = _of_stage(trials, Stage.FIRST), _of_stage(trials, Stage.UNCHANGED)
    seconds, base_seconds = _seconds(first[our]), _seconds(first[base])
    again, base_again = _seconds(recopy[our]), _seconds(recopy[base])
    cpu_ms = _median(recopy[our], lambda figures: figures.cpu_seconds) / count * 1000
    peak = max(figures.peak_bytes for figures in first[our]) / _MB
    body_bytes = max(figures.served.body_bytes for figures in recopy[our])
    uploads = max(figures.received.uploads for figures in recopy[our])
    return [
        Bar(
            f"first copy, verified: at least the rate of {base}",
            ratio(base_seconds, seconds),
            base_seconds >= seconds,
        ),
        Bar(f"resident memory under {_PEAK_MB} MB", f"{peak:.0f} MB", peak < _PEAK_MB),
        Bar(
            "re-copy, nothing changed: no image bytes and no uploads",
            f"{body_bytes} bytes, {uploads} uploads",
            body_bytes == 0 and uploads == 0,
        ),
        Bar(
            f"{Stage.UNCHANGED.value}: at most {_SLOWER}x the time of {base}",
            f"{ratio(again, base_again)} its time",
            again <= _SLOWER * base_again,
        ),
        Bar(
            f"{Stage.UNCHANGED.value}: at most {_CPU_MS} ms of our CPU a picture",
            f"{cpu_ms:.2f} ms",
            cpu_ms <= _CPU_MS,
        ),
    ]


def _row(name: str, found: Sequence[Figures], trials: Trials, stage: Stage, count: int, base: str) -> list[str]:
    def each(value: Callable[[Figures], float]) -> str:
        return f"{_median(found, value) / count * 1000:.2f}"

    seconds = sorted(figures.seconds for figures in found)
    return [
        name,
        f"{_seconds(found):.2f}",
        f"{seconds[0]:.2f}-{seconds[-1]:.2f}",
        ratio(_seconds(_of_stage(trials, stage)[base]), _seconds(found)),
        each(lambda figures: figures.cpu_seconds),
        each(lambda figures: figures.host_cpu_seconds),
        each(lambda figures: figures.storage_cpu_seconds),
        each(lambda figures: figures.database_cpu_seconds),
        each(Figures.all_cpu_seconds),
        f"{_median(found, lambda figures: figures.peak_bytes) / _MB:.0f}",
        f"{_median(found, lambda figures: figures.served.connections):.0f}",
        f"{_median(found, lambda figures: figures.served.requests):.0f}",
        f"{_median(found, lambda figures: figures.served.bodies):.0f}",
        f"{_median(found, lambda figures: figures.served.body_bytes) / _MB:.1f}",
        f"{_median(found, lambda figures: figures.received.uploads):.0f}",
    ]


def _of_stage(trials: Trials, stage: Stage) -> dict[str, list[Figures]]:
    """The figures of each client that takes part in a stage."""
    found = {name: [trial[stage] for trial in repeats if stage in trial] for name, repeats in trials.items()}
    return {name: figures for name, figures in found.items() if figures}


def _seconds(found: Sequence[Figures]) -> float:
    return _median(found, lambda figures: figures.seconds)


def _median(found: Sequence[Figures], value: Callable[[Figures], float]) -> float:
    return median(value(figures) for figures in found)
