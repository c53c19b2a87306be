"""Reconciles a MySQL 8 or MariaDB 10.6+ tenant database: stages, plans and applies.

The order of steps, the session and its errors live here; `schema` reads the real columns, `statements` makes the SQL,
`load` the bulk load's text. Rows are locked in key order, and a row that does not change is neither locked nor written.
"""

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pymysql
from pymysql.constants import ER
from sqlalchemy.engine import URL

from cata_pipeline.errors import DatabaseError
from cata_pipeline.foreign_text import one_line
from cata_pipeline.reconcile import changes as change_file
from cata_pipeline.reconcile.contract import ActualTable, BoundColumn, BoundTable, Contract
from cata_pipeline.reconcile.engine_session import EngineSession
from cata_pipeline.reconcile.guard import PlanCounts
from cata_pipeline.reconcile.isolation import ALL_ROWS, RowRefusedError, write_isolated
from cata_pipeline.reconcile.mysql.load import insert_statements, load_file_statement, write_load_file
from cata_pipeline.reconcile.mysql.schema import read_schema
from cata_pipeline.reconcile.mysql.statements import TableStatements
from cata_pipeline.reconcile.policy import Kind
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
from cata_pipeline.reconcile.stage import RejectedRow, StagedTable, beyond_basic_plane, folded_rivals
from cata_pipeline.settings import shown
from cata_pipeline.tenants.connections import connect_mysql, mysql_connection_hint
from cata_pipeline.tenants.database_identity import DatabaseIdentity, read_identity
from cata_pipeline.tenants.encryption import warn_if_unencrypted

_LOCK_NOWAIT = 3572  # MySQL's own answer to NOWAIT; MariaDB calls it a lock wait timeout
_LOST_RACES = frozenset({ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT, _LOCK_NOWAIT})

# The wait for a row, and the one for a table that is being altered: MySQL's own default for the latter is a year.
_WAITING = "innodb_lock_wait_timeout = 2, lock_wait_timeout = 2"
_OWN_SETTINGS = {
    True: "max_statement_time = 600, check_constraint_checks = 1",
    False: "max_execution_time = 600000",
}
_ISOLATION = "SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')"
# An INSERT knows no NOWAIT: it waits for a merchant's row of the same key, and for the parent's row. MySQL takes no 0.
_INSERT_WAIT = "SET SESSION innodb_lock_wait_timeout = {}"
_IMPATIENT_SECONDS = {True: 0, False: 1}
_PATIENT_SECONDS = 2

# Errors that are about the session, the server or the statement, and so about no single row.
_NOT_A_ROW = frozenset(
    {
        *range(2000, 3000),  # the client's own
        1021, 1030, 1034, 1037, 1038, 1040, 1041, 1053, 1114, 1153, 1180, 1194, 1197, 1206, 1317, 1878, 1969, 3024,
        1044, 1045, 1142, 1143, 1227, 1290, 1370, 1836, 1792, 1207, 1665, 1785, 1927, 3098, 3100, 3101,
        1046, 1049, 1051, 1054, 1064, 1109, 1146, 1412, 1615, 1105,
    }
)  # fmt: skip

_MOST_ROUNDS = 5


class MysqlSession(EngineSession[TableStatements]):
    """A `TenantSession` on MySQL or MariaDB; a context manager."""

    def __init__(self, url: URL, run_id: str) -> None:
        super().__init__()
        self._url = url
        self._run_id = run_id
        self._loaded_items = 0
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
                f" {mysql_connection_hint(error)}"
            ) from error
        try:
            warn_if_unencrypted(self._connection, self._run_id)
            self._begin()
        except BaseException:
            self._connection.close()
            raise
        return self

    def _begin(self) -> None:
        [(version,)] = self._rows("SELECT VERSION()")
        self._mariadb = "mariadb" in version.lower()
        self._execute(f"SET SESSION {_WAITING}, {_OWN_SETTINGS[self._mariadb]}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._lines.close()

    def contract(self, names: Collection[str]) -> dict[str, ActualTable]:
        """The tables of these names as they really are in the connected schema; absent ones are left out."""
        return read_schema(self._rows, names)

    def identity(self, items: str) -> DatabaseIdentity:
        """Which table of which server the name `items` really leads to."""
        return read_identity(self._rows, "mysql", items)

    def occupied(self, tables: Sequence[BoundTable]) -> set[str]:
        """Which of these tables hold any row, by the policy's names."""
        found = self._row("SELECT " + ", ".join(f"EXISTS (SELECT 1 FROM `{t.stored_name}`)" for t in tables))
        return {table.name for table, holds in zip(tables, found, strict=True) if holds}

    def stage(self, contract: Contract, tables: Mapping[str, StagedTable]) -> None:
        """Load the staged rows into temporary tables."""
        self._tables = tuple(
            TableStatements(bound, contract, tables[bound.name], mariadb=self._mariadb) for bound in contract.tables
        )
        [(local_infile, largest)] = self._rows("SELECT @@local_infile, @@max_allowed_packet")
        for table in self._tables:
            rows = _storable(table.staged.rows.select(table.loaded), table.bound)
            if not table.has_parent:
                self._loaded_items = rows.num_rows
            self._execute(table.create_stage(rows.schema))
            if local_infile:
                self._load_file(table.stage, rows)
            else:
                for statement in insert_statements(table.stage, rows, largest):
                    self._execute(statement)
            self._execute(f"ANALYZE NO_WRITE_TO_BINLOG TABLE {table.stage}")

    def plan(self, *, received: int, rejected: int) -> PlanCounts:
        """Find the rows that would really change, without locking any, and count what the guards judge."""
        rivals: set[str] = set()
        for table in self._tables:
            self._execute(table.plan_statement())
            if folded_rivals(table.staged):
                rivals.add(table.name)
            self._reject_what_cannot_be_inserted(table, rivals=table.name in rivals)
        visible = {table.name: self._number(table.count_visible()) for table in self._tables if table.has_parent}
        for table in self._tables:
            # Looking for each unlisted child costs as much as the plan. Equal counts prove that there is none, unless
            # two rival rows name one child.
            unlisted = visible.get(table.name, 0) > 0 and (
                table.name in rivals or visible[table.name] != self._number(table.count_listed())
            )
            self._execute_all(table.outcome_statements(unlisted=unlisted))
        items, *children = self._tables
        planned = {table.name: self._row(table.plan_counts()) for table in self._tables}
        updates = {name: updates for name, (_, _, updates) in planned.items()}
        hides = sum(self._number(table.count_hides()) for table in children)
        self._planned_rows = hides + sum(insertions + updates for _, insertions, updates in planned.values())
        counts = self._plan_counts(
            received=received,
            rejected=rejected,
            loaded=self._loaded_items,
            totals=self._row(items.totals()),
            planned=(*planned[items.name], *(self._row(items.update_counts()) if updates[items.name] else (0,) * 5)),
        )
        changed = [self._row(table.visibility_counts()) for table in children if updates[table.name]]
        return replace(
            counts,
            visible_children=sum(visible.values()),
            child_hides=hides + sum(hidden for hidden, _ in changed),
            child_shows=sum(shown for _, shown in changed),
        )

    def _reject_what_cannot_be_inserted(self, table: TableStatements, *, rivals: bool) -> None:
        """Take new rows out of the plan that lack a value, or whose key the unique key takes for another row's.

        `rivals` says whether staged rows may have keys that are equal under the column's collation.
        """
        reasons = self._not_insertable(table)
        reasons |= {n: alike(own, other, stored=True) for n, own, other in self._rows(table.taken())}
        if rivals:
            found = self._rows(table.rivals())
            reasons |= {n: alike(own, other, stored=False) for n, own, other in found if n not in reasons}
        if reasons:
            self._execute(table.refuse(), [list(reasons)])
            self._reject(table, reasons)
        if table.has_parent and self._rejections:
            self._execute(table.refuse_children())

    def planned(self) -> tuple[ItemCounts, ChildCounts]:
        """What applying the plan would do, judged on the rows as they are now."""
        for table in self._tables:
            self._execute(table.keep_before())
            self._execute(table.decide_after())
            self._execute(table.keep_hidden())
        return self._counts()

    def stale_codes(self, limit: int) -> tuple[str, ...]:
        """Item codes of the tenant that the snapshot does not name, in order."""
        items = self._tables[0]
        self._execute(items.index_stage())
        return tuple(code for (code,) in self._rows(items.stale_codes(), [limit]))

    @property
    def has_changes(self) -> bool:
        """Whether the plan would write any row."""
        return self._planned_rows > 0

    def apply(self, *, patient: bool, judge_refused: JudgeRefused, before_commit: JudgeRefused) -> Applied:
        """Write the plan in one transaction, changed rows only, in key order.

        Raises `LostRaceError` with nothing written when another transaction holds a row: at once, or if `patient` after
        the lock timeout. `judge_refused` is called whenever the database refused one more row, `before_commit` after
        the last write.
        """
        if {level for _, level in self._rows(_ISOLATION)} != {"READ-COMMITTED"}:
            raise DatabaseError("The tenant database does not run this session at READ COMMITTED. Nothing was written.")
        self._execute(_INSERT_WAIT.format(_PATIENT_SECONDS if patient else _IMPATIENT_SECONDS[self._mariadb]))
        self._prepare_lines()
        for attempt in range(1, _MOST_ROUNDS + 1):
            refused = RefusedRows(judge_refused)
            try:
                with self._transaction():
                    self._write("" if patient else "NOWAIT", refused.add)
                    counts = self._counts()
                    before_commit(refused.rows)
                break
            except LostRaceError as error:
                self._outdated = True
                if not isinstance(error, VanishedRowError) or attempt == _MOST_ROUNDS:
                    raise
        return Applied(*counts, tuple(refused.rows))

    def _write(self, waiting: str, refuse: Callable[[RejectedRow], None]) -> None:
        """Insert first, so that no stored row is locked while an insertion may wait; then lock, update and hide."""
        if self._outdated:
            for table in self._tables:
                self._execute_all(table.refresh_statements())
        for table in self._tables:
            self._insert(table, waiting, refuse)
        for table in self._tables:
            expected = self._number(table.count_updates())
            if expected and self._execute(table.keep_before(f"FOR UPDATE {waiting}")) != expected:
                raise VanishedRowError("a row that was deleted or renamed")
            if expected:
                self._execute(table.decide_after())
                self._isolated(table.update(), table.updates(), table.forget_update(), table.staged.rejected, refuse)
            if table.has_parent:
                self._execute(table.keep_hidden(f"FOR UPDATE {waiting}"))
                hide_rejected = partial(self._hide_rejected, table)
                self._isolated(table.hide(), table.hidings(), table.forget_hiding(), hide_rejected, refuse)

    def _insert(self, table: TableStatements, waiting: str, refuse: Callable[[RejectedRow], None]) -> None:
        if not self._number(table.count_insertions()):
            return
        # Nobody else can add a child to a parent that this transaction inserted, or delete the parent.
        if not table.has_parent or self._number(table.has_stored_parents()):
            if table.has_parent:
                self._execute_all(table.forget_orphans())
            if not self._mariadb:
                self._lock_what_insertions_need(table, waiting)
        statements = [table.insert(omitted) for omitted in table.staged.omissions(table.bound.defaulted)]

        def write(first: int, last: int) -> int:
            return self._write_rows(statements, first, last)

        def refused(number: int, reason: str) -> None:
            self._execute(table.refuse(), [[number]])
            refuse(table.staged.rejected(number, reason))

        try:
            write(*ALL_ROWS)
        except RowRefusedError:
            # A merchant may have inserted one of these keys: such a row exists now and is updated like any other.
            self._execute_all(table.adopt_existing())
            write_isolated(write, lambda: self._numbers(table.insertions()), refused)
        if table.has_children:
            self._execute(table.note_inserted_parents())

    def _lock_what_insertions_need(self, table: TableStatements, waiting: str) -> None:
        """Find out without waiting whether an INSERT would wait: on MySQL it does so for a second at least.

        A merchant who then saves a row that this sync holds would be the victim of a deadlock.
        """
        if table.has_parent:
            self._execute(table.lock_parents(waiting))
        may_hold_keys = self._number(table.holds_rows()) or self._rows(table.lock_any(waiting))
        if may_hold_keys and self._rows(table.lock_keys_to_insert(waiting)):
            self._execute_all(table.adopt_existing())

    def _isolated(
        self,
        statement: str,
        numbers: str,
        forget: str,
        rejected: Callable[[int, str], RejectedRow],
        refuse: Callable[[RejectedRow], None],
    ) -> None:
        def refused(number: int, reason: str) -> None:
            self._execute(forget, [number])
            refuse(rejected(number, reason))

        write_isolated(
            lambda first, last: self._write_rows([statement], first, last), lambda: self._numbers(numbers), refused
        )

    def _write_rows(self, statements: Sequence[str], first: int, last: int) -> int:
        """Write the rows of a range; returns how many. Raises `RowRefusedError` with none of them written."""
        self._execute("SAVEPOINT cata_rows")
        try:
            with self._connection.cursor() as cursor:
                return sum(cursor.execute(statement, [first, last]) for statement in statements)
        except (pymysql.MySQLError, OSError) as error:
            code = error.args[0] if error.args else None
            if code is None or code in _LOST_RACES or code in _NOT_A_ROW:
                raise self._translated(error) from error
            self._execute("ROLLBACK TO SAVEPOINT cata_rows")
            raise RowRefusedError(_first_line(error)) from error

    def changes(self) -> Iterator[pa.Table]:
        """Every change of the last `apply` or `planned`, table by table: updates, hidden children, insertions."""
        for table in self._tables:
            for rows in self._pages(table.updated_page()):
                if values := list(_changed_values(table.bound.written, rows)):
                    yield change_file.updated(table.staged, values)
            if table.has_parent:
                for rows in self._pages(table.hidden_page()):
                    yield change_file.hidden(table.staged, self._parent(table).staged, [row[1:] for row in rows])
            yield from self._lines.made(table.bound, table.staged, self._inserted(table))

    def _load_file(self, stage: str, rows: pa.Table) -> None:
        with tempfile.TemporaryFile() as file:
            write_load_file(rows, file)
            file.seek(0)
            with self._connection.sending(file) as name:
                loaded = self._execute(load_file_statement(stage, rows.column_names), [name])
        # LOCAL turns errors into warnings: a text that was cut must not go on as if it were the provider's. They are
        # counted even where the server keeps none of them.
        warnings = self._rows("SHOW WARNINGS LIMIT 1")
        warned = self._number("SHOW COUNT(*) WARNINGS")
        if warned or loaded != rows.num_rows:
            reason = (
                one_line(str(warnings[0][2])) if warnings else f"{loaded} of {rows.num_rows} rows, {warned} warnings"
            )
            raise DatabaseError(f"The tenant database did not load the staged rows as they are: {reason}.")

    def _counts(self) -> tuple[ItemCounts, ChildCounts]:
        items, *children = self._tables
        counts = ItemCounts(self._number(items.count_insertions()), *self._row(items.item_counts()))
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

    def _pages(self, statement: str) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Pages of rows of a statement that takes the last number seen, which is each row's first value."""
        last = 0
        while page := self._rows(statement, [last]):
            yield page
            last = page[-1][0]

    def _execute(self, statement: str | bytes, parameters: list[Any] | None = None) -> int:
        rowcount: int = self._run(statement, parameters, lambda cursor: cursor.rowcount)
        return rowcount

    def _execute_all(self, statements: Iterable[str]) -> None:
        for statement in statements:
            self._execute(statement)

    def _rows(self, statement: str, parameters: list[Any] | None = None) -> Sequence[tuple[Any, ...]]:
        rows: Sequence[tuple[Any, ...]] = self._run(statement, parameters, lambda cursor: cursor.fetchall())
        return rows

    def _row(self, statement: str) -> list[int]:
        return [int(number) for number in self._rows(statement)[0]]

    def _number(self, statement: str) -> int:
        return self._row(statement)[0]

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
    return one_line(text).rstrip(".")


def _storable(rows: pa.Table, bound: BoundTable) -> pa.Table:
    """The rows whose keys the tenant's columns can hold: no stored row can be named by any other."""
    for column in bound.keys:
        key, actual = column.column.source, column.actual
        if actual.max_characters is not None:
            rows = rows.filter(pc.less_equal(pc.utf8_length(rows[key]), actual.max_characters))
        if actual.basic_plane_only:
            rows = rows.filter(pc.invert(beyond_basic_plane(rows[key])))
        if column.column.kind is Kind.INTEGER and actual.highest is not None:
            numbers = pc.cast(rows[key], pa.decimal256(38))
            rows = rows.filter(pc.less_equal(numbers, pa.scalar(actual.highest, pa.decimal256(38))))
    return rows


def _changed_values(
    columns: Sequence[BoundColumn], rows: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[int, str, str | None, str | None]]:
    """Number, column, old and new value of what differs; a row is its number, all old and then all new values."""
    places = sorted(range(len(columns)), key=lambda place: columns[place].name)
    for number, *values in rows:
        for place in places:
            column, old, new = columns[place], values[place], values[len(columns) + place]
            if old != new:
                yield number, column.name, _text(column, old), _text(column, new)


def _text(column: BoundColumn, value: Any) -> str | None:
    if value is None:
        return None
    return ("true" if value else "false") if column.column.kind is Kind.BOOLEAN else str(value)
