"""Reconciles a PostgreSQL 14+ tenant database: stages, plans and applies.

The order of steps, the session and its errors live here; `schema` reads the real columns, `statements` makes the SQL.
Rows are locked in key order, and a row that does not change is neither locked nor written.
"""

import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from psycopg import errors as pg_errors
from psycopg.rows import tuple_row
from sqlalchemy.engine import URL

from cata_pipeline.errors import DatabaseError
from cata_pipeline.reconcile.contract import ActualTable, BoundTable, Contract
from cata_pipeline.reconcile.guard import PlanCounts
from cata_pipeline.reconcile.postgresql.schema import read_schema
from cata_pipeline.reconcile.postgresql.statements import TableStatements
from cata_pipeline.reconcile.report import Change, ChildCounts, ItemCounts
from cata_pipeline.reconcile.session import COMMITTED, COMMITTING, UNTOUCHED, Collisions, LostRaceError, shown
from cata_pipeline.tenants.connections import postgresql_keywords

_LOST_RACES = (pg_errors.DeadlockDetected, pg_errors.LockNotAvailable, pg_errors.SerializationFailure)

_CONNECTION = {
    "autocommit": True,
    # COPY sends UTF-8, whatever the database or PGCLIENTENCODING say; anything else would store other characters.
    "client_encoding": "utf8",
}

_SESSION = """
SET lock_timeout = '2s';
SET statement_timeout = '10min';
SET idle_in_transaction_session_timeout = '60s';
SET client_connection_check_interval = '2s';
SET work_mem = '64MB';
SET temp_buffers = '64MB';
SET default_statistics_target = 10;
"""

_ARROW_TYPES = {pa.string(): 'text COLLATE "C"', pa.bool_(): "boolean", pa.int32(): "integer"}
_CSV_BATCH_ROWS = 20_000
_MAX_ROUNDS = 5
_DETAIL_CHARACTERS = 200


class PostgresqlSession:
    """A `TenantSession` on PostgreSQL; a context manager."""

    def __init__(self, url: URL, run_id: str) -> None:
        self._url = url
        self._run_id = run_id
        self._tables: tuple[TableStatements, ...] = ()
        self._staged = 0, 0  # items, and writable ones
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
        self._execute(_SESSION)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def contract(self, names: Collection[str]) -> dict[str, ActualTable]:
        """The tables of these names as they really are, on the search path; absent ones are left out."""
        return read_schema(self._rows, names)

    def occupied(self, tables: Sequence[BoundTable]) -> set[str]:
        """Which of these tables hold any row, by the policy's names."""
        found = self._row("SELECT " + ", ".join(f'EXISTS (SELECT 1 FROM "{table.stored_name}")' for table in tables))
        return {table.name for table, holds in zip(tables, found, strict=True) if holds}

    def stage(self, contract: Contract, tables: Mapping[str, pa.Table]) -> None:
        """Load the staged rows into temporary tables. COPY in CSV form, because Arrow writes that without Python."""
        self._tables = tuple(TableStatements(bound, contract) for bound in contract.tables)
        items = tables[contract.items.name]
        self._staged = items.num_rows, pc.sum(items["writable"]).as_py() or 0
        for table in self._tables:
            rows = tables[table.name]
            columns = ", ".join(f'"{field.name}" {_ARROW_TYPES[field.type]}' for field in rows.schema)
            self._execute(f"CREATE TEMP TABLE {table.stage} ({columns})")
            with (
                self._errors(),
                self._connection.cursor() as cursor,
                cursor.copy(f"COPY {table.stage} FROM STDIN (FORMAT csv)") as copy,
            ):
                for batch in rows.to_batches(max_chunksize=_CSV_BATCH_ROWS):
                    sink = io.BytesIO()
                    pa_csv.write_csv(batch, sink, pa_csv.WriteOptions(include_header=False))
                    copy.write(sink.getbuffer())
            self._execute(table.analyze_stage())

    def plan(self, *, received: int, rejected: int) -> PlanCounts:
        """Find the rows that would really change, without locking any, and count what the guards judge."""
        for table in self._tables:
            for statement in table.plan_statements():
                self._execute(statement)
        # Joining stage and target once more to count this would cost as much as the plan.
        items, visible, named = self._row(self._tables[0].totals())
        all_staged, staged = self._staged
        changes = self._row(self._tables[0].plan_counts())
        children = [self._row(table.child_totals()) for table in self._tables[1:]]
        inserts, updates, hides, renames, unpictures, recategorizes = changes
        strangers = self._row(self._tables[0].unplanned_strangers())[0] if staged < all_staged else 0
        known = all_staged - inserts - strangers
        return PlanCounts(
            received=received,
            rejected=rejected,
            staged=staged,
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
            visible_children=sum(visible for visible, _ in children),
            child_hides=sum(hides for _, hides in children),
        )

    def collisions(self) -> Collisions:
        """None: unique keys compare bytes here."""
        return Collisions()

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
        exists = " OR ".join(f"EXISTS (SELECT 1 FROM {name})" for table in self._tables for name in table.plan_tables)
        return bool(self._row(f"SELECT {exists}")[0])

    def apply(self, *, patient: bool, before_commit: Callable[[], None]) -> tuple[ItemCounts, ChildCounts]:
        """Write the plan in one transaction, changed rows only, in key order.

        Raises `LostRaceError` with nothing written when another transaction holds a row: at once, or if `patient` after
        the lock timeout. `before_commit` is called after the last write.
        """
        with self._errors(), self._connection.transaction():
            if self._row("SHOW transaction_isolation") != ("read committed",):
                raise DatabaseError(
                    "The tenant database does not run this session at READ COMMITTED. Nothing was written."
                )
            if not patient:  # an INSERT knows no NOWAIT, and waits for a merchant's row of the same key
                self._execute("SET LOCAL lock_timeout = '100ms'")
            for table in self._tables:
                self._apply(table, patient=patient)
            counts = self._counts()
            before_commit()
            self._state = COMMITTING
        self._state = COMMITTED
        return counts

    def changes(self) -> Iterator[Change]:
        """Every change of the last `apply` or `planned`: items first, updates before insertions, in key order."""
        with self._errors(), self._connection.transaction():
            for table in self._tables:
                for statement in table.change_statements():
                    with self._connection.cursor(name="cata_changes", row_factory=tuple_row) as cursor:
                        cursor.itersize = _CSV_BATCH_ROWS
                        cursor.execute(statement)
                        for row in cursor:
                            yield Change(*row)

    def _apply(self, table: TableStatements, *, patient: bool) -> None:
        for _ in range(_MAX_ROUNDS):
            self._execute(table.lock(patient=patient))
            self._execute(table.forget_vanished())
            wanted = self._row(table.count_insertions())[0]
            inserted = self._execute(table.insert())
            if inserted == wanted:
                break
            # A merchant inserted one of these keys meanwhile: those rows exist now and are updated like any other.
            self._execute(table.settle_inserted())
            adopted = self._execute(table.adopt_existing())
            orphans = self._execute(table.forget_orphans()) if table.has_parent else 0
            if not adopted and not orphans:
                codes = ", ".join(repr(code) for (code,) in self._rows(table.refused_insertions()))
                raise DatabaseError(
                    f"{table.name} does not take rows of these items: {codes}. A trigger or a key that calls different"
                    " codes equal is in the way. Nothing was written."
                )
        else:
            raise DatabaseError(f"Rows of {table.name} keep appearing and vanishing. Nothing was written. Sync again.")
        self._execute(table.update())
        for statement in table.hide_statements(patient=patient):
            self._execute(statement)

    def _counts(self) -> tuple[ItemCounts, ChildCounts]:
        items = ItemCounts(*self._row(self._tables[0].item_counts()))
        children = [self._row(table.child_counts()) for table in self._tables[1:]]
        inserted, updated, hidden = (sum(column) for column in zip(*children, strict=True)) if children else (0, 0, 0)
        return items, ChildCounts(inserted, updated, hidden)

    def _execute(self, statement: str, parameters: list[Any] | None = None) -> int:
        with self._errors():
            return self._connection.execute(statement, parameters).rowcount

    def _rows(self, statement: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        with self._errors():
            return self._connection.execute(statement, parameters).fetchall()

    def _row(self, statement: str) -> tuple[Any, ...]:
        return self._rows(statement)[0]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn a database error into a `LostRaceError` or a `DatabaseError` that says what it means for the rows."""
        try:
            yield
        except _LOST_RACES as error:
            raise LostRaceError(type(error).__name__) from error
        except psycopg.Error as error:
            detail = (error.diag.message_detail or "")[:_DETAIL_CHARACTERS]
            told = f"{_first_line(error)} ({detail})" if detail else _first_line(error)
            raise DatabaseError(f"The tenant database refused a statement: {told}. {self._state}") from error


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
