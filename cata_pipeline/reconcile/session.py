"""What a database engine offers to a reconcile: the protocol that each engine's module implements.

Add an engine as a package beside `postgresql`, and name it in `steps.open_session`. What a step is for is said in
`steps`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
from sqlalchemy.engine import URL

from cata_pipeline.catalog.model import Rejection
from cata_pipeline.reconcile.contract import ActualTable, BoundTable, Contract
from cata_pipeline.reconcile.guard import PlanCounts
from cata_pipeline.reconcile.report import Change, ChildCounts, ItemCounts

UNTOUCHED = "Nothing was written."
COMMITTING = "It is not known whether the rows were written. Sync again: that is harmless, and tells."
COMMITTED = "The rows are written, but the report is not complete."
"""What an error means for the rows, by how far the transaction had come."""


class LostRaceError(Exception):
    """A deadlock or a lock that a merchant's transaction held too long: all was rolled back, and may be tried again."""


@dataclass(frozen=True)
class Collisions:
    """Staged rows that a unique key takes for another row although their keys differ byte for byte.

    `children` counts rows of the structure tables.
    """

    items: tuple[Rejection, ...] = ()
    children: int = 0


class TenantSession(Protocol):
    """One connection to one tenant database, from the contract check to the commit.

    Called in this order: `contract`, `occupied`, `stage`, `plan`, then `planned` or `apply`, then `changes`. Every
    method may raise `DatabaseError`, with nothing written.
    """

    def contract(self, names: Collection[str]) -> dict[str, ActualTable]:
        """The tables of these names as they really are; absent ones are left out."""
        ...

    def occupied(self, tables: Sequence[BoundTable]) -> set[str]:
        """Which of these tables hold any row, by the policy's names."""
        ...

    def stage(self, contract: Contract, tables: Mapping[str, pa.Table]) -> None:
        """Load the staged rows, by policy table name, where the plan can read them."""
        ...

    def plan(self, *, received: int, rejected: int) -> PlanCounts:
        """Find the rows that would really change, without locking any."""
        ...

    def collisions(self) -> Collisions:
        """What the plan left out because of a unique key; the plan's `rejected` counts its items already."""
        ...

    def planned(self) -> tuple[ItemCounts, ChildCounts]:
        """What applying the plan would do, judged on the rows as they are now."""
        ...

    @property
    def has_changes(self) -> bool:
        """Whether the plan would write any row."""
        ...

    def apply(self, *, patient: bool, before_commit: Callable[[], None]) -> tuple[ItemCounts, ChildCounts]:
        """Write the plan in one transaction, changed rows only, in key order.

        Raises `LostRaceError` with nothing written when another transaction holds a row: at once, or if `patient` after
        a short wait. A sync that waits while it holds locks can make a merchant the victim of a deadlock, so waiting
        is for the last try. `before_commit` is called after the last write; then `changes` can be read.
        """
        ...

    def changes(self) -> Iterator[Change]:
        """Every change of the last `apply` or `planned`: table by table, in key order."""
        ...

    def stale_codes(self, limit: int) -> tuple[str, ...]:
        """Item codes of the tenant that the snapshot does not name, in order."""
        ...


def shown(url: URL) -> str:
    """A database URL fit for a message: no user, no password, no options."""
    return f"{url.get_backend_name()}://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database}"
