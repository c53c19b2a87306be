"""A tenant's `items` as the picture copy reads and writes them: the work list, and the guarded write-back.

All SQL of the picture copy on a tenant database lives here; what differs between engines is one `_Engine` each, which
is what a new one adds. Whose picture a row shows is decided by `tenant_items.judge`, on the row as it is while locked.
A server may find more codes than were asked for, as its collation has it; which of them is meant is decided here, byte
for byte.
"""

import logging
import random
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

from cata_pipeline.errors import DatabaseError
from cata_pipeline.foreign_text import one_line
from cata_pipeline.images.tenant_items import PicturedItem, Verdict, WriteBack, judge
from cata_pipeline.tenants.database_identity import DatabaseIdentity, Rows, find_identity, read_identity
from cata_pipeline.tenants.database_owners import TenantClaim
from cata_pipeline.tenants.mapping import SAME_NAMES, SchemaMapping

_log = logging.getLogger(__name__)

TRIES = 10
_PAUSE_SECONDS = 0.5  # with jitter
_COLUMNS = ("item_code", "external_image_url", "main_image_url")

_Row = tuple[str | None, str | None]


@dataclass(frozen=True)
class _Engine:
    """What an engine says in its own way.

    `exact` makes a text compare and sort by its bytes, as the keys that `spelled` makes of codes. `settings` are
    for a transaction that writes; `contention` holds the driver's codes of deadlocks and timed out locks.
    """

    exact: Callable[[sa.ColumnElement[Any]], sa.ColumnElement[Any]]
    spelled: Callable[[str], bytes | str]
    settings: sa.TextClause
    contention: frozenset[object]
    code_of: Callable[[BaseException], object]


_ENGINES = {
    "postgresql": _Engine(
        exact=lambda code: sa.cast(code, sa.Text).collate("C"),
        spelled=str,
        settings=sa.text("SET LOCAL lock_timeout = '2s'"),
        contention=frozenset({"40P01", "55P03"}),
        code_of=lambda error: getattr(error, "sqlstate", None),
    ),
    "mysql": _Engine(
        exact=lambda code: sa.cast(code, sa.LargeBinary),
        spelled=str.encode,
        settings=sa.text("SET SESSION lock_wait_timeout = 2, innodb_lock_wait_timeout = 2"),
        contention=frozenset({1205, 1213}),
        code_of=lambda error: error.args[0] if error.args else None,
    ),
}


class TenantImages:
    """A tenant's `items`, as far as pictures go; every method may raise `DatabaseError`.

    `engine` is one of PostgreSQL, MySQL 8 or MariaDB 10.6+; `mapping` says what it calls our tables and columns;
    `owner` knows whose the table is; `sleep` takes seconds.
    """

    def __init__(
        self,
        engine: sa.Engine,
        mapping: SchemaMapping = SAME_NAMES,
        *,
        owner: TenantClaim | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if engine.dialect.name not in _ENGINES:
            raise DatabaseError(
                f"Pictures can be copied for tenants on PostgreSQL, MySQL and MariaDB; this is {engine.dialect.name}."
            )
        self._own = _ENGINES[engine.dialect.name]
        self._engine = engine.execution_options(isolation_level="READ COMMITTED", postgresql_readonly=False)
        self._owner = owner
        self._sleep = sleep
        columns: list[sa.ColumnClause[Any]] = [sa.column(mapping.column("items", name)) for name in _COLUMNS]
        self._items = sa.table(mapping.table("items"), *columns)
        self._code, self._url, self._shown = columns
        self._exact_code = self._own.exact(self._code)

    def identity(self) -> DatabaseIdentity:
        """Which table of which server this really is."""
        try:
            with self._engine.connect() as connection:
                return read_identity(*self._table_at(connection))
        except DBAPIError as error:
            raise self._refused("identify its server", error) from error

    def pictured(self, url_characters: int, page_items: int) -> Iterator[Sequence[PicturedItem]]:
        """All items with a non-empty `external_image_url`, in pages, by the bytes of their codes.

        Of a longer URL only the first `url_characters` come: it is refused anyway, and pictures written out as
        `data:` URLs would fill the memory.
        """
        statement = (
            sa.select(self._code, sa.func.left(self._url, url_characters), self._shown)
            # Not <> '': most collations of MySQL call a text of spaces empty.
            .where(sa.func.length(self._url) > 0, self._code.is_not(None))
            .order_by(self._exact_code)
        )
        try:
            with self._engine.connect() as connection:
                # Where there is no table, the statement below says so.
                if self._owner and (identity := find_identity(*self._table_at(connection))):
                    self._owner.verify(identity)
                rows = connection.execute(statement, execution_options={"yield_per": page_items})
                for page in rows.partitions(page_items):
                    items = [PicturedItem(*row) for row in page]
                    yield [item for item in items if _is_recordable(item.item_code)]
        except DBAPIError as error:
            raise self._refused("read the pictures of items", error) from error

    def shown_paths(self, prefix: str, page_items: int) -> Generator[str, None, None]:
        """Every `main_image_url` below a prefix, in the order of its bytes; one that several rows show comes as often.

        Whoever chose the picture, and whether or not the provider names one. Close it where it is not read to its end.
        """
        # The collation may find more than is below the prefix; what is, is decided here.
        statement = (
            sa.select(self._shown)
            .where(sa.func.left(self._shown, len(prefix)) == prefix)
            .order_by(self._own.exact(self._shown))
        )
        try:
            with (
                self._engine.connect() as connection,
                connection.execute(statement, execution_options={"yield_per": page_items}) as rows,
            ):
                yield from (path for path in rows.scalars() if path.startswith(prefix))
        except DBAPIError as error:
            raise self._refused("read which pictures items show", error) from error

    def write_back(self, wishes: Sequence[WriteBack]) -> Mapping[str, Verdict]:
        """Point `main_image_url` at our copies where `judge` says so; one verdict an item code.

        Rows that need no change are neither locked nor written. A row that another session holds is never waited for
        (that could make a merchant the victim of a deadlock): it is tried again, `TRIES` times in all, each time in a
        transaction of its own, and then `BUSY`.
        """
        verdicts: dict[str, Verdict] = {}
        waiting = {wish.item_code: wish for wish in wishes}
        for attempt in range(1, TRIES + 1):
            verdicts |= self._write_free(waiting)
            waiting = {code: wish for code, wish in waiting.items() if verdicts[code] is Verdict.BUSY}
            if not waiting or attempt == TRIES:
                break
            _log.info("%d rows of items are locked by others; try %d of %d", len(waiting), attempt, TRIES)
            self._sleep(_PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 jitter
        return verdicts

    def _write_free(self, wishes: Mapping[str, WriteBack]) -> dict[str, Verdict]:
        try:
            with self._engine.begin() as connection:
                connection.execute(self._own.settings)
                if self._owner:
                    self._owner.claim(read_identity(*self._table_at(connection)))
                verdicts = _judged(wishes, self._rows(connection, wishes))
                hopeful = {code: wishes[code] for code, verdict in verdicts.items() if verdict is Verdict.WRITTEN}
                free = self._rows(connection, hopeful, lock=True)
                verdicts |= dict.fromkeys(hopeful, Verdict.BUSY)
                verdicts |= _judged({code: hopeful[code] for code in free if code in hopeful}, free)
                self._write(
                    connection, [wish for wish in hopeful.values() if verdicts[wish.item_code] is Verdict.WRITTEN]
                )
                return verdicts
        except DBAPIError as error:
            if error.orig is None or self._own.code_of(error.orig) not in self._own.contention:
                raise self._refused(f"write the paths of {len(wishes)} pictures", error) from error
            return dict.fromkeys(wishes, Verdict.BUSY)

    def _table_at(self, connection: sa.Connection) -> tuple[Rows, str, str]:
        """What its identity is read from."""

        def rows(statement: str, parameters: list[Any]) -> Sequence[Any]:
            return connection.exec_driver_sql(statement, tuple(parameters)).all()

        return rows, self._engine.dialect.name, self._items.name

    def _rows(self, connection: sa.Connection, codes: Collection[str], *, lock: bool = False) -> dict[str, _Row]:
        """URL and picture of the rows that the codes find; with `lock`, of those that nobody else holds."""
        if not codes:
            return {}
        statement = sa.select(self._items).where(self._code.in_(list(codes))).order_by(self._code)
        if lock:
            # No key is written, so on PostgreSQL a merchant's insert that refers to the row is not in the way.
            statement = statement.with_for_update(key_share=True, skip_locked=True)
        return {code: (url, shown) for code, url, shown in connection.execute(statement)}

    def _write(self, connection: sa.Connection, wishes: Sequence[WriteBack]) -> None:
        """Write to rows that were judged while locked, by one statement."""
        if not wishes:
            return
        paths = {self._own.spelled(wish.item_code): wish.path for wish in wishes}
        path = sa.case(paths, value=self._exact_code, else_=self._shown)
        codes = [wish.item_code for wish in wishes]
        connection.execute(sa.update(self._items).where(self._code.in_(codes)).values({self._shown.name: path}))

    def _refused(self, task: str, error: DBAPIError) -> DatabaseError:
        check = (
            "Check that it can be reached."
            if isinstance(error, OperationalError)
            else "Check its items table and our role's rights."
        )
        told = str(error.orig.args[-1]).strip() if error.orig and error.orig.args else ""
        reason = one_line(told.partition("\n")[0]).rstrip(".") or "no message"
        return DatabaseError(f"The tenant database did not let us {task}: {reason}. {check}")


def _is_recordable(code: str) -> bool:
    """Whether the ledger, which is on PostgreSQL, can name the item: only a hand in MySQL makes a code it cannot."""
    if "\x00" in code:
        _log.warning("The item %r keeps its picture as it is: a code with a NUL character cannot be on record", code)
        return False
    return True


def _judged(wishes: Mapping[str, WriteBack], rows: Mapping[str, _Row]) -> dict[str, Verdict]:
    return {code: judge(wish, *rows.get(code, (None, None))) for code, wish in wishes.items()}
