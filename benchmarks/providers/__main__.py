"""`python -m benchmarks.providers [--quick] [NAME…]`: each provider's fetch beside reading its pages."""

from collections.abc import Sequence

import click
from rich.console import Console

from benchmarks.measure import Bar, BenchmarkError, ratio, show_bars, show_table
from benchmarks.providers.stores import STORES
from benchmarks.providers.trial import Figures, median_cpu_seconds, median_seconds, run_trial

_MOST_TIMES_THE_FLOOR = 3.0
_MOST_BYTES_AN_ITEM = 4_000
_JUDGED_FROM = 10_000


@click.command()
@click.option("--quick", is_flag=True, help="Few products: tries the benchmark itself; its figures say little.")
@click.argument("names", nargs=-1, type=click.Choice(list(STORES)))
def main(quick: bool, names: Sequence[str]) -> None:  # noqa: FBT001 click passes it by name
    """Measure fetching and mapping a catalog beside httpx and json (or csv) alone."""
    size, rounds = (1_000, 1) if quick else (10_000, 5)
    console, progress = Console(width=120), Console(stderr=True)
    try:
        with progress.status("Starting") as status:
            figures = [run_trial(name, size, rounds, status.update) for name in names or STORES]
    except BenchmarkError as error:
        raise click.ClickException(str(error)) from error
    show_table(
        console,
        f"{size:,} products, fetched and mapped",
        ("provider", "requests", "served", "floor", "cata_pipeline", "x floor", "CPU x floor", "memory an item"),
        [_row(found) for found in figures],
    )
    show_bars(console, [bar for found in figures for bar in _bars(found)])


def _row(found: Figures) -> tuple[str, ...]:
    return (
        found.provider,
        str(found.requests),
        f"{found.bytes_served / 1e6:.1f} MB",
        f"{median_seconds(found.floor):.3f} s",
        f"{median_seconds(found.ours):.3f} s",
        ratio(median_seconds(found.ours), median_seconds(found.floor)),
        ratio(median_cpu_seconds(found.ours), median_cpu_seconds(found.floor)),
        f"{found.bytes_an_item:,.0f} B",
    )


def _bars(found: Figures) -> list[Bar]:
    is_judged = found.size >= _JUDGED_FROM
    return [
        Bar(
            f"{found.provider}: at most {_MOST_TIMES_THE_FLOOR:g}x reading the same pages",
            f"{found.ratio:.2f}x",
            found.ratio <= _MOST_TIMES_THE_FLOOR if is_judged else None,
        ),
        Bar(
            f"{found.provider}: at most {_MOST_BYTES_AN_ITEM:,} bytes an item over the base",
            f"{found.bytes_an_item:,.0f}",
            found.bytes_an_item <= _MOST_BYTES_AN_ITEM if is_judged else None,
        ),
    ]


if __name__ == "__main__":
    main()
