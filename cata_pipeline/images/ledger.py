"""The picture copy's memory in the control database: what each URL gave, and which paths are ours.

A path is recorded for its item before any row shows it, and is never forgotten: that is how our copies are told from
the pictures of the tenant's own people. All SQL on `image_urls` and `image_paths` that the copy needs lives here.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa

from cata_pipeline.images.due import LedgerEntry
from cata_pipeline.images.validators import Validators

_ENTRIES = sa.text("""
    SELECT url_sha256, path, etag, last_modified, checked_at, failures, failure, failing_since, next_try_at
    FROM image_urls
    WHERE tenant_id = :tenant
      AND url_sha256 IN (SELECT decode(key, 'hex') FROM jsonb_array_elements_text(CAST(:keys AS jsonb)) AS key)
""")

_OURS = sa.text("""
    SELECT item_code, path
    FROM image_paths
    WHERE tenant_id = :tenant
      AND item_code IN (SELECT code FROM jsonb_array_elements_text(CAST(:codes AS jsonb)) AS code)
""")

_RECORD = sa.text("""
    INSERT INTO image_paths (tenant_id, item_code, path)
    SELECT :tenant, item_code, path
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS known(item_code text, path text)
    ORDER BY item_code, path
    ON CONFLICT DO NOTHING
""")

_SETTLE = sa.text("""
    INSERT INTO image_urls (tenant_id, url_sha256, url, path, etag, last_modified, checked_at,
                            failures, failure, failing_since, next_try_at)
    SELECT :tenant, decode(key, 'hex'), url, path, etag, last_modified, checked_at,
           failures, failure, failing_since, next_try_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS settled(
        key text, url text, path text, etag text, last_modified text, checked_at timestamptz,
        failures integer, failure text, failing_since timestamptz, next_try_at timestamptz)
    ORDER BY key
    ON CONFLICT (tenant_id, url_sha256) DO UPDATE SET
        path = excluded.path, etag = excluded.etag, last_modified = excluded.last_modified,
        checked_at = excluded.checked_at, failures = excluded.failures, failure = excluded.failure,
        failing_since = excluded.failing_since, next_try_at = excluded.next_try_at
""")


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

    def ours(self, item_codes: Collection[str]) -> Mapping[str, frozenset[str]]:
        """Every path ever recorded for each of these items; an item without any is absent."""
        if not item_codes:
            return {}
        with self._engine.connect() as connection:
            return self._ours(connection, item_codes)

    def record(self, paths: Sequence[tuple[str, str]]) -> Mapping[str, frozenset[str]]:
        """Remember (item code, path) pairs as ours, in one transaction; returns all paths of these items."""
        rows = [{"item_code": item_code, "path": path} for item_code, path in paths]
        with self._engine.begin() as connection:
            connection.execute(_RECORD, {"tenant": self._tenant, "rows": json.dumps(rows)})
            return self._ours(connection, {item_code for item_code, _ in paths})

    def settle(self, entries: Mapping[str, LedgerEntry]) -> None:
        """Write what each URL's try came to, in one transaction."""
        rows = [_row(url, entry) for url, entry in entries.items()]
        with self._engine.begin() as connection:
            connection.execute(_SETTLE, {"tenant": self._tenant, "rows": json.dumps(rows, default=str)})

    def _ours(self, connection: sa.Connection, item_codes: Collection[str]) -> Mapping[str, frozenset[str]]:
        paths: dict[str, set[str]] = defaultdict(set)
        rows = connection.execute(_OURS, {"tenant": self._tenant, "codes": json.dumps(list(item_codes))})
        for item_code, path in rows:
            paths[item_code].add(path)
        return {item_code: frozenset(found) for item_code, found in paths.items()}


def _key(url: str) -> str:
    return hashlib.sha256(url.encode(errors="surrogatepass")).hexdigest()


def _row(url: str, entry: LedgerEntry) -> dict[str, object]:
    return {
        "key": _key(url),
        # Only for people to read, so it may be changed where PostgreSQL takes no such text.
        "url": url.encode(errors="backslashreplace").decode().replace("\x00", "\\x00"),
        "path": entry.path,
        "etag": entry.validators.etag,
        "last_modified": entry.validators.last_modified,
        "checked_at": entry.checked_at,
        "failures": entry.failures,
        "failure": entry.failure,
        "failing_since": entry.failing_since,
        "next_try_at": entry.next_try_at,
    }
