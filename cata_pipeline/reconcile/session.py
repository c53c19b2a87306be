"""What a database engine offers to a reconcile: the protocol that each engine's module implements.

Add an engine as a package beside `postgresql`, and name it in `steps.open_session`. What a step is for is said in
`steps`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from cata_pipeline.reconcile.contract import ActualTable, BoundTable, Contract
from cata_pipeline.reconcile.guard import PlanCounts
from cata_pipeline.reconcile.report import ChildCounts, ItemCounts
from cata_pipeline.reconcile.stage import RejectedRow, StagedTable
from cata_pipeline.tenants.database_identity import DatabaseIdentity

UNTOUCHED = "Nothing was written."
COMMITTING = "It is not known whether the rows were written. Sync again: that is harmless, and tells."
COMMITTED = "The rows are written, but the report is not complete."
"""What an error means for the rows, by how far the transaction had come."""


class LostRaceError(Exception):
    """A deadlock or a lock that a merchant's transaction held too long: all was rolled back, and may be tried again."""


class VanishedRowError(LostRaceError):
    """A planned row was deleted or got another key: the plan has to be brought in step first."""


JudgeRefused = Callable[[Sequence[RejectedRow]], None]


class RefusedRows:
    """The rows that the database refused in one attempt, judged anew with each."""

    def __init__(self, judge: JudgeRefused) -> None:
        self._judge = judge
        self.rows: list[RejectedRow] = []

    def add(self, row: RejectedRow) -> None:
        """Note a row; raises what the judge raises."""
        self.rows.append(row)
        self._judge(self.rows)


@dataclass(frozen=True)
class Applied:
    """What was written, and the rows that the database refused."""

    items: ItemCounts
    children: ChildCounts
    refused: tuple[RejectedRow, ...]


class TenantSession(Protocol):
    """One connection to one tenant database, from the contract check to the commit.

    Called in this order: `contract`, `identity`, `occupied`, `stage`, `plan`, then `planned` or `apply`, then
    `changes`. Every method may raise `DatabaseError`, with nothing written.
    """

    def contract(self, names: Collection[str]) -> dict[str, ActualTable]:
        """The tables of these names as they really are; absent ones are left out."""
        ...

    def identity(self, items: str) -> DatabaseIdentity:
        """Which table of which server the name `items` really leads to."""
        ...

    def occupied(self, tables: Sequence[BoundTable]) -> set[str]:
        """Which of these tables hold any row, by the policy's names."""
        ...

    def stage(self, contract: Contract, tables: Mapping[str, StagedTable]) -> None:
        """Load the staged rows, by policy table name, where the plan can read them."""
        ...

    def plan(self, *, received: int, rejected: int) -> PlanCounts:
        """Find the rows that would really change, without locking any."""
        ...

    def rejections(self) -> tuple[RejectedRow, ...]:
        """The new rows that the plan left out; its `rejected` counts the items among them already.

        They lack a value that the database cannot fill, or the unique key takes their key for another row's.
        """
        ...

    def planned(self) -> tuple[ItemCounts, ChildCounts]:
        """What applying the plan would do, judged on the rows as they are now."""
        ...

    @property
    def has_changes(self) -> bool:
        """Whether the plan would write any row."""
        ...

    def apply(self, *, patient: bool, judge_refused: JudgeRefused, before_commit: JudgeRefused) -> Applied:
        """Write the plan in one transaction, changed rows only, in key order.

        Raises `LostRaceError` with nothing written when another transaction holds a row: at once, or if `patient` after
        a short wait. A sync that waits while it holds locks can make a merchant the victim of a deadlock, so waiting
        is for the last attempt. `judge_refused` is called with the rows that the database refuses, whenever there is
        one more, and may raise to give up; all other rows are written. `before_commit` is called with all of them after
        the last write, and may raise as well; then `changes` can be read.
        """
        ...

    def changes(self) -> Iterator[pa.Table]:
        """Every change of the last `apply` or `planned`, table by table, in the form of `changes.SCHEMA`."""
        ...

    def stale_codes(self, limit: int) -> tuple[str, ...]:
        """Item codes of the tenant that the snapshot does not name, in order."""
        ...


def alike(own: str, other: str, *, stored: bool) -> str:
    """Why a row is rejected whose key the unique key takes for another one, of a stored row or of the snapshot."""
    rival = f"the stored {other!r}" if stored else f"{other!r} of the same snapshot"
    return f"{own!r} cannot be stored beside {rival}: the column's collation takes them for equal"
