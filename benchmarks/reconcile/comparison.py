"""One engine, one size: everybody syncs the same items into a database of their own, taking turns.

Taking turns, because a machine that is busy for a minute should slow down all of them and not the one whose turn it
is. The median of the rounds counts.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from sqlalchemy.engine import URL

from benchmarks.reconcile.catalogs import StoredCatalog
from benchmarks.reconcile.databases import MARIADB, MYSQL, POSTGRESQL, Databases
from benchmarks.reconcile.task import CHANGED, FIRST, NO_CHANGE, Result, Task, measure

_ROUNDS = {FIRST: 1, NO_CHANGE: 5, CHANGED: 1}


@dataclass(frozen=True)
class Peer:
    """Somebody who is measured: what the table calls it, and the module that does it."""

    label: str
    module: str


OURS = Peer("cata_pipeline", "ours")
FLOOR = Peer("floor: raw load + one join", "floor")
DLT_ARROW = Peer("dlt upsert, from Arrow", "dlt_arrow")
DLT_SKIP = Peer("dlt upsert, from Arrow, skip_unchanged_rows", "dlt_arrow_skip")
DLT_ROWS = Peer("dlt upsert, from Python rows", "dlt_rows")
DLT_DELETES = Peer("dlt delete-insert", "dlt_rows")
BATCHED = Peer("SQLAlchemy upserts, 1,000 a batch", "batched_upserts")

PEERS = {
    POSTGRESQL: (OURS, FLOOR, DLT_SKIP, DLT_ARROW, DLT_ROWS, BATCHED),
    MARIADB: (OURS, FLOOR, BATCHED),
    MYSQL: (OURS, FLOOR, BATCHED),
}
"""dlt 1.31 knows no `upsert` on MariaDB; what it does instead is measured apart, see `growth`."""


@dataclass
class Figures:
    """The results of one peer in one phase."""

    results: list[Result] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Wall clock, the median."""
        return median(result.seconds for result in self.results)

    @property
    def cpu_seconds(self) -> float:
        """Client and server together, the median."""
        return median(result.cpu_seconds for result in self.results)

    @property
    def peak_bytes(self) -> int:
        """The most that any of them took."""
        return max(result.peak_bytes for result in self.results)


Comparison = Mapping[tuple[Peer, str], Figures]


class Lane:
    """One peer with its own database and folder; a sync counts only when the rows are right afterwards."""

    def __init__(self, databases: Databases, engine: str, peer: Peer) -> None:
        self._databases = databases
        self._engine = engine
        self._peer = peer
        self._url: URL = databases.fresh(engine)
        state = databases.folder / f"state-{self._url.database}"
        state.mkdir()
        self._state = state

    def sync(self, phase: str, catalog: StoredCatalog) -> Result:
        """Bring the database in step with a catalog, and check that it is."""
        result = measure(
            Task(
                peer=self._peer.module,
                phase=phase,
                url=self._url.render_as_string(hide_password=False),
                server=self._databases.server(self._engine),
                catalog=str(catalog.file),
                state=str(self._state),
            )
        )
        self._databases.check(self._url, catalog.names)
        self._databases.settle(self._engine, self._url)
        return result

    def close(self) -> None:
        """Drop the database."""
        self._databases.drop(self._engine, self._url)


def compare(
    databases: Databases,
    engine: str,
    peers: Sequence[Peer],
    catalogs: Mapping[str, StoredCatalog],
    tell: Callable[[str], None],
) -> Comparison:
    """All phases of some peers; `catalogs` holds what each phase syncs."""
    lanes = {peer: Lane(databases, engine, peer) for peer in peers}
    figures: dict[tuple[Peer, str], Figures] = {}
    for phase, peer in _turns(lanes, catalogs):
        tell(f"{engine}, {phase}: {peer.label}")
        figures.setdefault((peer, phase), Figures()).results.append(lanes[peer].sync(phase, catalogs[phase]))
    for lane in lanes.values():
        lane.close()
    return figures


def _turns(lanes: Mapping[Peer, Lane], phases: Collection[str]) -> Iterator[tuple[str, Peer]]:
    for phase in phases:
        for _ in range(_ROUNDS[phase]):
            for peer in lanes:
                yield phase, peer
