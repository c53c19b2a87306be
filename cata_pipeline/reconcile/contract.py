"""What a tenant database must offer before the first write, and what a sync will use of it.

`bind` holds the ownership policy against the real columns. It is pure: engines read the columns, here they are
judged; which types hold which values is decided in `column_types`. Everything that is wrong is reported at once,
because the schema's owner is another team.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from cata_pipeline.errors import ContractError
from cata_pipeline.reconcile.column_types import Family, are_comparable, type_problem
from cata_pipeline.reconcile.policy import ITEMS, TABLES, Column, Owner, Rule, Table
from cata_pipeline.tenants.mapping import SAME_NAMES, SchemaMapping

_PATH_CHARACTERS = 140
"""The longest path of a copied picture: a tenant id of 64, `/items/`, a SHA-256, `.webp`."""

_PRIVILEGES = ("SELECT", "INSERT", "UPDATE")


@dataclass(frozen=True)
class ActualColumn:
    """A column as the database describes it.

    `type` is the engine's full type name, of a domain that of its base. `max_characters` limits text, `max_bytes` text
    in UTF-8, `lowest` and `highest` (inclusive) limit numbers, which are rounded to `scale` decimals before; `labels`
    are all that an enumeration takes; None where there is no such limit. `basic_plane_only` takes no 4-byte characters.
    `collation` is a character set and a collation that cannot be compared with another one of that set.
    `fills_itself` covers defaults, identities and generated columns. `generated` columns refuse any value, `unfit` says
    why the character set cannot hold a catalog, and `missing_privileges` are the privileges that our account lacks.
    `equality` turns a text (`{}`) into what the unique key compares, where it may take two texts for equal.
    """

    type: str
    family: Family
    nullable: bool = True
    fills_itself: bool = False
    max_characters: int | None = None
    max_bytes: int | None = None
    scale: int | None = None
    lowest: Decimal | None = None
    highest: Decimal | None = None
    labels: frozenset[str] | None = None
    collation: tuple[str, str] | None = None
    basic_plane_only: bool = False
    generated: bool = False
    unfit: str | None = None
    equality: str | None = None
    missing_privileges: frozenset[str] = frozenset()

    @property
    def whole(self) -> bool:
        """Whether the column takes no fraction."""
        return self.family in {Family.INTEGER, Family.BOOLEAN_INTEGER}

    @property
    def drops_trailing_spaces(self) -> bool:
        """Whether a text that ends in a space is stored without it."""
        return self.family is Family.FIXED_TEXT

    @property
    def type_name(self) -> str:
        """The type without its character set."""
        return self.type.partition(" CHARACTER SET ")[0]


@dataclass(frozen=True)
class ActualTable:
    """A table as the database describes it; `unique_keys` are the column sets of its plain unique indexes.

    `problems` are sentences on what keeps a sync from writing to the table at all; with one that hides or replaces the
    table's columns, `columns` is empty. `grantee` ends a GRANT of privileges on the table, as the engine spells it.
    `ignores_case` says that the server calls columns equal that differ in case only.
    """

    columns: Mapping[str, ActualColumn]
    unique_keys: frozenset[frozenset[str]] = frozenset()
    problems: tuple[str, ...] = ()
    grantee: str = ""
    ignores_case: bool = False

    def stored_name(self, name: str) -> str:
        """What the table really calls a column; the name itself where it has none such."""
        if self.ignores_case and name not in self.columns:
            return next((found for found in self.columns if found.lower() == name.lower()), name)
        return name


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

    @property
    def needed_privileges(self) -> frozenset[str]:
        """What a sync and the image copy do with the column; nothing, where it is Cata's own."""
        if self.is_written:
            return frozenset(_PRIVILEGES)
        if self.rule in {Rule.KEY, Rule.PARENT}:
            return frozenset({"SELECT", "INSERT"})
        if self.column.owner is Owner.IMAGE_COPY:
            return frozenset({"SELECT", "UPDATE"})
        return frozenset({"SELECT"} if self.column.required else ())


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

    @property
    def defaulted(self) -> tuple[BoundColumn, ...]:
        """The columns that take no NULL and fill themselves on insert where the provider gives no value."""
        return tuple(
            column
            for column in self.written
            if column.column.may_be_missing and not column.actual.nullable and column.actual.fills_itself
        )

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

    Raises `ContractError` that lists everything at once: missing tables, columns, keys and privileges, and types that
    do not keep what is written.
    """
    problems: list[str] = []
    skipped: list[str] = []
    bound: list[BoundTable] = []
    has_items = mapping.table(ITEMS.name) in actual
    for table in TABLES:
        stored_name = mapping.table(table.name)
        found = actual.get(stored_name)
        if found is None:
            skipped.append(f"table {_called(table.name, stored_name)} is absent")
        elif has_items and table.parent and mapping.table(table.parent.name) not in actual:
            skipped.append(f"table {table.name} is not written because {table.parent.name} is absent")
        elif found.problems and not found.columns:
            problems += found.problems
        else:
            bound.append(_bind_table(table, found, mapping, problems, skipped))
            problems += _table_problems(bound[-1], found, _parent_id(table, actual, mapping))
    if problems or not has_items:
        raise ContractError(_refusal(list(dict.fromkeys(problems)), actual, mapping))
    return Contract(tuple(bound), tuple(skipped))


def _refusal(problems: list[str], actual: Mapping[str, ActualTable], mapping: SchemaMapping) -> str:
    """Return the message of a `ContractError`; a problem of the whole database is found with each of its tables."""
    stored_name = mapping.table(ITEMS.name)
    if stored_name in actual:
        found = "does not fit: "
        advice = "Have the schema's owner migrate it or give our account the privileges, then sync again."
    else:
        tables = ", ".join(sorted(actual)) or "none of the tables this project knows"
        found = f"has no table {_called(ITEMS.name, stored_name)} (found: {tables})" + ("; " if problems else "")
        advice = (
            "Check that the database URL points at this tenant's schema, that its owner has migrated it, and that our"
            " account may read it: MySQL and MariaDB do not show tables without a privilege on them."
        )
    return f"The tenant database {found}{'; '.join(problems)}. Nothing was written. {advice}"


def _parent_id(table: Table, actual: Mapping[str, ActualTable], mapping: SchemaMapping) -> ActualColumn | None:
    """Return the `id` of the parent table, None where there is none."""
    if table.parent is None or (parent := actual.get(mapping.table(table.parent.name))) is None:
        return None
    return parent.columns.get(parent.stored_name(mapping.column(table.parent.name, "id")))


def _bind_table(
    table: Table, actual: ActualTable, mapping: SchemaMapping, problems: list[str], skipped: list[str]
) -> BoundTable:
    """Find the policy's columns in a table; what is missing goes to `problems` or, where optional, to `skipped`."""
    stored_table = mapping.table(table.name)
    columns: list[BoundColumn] = []
    for column in table.columns:
        stored_name = actual.stored_name(mapping.column(table.name, column.name))
        found = actual.columns.get(stored_name)
        called = _called(f"{table.name}.{column.name}", f"{stored_table}.{stored_name}")
        if found is None:
            if column.required:
                problems.append(f"{called} is missing")
            elif column.rule is not Rule.NEVER:
                skipped.append(f"column {called} is absent")
            continue
        rule = column.rule
        companion = actual.stored_name(mapping.column(table.name, column.companion))
        if rule is Rule.WHILE_EQUAL and companion not in actual.columns:
            rule = Rule.WHILE_NULL
        columns.append(BoundColumn(column, stored_name, rule, found))
    return BoundTable(table, stored_table, tuple(columns))


def _table_problems(bound: BoundTable, actual: ActualTable, parent_id: ActualColumn | None) -> Iterator[str]:
    """Yield everything that keeps a sync or the image copy from using a table that exists."""
    yield from actual.problems
    for column in bound.columns:
        called = _called(f"{bound.name}.{column.name}", f"{bound.stored_name}.{column.stored_name}")
        for problem in _column_problems(column, parent_id):
            yield f"{called} {problem}"
    ours = {column.stored_name for column in bound.columns if column.rule is not Rule.NEVER}
    for name, found in actual.columns.items():
        if name not in ours and not found.nullable and not found.fills_itself:
            yield f"{bound.stored_name}.{name} is NOT NULL without a default; a sync does not know what to put there"
    yield from _missing_privileges(bound, actual)
    yield from _missing_keys(bound, actual)


def _column_problems(column: BoundColumn, parent_id: ActualColumn | None) -> Iterator[str]:
    """Yield why a column cannot take or return the values of its policy column."""
    actual = column.actual
    writes = column.needed_privileges - {"SELECT"}
    if column.rule is Rule.PARENT:
        if parent_id is not None and not _is_comparable(actual, parent_id):
            yield f"is {actual.type_name}, which cannot be compared with the id of its parent, {parent_id.type_name}"
    elif writes:
        yield from filter(None, [type_problem(column.column, actual.family, actual.type_name), actual.unfit])
    if writes and actual.generated:
        yield "is generated by the database and takes no value; expected an ordinary column"
    if column.column.owner is Owner.IMAGE_COPY and (actual.max_characters or _PATH_CHARACTERS) < _PATH_CHARACTERS:
        yield f"takes {actual.max_characters} characters; the path of a picture has {_PATH_CHARACTERS}"


def _is_comparable(one: ActualColumn, other: ActualColumn) -> bool:
    """Whether an engine joins two columns as they are."""
    if one.family in {Family.OTHER, Family.ENUM}:
        return one.type_name == other.type_name
    share_a_set = one.collation and other.collation and one.collation[0] == other.collation[0]
    return are_comparable(one.family, other.family) and (not share_a_set or one.collation == other.collation)


def _missing_privileges(bound: BoundTable, actual: ActualTable) -> Iterator[str]:
    lacking = {
        privilege: [
            c.stored_name for c in bound.columns if privilege in c.needed_privileges & c.actual.missing_privileges
        ]
        for privilege in _PRIVILEGES
    }
    missing = [f"{privilege} ({', '.join(names)})" for privilege, names in lacking.items() if names]
    if missing:
        granted = ", ".join(privilege for privilege, names in lacking.items() if names)
        yield f"our account lacks {', '.join(missing)} on {bound.stored_name}: GRANT {granted} ON {actual.grantee}"


def _missing_keys(bound: BoundTable, actual: ActualTable) -> Iterator[str]:
    stored_id = bound.stored_names.get("id")
    if stored_id and frozenset({stored_id}) not in actual.unique_keys:
        yield f"{bound.stored_name} has no unique key on ({stored_id}), by which menus refer to it"
    identifying = {Rule.KEY, Rule.PARENT}
    key = frozenset(c.stored_name for c in bound.columns if c.rule in identifying)
    whole = len(key) == sum(c.rule in identifying for c in bound.table.columns)
    if whole and key not in actual.unique_keys:
        yield f"{bound.stored_name} has no unique key on ({', '.join(sorted(key))}), so equal rows could double"


def _called(ours: str, theirs: str) -> str:
    """How a message names what the schema's owner may call otherwise."""
    return ours if ours == theirs else f"{theirs} (our {ours})"
