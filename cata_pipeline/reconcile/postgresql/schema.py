"""Reads what a PostgreSQL tenant database really offers: columns, their types and limits, and unique keys.

Whether that is enough is judged in `contract`.
"""

from collections.abc import Callable, Collection
from typing import Any

from cata_pipeline.reconcile.contract import ActualColumn, ActualTable

_COLUMNS = """
WITH RECURSIVE base AS (
    SELECT a.attrelid, a.attnum, a.atttypid AS type, a.atttypmod AS modifier
    FROM pg_attribute a
    WHERE a.attrelid = ANY (%s::regclass[]) AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.attrelid, b.attnum, t.typbasetype, CASE WHEN b.modifier = -1 THEN t.typtypmod ELSE b.modifier END
    FROM base b JOIN pg_type t ON t.oid = b.type
    WHERE t.typtype = 'd'
)
SELECT c.relname, a.attname, format_type(b.type, b.modifier), NOT a.attnotnull,
       a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '',
       CASE WHEN b.type IN ('varchar'::regtype, 'bpchar'::regtype) AND b.modifier > 4 THEN b.modifier - 4 END,
       CASE WHEN b.type = 'numeric'::regtype AND b.modifier > 4
            THEN power(10, ((b.modifier - 4) >> 16) - ((b.modifier - 4) & 2047))::float8 END,
       b.type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype),
       (SELECT array_agg(e.enumlabel::text) FROM pg_enum e WHERE e.enumtypid = b.type),
       CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
       CASE WHEN t.typname = 'citext' THEN '({} COLLATE "default")::' || format_type(b.type, NULL)
            WHEN NOT l.collisdeterministic
            THEN '{} COLLATE ' || quote_ident(n.nspname) || '.' || quote_ident(l.collname)
       END
FROM base b
JOIN pg_type t ON t.oid = b.type AND t.typtype <> 'd'
JOIN pg_class c ON c.oid = b.attrelid
JOIN pg_attribute a ON a.attrelid = b.attrelid AND a.attnum = b.attnum
LEFT JOIN pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_namespace n ON n.oid = l.collnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
"""

# Columns that an index merely includes are no part of its key, and a deferred check is no check for a sync.
_UNIQUE_KEYS = """
SELECT c.relname, array_agg(a.attname::text)
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid
CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, place)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
WHERE c.oid = ANY (%s::regclass[]) AND i.indisunique AND i.indimmediate AND i.indisvalid
  AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts
GROUP BY i.indexrelid, c.relname
"""


def read_schema(
    rows: Callable[[str, list[Any]], list[tuple[Any, ...]]], names: Collection[str]
) -> dict[str, ActualTable]:
    """Return the tables of these names that exist on the search path; `rows` executes a statement."""
    present = rows(
        "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(quote_ident(name)) IS NOT NULL",
        [list(names)],
    )
    found = [f'"{name}"' for (name,) in present]
    columns: dict[str, dict[str, ActualColumn]] = {}
    for table, name, *described in rows(_COLUMNS, [found]):
        columns.setdefault(table, {})[name] = _actual_column(*described)
    keys: dict[str, set[frozenset[str]]] = {}
    for table, members in rows(_UNIQUE_KEYS, [found]):
        keys.setdefault(table, set()).add(frozenset(members))
    return {name: ActualTable(found, frozenset(keys.get(name, ()))) for name, found in columns.items()}


def _actual_column(  # noqa: PLR0913, PLR0917 the columns of _COLUMNS, in their order
    kind: str,
    nullable: bool,  # noqa: FBT001
    fills_itself: bool,  # noqa: FBT001
    characters: int | None,
    magnitude: float | None,
    whole: bool,  # noqa: FBT001
    labels: list[str] | None,
    default: str | None,
    equality: str | None,
) -> ActualColumn:
    return ActualColumn(
        type=kind,
        nullable=nullable,
        fills_itself=fills_itself,
        max_characters=characters,
        max_magnitude=magnitude,
        whole=whole,
        labels=frozenset(labels) if labels else None,
        default=default,
        equality=equality,
    )
