"""Reconciles a PostgreSQL 14+ tenant database: stages, plans and applies.

The order of steps, the session and its errors live here; `schema` reads the real columns, `statements` makes the SQL.
Everything happens in one transaction, so that settings and temporary tables end with it: a pooler may hand the
connection to another client afterwards. Rows are locked in key order, and a row that does not change is neither locked
nor written.
"""

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self

import psycopg
import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg import errors as pg_errors
from psycopg.rows import tuple_row
from sqlalchemy.engine import URL

from cata_pipeline.errors import DatabaseError
from cata_pipeline.foreign_text import one_line
from cata_pipeline.reconcile import changes as change_file
from cata_pipeline.reconcile.contract import ActualTable, BoundTable, Contract
from cata_pipeline.reconcile.engine_session import EngineSession
from cata_pipeline.reconcile.guard import PlanCounts
from cata_pipeline.reconcile.isolation import ALL_ROWS, RowRefusedError, write_isolated
from cata_pipeline.reconcile.postgresql.schema import read_schema
from cata_pipeline.reconcile.postgresql.statements import TableStatements
from cata_pipeline.reconcile.report import ChildCounts, ItemCounts
from cata_pipeline.reconcile.session import (
    COMMITTED,
    COMMITTING,
    UNTOUCHED,
    Applied,
    JudgeRefused,
    LostRaceError,
    RefusedRows,
    VanishedRowError,
    alike,
)
from cata_pipeline.reconcile.stage import RejectedRow, StagedTable
from cata_pipeline.settings import shown
from cata_pipeline.tenants.connections import postgresql_keywords
from cata_pipeline.tenants.database_identity import DatabaseIdentity, read_identity
from cata_pipeline.tenants.encryption import warn_if_unencrypted

_LOST_RACES = (pg_errors.DeadlockDetected, pg_errors.LockNotAvailable, pg_errors.SerializationFailure)

_CONNECTION = {
    # COPY sends UTF-8, whatever the database or PGCLIENTENCODING say; anything else would store other characters.
    "client_encoding": "utf8",
}

_SETTINGS = """
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '10min';
SET LOCAL idle_in_transaction_session_timeout = '60s';
SET LOCAL client_connection_check_interval = '2s';
SET LOCAL work_mem = '64MB';
SET LOCAL default_statistics_target = 10;
"""
_CHECK_NOW = "SET CONSTRAINTS ALL IMMEDIATE"
# A pooled server process refuses it once a temporary table was used there, and then keeps its own.
_BUFFERS = "SET LOCAL temp_buffers = '64MB'"
_LEFTOVERS = """
SELECT relname FROM pg_class
WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r' AND starts_with(relname, 'cata_')
"""

# Classes of SQLSTATE that are about the session, the server or the statement, and so about no single row.
_NOT_A_ROW = frozenset(
    [
        "08",
        "0A",
        "25",
        "28",
        "2D",
        "34",
        "3B",
        "3D",
        "3F",
        "40",
        "42",
        "53",
        "54",
        "55",
        "57",
        "58",
        "72",
        "F0",
        "HV",
        "XX",
    ]
)

_ARROW_TYPES = {pa.string(): 'text COLLATE "C"', pa.bool_(): "boolean", pa.int32(): "integer"}
_BATCH_ROWS = 20_000
_DETAIL_CHARACTERS = 200
_MOST_ROUNDS = 5


class PostgresqlSession(EngineSession[TableStatements]):
    """A `TenantSession` on PostgreSQL; a context manager."""

    def __init__(self, url: URL, run_id: str) -> None:
        super().__init__()
        self._url = url
        self._run_id = run_id
        self._checks_each_statement = False
        self._state = UNTOUCHED

    def __enter__(self) -> Self:
        # As keywords: libpq does not read a URL's spaces and zero bytes as SQLAlchemy writes them.
        _, keywords = self._url.get_dialect()().create_connect_args(self._url)
        keywords = {
            **keywords,
            **postgresql_keywords(),
            **_CONNECTION,
            "application_name": f"cata_pipeline {self._run_id}",
        }
        try:
            self._connection = psycopg.connect(**keywords)
        except psycopg.Error as error:
            raise DatabaseError(
                f"The tenant database {shown(self._url)} cannot be reached: {_first_line(error)}."
                " Check its URL and that it runs."
            ) from error
        self._connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        self._connection.read_only = False
        try:
            warn_if_unencrypted(self._connection, self._run_id)
            self._begin()
        except BaseException:
            self._connection.close()
            raise
        return self

    def _begin(self) -> None:
        self._execute(_SETTINGS)
        with suppress(pg_errors.InvalidParameterValue), self._connection.transaction():
            self._connection.execute(_BUFFERS)
        for (name,) in self._rows(_LEFTOVERS):
            self._execute(f'DROP TABLE pg_temp."{name}"')

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._lines.close()

    def contract(self, names: Collection[str]) -> dict[str, ActualTable]:
        """The tables of these names as they really are, on the search path; absent ones are left out."""
        return read_schema(self._rows, names)

    def identity(self, items: str) -> DatabaseIdentity:
        """Which table of which server the name `items` really leads to."""
        return read_identity(self._rows, "postgresql", items)

    def occupied(self, tables: Sequence[BoundTable]) -> set[str]:
        """Which of these tables hold any row, by the policy's names."""
        found = self._row("SELECT " + ", ".join(f'EXISTS (SELECT 1 FROM "{table.stored_name}")' for table in tables))
        return {table.name for table, holds in zip(tables, found, strict=True) if holds}

    def stage(self, contract: Contract, tables: Mapping[str, StagedTable]) -> None:
        """Load the staged rows into temporary tables: a binary COPY, which the server reads twice as fast as CSV."""
        self._tables = tuple(TableStatements(bound, contract, tables[bound.name]) for bound in contract.tables)
        for table in self._tables:
            rows = table.staged.rows.select(table.loaded)
            columns = ", ".join(f'"{field.name}" {_ARROW_TYPES[field.type]}' for field in rows.schema)
            self._execute(f"CREATE TEMP TABLE {table.stage} ({columns}) ON COMMIT DROP")
            with (
                self._errors(),
                self._connection.cursor() as cursor,
                cursor.copy(f"COPY {table.stage} FROM STDIN (FORMAT binary)") as copy,
            ):
                encoder = ArrowToPostgresBinaryEncoder(rows.schema)
                copy.write(encoder.write_header())
                for batch in rows.to_batches(max_chunksize=_BATCH_ROWS):
                    copy.write(encoder.write_batch(batch))
                copy.write(encoder.finish())
            self._execute(table.analyze_stage())

    def plan(self, *, received: int, rejected: int) -> PlanCounts:
        """Find the rows that would really change, without locking any, and count what the guards judge."""
        for table in self._tables:
            for statement in table.plan_statements():
                self._execute(statement)
            self._reject_what_cannot_be_inserted(table)
        items, *child_tables = self._tables
        # Joining stage and target once more to count this would cost as much as the plan.
        planned = self._row(items.plan_counts())
        *_, updates = planned
        counts = self._plan_counts(
            received=received,
            rejected=rejected,
            loaded=items.staged.rows.num_rows,
            totals=self._row(items.totals()),
            planned=(*planned, *(self._row(items.update_counts()) if updates else (0,) * 5)),
        )
        children = [self._row(table.child_counts_before()) for table in child_tables]
        return replace(
            counts,
            visible_children=sum(visible for visible, _, _ in children),
            child_hides=sum(hides for _, hides, _ in children),
            child_shows=sum(shows for _, _, shows in children),
        )

    def _reject_what_cannot_be_inserted(self, table: TableStatements) -> None:
        """Take new rows out of the plan that lack a value, or whose key the unique key takes for another row's."""
        reasons = self._not_insertable(table)
        if table.has_folding_key:
            reasons |= {n: alike(own, other, stored=True) for n, own, other in self._rows(table.taken())}
            self._execute(table.keep_respelled())
            rivals = self._rows(table.rivals())
            reasons |= {n: alike(own, other, stored=False) for n, own, other in rivals if n not in reasons}
        if reasons:
            self._execute(table.refuse(), [list(reasons)])
            self._reject(table, reasons)
        if table.has_parent and self._rejections:
            self._execute(table.refuse_children())

    def planned(self) -> tuple[ItemCounts, ChildCounts]:
        """What applying the plan would do, judged on the rows as they are now."""
        for table in self._tables:
            for statement in table.rehearse_statements():
                self._execute(statement)
        return self._counts()

    def stale_codes(self, limit: int) -> tuple[str, ...]:
        """Item codes of the tenant that the snapshot does not name, in order."""
        return tuple(code for (code,) in self._rows(self._tables[0].stale_codes(), [limit]))

    @property
    def has_changes(self) -> bool:
        """Whether the plan would write any row."""
        exists = " OR ".join(
            f"EXISTS (SELECT 1 FROM {table.plan} WHERE action > 0) OR EXISTS (SELECT 1 FROM {table.hides})"
            for table in self._tables
        )
        return bool(self._row(f"SELECT {exists}")[0])

    def apply(self, *, patient: bool, judge_refused: JudgeRefused, before_commit: JudgeRefused) -> Applied:
        """Write the plan, changed rows only, in key order, and commit.

        Raises `LostRaceError` with nothing written when another transaction holds a row: at once, or if `patient` after
        the lock timeout. `judge_refused` is called whenever the database refused one more row, `before_commit` after
        the last write.
        """
        if self._row("SHOW transaction_isolation") != ("read committed",):
            raise DatabaseError("The tenant database does not run this session at READ COMMITTED. Nothing was written.")
        self._prepare_lines()
        refused = self._write_in_rounds(judge_refused, patient=patient)
        counts = self._counts()
        before_commit(refused.rows)
        self._state = COMMITTING
        with self._errors():
            self._connection.commit()
        self._state = COMMITTED
        return Applied(*counts, tuple(refused.rows))

    def _write_in_rounds(self, judge_refused: JudgeRefused, *, patient: bool) -> RefusedRows:
        """Write in a savepoint, again and at once where a planned row was deleted or renamed meanwhile.

        Constraints that are checked at the commit are checked before it; where one is violated, all is written again
        with each statement checked, which finds the row.
        """
        for round_number in itertools.count(1):
            refused = RefusedRows(judge_refused)
            try:
                with self._errors(), self._connection.transaction():
                    if not patient:  # an INSERT knows no NOWAIT, and waits for a merchant's row of the same key
                        self._execute("SET LOCAL lock_timeout = '100ms'")
                    if self._checks_each_statement:
                        self._execute(_CHECK_NOW)
                    self._write(patient=patient, refuse=refused.add)
                    with self._errors(of_rows=True):
                        self._connection.execute(_CHECK_NOW)
            except RowRefusedError as error:
                if self._checks_each_statement:
                    raise DatabaseError(f"The tenant database refused a statement: {error}. {self._state}") from error
                self._checks_each_statement = True
            except LostRaceError as error:
                self._outdated = True
                if not isinstance(error, VanishedRowError) or round_number == _MOST_ROUNDS:
                    raise
            else:
                break
        return refused

    def _write(self, *, patient: bool, refuse: Callable[[RejectedRow], None]) -> None:
        """Insert first, so that no stored row is locked while an insertion may wait; then lock, update and hide."""
        if self._outdated:
            for table in self._tables:
                for statement in table.refresh_statements():
                    self._execute(statement)
        for table in self._tables:
            self._insert(table, refuse)
        for table in self._tables:
            expected = self._row(table.count_updates())[0]
            if expected and self._execute(table.lock(patient=patient)) != expected:
                raise VanishedRowError("a row that was deleted or renamed")
            self._isolated(table.update(), table.updates(), table.staged.rejected, refuse)
            if table.has_parent:
                self._execute(table.lock_hides(patient=patient))
                self._isolated(table.hide(), table.hidings(), partial(self._hide_rejected, table), refuse)

    def _insert(self, table: TableStatements, refuse: Callable[[RejectedRow], None]) -> None:
        if table.has_parent:
            self._execute(table.forget_orphans())
        planned = self._row(table.count_insertions())[0]
        if not planned:
            return
        statements = [table.insert(omitted) for omitted in table.staged.omissions(table.bound.defaulted)]

        def write(first: int, last: int) -> int:
            return self._write_rows(statements, first, last)

        def refused(number: int, reason: str) -> None:
            self._execute(table.refuse(), [[number]])
            refuse(table.staged.rejected(number, reason))

        try:
            complete = write(*ALL_ROWS) == planned
        except RowRefusedError:
            # A merchant may have inserted one of these keys: such a row exists now and is updated like any other.
            self._execute(table.adopt_existing())
            write_isolated(write, lambda: self._numbers(table.insertions()), refused)
            complete = False
        if not complete:
            for number in self._numbers(table.missing_insertions()):
                refused(number, "a trigger dropped the row")
        if table.has_children:
            self._execute(table.note_inserted_parents())

    def _isolated(
        self,
        statement: str,
        numbers: str,
        rejected: Callable[[int, str], RejectedRow],
        refuse: Callable[[RejectedRow], None],
    ) -> None:
        write_isolated(
            lambda first, last: self._write_rows([statement], first, last),
            lambda: self._numbers(numbers),
            lambda number, reason: refuse(rejected(number, reason)),
        )

    def _write_rows(self, statements: Sequence[str], first: int, last: int) -> int:
        """Write the rows of a range in a savepoint; returns how many. Raises `RowRefusedError` with none written."""
        with self._errors(of_rows=True), self._connection.transaction():
            return sum(self._connection.execute(statement, [first, last]).rowcount for statement in statements)

    def changes(self) -> Iterator[pa.Table]:
        """Every change of the last `apply` or `planned`, table by table: updates, hidden children, insertions."""
        for table in self._tables:
            for rows in self._pages(table.updated_values()):
                yield change_file.updated(table.staged, rows)
            if table.has_parent:
                for rows in self._pages(table.hidden_keys()):
                    yield change_file.hidden(table.staged, self._parent(table).staged, rows)
            yield from self._lines.made(table.bound, table.staged, self._inserted(table))

    def _counts(self) -> tuple[ItemCounts, ChildCounts]:
        items = ItemCounts(*self._row(self._tables[0].item_counts()))
        children = [self._row(table.child_counts()) for table in self._tables[1:]]
        inserted, updated, hidden = (sum(column) for column in zip(*children, strict=True)) if children else (0, 0, 0)
        return items, ChildCounts(inserted, updated, hidden)

    def _pages(self, statement: str) -> Iterator[list[tuple[Any, ...]]]:
        with self._errors(), self._connection.cursor(name="cata_changes", row_factory=tuple_row) as cursor:
            cursor.execute(statement)
            while rows := cursor.fetchmany(_BATCH_ROWS):
                yield rows

    def _execute(self, statement: str, parameters: list[Any] | None = None) -> int:
        with self._errors():
            return self._connection.execute(statement, parameters).rowcount

    def _rows(self, statement: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        with self._errors():
            return self._connection.execute(statement, parameters).fetchall()

    def _row(self, statement: str) -> tuple[Any, ...]:
        return self._rows(statement)[0]

    @contextmanager
    def _errors(self, *, of_rows: bool = False) -> Iterator[None]:
        """Turn a database error into one that says what it means: for a race, for a row, or for the whole sync."""
        try:
            yield
        except _LOST_RACES as error:
            raise LostRaceError(type(error).__name__) from error
        except psycopg.Error as error:
            detail = one_line((error.diag.message_detail or "")[:_DETAIL_CHARACTERS])
            reason = f"{_first_line(error)} ({detail})" if detail else _first_line(error)
            if of_rows and error.sqlstate and error.sqlstate[:2] not in _NOT_A_ROW:
                raise RowRefusedError(reason) from error
            raise DatabaseError(f"The tenant database refused a statement: {reason}. {self._state}") from error


def _first_line(error: psycopg.Error) -> str:
    # The server quotes values in its message: libpq's text has more lines, the server's own may have them inside.
    text = (error.diag.message_primary or str(error).strip().partition("\n")[0]).strip()
    return one_line(text).rstrip(".") or type(error).__name__
