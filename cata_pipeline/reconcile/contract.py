"""What a tenant database must offer before the first write, and what a sync will use of it.

`bind` holds the ownership policy against the real columns. It is pure: engines read the columns, here they are
judged. Everything that is wrong is reported at once, because the schema's owner is another team.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from cata_pipeline.errors import ContractError
from cata_pipeline.reconcile.policy import ITEMS, TABLES, Column, Owner, Rule, Table
from cata_pipeline.tenants.mapping import SAME_NAMES, SchemaMapping

_PATH_CHARACTERS = 140
"""The longest path of a copied picture: a tenant id of 64, `/items/`, a SHA-256, `.webp`."""


@dataclass(frozen=True)
class ActualColumn:
    """A column as the database describes it.

    `type` is the engine's full type name, of a domain that of its base. `max_characters` limits text, `max_magnitude`
    (exclusive) limits numbers, `labels` are all that an enumeration takes; None where there is no such limit. `whole`
    numbers take no fraction. `fills_itself` covers defaults, identities and generated columns; `default` is the
    default's expression, which also stands in for a missing value where NULL is not allowed. `max_bytes` limits text
    in UTF-8, `basic_plane_only` takes no 4-byte characters, and `unfit` says why a sync cannot write the column at all.
    `equality` turns a staged text (`{}`) into what the column's unique key compares, where it may take two for equal.
    """

    type: str
    nullable: bool = True
    fills_itself: bool = False
    max_characters: int | None = None
    max_magnitude: float | None = None
    whole: bool = False
    labels: frozenset[str] | None = None
    default: str | None = None
    max_bytes: int | None = None
    basic_plane_only: bool = False
    unfit: str | None = None
    equality: str | None = None


@dataclass(frozen=True)
class ActualTable:
    """A table as the database describes it; `unique_keys` are the column sets of its plain unique indexes."""

    columns: Mapping[str, ActualColumn]
    unique_keys: frozenset[frozenset[str]]


@dataclass(frozen=True)
class BoundColumn:
    """A policy column that the table really has, with what it is called there and the rule that governs it there."""

    column: Column
    stored_name: str
    rule: Rule
    actual: ActualColumn

    @property
    def name(self) -> str:
        """The policy's name of the column; reports and staged rows use it."""
        return self.column.name

    @property
    def is_written(self) -> bool:
        """Whether a re-sync may write it."""
        return self.rule in {Rule.ALWAYS, Rule.WHILE_EQUAL, Rule.WHILE_NULL}


@dataclass(frozen=True)
class BoundTable:
    """A policy table that the database really has, with what it is called there."""

    table: Table
    stored_name: str
    columns: tuple[BoundColumn, ...]

    @property
    def name(self) -> str:
        """The policy's name of the table."""
        return self.table.name

    @property
    def keys(self) -> tuple[BoundColumn, ...]:
        """The table's own key columns."""
        return tuple(column for column in self.columns if column.rule is Rule.KEY)

    @property
    def written(self) -> tuple[BoundColumn, ...]:
        """The columns a re-sync may write."""
        return tuple(column for column in self.columns if column.is_written)

    def column(self, name: str) -> BoundColumn | None:
        """One column by name, None where the table lacks it."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def stored_names(self) -> Mapping[str, str]:
        """What the database calls each bound column, by the policy's name."""
        return {column.name: column.stored_name for column in self.columns}


@dataclass(frozen=True)
class Contract:
    """What a sync will use, parents before children, and one sentence for each optional part that is absent."""

    tables: tuple[BoundTable, ...]
    skipped: tuple[str, ...] = field(default=())

    @property
    def items(self) -> BoundTable:
        """The table `items`, which is always there."""
        return self.tables[0]

    def narrowed(self, names: Collection[str]) -> "Contract":
        """`items`, and of the structure tables those named whose parent is there too."""
        tables: dict[str, BoundTable] = {}
        for bound in self.tables:
            parent = bound.table.parent
            if parent is None or (bound.name in names and parent.name in tables):
                tables[bound.name] = bound
        return Contract(tuple(tables.values()), self.skipped)

    def table(self, name: str) -> BoundTable:
        """One table by the policy's name."""
        return next(table for table in self.tables if table.name == name)


def bind(actual: Mapping[str, ActualTable], mapping: SchemaMapping = SAME_NAMES) -> Contract:
    """Hold the policy against the real tables, by the names that the database has for them.

    Raises `ContractError` that lists every missing table, column and key at once.
    """
    if mapping.table(ITEMS.name) not in actual:
        found = ", ".join(sorted(actual)) or "none of the tables this project knows"
        raise ContractError(
            f"The tenant database has no table {_called(ITEMS.name, mapping.table(ITEMS.name))} (found: {found})."
            " Check that the database URL points at this tenant's schema and that its owner has migrated it."
        )
    problems: list[str] = []
    skipped: list[str] = []
    bound: list[BoundTable] = []
    for table in TABLES:
        stored_name = mapping.table(table.name)
        if stored_name not in actual:
            skipped.append(f"table {_called(table.name, stored_name)} is absent")
        elif table.parent and table.parent not in [b.table for b in bound] and not problems:
            skipped.append(f"table {table.name} is not written because {table.parent.name} is absent")
        else:
            bound.append(_bind_table(table, actual[stored_name], mapping, problems, skipped))
    if problems:
        raise ContractError(
            "The tenant database does not fit: "
            + "; ".join(problems)
            + ". Nothing was written. Have the schema's owner migrate it, then sync again."
        )
    return Contract(tuple(bound), tuple(skipped))


def _bind_table(
    table: Table, actual: ActualTable, mapping: SchemaMapping, problems: list[str], skipped: list[str]
) -> BoundTable:
    stored_table = mapping.table(table.name)

    def stored(name: str) -> str:
        return mapping.column(table.name, name)

    def called(name: str) -> str:
        return _called(f"{table.name}.{name}", f"{stored_table}.{stored(name)}")

    columns: list[BoundColumn] = []
    for column in table.columns:
        found = actual.columns.get(stored(column.name))
        if found is None:
            if column.required:
                problems.append(f"{called(column.name)} is missing")
            elif column.rule is not Rule.NEVER:
                skipped.append(f"column {called(column.name)} is absent")
            continue
        rule = column.rule
        if rule is Rule.WHILE_EQUAL and stored(column.companion) not in actual.columns:
            rule = Rule.WHILE_NULL
        columns.append(BoundColumn(column, stored(column.name), rule, found))
    known = {stored(column.name) for column in table.columns if column.rule is not Rule.NEVER}
    problems += [
        f"{stored_table}.{name} is NOT NULL without a default, and a sync does not know what to put there"
        for name, found in actual.columns.items()
        if name not in known and not found.nullable and not found.fills_itself
    ]
    problems += [
        f"{called(c.name)} is {c.actual.type}, which drops trailing spaces; a key has to keep every byte"
        for c in columns
        if c.rule is Rule.KEY and c.actual.type.startswith(("character(", "char("))
    ]
    problems += [f"{called(c.name)} {c.actual.unfit}" for c in columns if c.actual.unfit and c.rule is not Rule.NEVER]
    problems += [
        f"{called(c.name)} takes {c.actual.max_characters} characters; the path of a picture has {_PATH_CHARACTERS}"
        for c in columns
        if c.column.owner is Owner.IMAGE_COPY and (c.actual.max_characters or _PATH_CHARACTERS) < _PATH_CHARACTERS
    ]
    if stored("id") in actual.columns and frozenset({stored("id")}) not in actual.unique_keys:
        problems.append(f"{stored_table} has no unique key on ({stored('id')}), by which menus refer to it")
    key = frozenset(c.stored_name for c in columns if c.column.rule in {Rule.KEY, Rule.PARENT})
    whole = len(key) == sum(c.rule in {Rule.KEY, Rule.PARENT} for c in table.columns)
    if whole and key not in actual.unique_keys:
        problems.append(f"{stored_table} has no unique key on ({', '.join(sorted(key))}), so equal rows could double")
    return BoundTable(table, stored_table, tuple(columns))


def _called(ours: str, theirs: str) -> str:
    """How a message names what the schema's owner may call otherwise."""
    return ours if ours == theirs else f"{theirs} (our {ours})"
