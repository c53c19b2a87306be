"""The ledger of a tenant's URLs, in the control database: what each URL gave, and when it is fetched again.

Which paths of an item are managed is `image_paths.py`. All SQL on `image_urls` that this package needs lives here.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from cata_pipeline.images.due import LedgerEntry, is_confirmed
from cata_pipeline.images.tenant_items import PicturedItem
from cata_pipeline.images.validators import Validators

_ENTRIES = sa.text("""
    SELECT url_sha256, path, etag, last_modified, checked_at, failures, failure, failing_since, next_try_at
    FROM image_urls
    WHERE tenant_id = :tenant
      AND url_sha256 IN (SELECT decode(key, 'hex') FROM jsonb_array_elements_text(CAST(:keys AS jsonb)) AS key)
""")

_SETTLE = sa.text("""
    INSERT INTO image_urls (tenant_id, url_sha256, url, path, etag, last_modified, checked_at,
                            failures, failure, failing_since, next_try_at, item_code, items)
    SELECT :tenant, decode(key, 'hex'), url, path, etag, last_modified, checked_at,
           failures, failure, failing_since, next_try_at, item_code, items
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS settled(
        key text, url text, path text, etag text, last_modified text, checked_at timestamptz,
        failures integer, failure text, failing_since timestamptz, next_try_at timestamptz,
        item_code text, items integer)
    ORDER BY key
    ON CONFLICT (tenant_id, url_sha256) DO UPDATE SET
        path = excluded.path, etag = excluded.etag, last_modified = excluded.last_modified,
        checked_at = excluded.checked_at, failures = excluded.failures, failure = excluded.failure,
        failing_since = excluded.failing_since, next_try_at = excluded.next_try_at,
        item_code = excluded.item_code, items = excluded.items
""")

_CONFIRM = sa.text("""
    UPDATE image_urls
    SET checked_at = :checked_at
    WHERE tenant_id = :tenant
      AND url_sha256 IN (SELECT decode(key, 'hex') FROM jsonb_array_elements_text(CAST(:keys AS jsonb)) AS key)
""")

_FORGET_FAILURES = sa.text("""
    UPDATE image_urls
    SET failures = 0, failure = NULL, failing_since = NULL, next_try_at = NULL
    WHERE tenant_id = :tenant AND failure IS NOT NULL AND next_try_at <= :due_at
      AND url_sha256 NOT IN (SELECT decode(key, 'hex') FROM jsonb_array_elements_text(CAST(:deferred AS jsonb)) AS key)
""")


@dataclass(frozen=True, slots=True)
class SettledUrl:
    """A URL whose try is over, what the ledger said and is to say of it, and the items that share it (at least one)."""

    url: str
    former: LedgerEntry
    entry: LedgerEntry
    items: Sequence[PicturedItem]

    @property
    def is_new(self) -> bool:
        """Whether the host gave another picture than the ledger had for this URL."""
        return self.entry.failure is None and self.entry.path != self.former.path

    @property
    def is_confirmed(self) -> bool:
        """Whether all that the ledger says stays as it is, but for the time."""
        return is_confirmed(self.former, self.entry)


class Ledger:
    """One tenant's part of the ledger; used by one thread at a time."""

    def __init__(self, engine: sa.Engine, tenant_id: str) -> None:
        self._engine = engine
        self._tenant = tenant_id

    def entries(self, urls: Collection[str]) -> dict[str, LedgerEntry]:
        """What is known of these URLs; one never seen is absent."""
        urls_by_key = {_key(url): url for url in urls}
        with self._engine.connect() as connection:
            rows = connection.execute(_ENTRIES, {"tenant": self._tenant, "keys": json.dumps(list(urls_by_key))})
            return {
                urls_by_key[row.url_sha256.hex()]: LedgerEntry(
                    row.path,
                    Validators(row.etag, row.last_modified),
                    row.checked_at,
                    row.failures,
                    row.failure,
                    row.failing_since,
                    row.next_try_at,
                )
                for row in rows
            }

    def settle(self, urls: Sequence[SettledUrl]) -> None:
        """Write what each URL's try came to, in one transaction; of confirmed ones only the time, the earliest."""
        rows = [_row(settled) for settled in urls if not settled.is_confirmed]
        confirmed = [settled for settled in urls if settled.is_confirmed]
        with self._engine.begin() as connection:
            if rows:
                connection.execute(_SETTLE, {"tenant": self._tenant, "rows": json.dumps(rows, default=str)})
            if confirmed:
                keys = json.dumps([_key(settled.url) for settled in confirmed])
                checked_at = min(settled.entry.checked_at for settled in confirmed if settled.entry.checked_at)
                connection.execute(_CONFIRM, {"tenant": self._tenant, "keys": keys, "checked_at": checked_at})

    def forget_failures(self, due_at: datetime, deferred: Collection[str] = ()) -> None:
        """Forget the failures of URLs that were due at that time and are so still, though they were not deferred.

        No item has such a URL any more, so nobody would ever try it again, and it would be told as failing for ever.
        """
        with self._engine.begin() as connection:
            keys = json.dumps([_key(url) for url in deferred])
            connection.execute(_FORGET_FAILURES, {"tenant": self._tenant, "due_at": due_at, "deferred": keys})


def _key(url: str) -> str:
    return hashlib.sha256(url.encode(errors="surrogatepass")).hexdigest()


def _row(settled: SettledUrl) -> dict[str, object]:
    entry = settled.entry
    return {
        "key": _key(settled.url),
        "url": _legible(settled.url),
        "item_code": _legible(settled.items[0].item_code),
        "items": len(settled.items),
        "path": entry.path,
        "etag": entry.validators.etag,
        "last_modified": entry.validators.last_modified,
        "checked_at": entry.checked_at,
        "failures": entry.failures,
        "failure": entry.failure,
        "failing_since": entry.failing_since,
        "next_try_at": entry.next_try_at,
    }


def _legible(text: str) -> str:
    """A text that is only for people to read, changed where PostgreSQL takes no such text."""
    return text.encode(errors="backslashreplace").decode().replace("\x00", "\\x00")
