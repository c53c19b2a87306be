"""What the sessions of all engines do alike with their planned tables, on top of each engine's own statements.

What differs between engines (connecting, loading, locking, errors) belongs to their own packages.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import pyarrow.compute as pc

from cata_pipeline.reconcile.changes import InsertedLines, Numbers
from cata_pipeline.reconcile.contract import BoundTable
from cata_pipeline.reconcile.guard import PlanCounts
from cata_pipeline.reconcile.stage import RejectedRow, StagedTable


class PlannedTable(Protocol):
    """The statements of one table that every engine has."""

    bound: BoundTable
    staged: StagedTable

    def insertion_range(self) -> str:
        """How many rows are to be inserted, the first number and the last."""
        ...

    def insertions(self) -> str:
        """The numbers of the rows to insert, in order."""
        ...

    def hide_keys(self) -> str:
        """The parent's number and the own keys of a child to hide; the parameter is its number."""
        ...


Statements = TypeVar("Statements", bound=PlannedTable)


class EngineSession(ABC, Generic[Statements]):
    """The planned tables of a session, parents before children, and what the plan left out."""

    def __init__(self) -> None:
        self._tables: tuple[Statements, ...] = ()
        self._rejections: tuple[RejectedRow, ...] = ()
        self._lines = InsertedLines()
        self._outdated = False  # whether rows may have come or gone since the plan was made

    @abstractmethod
    def _rows(self, statement: str, parameters: list[Any] | None = None) -> Sequence[tuple[Any, ...]]: ...

    def rejections(self) -> tuple[RejectedRow, ...]:
        """The new rows that the plan left out; its `rejected` counts the items among them already."""
        return self._rejections

    def _numbers(self, statement: str) -> list[int]:
        """The only column of a statement's rows."""
        return [int(number) for (number,) in self._rows(statement)]

    def _reject(self, table: Statements, reasons: Mapping[int, str]) -> None:
        self._rejections += tuple(table.staged.rejected(n, reason) for n, reason in sorted(reasons.items()))

    def _not_insertable(self, table: Statements) -> dict[int, str]:
        """The planned insertions that lack a value which the database cannot fill, and why."""
        reasons = table.staged.not_insertable
        planned = set(self._numbers(table.insertions())) if reasons else set()
        return {number: reason for number, reason in reasons.items() if number in planned}

    def _parent(self, table: Statements) -> Statements:
        return next(above for above in self._tables if above.bound.table is table.bound.table.parent)

    def _hide_rejected(self, table: Statements, number: int, reason: str) -> RejectedRow:
        """A child that may not be hidden; `number` is that of the planned hide."""
        [(parent_number, *own)] = self._rows(table.hide_keys(), [number])
        return self._parent(table).staged.rejected(int(parent_number), reason).child(table.bound.table, own)

    def _inserted(self, table: Statements) -> Numbers:
        """The numbers of the rows to insert, which mostly are all in one range."""
        [(count, first, last)] = self._rows(table.insertion_range())
        if count and count == last - first + 1:
            return np.arange(first, last + 1)
        return np.array(self._numbers(table.insertions()) if count else [], dtype=np.int64)

    def _prepare_lines(self) -> None:
        """Begin to make the lines of the rows that are planned to be inserted."""
        for table in self._tables:
            self._lines.prepare(table.bound, table.staged, self._inserted(table))

    def _plan_counts(
        self, *, received: int, rejected: int, loaded: int, totals: Sequence[int], planned: Sequence[int]
    ) -> PlanCounts:
        """Return what the guards judge, without children.

        `loaded` items are staged in the database. `totals` are the tenant's items, those visible and those with a code;
        `planned` are rows without a stored one, insertions, updates, hides, renames, dropped images, changed
        categories and shows.
        """
        items, visible, named = totals
        unmatched, inserts, updates, hides, renames, unpictures, recategorizes, shows = planned
        refused = sum(row.is_item for row in self._rejections)
        known = loaded - unmatched
        return PlanCounts(
            received=received,
            rejected=rejected + refused,
            staged=(pc.sum(self._tables[0].staged.rows["writable"]).as_py() or 0) - refused,
            tenant_items=items,
            tenant_visible=visible,
            known=known,
            stale=max(0, named - known),
            inserts=inserts,
            updates=updates,
            hides=hides,
            renames=renames,
            unpictures=unpictures,
            recategorizes=recategorizes,
            shows=shows,
        )
