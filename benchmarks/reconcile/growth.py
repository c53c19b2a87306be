"""How time and memory follow the number of items: fresh processes, one size after the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.reconcile.catalogs import CatalogShelf, plain
from benchmarks.reconcile.comparison import DLT_DELETES, OURS, Lane, Peer
from benchmarks.reconcile.databases import MARIADB, Databases
from benchmarks.reconcile.task import FIRST, NO_CHANGE, Result

_ROUNDS = 3


@dataclass(frozen=True)
class Step:
    """What one size took. `base_bytes` is the peak of a process that synced no items at all."""

    engine: str
    size: int
    first: Result
    no_change: tuple[Result, ...]
    base_bytes: int

    @property
    def no_change_seconds(self) -> float:
        """The median."""
        return median(result.seconds for result in self.no_change)

    @property
    def bytes_an_item(self) -> float:
        """Peak resident memory over the base, for each item, of the hungriest sync."""
        peak = max(result.peak_bytes for result in (self.first, *self.no_change))
        return (peak - self.base_bytes) / self.size


def grow(
    databases: Databases, shelf: CatalogShelf, engine: str, sizes: Sequence[int], tell: Callable[[str], None]
) -> list[Step]:
    """This project, at each size."""
    tell(f"{engine}: no items at all")
    lane = Lane(databases, engine, OURS)
    base = lane.sync(FIRST, shelf.store(f"{engine}-none", 0, plain)).peak_bytes
    lane.close()
    return [_step(databases, shelf, engine, size, base, tell) for size in sizes]


def _step(
    databases: Databases, shelf: CatalogShelf, engine: str, size: int, base: int, tell: Callable[[str], None]
) -> Step:
    tell(f"{engine}: {size:,} items")
    first, *no_change = _syncs(databases, shelf, engine, OURS, size, _ROUNDS)
    return Step(engine, size, first, tuple(no_change), base)


def dlt_on_mariadb(
    databases: Databases, shelf: CatalogShelf, sizes: Sequence[int], tell: Callable[[str], None]
) -> list[tuple[int, float]]:
    """Sizes and seconds of dlt's second sync; they grow faster than the items, so sizes have to be small."""
    found = []
    for size in sizes:
        tell(f"{MARIADB}: dlt delete-insert, {size:,} items")
        _, again = _syncs(databases, shelf, MARIADB, DLT_DELETES, size, 1)
        found.append((size, again.seconds))
    return found


def _syncs(databases: Databases, shelf: CatalogShelf, engine: str, peer: Peer, size: int, rounds: int) -> list[Result]:
    """A first sync, and some that find no change."""
    catalog = shelf.store(f"{engine}-{peer.module}-{size}", size, plain)
    lane = Lane(databases, engine, peer)
    results = [lane.sync(phase, catalog) for phase in (FIRST, *[NO_CHANGE] * rounds)]
    lane.close()
    return results
