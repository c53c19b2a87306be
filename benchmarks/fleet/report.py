"""What the figures say: a night for each tenant in both ways, its trend, ticks and loading, and the bars.

Everything is divided by the tenants served. Figures of repeated nights are medians, ratios are ratios of medians.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.console import Console

from benchmarks.fleet import reading
from benchmarks.fleet.nights import Night
from benchmarks.fleet.stores import PICTURES
from benchmarks.fleet.ticks import Tick
from benchmarks.measure import Bar, ratio, show_table

_MB, _KB = 1_000_000, 1_000
_CHEAPER = 20
_TICK_SECONDS = 1.0
_LOADING_SECONDS = 0.4
_SERVERS = (reading.POSTGRESQL, reading.STORAGE, reading.POS)


@dataclass(frozen=True)
class Nights:
    """The nights of one site: its first sync, unchanged ones in both ways, and two with pictures."""

    first: Night
    batched: Sequence[Night]
    single: Night
    copied: Night
    pictured: Night

    def named(self) -> dict[str, Sequence[Night]]:
        """By what they are called."""
        return {
            "first sync": [self.first],
            "unchanged night": self.batched,
            f"the same, {PICTURES} pictures a tenant copied": [self.copied],
            f"the same, {PICTURES} pictures a tenant asked for again": [self.pictured],
            "unchanged night, one run a tenant": [self.single],
        }


def show_nights(console: Console, items: int, nights: Nights) -> None:
    """CPU and wall clock, then what is left in the databases."""
    base = median(night.cpu_seconds() for night in nights.batched)
    base /= nights.first.tenants
    rows = []
    for name, found in nights.named().items():
        ours = median(night.cpu_seconds() / night.tenants for night in found)
        rows.append(
            [
                name,
                str(len(found)),
                f"{found[0].tenants:,}",
                f"{median(night.took[reading.SECONDS] for night in found):.0f}",
                *(_each(found, meter, 1_000) for meter in reading.OURS),
                f"{ours * 1_000:.1f}",
                ratio(ours, base),
                *(_each(found, meter, 1_000) for meter in _SERVERS),
            ]
        )
    columns = ("", "nights", "tenants", "seconds", *reading.OURS, "ours", "/ unchanged", *_SERVERS)
    show_table(console, f"Tenants with {items} items each; CPU: milliseconds a tenant", columns, rows)
    _show_left(console, nights.named())


def _show_left(console: Console, nights: dict[str, Sequence[Night]]) -> None:
    rows = [
        [
            name,
            f"{median(night.took[reading.RUN_ROWS] for night in found):.0f}",
            _each(found, reading.EVENT_ROWS),
            _each(found, reading.TAG_ROWS),
            _each(found, reading.DAGSTER_BYTES, 1 / _KB),
            _each(found, reading.CONTROL_BYTES, 1 / _KB),
            f"{max(night.connections for night in found)}",
            f"{max(night.peak_bytes for night in found) / _MB:.0f}",
        ]
        for name, found in nights.items()
    ]
    columns = ("", "runs in all", "event rows", "tag rows", "Dagster kB", "control kB", "connections", "run MB")
    show_table(
        console, "What a night leaves for each tenant; connections and a run's memory at their peak", columns, rows
    )


def show_growth(console: Console, items: int, growth: Sequence[Night]) -> None:
    """The unchanged night by the number of tenants."""
    rows = [
        [
            f"{night.tenants:,}",
            f"{night.took[reading.SECONDS]:.0f}",
            f"{night.took[reading.SECONDS] / night.tenants * 1_000:.0f}",
            *(_each([night], meter, 1_000) for meter in reading.OURS),
            f"{night.cpu_seconds() / night.tenants * 1_000:.1f}",
            *(_each([night], meter, 1_000) for meter in _SERVERS),
            _each([night], reading.EVENT_ROWS),
            _each([night], reading.DAGSTER_BYTES, 1 / _KB),
            _each([night], reading.CONTROL_BYTES, 1 / _KB),
            str(night.connections),
            f"{night.peak_bytes / _MB:.0f}",
            f"{night.idle_cpu_seconds * 1_000:.0f}",
        ]
        for night in growth
    ]
    columns = (
        *("tenants", "seconds", "ms", "daemon", "server", "runs", "ours", "PG", "GCS", "POS"),
        *("events", "Dagster kB", "control kB", "connected", "run MB", "idle ms/s"),
    )
    show_table(
        console, f"Unchanged night by number of tenants, {items} items each; CPU: milliseconds a tenant", columns, rows
    )


def show_ticks(console: Console, tenants: int, ticks: Sequence[Tick], loading: float) -> None:
    """What a tick takes, and loading the definitions."""
    rows = [[t.name, f"{t.asked:,}", f"{t.seconds * 1_000:.0f}", f"{t.cpu_seconds * 1_000:.0f}"] for t in ticks]
    show_table(console, f"Ticks with {tenants:,} tenants", ("", "asks for", "ms", "CPU ms"), rows)
    console.print(f"Loading the definitions takes {loading:.2f} s of CPU over `import dagster`.")


def bars(nights: Nights, ticks: Sequence[Tick], loading: float) -> list[Bar]:
    """The promises of the fleet."""
    batched = median(night.cpu_seconds() / night.tenants for night in nights.batched)
    single = nights.single.cpu_seconds() / nights.single.tenants
    slowest = max(ticks, key=lambda tick: tick.seconds)
    return [
        Bar(
            f"unchanged night: at least {_CHEAPER}x less CPU a tenant than one run a tenant",
            ratio(single, batched),
            single >= _CHEAPER * batched,
        ),
        Bar(
            f"a tick under {_TICK_SECONDS:.0f} s",
            f"{slowest.seconds:.2f} s ({slowest.name})",
            slowest.seconds < _TICK_SECONDS,
        ),
        Bar(
            f"loading the definitions: at most {_LOADING_SECONDS} s over `import dagster`",
            f"{loading:.2f} s of CPU",
            loading <= _LOADING_SECONDS,
        ),
    ]


def _each(nights: Sequence[Night], meter: str, factor: float = 1.0) -> str:
    """The median of a meter for each tenant; three digits are enough."""
    value = median(night.took[meter] / night.tenants for night in nights) * factor
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"
