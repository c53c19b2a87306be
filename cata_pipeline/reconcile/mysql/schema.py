"""Reads what a MySQL or MariaDB tenant database really offers: columns, their types and limits, and unique keys.

Whether that is enough is judged in `contract`.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import pymysql

from cata_pipeline.reconcile.contract import ActualColumn, ActualTable

_CHARACTER_SETS = frozenset({"utf8mb4", "utf8mb3", "utf8"})
_BYTE_LIMITED = frozenset({"tinytext", "text", "mediumtext"})
_INTEGER_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}

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
)
_COLUMNS = """
SELECT table_name, column_name, {}
FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name IN %s
"""

_UNIQUE_KEYS = """
SELECT table_name, index_name, column_name, sub_part
FROM information_schema.statistics WHERE table_schema = DATABASE() AND non_unique = 0 AND table_name IN %s
"""


def read_schema(
    rows: Callable[[str, list[Any]], Sequence[tuple[Any, ...]]], names: Collection[str], *, mariadb: bool
) -> dict[str, ActualTable]:
    """Return the tables of these names that exist in the connected schema; `rows` executes a statement."""
    columns: dict[str, dict[str, ActualColumn]] = {}
    for table, name, *described in rows(_COLUMNS.format(", ".join(_DESCRIBED)), [list(names)]):
        actual = _actual_column(dict(zip(_DESCRIBED, described, strict=True)), mariadb=mariadb)
        columns.setdefault(table, {})[name] = actual
    parts: dict[tuple[str, str], list[tuple[str | None, int | None]]] = {}
    for table, index, column, prefix in rows(_UNIQUE_KEYS, [list(names)]):
        parts.setdefault((table, index), []).append((column, prefix))
    keys: dict[str, set[frozenset[str]]] = {}
    for (table, _), members in parts.items():
        # Unique first characters, or a unique expression, do not make the column unique.
        if all(column is not None and prefix is None for column, prefix in members):
            keys.setdefault(table, set()).add(frozenset(column for column, _ in members if column))
    return {name: ActualTable(found, frozenset(keys.get(name, ()))) for name, found in columns.items()}


def _actual_column(described: Mapping[str, Any], *, mariadb: bool) -> ActualColumn:
    kind, full, extra = described["data_type"].lower(), described["column_type"], described["extra"]
    character_set = described["character_set_name"]
    characters, default = described["character_maximum_length"], described["column_default"]
    magnitude = None
    if kind == "decimal":
        magnitude = float(10 ** (described["numeric_precision"] - described["numeric_scale"]))
    elif kind in _INTEGER_BITS:
        magnitude = float(2 ** (_INTEGER_BITS[kind] - ("unsigned" not in full)))
    if default is not None and not mariadb and "DEFAULT_GENERATED" not in extra:
        default = f"'{pymysql.converters.escape_string(default)}'"  # MySQL tells the bare value
    fits = character_set is None or character_set in _CHARACTER_SETS
    return ActualColumn(
        type=f"{full} CHARACTER SET {character_set} COLLATE {described['collation_name']}" if character_set else full,
        nullable=described["is_nullable"] == "YES",
        # An enumeration without a default takes its first value.
        fills_itself=default is not None or kind == "enum" or "auto_increment" in extra or "GENERATED" in extra,
        max_characters=characters if kind in {"varchar", "char"} else None,
        max_magnitude=magnitude,
        whole=kind in _INTEGER_BITS,
        labels=frozenset(_labels(full)) if kind == "enum" else None,
        default=default,
        max_bytes=characters if kind in _BYTE_LIMITED else None,
        basic_plane_only=character_set in {"utf8mb3", "utf8"},
        unfit=None if fits else f"is stored in {character_set}; expected utf8mb4",
    )


def _labels(full: str) -> Iterator[str]:
    for label in re.findall(r"'((?:[^']|'')*)'", full):
        yield label.replace("''", "'")
