"""Reconciles a MySQL 8 or MariaDB 10.6+ tenant database: stages, plans and applies.

The order of steps, the session and its errors live here; `schema` reads the real columns, `statements` makes the SQL,
`load` the bulk load's text. Rows are locked in key order, and a row that does not change is neither locked nor written.
"""

import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pymysql
from pymysql.constants import ER
from sqlalchemy.engine import URL

from cata_pipeline.catalog.model import Rejection
from cata_pipeline.errors import DatabaseError
from cata_pipeline.reconcile.contract import ActualTable, BoundColumn, BoundTable, Contract
from cata_pipeline.reconcile.guard import PlanCounts
from cata_pipeline.reconcile.mysql.load import insert_statements, load_file_statement, write_load_file
from cata_pipeline.reconcile.mysql.schema import read_schema
from cata_pipeline.reconcile.mysql.statements import TableStatements
from cata_pipeline.reconcile.policy import Kind
from cata_pipeline.reconcile.report import Change, ChildCounts, ItemCounts
from cata_pipeline.reconcile.session import COMMITTED, COMMITTING, UNTOUCHED, Collisions, LostRaceError, shown
from cata_pipeline.reconcile.stage import beyond_basic_plane
from cata_pipeline.tenants.connections import connect_mysql

_LOCK_NOWAIT = 3572  # MySQL's own answer to NOWAIT; MariaDB calls it a lock wait timeout
_LOST_RACES = frozenset({ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT, _LOCK_NOWAIT})

# The wait for a row, and the one for a table that somebody alters: MySQL's own default for the latter is a year.
_SESSION = """
SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION',
    innodb_lock_wait_timeout = 2, lock_wait_timeout = 2
"""
_STATEMENT_TIMEOUT = {True: "SET SESSION max_statement_time = 600", False: "SET SESSION max_execution_time = 600000"}
# An INSERT knows no NOWAIT: it waits for a merchant's row of the same key, and for the parent's row. MySQL takes no 0.
_INSERT_WAIT = "SET SESSION innodb_lock_wait_timeout = {}"
_IMPATIENT_SECONDS = {True: 0, False: 1}
_PATIENT_SECONDS = 2
_ISOLATION = "SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')"

_MAX_ROUNDS = 5

_ALIKE = "the column's collation takes them for equal"


class MysqlSession:
    """A `TenantSession` on MySQL or MariaDB; a context manager."""

    def __init__(self, url: URL, run_id: str) -> None:
        self._url = url
        self._run_id = run_id
        self._tables: tuple[TableStatements, ...] = ()
        self._collisions = Collisions()
        self._staged = 0, 0  # items, and writable ones
        self._planned_rows = 0
        self._state = UNTOUCHED

    def __enter__(self) -> Self:
        try:
            self._connection = connect_mysql(
                self._url,
                charset="utf8mb4",
                autocommit=True,
                local_infile=True,
                program_name=f"cata_pipeline {self._run_id}",
                client_flag=0,  # not FOUND_ROWS: an UPDATE must count the rows it changed, not those it looked at
            )
        except (pymysql.MySQLError, OSError, RuntimeError) as error:
            raise DatabaseError(
                f"The tenant database {shown(self._url)} cannot be reached: {_first_line(error)}."
                " Check its URL and that it runs."
            ) from error
        [(version,)] = self._rows("SELECT VERSION()")
        self._mariadb = "mariadb" in version.lower()
        self._execute(_SESSION)
        self._execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        self._execute(_STATEMENT_TIMEOUT[self._mariadb])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def contract(self, names: Collection[str]) -> dict[str, ActualTable]:
        """The tables of these names as they really are in the connected schema; absent ones are left out."""
        return read_schema(self._rows, names, mariadb=self._mariadb)

    def occupied(self, tables: Sequence[BoundTable]) -> set[str]:
        """Which of these tables hold any row, by the policy's names."""
        found = self._numbers("SELECT " + ", ".join(f"EXISTS (SELECT 1 FROM `{t.stored_name}`)" for t in tables))
        return {table.name for table, holds in zip(tables, found, strict=True) if holds}

    def stage(self, contract: Contract, tables: Mapping[str, pa.Table]) -> None:
        """Load the staged rows into temporary tables, numbered in key order."""
        self._tables = tuple(TableStatements(bound, contract, mariadb=self._mariadb) for bound in contract.tables)
        [(local_infile, largest)] = self._rows("SELECT @@local_infile, @@max_allowed_packet")
        for table in self._tables:
            rows = _storable(tables[table.name], table.key_columns)
            if not table.has_parent:
                self._staged = rows.num_rows, pc.sum(rows["writable"]).as_py() or 0
            self._execute(table.create_stage(rows.schema))
            if table.has_parent:  # a snapshot's items are in key order already
                rows = rows.sort_by([(key, "ascending") for key in table.keys])
            rows = rows.add_column(0, "n", pa.array(np.arange(1, rows.num_rows + 1), pa.int32()))
            if local_infile:
                self._load_file(table.stage, rows)
            else:
                for statement in insert_statements(table.stage, rows, largest):
                    self._execute(statement)
            self._execute(f"ANALYZE NO_WRITE_TO_BINLOG TABLE {table.stage}")

    def plan(self, *, received: int, rejected: int) -> PlanCounts:
        """Find the rows that would really change, without locking any, and count what the guards judge."""
        unmatched = 0
        for table in self._tables:
            self._execute(table.plan_statement())
            if not table.has_parent:
                unmatched = self._number(table.count_unmatched())
            self._refuse_collisions(table)
        for table in self._tables:
            for statement in table.outcome_statements():
                self._execute(statement)
        self._planned_rows = sum(
            self._number(statement) for table in self._tables for statement in (table.count_plan(), table.count_hides())
        )
        items = self._tables[0]
        tenant_items, visible, named = self._numbers(items.totals())
        all_staged, writable = self._staged
        known = all_staged - unmatched
        inserts, updates, hides, renames, unpictures, recategorizes = self._numbers(items.plan_counts())
        return PlanCounts(
            received=received,
            rejected=rejected + len(self._collisions.items),
            staged=writable - len(self._collisions.items),
            tenant_items=tenant_items,
            tenant_visible=visible,
            known=known,
            stale=max(0, named - known),
            inserts=inserts,
            updates=updates,
            hides=hides,
            renames=renames,
            unpictures=unpictures,
            recategorizes=recategorizes,
            visible_children=sum(self._number(table.count_visible()) for table in self._tables[1:]),
            child_hides=sum(
                self._number(statement)
                for table in self._tables[1:]
                for statement in (table.count_hides(), table.count_deactivated())
            ),
        )

    def collisions(self) -> Collisions:
        """Staged rows that the plan left out, because the unique key takes them for another row."""
        return self._collisions

    def planned(self) -> tuple[ItemCounts, ChildCounts]:
        """What applying the plan would do, judged on the rows as they are now."""
        for table in self._tables:
            self._execute(table.keep_before())
            self._execute(table.decide_after())
            self._execute(table.keep_hidden())
        return self._counts()

    def stale_codes(self, limit: int) -> tuple[str, ...]:
        """Item codes of the tenant that the snapshot does not name, in order."""
        return tuple(code for (code,) in self._rows(self._tables[0].stale_codes(), [limit]))

    @property
    def has_changes(self) -> bool:
        """Whether the plan would write any row."""
        return self._planned_rows > 0

    def apply(self, *, patient: bool, before_commit: Callable[[], None]) -> tuple[ItemCounts, ChildCounts]:
        """Write the plan in one transaction, changed rows only, in key order.

        Raises `LostRaceError` with nothing written when another transaction holds a row: at once, or if `patient` after
        the lock timeout. `before_commit` is called after the last write.
        """
        if {level for _, level in self._rows(_ISOLATION)} != {"READ-COMMITTED"}:
            raise DatabaseError("The tenant database does not run this session at READ COMMITTED. Nothing was written.")
        self._execute(_INSERT_WAIT.format(_PATIENT_SECONDS if patient else _IMPATIENT_SECONDS[self._mariadb]))
        with self._transaction():
            for table in self._tables:
                self._apply(table, "FOR UPDATE" if patient else "FOR UPDATE NOWAIT")
            counts = self._counts()
            before_commit()
        return counts

    def changes(self) -> Iterator[Change]:
        """Every change of the last `apply` or `planned`: items first, updates before insertions, in key order."""
        for table in self._tables:
            own, width = table.keys[1:], len(table.keys)
            for row in self._pages(table.updated_page()):
                key, values = _key(own, row[1:width]), row[width:]
                before, after = values[: len(table.written)], values[len(table.written) :]
                told = zip(table.written, before, after, strict=True)
                for column, old, new in sorted(told, key=lambda change: change[0].name):
                    if old != new:
                        yield Change(
                            table.name, "updated", row[0], key, column.name, _text(column, old), _text(column, new)
                        )
            for row in self._pages(table.hidden_page()):
                yield Change(table.name, "hidden", row[0], _key(own, row[1:]), "visible", "true", "false")
            for row in self._pages(table.inserted_page()):
                key = _key(own, row[1:width])
                yield Change(table.name, "inserted", row[0], key, None, None, _row_json(table.written, row[width:]))

    def _load_file(self, stage: str, rows: pa.Table) -> None:
        with tempfile.NamedTemporaryFile(prefix="cata-stage-") as file:
            write_load_file(rows, file)
            loaded = self._execute(load_file_statement(stage, rows.column_names), [file.name])
        # LOCAL turns errors into warnings: a text that was cut must not go on as if it were the provider's.
        warnings = self._rows("SHOW WARNINGS LIMIT 1")
        if warnings or loaded != rows.num_rows:
            reason = str(warnings[0][2]) if warnings else f"it took {loaded} of {rows.num_rows} rows"
            raise DatabaseError(f"The tenant database did not load the staged rows as they are: {reason}.")

    def _refuse_collisions(self, table: TableStatements) -> None:
        """Take rows out of the plan that the unique key cannot tell from a stored row, or from each other."""
        refused = [
            (number, code, f"{own!r} cannot be stored beside the stored {other!r}: {_ALIKE}")
            for number, code, own, other in self._rows(table.taken())
        ] + [
            (number, code, f"{own!r} cannot be stored beside {other!r} of the same snapshot: {_ALIKE}")
            for number, code, own, other in self._rows(table.rivals())
        ]
        if refused:
            self._execute(table.refuse([number for number, _, _ in refused]))
            below = {table.bound.table}
            for child in self._tables:
                if child.bound.table.parent in below:
                    self._execute(child.refuse_children())
                    below.add(child.bound.table)
        self._execute(table.forget_refused())
        found = self._collisions
        if not table.has_parent:
            rejections = tuple(Rejection(None, code, reason) for _, code, reason in sorted(refused))
            self._collisions = Collisions(rejections, found.children)
        else:
            self._collisions = Collisions(found.items, found.children + len(refused))

    def _apply(self, table: TableStatements, locking: str) -> None:
        for _ in range(_MAX_ROUNDS):
            self._execute(table.keep_before(locking))
            for statement in table.settle_locked():
                self._execute(statement)
            duplicate = self._insert(table)
            if duplicate is None:
                break
            # A merchant inserted one of these keys meanwhile: those rows exist now and are updated like any other.
            if not self._execute(table.adopt_existing()):
                raise duplicate
        else:
            raise DatabaseError(f"Rows of {table.name} keep appearing and vanishing. Nothing was written. Sync again.")
        self._execute(table.decide_after())
        self._execute(table.update())
        self._execute(table.keep_hidden(locking))
        self._execute(table.hide())

    def _insert(self, table: TableStatements) -> Exception | None:
        """Insert what the plan says; returns the error when one of the keys exists by now, with none inserted."""
        wanted = self._number(table.count_insertions())
        if not wanted:
            return None
        try:
            with self._connection.cursor() as cursor:
                inserted: int = cursor.execute(table.insert())
        except (pymysql.MySQLError, OSError) as error:
            translated = self._translated(error)
            if error.args and error.args[0] == ER.DUP_ENTRY:
                return translated
            raise translated from error
        orphans = self._execute(table.forget_orphans()) if inserted < wanted and table.has_parent else 0
        if inserted + orphans != wanted:
            raise DatabaseError(
                f"{table.name} took {inserted} of {wanted} new rows. A trigger is in the way. Nothing was written."
            )
        return None

    def _counts(self) -> tuple[ItemCounts, ChildCounts]:
        items, *children = self._tables
        counts = ItemCounts(self._number(items.count_insertions()), *self._numbers(items.item_counts()))
        inserted = sum(self._number(table.count_insertions()) for table in children)
        updated = sum(self._number(table.count_updated()) for table in children)
        hidden = sum(self._number(table.count_hidden()) for table in children)
        return counts, ChildCounts(inserted, updated, hidden)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit, or roll all of it back: a lock timeout alone undoes no more than its statement."""
        self._execute("START TRANSACTION")
        try:
            yield
            self._state = COMMITTING
            self._execute("COMMIT")
            self._state = COMMITTED
        except BaseException:
            with suppress(pymysql.MySQLError, OSError):  # a lost connection is rolled back by the server
                self._connection.rollback()
            raise

    def _pages(self, statement: str) -> Iterator[tuple[Any, ...]]:
        """Rows of a statement that takes the last number seen, without that number."""
        last = 0
        while page := self._rows(statement, [last]):
            for row in page:
                yield row[1:]
            last = page[-1][0]

    def _execute(self, statement: str | bytes, parameters: list[Any] | None = None) -> int:
        rowcount: int = self._run(statement, parameters, lambda cursor: cursor.rowcount)
        return rowcount

    def _rows(self, statement: str, parameters: list[Any] | None = None) -> Sequence[tuple[Any, ...]]:
        rows: Sequence[tuple[Any, ...]] = self._run(statement, parameters, lambda cursor: cursor.fetchall())
        return rows

    def _numbers(self, statement: str) -> list[int]:
        return [int(number) for number in self._rows(statement)[0]]

    def _number(self, statement: str) -> int:
        return self._numbers(statement)[0]

    def _run(self, statement: str | bytes, parameters: list[Any] | None, read: Callable[[Any], Any]) -> Any:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return read(cursor)
        except (pymysql.MySQLError, OSError) as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> Exception:
        code = error.args[0] if error.args else None
        if code in _LOST_RACES:
            return LostRaceError("deadlock" if code == ER.LOCK_DEADLOCK else "a row that is locked")
        return DatabaseError(f"The tenant database refused a statement: {_first_line(error)}. {self._state}")


def _first_line(error: Exception) -> str:
    text = str(error.args[-1] if error.args else "").strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")


def _storable(rows: pa.Table, key_columns: Mapping[str, BoundColumn]) -> pa.Table:
    """The rows whose keys the tenant's columns can hold: no stored row can be named by any other."""
    for key, column in key_columns.items():
        actual = column.actual
        if actual.max_characters is not None:
            rows = rows.filter(pc.less_equal(pc.utf8_length(rows[key]), actual.max_characters))
        if actual.basic_plane_only:
            rows = rows.filter(pc.invert(beyond_basic_plane(rows[key])))
    return rows


def _key(names: tuple[str, ...], values: Sequence[Any]) -> str | None:
    return json.dumps(list(values), ensure_ascii=False) if names else None


def _text(column: BoundColumn, value: Any) -> str | None:
    if value is None:
        return None
    return ("true" if value else "false") if column.column.kind is Kind.BOOLEAN else str(value)


def _row_json(columns: Sequence[BoundColumn], values: Sequence[Any]) -> str:
    """The values of an inserted row, as PostgreSQL's jsonb would print them."""
    row = {column.name: _json_value(column, value) for column, value in zip(columns, values, strict=True)}
    return json.dumps(dict(sorted(row.items(), key=lambda pair: (len(pair[0]), pair[0]))), ensure_ascii=False)


def _json_value(column: BoundColumn, value: Any) -> Any:
    if value is None:
        return None
    if column.column.kind is Kind.BOOLEAN:
        return bool(value)
    if column.column.kind is Kind.JSON:
        return json.loads(value)
    return float(value) if column.column.kind is Kind.DECIMAL else value
