"""Reads what a PostgreSQL tenant database really offers: tables, columns, their types and limits, and unique keys.

Whether that is enough is judged in `contract`; what our account may do beside reading and writing columns, in
`privileges`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from cata_pipeline.reconcile.column_types import Family, decimal_range, integer_range
from cata_pipeline.reconcile.contract import ActualColumn, ActualTable
from cata_pipeline.reconcile.postgresql.privileges import WHOLE_DATABASE, missing_privileges, unreachable_tables

_FAMILIES = {
    "text": Family.TEXT,
    "varchar": Family.TEXT,
    "citext": Family.TEXT,
    "bpchar": Family.FIXED_TEXT,
    "enum": Family.ENUM,
    "bool": Family.BOOLEAN,
    "int2": Family.INTEGER,
    "int4": Family.INTEGER,
    "int8": Family.INTEGER,
    "numeric": Family.DECIMAL,
    "float4": Family.ROUNDED,
    "float8": Family.DOUBLE,
    "json": Family.JSON,
    "jsonb": Family.JSON,
    "uuid": Family.UUID,
}
_INTEGER_BITS = {"int2": 16, "int4": 32, "int8": 64}
_MODIFIER_OFFSET = 4
"""What PostgreSQL adds to a type's length or precision, to tell it from none (-1)."""

_RELATIONS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
    "I": "an index",
    "c": "a composite type",
}
_TABLES = """
SELECT name, c.oid, c.relkind, c.relpersistence = 't', format('%%I.%%I TO %%I', n.nspname, c.relname, current_user),
       ARRAY(SELECT r.rulename::text FROM pg_rewrite r
             WHERE r.ev_class = c.oid AND r.ev_type IN ('2', '3') AND r.ev_enabled <> 'D' ORDER BY 1)
FROM unnest(%s::text[]) AS name
JOIN pg_class c ON c.oid = to_regclass(quote_ident(name))
JOIN pg_namespace n ON n.oid = c.relnamespace
"""

_DESCRIBED = (
    "type",
    "type_name",
    "modifier",
    "nullable",
    "fills_itself",
    "generated",
    "labels",
    "collation",
    "equality",
    "missing_privileges",
)
# A domain may be NOT NULL and have a default of its own.
_COLUMNS = """
WITH RECURSIVE base AS (
    SELECT a.attrelid, a.attnum, a.atttypid AS type, a.atttypmod AS modifier, a.attnotnull AS filled,
           false AS stands_in
    FROM pg_attribute a
    WHERE a.attrelid = ANY (%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.attrelid, b.attnum, t.typbasetype, CASE WHEN b.modifier = -1 THEN t.typtypmod ELSE b.modifier END,
           b.filled OR t.typnotnull, b.stands_in OR t.typdefault IS NOT NULL
    FROM base b JOIN pg_type t ON t.oid = b.type
    WHERE t.typtype = 'd'
)
SELECT b.attrelid, a.attname, format_type(b.type, b.modifier),
       CASE WHEN t.typtype = 'e' THEN 'enum'
            WHEN t.typnamespace = 'pg_catalog'::regnamespace OR t.typname = 'citext' THEN t.typname::text END,
       b.modifier, NOT b.filled,
       a.atthasdef OR b.stands_in OR a.attidentity <> '' OR a.attgenerated <> '',
       a.attgenerated <> '' OR a.attidentity = 'a',
       (SELECT array_agg(e.enumlabel::text) FROM pg_enum e WHERE e.enumtypid = b.type),
       CASE WHEN l.collname <> 'default' THEN l.collname::text END,
       CASE WHEN t.typname = 'citext' THEN 'lower({}::text COLLATE "default")'
            WHEN NOT l.collisdeterministic
            THEN '{}::text COLLATE ' || quote_ident(n.nspname) || '.' || quote_ident(l.collname)
       END,
       ARRAY(SELECT p FROM unnest('{SELECT,INSERT,UPDATE}'::text[]) AS p
             WHERE NOT has_column_privilege(b.attrelid, b.attnum, p))
FROM base b
JOIN pg_type t ON t.oid = b.type AND t.typtype <> 'd'
JOIN pg_attribute a ON a.attrelid = b.attrelid AND a.attnum = b.attnum
LEFT JOIN pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_namespace n ON n.oid = l.collnamespace
"""

# Columns that an index merely includes are no part of its key, and a deferred check is no check for a sync.
_UNIQUE_KEYS = """
SELECT i.indrelid, array_agg(a.attname::text)
FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = ANY (%s::oid[]) AND i.indisunique AND i.indimmediate AND i.indisvalid
  AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts
GROUP BY i.indexrelid, i.indrelid
"""


def read_schema(
    rows: Callable[[str, list[Any]], list[tuple[Any, ...]]], names: Collection[str]
) -> dict[str, ActualTable]:
    """Return the tables of these names that exist on the search path; `rows` executes a statement.

    A table in a schema that our account may not use is returned without columns.
    """
    present = rows(_TABLES, [list(names)])
    oids = [oid for _, oid, *_ in present]
    columns: dict[int, dict[str, ActualColumn]] = {}
    for oid, name, *described in rows(_COLUMNS, [oids]):
        columns.setdefault(oid, {})[name] = _actual_column(dict(zip(_DESCRIBED, described, strict=True)))
    keys: dict[int, set[frozenset[str]]] = {}
    for oid, members in rows(_UNIQUE_KEYS, [oids]):
        keys.setdefault(oid, set()).add(frozenset(members))
    missing = missing_privileges(rows, oids)
    tables: dict[str, ActualTable] = {}
    for name, oid, kind, temporary, grantee, rules in present:
        unusable = list(_unusable(name, kind, rules, temporary=temporary))
        tables[name] = ActualTable(
            columns={} if unusable else columns.get(oid, {}),
            unique_keys=frozenset(keys.get(oid, ())),
            problems=(*unusable, *missing[WHOLE_DATABASE], *missing[oid]),
            grantee=grantee,
        )
    absent = [name for name in names if name not in tables]
    unreachable = unreachable_tables(rows, absent) if absent else {}
    for name, problem in unreachable.items():
        tables[name] = ActualTable({}, problems=(problem, *missing[WHOLE_DATABASE]))
    return tables


def _unusable(name: str, kind: str, rules: list[str], *, temporary: bool) -> Iterator[str]:
    if kind not in {"r", "p"}:
        yield f"{name} is {_RELATIONS.get(kind, 'not a table')}; expected an ordinary or partitioned table"
    elif temporary:
        yield f"{name} is a temporary table of this connection; expected the tenant's own table"
    elif rules:
        yield f"{name} rewrites what a sync writes by rules ({', '.join(rules)}); expected none on INSERT or UPDATE"


def _actual_column(described: Mapping[str, Any]) -> ActualColumn:
    kind, modifier = described["type_name"], described["modifier"]
    family = _FAMILIES.get(kind, Family.OTHER)
    scale = lowest = highest = None
    if kind in _INTEGER_BITS:
        lowest, highest = integer_range(_INTEGER_BITS[kind])
    elif kind == "numeric" and modifier >= _MODIFIER_OFFSET:
        precision, scale = _precision_and_scale(modifier - _MODIFIER_OFFSET)
        lowest, highest = decimal_range(precision, scale)
        family = Family.DECIMAL if scale >= 0 else Family.ROUNDED  # numeric(5, -2) holds hundreds
    return ActualColumn(
        type=described["type"],
        family=family,
        nullable=described["nullable"],
        fills_itself=described["fills_itself"],
        generated=described["generated"],
        max_characters=modifier - _MODIFIER_OFFSET if kind in {"varchar", "bpchar"} and modifier > 0 else None,
        scale=scale,
        lowest=lowest,
        highest=highest,
        labels=frozenset(described["labels"]) if described["labels"] else None,
        collation=("", described["collation"]) if described["collation"] else None,
        equality=described["equality"],
        missing_privileges=frozenset(described["missing_privileges"]),
    )


def _precision_and_scale(packed: int) -> tuple[int, int]:
    """Take apart a numeric's type modifier, of which the scale is a signed number of 11 bits."""
    return packed >> 16, ((packed & 2047) ^ 1024) - 1024
