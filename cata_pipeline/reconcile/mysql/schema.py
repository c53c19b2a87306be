"""Reads what a MySQL or MariaDB tenant database really offers: tables, columns, their types and limits, unique keys.

Whether that is enough is judged in `contract`; whether our account may create temporary tables, in `privileges`.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from cata_pipeline.reconcile.column_types import Family, decimal_range, integer_range
from cata_pipeline.reconcile.contract import ActualColumn, ActualTable
from cata_pipeline.reconcile.mysql.privileges import missing_privileges, quoted, quoted_account

_FAMILIES = {
    "varchar": Family.TEXT,
    "tinytext": Family.TEXT,
    "text": Family.TEXT,
    "mediumtext": Family.TEXT,
    "longtext": Family.TEXT,
    "char": Family.FIXED_TEXT,
    "enum": Family.ENUM,
    "tinyint": Family.INTEGER,
    "smallint": Family.INTEGER,
    "mediumint": Family.INTEGER,
    "int": Family.INTEGER,
    "bigint": Family.INTEGER,
    "decimal": Family.DECIMAL,
    "float": Family.ROUNDED,
    "double": Family.DOUBLE,
    "json": Family.JSON,
    "uuid": Family.UUID,
}
_CHARACTER_SETS = frozenset({"utf8mb4", "utf8mb3", "utf8"})
_BYTE_LIMITED = frozenset({"tinytext", "text", "mediumtext"})
_INTEGER_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_BASE_TABLES = frozenset({"BASE TABLE", "SYSTEM VERSIONED"})

_TABLES = """
SELECT t.table_name, t.table_type, t.engine, e.transactions
FROM information_schema.tables t LEFT JOIN information_schema.engines e ON e.engine = t.engine
WHERE t.table_schema = DATABASE() AND t.table_name IN %s
"""
_SERVER = "SELECT @@lower_case_table_names, DATABASE(), CURRENT_USER()"

_DESCRIBED = (
    "data_type",
    "column_type",
    "is_nullable",
    "column_default",
    "extra",
    "character_maximum_length",
    "character_set_name",
    "collation_name",
    "numeric_precision",
    "numeric_scale",
    "generation_expression",
    "privileges",
)
_COLUMNS = """
SELECT table_name, column_name, {}
FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name IN %s
"""

_UNIQUE_KEYS = """
SELECT table_name, index_name, column_name, sub_part
FROM information_schema.statistics WHERE table_schema = DATABASE() AND non_unique = 0 AND table_name IN %s
"""

_ESCAPES = {"''": "'", r"\\": "\\", r"\0": "\0", r"\n": "\n", r"\r": "\r"}


def read_schema(
    rows: Callable[[str, list[Any]], Sequence[tuple[Any, ...]]], names: Collection[str]
) -> dict[str, ActualTable]:
    """Return the tables of these names that exist in the connected schema; `rows` executes a statement.

    Column names are equal without case, table names where the server folds them (`lower_case_table_names`).
    """
    [(folds, database, account)] = rows(_SERVER, [])
    wanted = [*names, *(name.lower() for name in names)] if folds else list(names)
    present = {table: described for table, *described in rows(_TABLES, [wanted])}
    columns: dict[str, dict[str, ActualColumn]] = {}
    row_ends = set()  # part of every key of a table that keeps its history, and equal in all its present rows
    for table, name, *values in rows(_COLUMNS.format(", ".join(_DESCRIBED)), [wanted]):
        described = dict(zip(_DESCRIBED, values, strict=True))
        columns.setdefault(table, {})[name] = _actual_column(described)
        if described["generation_expression"] == "ROW END":
            row_ends.add((table, name))
    keys = _unique_keys(part for part in rows(_UNIQUE_KEYS, [wanted]) if (part[0], part[2]) not in row_ends)
    missing = missing_privileges(rows, database, account)
    tables: dict[str, ActualTable] = {}
    for name in names:
        table = next((t for t in present if t == name or (folds and t.lower() == name.lower())), None)
        if table is not None:
            kind, engine, transactions = present[table]
            is_table = kind in _BASE_TABLES
            tables[name] = ActualTable(
                columns=columns.get(table, {}) if is_table else {},
                unique_keys=frozenset(keys.get(table, ())),
                problems=(*_unusable(name, kind, engine, transactional=transactions == "YES"), *missing),
                grantee=f"{quoted(database)}.{quoted(table)} TO {quoted_account(account)}",
                ignores_case=True,
            )
    return tables


def _unusable(name: str, kind: str, engine: str | None, *, transactional: bool) -> Iterator[str]:
    if kind not in _BASE_TABLES:
        yield f"{name} is a {kind.lower()}; expected a base table"
    elif not transactional:
        yield f"{name} uses {engine}, which has no transactions; expected InnoDB"


def _unique_keys(parts: Iterable[tuple[Any, ...]]) -> dict[str, set[frozenset[str]]]:
    """Return each table's column sets that are unique as a whole."""
    indexes: dict[tuple[str, str], list[tuple[str | None, int | None]]] = {}
    for table, index, column, prefix in parts:
        indexes.setdefault((table, index), []).append((column, prefix))
    keys: dict[str, set[frozenset[str]]] = {}
    for (table, _), members in indexes.items():
        # Unique first characters, or a unique expression, do not make the column unique.
        if all(column is not None and prefix is None for column, prefix in members):
            keys.setdefault(table, set()).add(frozenset(column for column, _ in members if column))
    return keys


def _actual_column(described: Mapping[str, Any]) -> ActualColumn:
    kind, full, extra = described["data_type"].lower(), described["column_type"], described["extra"]
    character_set, collation = described["character_set_name"], described["collation_name"]
    characters, scale = described["character_maximum_length"], described["numeric_scale"]
    lowest = highest = None
    if kind == "decimal":
        lowest, highest = decimal_range(described["numeric_precision"], scale, unsigned="unsigned" in full)
    elif kind in _INTEGER_BITS:
        lowest, highest = integer_range(_INTEGER_BITS[kind], unsigned="unsigned" in full)
    fits = character_set is None or character_set in _CHARACTER_SETS
    generated = "auto_increment" in extra or re.search(r"\b(STORED|VIRTUAL|PERSISTENT) GENERATED", extra) is not None
    return ActualColumn(
        type=f"{full} CHARACTER SET {character_set} COLLATE {collation}" if character_set else full,
        family=_family(kind, full, scale),
        nullable=described["is_nullable"] == "YES",
        # An enumeration without a default takes its first value.
        fills_itself=described["column_default"] is not None
        or kind == "enum"
        or "auto_increment" in extra
        or "GENERATED" in extra,
        generated=generated,
        max_characters=characters if kind in {"varchar", "char"} else None,
        max_bytes=characters if kind in _BYTE_LIMITED else None,
        scale=scale,
        lowest=lowest,
        highest=highest,
        labels=frozenset(_labels(full)) if kind == "enum" else None,
        # A binary collation prevails over any other.
        collation=(character_set, collation) if character_set and not collation.endswith("_bin") else None,
        basic_plane_only=character_set in {"utf8mb3", "utf8"},
        unfit=None if fits else f"is stored in {character_set}; expected utf8mb4",
        missing_privileges=frozenset({"SELECT", "INSERT", "UPDATE"}) - set(described["privileges"].upper().split(",")),
    )


def _family(kind: str, full: str, scale: int | None) -> Family:
    if full.startswith("tinyint(1)"):
        return Family.BOOLEAN_INTEGER
    if full == "bit(1)":
        return Family.BOOLEAN
    if kind == "double" and scale is not None:  # double(10,2)
        return Family.ROUNDED
    return _FAMILIES.get(kind, Family.OTHER)


def _labels(full: str) -> Iterator[str]:
    for label in re.findall(r"'((?:[^']|'')*)'", full):
        yield re.sub(r"''|\\[\\0nr]", lambda escape: _ESCAPES[escape[0]], label)
