"""`python -m benchmarks.reconcile [--quick]`: all measurements of this benchmark, one after the other."""

import click
from rich.console import Console

from benchmarks.measure import BenchmarkError
from benchmarks.reconcile import report
from benchmarks.reconcile.catalogs import catalog_shelf, changed, plain, with_modifiers
from benchmarks.reconcile.comparison import FLOOR, OURS, PEERS, Comparison, compare
from benchmarks.reconcile.databases import MYSQL, databases
from benchmarks.reconcile.growth import Step, dlt_on_mariadb, grow
from benchmarks.reconcile.task import CHANGED, FIRST, NO_CHANGE
from cata_pipeline.control.database import open_control_database


@click.command()
@click.option("--quick", is_flag=True, help="Few items: tries the benchmark itself; its figures say little.")
def main(quick: bool) -> None:  # noqa: FBT001 click passes it by name
    """Measure reconciling beside a floor, dlt and batched upserts, and print ratios."""
    size, sizes = (5_000, [1_000, 5_000]) if quick else (100_000, [1_000, 10_000, 100_000, 500_000])
    try:
        _measure(size, sizes)
    except BenchmarkError as error:
        raise click.ClickException(str(error)) from error


def _measure(size: int, sizes: list[int]) -> None:
    console, progress = Console(width=140), Console(stderr=True)
    with databases() as running, progress.status("Starting") as status:
        if MYSQL not in running.engines:
            console.print("MySQL is not measured: neither CATA_TEST_MYSQLD nor the PATH leads to its mysqld.")
        shelf = catalog_shelf(running.folder / "catalogs", open_control_database(running.control))
        same = shelf.store("plain", size, plain)
        phases = {FIRST: same, NO_CHANGE: same, CHANGED: shelf.store("changed", size, changed)}
        modifiers = shelf.store("modifiers", size, with_modifiers)
        comparisons: dict[str, Comparison] = {}
        with_children: dict[str, Comparison] = {}
        steps: list[Step] = []
        for engine in running.engines:
            comparisons[engine] = compare(running, engine, PEERS[engine], phases, status.update)
            report.show_comparison(console, engine, PEERS[engine], size, comparisons[engine])
            both = dict.fromkeys((FIRST, NO_CHANGE), modifiers)
            with_children[engine] = compare(running, engine, (OURS, FLOOR), both, status.update)
            report.show_comparison(console, f"{engine}, with modifiers", (OURS, FLOOR), size, with_children[engine])
        report.show_dlt_on_mariadb(console, dlt_on_mariadb(running, shelf, [size // 100, size // 25], status.update))
        for engine in running.engines:
            steps += grow(running, shelf, engine, sizes, status.update)
        report.show_growth(console, steps)
        report.show_verdict(console, size, comparisons, with_children, steps)


if __name__ == "__main__":
    main()
