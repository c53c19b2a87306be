"""A tenant's `items` in MySQL or MariaDB: the work list, and the guarded write-back.

All SQL of the picture copy on such a tenant database lives here. Whose picture a row shows is decided by
`tenant_items.judge`, on the row as it is while locked. The server finds codes under its collation; which of the rows
it found is meant is decided here, by looking the code up byte for byte.
"""

import logging
import math
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

from cata_pipeline.errors import DatabaseError
from cata_pipeline.images.tenant_items import PicturedItem, Verdict, WriteBack, judge

_log = logging.getLogger(__name__)

TRIES = 3
LOCK_SECONDS = 2.0
_LOCK_TIMEOUT = sa.text("SET SESSION innodb_lock_wait_timeout = :seconds")
_CONTENTION = frozenset({1205, 1213})  # lock timeout, deadlock
_FIRST_PAUSE = 0.2  # seconds; doubles, with jitter

_ITEMS = sa.table("items", sa.column("item_code"), sa.column("external_image_url"), sa.column("main_image_url"))
_CODE_BYTES = sa.cast(_ITEMS.c.item_code, sa.LargeBinary)
# Not <> '': most collations call a text of spaces empty.
_PICTURED = sa.text("""
    SELECT item_code, LEFT(external_image_url, :url_characters) AS url, main_image_url
    FROM items
    WHERE LENGTH(external_image_url) > 0 AND item_code IS NOT NULL
    ORDER BY CAST(item_code AS BINARY)
""")

_Row = tuple[str | None, str | None]


class MysqlImages:
    """`TenantImages` on a MySQL or MariaDB engine; `sleep` takes seconds, `lock_seconds` is the wait for one row.

    The servers wait whole seconds, at least one.
    """

    def __init__(
        self, engine: sa.Engine, *, sleep: Callable[[float], None] = time.sleep, lock_seconds: float = LOCK_SECONDS
    ) -> None:
        self._engine = engine.execution_options(isolation_level="READ COMMITTED")
        self._sleep = sleep
        self._lock_timeout = {"seconds": max(1, math.ceil(lock_seconds))}

    def pictured(self, url_characters: int, page_items: int) -> Iterator[Sequence[PicturedItem]]:
        """See `TenantImages`; reads through a cursor that leaves the rows on the server."""
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(
                    _PICTURED, {"url_characters": url_characters}, execution_options={"yield_per": page_items}
                )
                for page in rows.partitions(page_items):
                    yield [PicturedItem(*row) for row in page]
        except DBAPIError as error:
            raise _refused("read the pictures of items", error) from error

    def write_back(self, wishes: Sequence[WriteBack]) -> Mapping[str, Verdict]:
        """See `TenantImages`; repeats on deadlock and lock timeout, `TRIES` times in all."""
        for attempt in range(1, TRIES + 1):
            try:
                return self._write_back({wish.item_code: wish for wish in wishes})
            except DBAPIError as error:
                if attempt == TRIES or _code(error) not in _CONTENTION:
                    raise _refused(f"write the paths of {len(wishes)} pictures", error) from error
                _log.info("rows of items are locked by another session; trying again (%d of %d)", attempt, TRIES)
            self._sleep(_FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311 jitter
        raise AssertionError("unreachable: the last try returns or raises")

    def _write_back(self, wishes: Mapping[str, WriteBack]) -> Mapping[str, Verdict]:
        with self._engine.begin() as connection:
            connection.execute(_LOCK_TIMEOUT, self._lock_timeout)
            seen = _judged(wishes, _rows(connection, wishes, lock=False))
            hopeful = {code: wishes[code] for code, verdict in seen.items() if verdict is Verdict.WRITTEN}
            if not hopeful:
                return seen
            verdicts = seen | _judged(hopeful, _rows(connection, hopeful, lock=True))
            _write(connection, [wish for code, wish in hopeful.items() if verdicts[code] is Verdict.WRITTEN])
            return verdicts


def _judged(wishes: Mapping[str, WriteBack], rows: Mapping[str, _Row]) -> dict[str, Verdict]:
    return {code: judge(wish, *rows.get(code, (None, None))) for code, wish in wishes.items()}


def _rows(connection: sa.Connection, codes: Collection[str], *, lock: bool) -> dict[str, _Row]:
    statement = sa.select(_ITEMS).where(_ITEMS.c.item_code.in_(list(codes))).order_by(_ITEMS.c.item_code)
    if lock:
        statement = statement.with_for_update()
    return {code: (url, shown) for code, url, shown in connection.execute(statement)}


def _write(connection: sa.Connection, wishes: Sequence[WriteBack]) -> None:
    """Write to rows that were judged while locked, by one statement."""
    if not wishes:
        return
    paths = {wish.item_code.encode(): wish.path for wish in wishes}
    path = sa.case(paths, value=_CODE_BYTES, else_=_ITEMS.c.main_image_url)
    codes = [wish.item_code for wish in wishes]
    connection.execute(sa.update(_ITEMS).where(_ITEMS.c.item_code.in_(codes)).values(main_image_url=path))


def _code(error: DBAPIError) -> object:
    return error.orig.args[0] if error.orig and error.orig.args else None


def _refused(task: str, error: DBAPIError) -> DatabaseError:
    if _code(error) in _CONTENTION:
        return DatabaseError(
            f"The tenant database did not let us {task}: other sessions held the rows in {TRIES} tries."
            " What was written stays; copy the pictures again later."
        )
    check = (
        "Check that it can be reached."
        if isinstance(error, OperationalError)
        else "Check its items table and our role's rights."
    )
    told = str(error.orig.args[-1]).strip() if error.orig and error.orig.args else ""
    first_line = told.splitlines()[0].rstrip(".") if told else "no message"
    return DatabaseError(f"The tenant database did not let us {task}: {first_line}. {check}")
