"""Reconciles a PostgreSQL 14+ tenant database: reads its columns, stages, plans and applies.

The order of steps, the session and its errors live here; the statements are made in `postgresql_statements`. Rows are
locked in key order, and a row that does not change is neither locked nor written.
"""

import io
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv
from psycopg import errors as pg_errors
from psycopg.rows import tuple_row
from sqlalchemy.engine import URL

from cata_pipeline.errors import DatabaseError
from cata_pipeline.reconcile.contract import ActualColumn, ActualTable, Contract
from cata_pipeline.reconcile.guard import PlanCounts
from cata_pipeline.reconcile.policy import TABLES
from cata_pipeline.reconcile.postgresql_statements import TableStatements
from cata_pipeline.reconcile.report import Change, ChildCounts, ItemCounts
from cata_pipeline.reconcile.session import LostRaceError

_LOST_RACES = (pg_errors.DeadlockDetected, pg_errors.LockNotAvailable, pg_errors.SerializationFailure)

_SESSION = """
SET lock_timeout = '2s';
SET statement_timeout = '10min';
SET idle_in_transaction_session_timeout = '60s';
SET client_connection_check_interval = '2s';
SET work_mem = '64MB';
SET temp_buffers = '64MB';
SET default_statistics_target = 10;
"""

_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
       a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '',
       CASE WHEN a.atttypid IN ('varchar'::regtype, 'bpchar'::regtype) AND a.atttypmod > 4 THEN a.atttypmod - 4 END,
       CASE WHEN a.atttypid = 'numeric'::regtype AND a.atttypmod > 4
            THEN power(10, ((a.atttypmod - 4) >> 16) - ((a.atttypmod - 4) & 2047))::float8 END
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
WHERE c.oid = ANY (%s::regclass[]) AND a.attnum > 0 AND NOT a.attisdropped
"""

_UNIQUE_KEYS = """
SELECT c.relname, array_agg(a.attname::text)
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
WHERE c.oid = ANY (%s::regclass[]) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
GROUP BY i.indexrelid, c.relname
"""

_ARROW_TYPES = {pa.string(): 'text COLLATE "C"', pa.bool_(): "boolean", pa.int32(): "integer"}
_CSV_BATCH_ROWS = 20_000
_MAX_ROUNDS = 5


class PostgresqlSession:
    """A `TenantSession` on PostgreSQL; a context manager."""

    def __init__(self, url: URL, run_id: str) -> None:
        self._url = url
        self._run_id = run_id
        self._tables: tuple[TableStatements, ...] = ()

    def __enter__(self) -> Self:
        dsn = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        shown = self._url.render_as_string(hide_password=True)
        try:
            self._connection = psycopg.connect(
                dsn, autocommit=True, connect_timeout=10, application_name=f"cata_pipeline {self._run_id}"
            )
        except psycopg.Error as error:
            raise DatabaseError(
                f"The tenant database {shown} cannot be reached: {_first_line(error)}. Check its URL and that it runs."
            ) from error
        self._connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        self._execute(_SESSION)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def contract(self) -> dict[str, ActualTable]:
        """The real columns and unique keys of the policy's tables that exist on the search path."""
        names = [table.name for table in TABLES]
        present = self._rows(
            "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(quote_ident(name)) IS NOT NULL", [names]
        )
        found = [f'"{name}"' for (name,) in present]
        columns: dict[str, dict[str, ActualColumn]] = {}
        for table, name, kind, nullable, fills, characters, magnitude in self._rows(_COLUMNS, [found]):
            columns.setdefault(table, {})[name] = ActualColumn(kind, nullable, fills, characters, magnitude)
        keys: dict[str, set[frozenset[str]]] = {}
        for table, names in self._rows(_UNIQUE_KEYS, [found]):
            keys.setdefault(table, set()).add(frozenset(names))
        return {name: ActualTable(found, frozenset(keys.get(name, ()))) for name, found in columns.items()}

    def stage(self, contract: Contract, tables: Mapping[str, pa.Table]) -> None:
        """Load the staged rows into temporary tables. COPY in CSV form, because Arrow writes that without Python."""
        self._tables = tuple(TableStatements(bound) for bound in contract.tables)
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
            self._execute(f"ANALYZE {table.stage}")

    def plan(self, *, received: int, rejected: int) -> PlanCounts:
        """Find the rows that would really change, without locking any, and count what the guards judge."""
        for table in self._tables:
            for statement in table.plan_statements():
                self._execute(statement)
        totals = self._row(self._tables[0].totals())
        changes = self._row(self._tables[0].plan_counts())
        items, visible, stale, staged = totals
        inserts, updates, hides, renames, unpictures, recategorizes = changes
        return PlanCounts(
            received=received,
            rejected=rejected,
            staged=staged,
            tenant_items=items,
            tenant_visible=visible,
            known=items - stale,
            stale=stale,
            inserts=inserts,
            updates=updates,
            hides=hides,
            renames=renames,
            unpictures=unpictures,
            recategorizes=recategorizes,
        )

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

    def apply(self) -> tuple[ItemCounts, ChildCounts]:
        """Write the plan in one transaction, changed rows only, in key order.

        Raises `LostRaceError` with nothing written when a merchant holds a row for longer than the lock timeout.
        """
        with self._errors(), self._connection.transaction():
            if self._row("SHOW transaction_isolation") != ("read committed",):
                raise DatabaseError(
                    "The tenant database does not run this session at READ COMMITTED; nothing was written."
                )
            for table in self._tables:
                self._apply(table)
        return self._counts()

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

    def _apply(self, table: TableStatements) -> None:
        for _ in range(_MAX_ROUNDS):
            self._execute(table.lock())
            self._execute(table.forget_vanished())
            wanted = self._row(table.count_insertions())[0]
            inserted = self._execute(table.insert())
            if inserted == wanted:
                break
            # A merchant inserted one of these keys meanwhile: those rows exist now and are updated like any other.
            self._execute(table.adopt_existing())
            self._execute(table.settle_inserted())
        else:
            raise DatabaseError(f"Rows of {table.name} keep appearing and vanishing; nothing was written. Sync again.")
        self._execute(table.update())
        for statement in table.hide_statements():
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

    def _errors(self) -> "_Errors":
        return _Errors()


class _Errors:
    """Turns a database error into a `LostRaceError` or a `DatabaseError`."""

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, _LOST_RACES):
            raise LostRaceError(type(error).__name__) from error
        if isinstance(error, psycopg.Error):
            raise DatabaseError(
                f"The tenant database refused a statement: {_first_line(error)}. Nothing was written."
            ) from error


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
