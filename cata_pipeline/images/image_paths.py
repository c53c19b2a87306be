"""The paths computed for each item, in the control database, and which of them are managed.

Managed are the path that a copy wrote last, and unsettled paths: those recorded before a write-back whose outcome is
unknown. The ownership rule replaces only managed paths; any other path in a row is a choice of the tenant's own people,
former copies included. Former paths are kept for the report on unreferenced objects. All SQL on `image_paths` that this
package needs lives here.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

_UNSETTLED = "unsettled"

_MANAGED = sa.text("""
    SELECT item_code, path, state
    FROM image_paths
    WHERE tenant_id = :tenant AND state <> 'former'
      AND item_code IN (SELECT code FROM jsonb_array_elements_text(CAST(:codes AS jsonb)) AS code)
""")

_RECORD = sa.text("""
    INSERT INTO image_paths (tenant_id, item_code, path, state)
    SELECT :tenant, item_code, path, CASE WHEN is_written THEN 'unsettled' ELSE 'former' END
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS known(item_code text, path text, is_written boolean)
    ORDER BY item_code, path
    ON CONFLICT (tenant_id, item_code, path) DO UPDATE SET state = 'unsettled'
    WHERE image_paths.state = 'former' AND excluded.state = 'unsettled'
""")

# `current`: it was written, so every other path is former. `discarded`: it was not written, and was not managed before.
# Neither: the row shows a path that is not managed, so no write-back of ours can be outstanding.
_SETTLE = sa.text("""
    UPDATE image_paths AS known
    SET state = CASE WHEN known.path = outcome.current THEN 'current' ELSE 'former' END
    FROM jsonb_to_recordset(CAST(:outcomes AS jsonb)) AS outcome(item_code text, current text, discarded text)
    WHERE known.tenant_id = :tenant AND known.item_code = outcome.item_code
      AND CASE
            WHEN outcome.current IS NOT NULL
            THEN known.state <> CASE WHEN known.path = outcome.current THEN 'current' ELSE 'former' END
            ELSE known.state = 'unsettled' AND known.path = coalesce(outcome.discarded, known.path)
          END
""")

_NEWEST = sa.text("""
    SELECT item_code, path
    FROM (
        SELECT DISTINCT ON (path) item_code, path, recorded_at
        FROM image_paths
        WHERE tenant_id = :tenant
        ORDER BY path, recorded_at DESC, item_code
    ) AS latest
    ORDER BY recorded_at DESC, item_code
    LIMIT :limit
""")

_PATHS = sa.text("""
    SELECT DISTINCT path COLLATE "C" AS path
    FROM image_paths
    WHERE tenant_id = :tenant
    ORDER BY 1
""")


@dataclass(frozen=True, slots=True)
class ComputedPath:
    """The path of an item's copy; `is_written`: a write-back is about to be attempted."""

    item_code: str
    path: str
    is_written: bool


@dataclass(frozen=True, slots=True)
class Managed:
    """An item's managed paths; `unsettled` are those among `paths` whose write-back has an unknown outcome."""

    paths: frozenset[str] = frozenset()
    unsettled: frozenset[str] = frozenset()


NOT_MANAGED = Managed()


@dataclass(frozen=True, slots=True)
class PathOutcome:
    """What a write-back proved about an item's paths; at most one of the two is set.

    `current`: the row shows this path, written by a copy. `discarded`: this path was not written, and nothing else is
    known of the row. Neither: the row shows a path that is not managed.
    """

    item_code: str
    current: str | None = None
    discarded: str | None = None


class ImagePaths:
    """One tenant's paths; used by one thread at a time."""

    def __init__(self, engine: sa.Engine, tenant_id: str) -> None:
        self._engine = engine
        self._tenant = tenant_id

    def managed(self, item_codes: Collection[str]) -> Mapping[str, Managed]:
        """Return the managed paths of these items; an item without any is absent."""
        if not item_codes:
            return {}
        with self._engine.connect() as connection:
            return self._managed(connection, item_codes)

    def record(self, computed: Sequence[ComputedPath]) -> Mapping[str, Managed]:
        """Record paths before their write-back, in one transaction; return what was managed before it."""
        rows = [asdict(path) for path in computed]
        with self._engine.begin() as connection:
            managed = self._managed(connection, {path.item_code for path in computed})
            connection.execute(_RECORD, {"tenant": self._tenant, "rows": json.dumps(rows)})
            return managed

    def settle(self, outcomes: Sequence[PathOutcome]) -> None:
        """Record which paths were written, after their write-back, in one transaction."""
        if not outcomes:
            return
        rows = [asdict(outcome) for outcome in outcomes]
        with self._engine.begin() as connection:
            connection.execute(_SETTLE, {"tenant": self._tenant, "outcomes": json.dumps(rows)})

    def all(self, page_items: int) -> Generator[str, None, None]:
        """Every path ever recorded for any item, in the order of bytes; close it where it is not read to its end."""
        with (
            self._engine.connect() as connection,
            connection.execute(_PATHS, {"tenant": self._tenant}, execution_options={"yield_per": page_items}) as rows,
        ):
            yield from rows.scalars()

    def newest(self, limit: int) -> list[tuple[str, str]]:
        """Return the paths recorded last, the newest first, each with one of its item codes."""
        with self._engine.connect() as connection:
            rows = connection.execute(_NEWEST, {"tenant": self._tenant, "limit": limit})
            return [(item_code, path) for item_code, path in rows]

    def _managed(self, connection: sa.Connection, item_codes: Collection[str]) -> Mapping[str, Managed]:
        states: dict[str, dict[str, str]] = defaultdict(dict)
        rows = connection.execute(_MANAGED, {"tenant": self._tenant, "codes": json.dumps(list(item_codes))})
        for item_code, path, state in rows:
            states[item_code][path] = state
        return {
            item_code: Managed(
                frozenset(found), frozenset(path for path, state in found.items() if state == _UNSETTLED)
            )
            for item_code, found in states.items()
        }
