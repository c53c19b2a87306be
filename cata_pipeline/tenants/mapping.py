"""The file that says what a tenant schema's owner calls our tables and columns.

One mapping holds for the fleet, because one service migrates all tenant databases. Which tables and columns there are
is `cata_pipeline.reconcile.policy`'s business, and whether a database really has them is the contract check's.
"""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

from cata_pipeline.errors import UsageError
from cata_pipeline.tenants.database_owners import TenantClaim

_IDENTIFIER = re.compile(r"[^\W\d][\w$ -]{0,61}[\w$-]|[^\W\d]")


@dataclass(frozen=True)
class SchemaMapping:
    """The names in the tenant database, by ours; what is not listed bears our name there too.

    `tables` maps table to table, `columns` maps (table, column) to column; keys are our names.
    """

    tables: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def table(self, name: str) -> str:
        """What the tenant database calls a table of ours."""
        return self.tables.get(name, name)

    def column(self, table: str, name: str) -> str:
        """What the tenant database calls a column of ours; `table` is our name."""
        return self.columns.get((table, name), name)


SAME_NAMES = SchemaMapping()


@dataclass(frozen=True)
class TenantDatabase:
    """Where a tenant's tables are, what they are called there, and by whom they may be written.

    Without `owner` nobody asks.
    """

    url: URL
    mapping: SchemaMapping = SAME_NAMES
    owner: TenantClaim | None = None


def read_mapping(path: Path, known: Mapping[str, Collection[str]]) -> SchemaMapping:
    """Read and check a mapping file; `known` holds our tables and their columns.

    The file is TOML, one table for each of ours:

        [items]
        table = "products"
        columns = { item_code = "sku", name = "display_name" }

    Raises `UsageError` that lists everything that is wrong.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"The schema mapping {path} cannot be read: {error}") from error
    problems: list[str] = []
    tables: dict[str, str] = {}
    columns: dict[tuple[str, str], str] = {}
    for table, entry in content.items():
        if table not in known:
            problems.append(f"there is no table {table}; expected {', '.join(known)}")
        elif not isinstance(entry, dict):
            problems.append(f"{table} is no table of names; expected [{table}]")
        else:
            problems += _unknown_keys(table, entry, known[table])
            tables[table] = entry.get("table", table)
            columns |= {(table, column): name for column, name in _columns(entry).items()}
    mapping = SchemaMapping(tables, columns)
    problems += [f"{name!r} is no name" for name in (*tables.values(), *columns.values()) if not _is_name(name)]
    if not problems:
        problems += _doubled(mapping, known)
    if problems:
        raise UsageError(f"The schema mapping {path} is wrong: " + "; ".join(problems) + ".")
    return mapping


def _columns(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    columns = entry.get("columns", {})
    return columns if isinstance(columns, dict) else {}


def _unknown_keys(table: str, entry: Mapping[str, Any], known: Collection[str]) -> Iterator[str]:
    if extra := sorted(entry.keys() - {"table", "columns"}):
        yield f"[{table}] holds {', '.join(extra)}; expected table and columns"
    if not isinstance(entry.get("columns", {}), dict):
        yield f"columns of [{table}] is no table of names"
    for column in _columns(entry):
        if column not in known:
            yield f"{table} has no column {column}; expected one of {', '.join(known)}"


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _IDENTIFIER.fullmatch(name) is not None


def _doubled(mapping: SchemaMapping, known: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Names that two of ours share; without case, because some servers have none."""
    yield from _shared({table: mapping.table(table) for table in known})
    for table, columns in known.items():
        yield from _shared({f"{table}.{column}": mapping.column(table, column) for column in columns})


def _shared(names: Mapping[str, str]) -> Iterator[str]:
    first: dict[str, str] = {}
    for ours, theirs in names.items():
        if (other := first.setdefault(theirs.casefold(), ours)) != ours:
            yield f"{other} and {ours} are both called {theirs!r}"
