"""A tenant's `items` in PostgreSQL: the work list, and the guarded write-back.

All SQL of the picture copy on a PostgreSQL tenant database lives here. Whose picture a row shows is decided by
`tenant_items.judge`, on the row as it is while locked.
"""

import json
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

from cata_pipeline.errors import DatabaseError
from cata_pipeline.images.tenant_items import PicturedItem, Verdict, WriteBack, judge

_log = logging.getLogger(__name__)

TRIES = 3
LOCK_SECONDS = 2.0
_LOCK_TIMEOUT = sa.text("SELECT set_config('lock_timeout', :milliseconds, true)")
_CONTENTION = frozenset({"40P01", "55P03"})  # deadlock, lock timeout
_FIRST_PAUSE = 0.2  # seconds; doubles, with jitter

_PICTURED = sa.text("""
    SELECT item_code, left(external_image_url, :url_characters) AS url, main_image_url
    FROM items
    WHERE external_image_url <> ''
    ORDER BY item_code COLLATE "C"
""")

_ROWS = """
    SELECT items.item_code, items.external_image_url, items.main_image_url
    FROM items
    JOIN jsonb_array_elements_text(CAST(:codes AS jsonb)) AS code ON items.item_code = code
"""
_READ = sa.text(_ROWS)
_READ_LOCKED = sa.text(_ROWS + ' ORDER BY items.item_code COLLATE "C" FOR NO KEY UPDATE OF items')

_WRITE = sa.text("""
    UPDATE items
    SET main_image_url = wish.path
    FROM jsonb_to_recordset(CAST(:wishes AS jsonb)) AS wish(item_code text, url text, shown text, path text)
    WHERE items.item_code = wish.item_code
      AND items.external_image_url = wish.url
      AND items.main_image_url IS NOT DISTINCT FROM wish.shown
    RETURNING items.item_code
""")

_Row = tuple[str | None, str | None]


class PostgresImages:
    """`TenantImages` on a PostgreSQL engine; `sleep` takes seconds, `lock_seconds` is the wait for one row."""

    def __init__(
        self, engine: sa.Engine, *, sleep: Callable[[float], None] = time.sleep, lock_seconds: float = LOCK_SECONDS
    ) -> None:
        self._engine = engine.execution_options(isolation_level="READ COMMITTED")
        self._sleep = sleep
        self._lock_timeout = {"milliseconds": f"{lock_seconds * 1000:.0f}"}

    def pictured(self, url_characters: int, page_items: int) -> Iterator[Sequence[PicturedItem]]:
        """See `TenantImages`; reads through a server-side cursor."""
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
                if attempt == TRIES or getattr(error.orig, "sqlstate", None) not in _CONTENTION:
                    raise _refused(f"write the paths of {len(wishes)} pictures", error) from error
                _log.info("rows of items are locked by another session; trying again (%d of %d)", attempt, TRIES)
            self._sleep(_FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311 jitter
        raise AssertionError("unreachable: the last try returns or raises")

    def _write_back(self, wishes: Mapping[str, WriteBack]) -> Mapping[str, Verdict]:
        with self._engine.begin() as connection:
            connection.execute(_LOCK_TIMEOUT, self._lock_timeout)
            seen = _judged(wishes, _rows(connection, _READ, wishes))
            hopeful = [code for code, verdict in seen.items() if verdict is Verdict.WRITTEN]
            if not hopeful:
                return seen
            locked = _rows(connection, _READ_LOCKED, hopeful)
            verdicts = seen | _judged({code: wishes[code] for code in hopeful}, locked)
            to_write = [code for code in hopeful if verdicts[code] is Verdict.WRITTEN]
            written = _write(connection, [wishes[code] for code in to_write], locked)
            return verdicts | dict.fromkeys(set(to_write) - written, Verdict.MOVED)


def _judged(wishes: Mapping[str, WriteBack], rows: Mapping[str, _Row]) -> dict[str, Verdict]:
    return {code: judge(wish, *rows.get(code, (None, None))) for code, wish in wishes.items()}


def _rows(
    connection: sa.Connection, statement: sa.TextClause, codes: Mapping[str, WriteBack] | list[str]
) -> dict[str, _Row]:
    found = connection.execute(statement, {"codes": json.dumps(list(codes))})
    return {code: (url, shown) for code, url, shown in found}


def _write(connection: sa.Connection, wishes: Sequence[WriteBack], locked: Mapping[str, _Row]) -> set[str]:
    if not wishes:
        return set()
    rows = [
        {"item_code": wish.item_code, "url": wish.url, "shown": locked[wish.item_code][1], "path": wish.path}
        for wish in wishes
    ]
    return set(connection.execute(_WRITE, {"wishes": json.dumps(rows)}).scalars())


def _refused(task: str, error: DBAPIError) -> DatabaseError:
    if getattr(error.orig, "sqlstate", None) in _CONTENTION:
        return DatabaseError(
            f"The tenant database did not let us {task}: other sessions held the rows in {TRIES} tries."
            " What was written stays; copy the pictures again later."
        )
    check = (
        "Check that it can be reached."
        if isinstance(error, OperationalError)
        else "Check its items table and our role's rights."
    )
    first_line = str(error.orig).strip().splitlines()[0].rstrip(".") if str(error.orig).strip() else "no message"
    return DatabaseError(f"The tenant database did not let us {task}: {first_line}. {check}")
