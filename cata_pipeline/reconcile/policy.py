"""Who owns which column: the ownership rules, once, as data.

The SQL of every engine, the table in `docs/field-ownership.md` and the table in the Dagster UI are made from `TABLES`.
A rule that needs an `if` anywhere else is a column missing here. Statements, types and dialects must not live here.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Owner(Enum):
    """Whose word counts for a column."""

    PROVIDER = "provider"
    PROVIDER_UNTIL_EDITED = "provider until a Cata user edits it"
    IMAGE_COPY = "image copy, until a Cata user replaces it"
    CATA = "Cata"


class Rule(Enum):
    """What a sync does with a column; the words are those of the documentation."""

    KEY = "the key; never changes"
    PARENT = "set once, from the parent row"
    ALWAYS = "always written"
    WHILE_EQUAL = "written only where the stored value equals the stored {companion}"
    WHILE_NULL = "written only while it is NULL"
    NEVER = "never touched"


class Kind(Enum):
    """How a value is compared and stored; engines map it to their own types."""

    TEXT = "text"
    BOOLEAN = "boolean"
    JSON = "json"
    INTEGER = "integer"
    DECIMAL = "decimal"


@dataclass(frozen=True)
class Column:
    """One column of a tenant table and the rule that governs it.

    `source` is the column of the staged snapshot that feeds it. A `WHILE_EQUAL` column is compared with its
    `companion`; where the table lacks the companion, `WHILE_NULL` governs instead. A column that is not `required`
    is skipped where the table lacks it. Where a catalog may lack a value (`may_be_missing`), one that does not fit
    the column leaves the stored value as it is; any other value that does not fit costs its row. Where the provider
    omits a value that has a `when_missing`, a known row keeps what is stored, and a new row gets `when_missing`. An
    `exact` text is read back by the image copy, so its column must return every text as it was written.
    """

    name: str
    owner: Owner
    rule: Rule
    source: str = ""
    kind: Kind = Kind.TEXT
    companion: str = ""
    required: bool = False
    may_be_missing: bool = False
    when_missing: bool | None = None
    on_insert: str = "as the provider says"
    exact: bool = False


@dataclass(frozen=True)
class Table:
    """One tenant table: its columns, and the path of keys by which the snapshot names its rows.

    `keys` are the staged columns that identify a row, the parent's keys first. `listed_by` is the staged column of
    the *item* that says whether the provider listed such children at all: only then may a child be hidden.
    """

    name: str
    columns: tuple[Column, ...]
    parent: "Table | None" = None
    listed_by: str = ""

    @property
    def own_keys(self) -> tuple[Column, ...]:
        """The key columns of this table itself."""
        return tuple(column for column in self.columns if column.rule is Rule.KEY)

    @property
    def keys(self) -> tuple[str, ...]:
        """The staged columns that identify a row, from the item down."""
        above = self.parent.keys if self.parent else ()
        return above + tuple(column.source for column in self.own_keys)

    @property
    def parent_column(self) -> Column | None:
        """The foreign key to the parent, None for `items`."""
        return next((column for column in self.columns if column.rule is Rule.PARENT), None)

    def ancestors(self) -> "Iterator[Table]":
        """The parent, its parent, and so on up to `items`."""
        table = self.parent
        while table:
            yield table
            table = table.parent


_ID = Column("id", Owner.CATA, Rule.NEVER, required=True, on_insert="database default")


def _key(name: str, kind: Kind = Kind.TEXT) -> Column:
    return Column(name, Owner.PROVIDER, Rule.KEY, name, kind, required=True, on_insert="as given, byte for byte")


def _parent(name: str) -> Column:
    return Column(name, Owner.PROVIDER, Rule.PARENT, required=True, on_insert="the parent's id")


def _names() -> tuple[Column, Column]:
    return (
        Column("original_name", Owner.PROVIDER, Rule.ALWAYS, "name", required=True),
        Column(
            "name",
            Owner.PROVIDER_UNTIL_EDITED,
            Rule.WHILE_EQUAL,
            "name",
            companion="original_name",
            required=True,
            on_insert="provider name",
        ),
    )


def _visible(source: str) -> Column:
    return Column(
        "visible",
        Owner.PROVIDER,
        Rule.ALWAYS,
        source,
        Kind.BOOLEAN,
        required=True,
        when_missing=True,
        on_insert="active or not; active where the provider omits it",
    )


def _optional(
    name: str, *, source: str = "", kind: Kind = Kind.TEXT, required: bool = False, exact: bool = False
) -> Column:
    return Column(
        name,
        Owner.PROVIDER,
        Rule.ALWAYS,
        source or name,
        kind,
        required=required,
        may_be_missing=True,
        exact=exact,
    )


def _price(name: str) -> Column:
    return Column(name, Owner.CATA, Rule.NEVER, on_insert="never written")


def _position() -> Column:
    return Column("position", Owner.PROVIDER, Rule.ALWAYS, "position", Kind.INTEGER)


ITEMS = Table(
    "items",
    (
        _ID,
        _key("item_code"),
        *_names(),
        _optional("original_description", source="description"),
        Column(
            "description",
            Owner.PROVIDER_UNTIL_EDITED,
            Rule.WHILE_EQUAL,
            "description",
            companion="original_description",
            may_be_missing=True,
            on_insert="provider text",
        ),
        _visible("is_active"),
        _optional("external_image_url", required=True, exact=True),
        Column("main_image_url", Owner.IMAGE_COPY, Rule.NEVER, required=True, on_insert="untouched", exact=True),
        _optional("category"),
        _optional("item_type"),
        _optional("variant_group"),
        _optional("variant_options", kind=Kind.JSON),
        _price("base_price"),
    ),
)

MODIFIERS = Table(
    "item_modifiers",
    (_ID, _parent("item_id"), _key("modifier_code"), *_names(), _position(), _visible("is_active")),
    parent=ITEMS,
    listed_by="lists_modifiers",
)

MODIFIER_OPTIONS = Table(
    "item_modifier_options",
    (
        _ID,
        _parent("item_modifier_id"),
        _key("option_code"),
        *_names(),
        _position(),
        _visible("is_active"),
        _price("price"),
    ),
    parent=MODIFIERS,
    listed_by="lists_modifiers",
)

BUNDLE_COMPONENTS = Table(
    "item_bundle_components",
    (
        _ID,
        _parent("item_id"),
        _key("slot"),
        _key("component_item_code"),
        _key("occurrence", Kind.INTEGER),
        *_names(),
        Column("quantity", Owner.PROVIDER, Rule.ALWAYS, "quantity", Kind.DECIMAL),
        _position(),
        _visible("is_active"),
    ),
    parent=ITEMS,
    listed_by="lists_components",
)

TABLES = (ITEMS, MODIFIERS, MODIFIER_OPTIONS, BUNDLE_COMPONENTS)
"""Every table a sync may write, parents before children."""


def describe_rule(column: Column) -> str:
    """What a re-sync does with a column, in the words of the documentation."""
    words = column.rule.value.format(companion=f"`{column.companion}`")
    if column.rule is Rule.WHILE_EQUAL:
        words += f" (byte comparison, null-safe); without `{column.companion}`: {Rule.WHILE_NULL.value}"
        if next(c for c in ITEMS.columns if c.name == column.companion).required:
            words = words.partition(";")[0]
    if column.when_missing is not None:
        words += "; the stored value stays where the provider omits it"
    return words


def policy_version() -> str:
    """Return a short hash of the policy's content: the same until a table, column or rule changes."""
    return hashlib.sha256(repr(TABLES).encode()).hexdigest()[:12]


def ownership_markdown() -> str:
    """The whole policy as GitHub-flavoured Markdown tables, one for each tenant table."""
    sections = []
    for table in TABLES:
        rows = [
            f"| `{c.name}`{'' if c.required else ', optional'} | {c.owner.value} | {c.on_insert} | {describe_rule(c)} |"
            for c in table.columns
        ]
        head = [f"### `{table.name}`", "", "| column | owner | on insert | on re-sync |", "| --- | --- | --- | --- |"]
        sections.append("\n".join(head + rows))
    closing = (
        "Optional columns, and every table but `items`, may be absent. Any other column, and any other table, belongs"
        " to Cata and is never touched. A text that the provider may leave out (a description, a category, an image"
        " URL) leaves what is stored where it does not fit its column, or where it is missing and the column takes no"
        " NULL; on insert the database's default stands in. A product that the provider no longer names keeps its row"
        " and is reported as stale; a child that its present parent no longer lists is hidden, and active"
        " again once it is listed again, unless the provider says otherwise."
    )
    return "\n\n".join([*sections, closing]) + "\n"
