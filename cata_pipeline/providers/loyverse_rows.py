"""Turns one item of Loyverse into canonical items, one for each of its variants, or into the reasons why not.

Every rule about a field of `GET /items`, `/categories` and `/modifiers` lives here, and nothing that needs a network;
what may be in a field at all is in `row_fields`. Components stay variant ids: they are named on later pages. Prices
and costs are never read. Unknown fields pass by.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from cata_pipeline.catalog.model import Item, Modifier, ModifierGroup, Rejection, VariantOption
from cata_pipeline.providers.html_text import text_of_html
from cata_pipeline.providers.loyverse_options import LoyverseOptions
from cata_pipeline.providers.row_fields import (
    Row,
    UnusableRowError,
    Warn,
    changed_at,
    code_of,
    flag,
    in_order,
    item_code_of,
    kind_of,
    list_of,
    optional_text,
    quantity,
    required_code,
    required_text,
    shown,
)

_OPTIONS = tuple((f"option{number}_name", f"option{number}_value") for number in (1, 2, 3))
_COMPOSITE = "composite"


@dataclass(frozen=True)
class References:
    """What items refer to by id: the names of categories (None where deleted), and modifiers as groups."""

    categories: Mapping[str, str | None] = field(default_factory=dict)
    modifiers: Mapping[str, ModifierGroup] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Component:
    """What a composite is put together from, before its SKU is known."""

    variant_id: str
    quantity: str


class Projected(NamedTuple):
    """One variant: its item, or why there is none.

    `components` are its item's, None where they cannot be told. `is_deleted`: Loyverse tells of it only to say that it
    is gone.
    """

    variant_id: str | None
    updated_at: datetime | None
    outcome: Item | Rejection
    components: tuple[Component, ...] | None = ()
    warnings: tuple[str, ...] = ()
    is_deleted: bool = False


class _Family(NamedTuple):
    """What all variants of an item share; a tuple, because one is made for each item."""

    name: str
    identity: str | None
    is_deleted: bool
    description: str | None
    category: str | None
    image: str | None
    is_composite: bool
    row: Row
    modifier_groups: tuple[ModifierGroup, ...] | None
    components: tuple[Component, ...] | None
    updated_at: datetime | None


def project(row: object, references: References, options: LoyverseOptions, warn: Warn) -> Iterator[Projected]:
    """What each variant of an item becomes.

    `warn` gets one fixed sentence for what was left out and belongs to no variant.
    """
    if not isinstance(row, dict):
        yield Projected(None, None, Rejection(None, None, f"is {kind_of(row)} instead of an item"))
        return
    warnings: list[str] = []
    try:
        variants = list_of(row, "variants")
        if not variants:
            if _is_deleted(row):
                warn("deleted item without variants left out")
                return
            raise UnusableRowError("has no variants")
    except UnusableRowError as problem:
        yield Projected(None, None, Rejection(shown(row.get("id")), None, str(problem)))
        return
    family: _Family | UnusableRowError
    try:
        family = _family(row, references, options, warnings.append)
    except UnusableRowError as problem:
        family = problem
    for variant in variants:
        projected = _projected(variant, family, options, tuple(warnings))
        # Deleted rows come with every answer for ever, and nobody can repair them: a rejection would never end.
        if isinstance(projected.outcome, Rejection) and (_is_deleted(row) or _is_deleted(variant)):
            warn("deleted variant that is no item left out")
        else:
            yield projected


def category_of(row: object) -> tuple[str, str | None]:
    """Return the id and name of a category, without the name of a deleted one; raise `UnusableRowError`."""
    if not isinstance(row, dict):
        raise UnusableRowError(f"is {kind_of(row)} instead of a category")
    return required_code(row, "id"), None if _is_deleted(row) else required_text(row, "name")


def modifier_group_of(row: object, store_id: str | None, warn: Warn) -> tuple[str, ModifierGroup]:
    """Return the id of a modifier and the group of its options, in the order of their positions.

    What is deleted, and a modifier that is not for the tenant's store, is inactive. Raises `UnusableRowError`.
    """
    if not isinstance(row, dict):
        raise UnusableRowError(f"is {kind_of(row)} instead of a modifier")
    identity = required_code(row, "id")
    modifiers: dict[str, Modifier] = {}
    parts = [part if isinstance(part, dict) else {} for part in list_of(row, "modifier_options")]
    for part in in_order(parts, "position"):
        code, name = code_of(part.get("id"), "modifier option id"), optional_text(part, "name")
        if code is None or name is None:
            warn("modifier option without id or name left out")
        elif code in modifiers:
            warn("second modifier option with the same id left out")
        else:
            modifiers[code] = Modifier(code, name, not _is_deleted(part))
    is_active = not _is_deleted(row) and _is_for_store(row, store_id)
    return identity, ModifierGroup(identity, required_text(row, "name"), tuple(modifiers.values()), is_active)


def stores_of(row: object) -> Iterator[str]:
    """The ids of all stores that an item's variants name."""
    for variant in _rows(row, "variants"):
        for store in _rows(variant, "stores"):
            if isinstance(store_id := store.get("store_id"), str):
                yield store_id


def _rows(part: object, key: str) -> Iterator[Row]:
    inner = part.get(key) if isinstance(part, dict) else None
    yield from (row for row in (inner if isinstance(inner, list) else ()) if isinstance(row, dict))


def _family(row: Row, references: References, options: LoyverseOptions, warn: Warn) -> _Family:
    is_composite = flag(row, "is_composite", absent=False)
    is_bundle = is_composite and options.composite == "bundle"
    return _Family(
        name=required_text(row, "item_name"),
        identity=code_of(row.get("id"), "id"),
        is_deleted=_is_deleted(row),
        description=_description(row),
        category=_category(row, references, warn),
        image=optional_text(row, "image_url"),
        is_composite=is_composite,
        row=row,
        modifier_groups=_modifier_groups(row, references, warn),
        # The rule says that a recipe is no bundle: then there are none, and what a bundle once left is hidden.
        components=_components(row, warn) if is_bundle else (),
        updated_at=changed_at(row, "updated_at", warn),
    )


def _projected(
    row: object, family: _Family | UnusableRowError, options: LoyverseOptions, shared: tuple[str, ...]
) -> Projected:
    if not isinstance(row, dict):
        return Projected(None, None, Rejection(None, None, f"is {kind_of(row)} instead of a variant"))
    warnings = list(shared)
    variant_id = row.get("variant_id")
    identity = variant_id if isinstance(variant_id, str) and variant_id.strip() else None
    updated_at = changed_at(row, "updated_at", warnings.append)
    try:
        if isinstance(family, UnusableRowError):
            raise family
        item = _item(row, family, options, updated_at)
    except UnusableRowError as problem:
        rejection = Rejection(shown(variant_id), shown(row.get("sku")), str(problem))
        return Projected(identity, updated_at, rejection)
    is_deleted = not item.is_active and (family.is_deleted or _is_deleted(row))
    return Projected(item.provider_id, item.updated_at, item, family.components, tuple(warnings), is_deleted)


def _item(row: Row, family: _Family, options: LoyverseOptions, updated_at: datetime | None) -> Item:
    identity = required_code(row, "variant_id")
    chosen = _variant_options(row, family.row)
    return Item(
        item_code=_item_code(row, identity, options),
        provider_id=identity,
        name=f"{family.name} - {' / '.join([option.value for option in chosen])}" if chosen else family.name,
        is_active=not family.is_deleted and not _is_deleted(row) and _is_for_sale(row, options.store_id),
        description=family.description,
        category=family.category,
        item_type=_COMPOSITE if family.is_composite else None,
        external_image_url=family.image,
        variant_group=family.identity if chosen else None,
        variant_options=chosen,
        modifier_groups=family.modifier_groups,
        updated_at=_later(family.updated_at, updated_at),
    )


def _item_code(row: Row, identity: str, options: LoyverseOptions) -> str:
    instead = identity if options.missing_sku == "variant_id" else None
    return item_code_of(row.get("sku"), instead, "the variant", "the POS", 'missing_sku = "variant_id"')


def _variant_options(row: Row, item: Row) -> tuple[VariantOption, ...]:
    """The options that a variant chose, by the names that its item gives them."""
    chosen = []
    for name, value in _OPTIONS:
        if (text := optional_text(row, value)) is not None:
            chosen.append(VariantOption(optional_text(item, name) or "", text))
    return tuple(chosen)


def _is_for_sale(row: Row, store_id: str | None) -> bool:
    """Whether the tenant's store, or any, sells the variant; where no stores are told, nothing speaks against it."""
    if row.get("stores") is None:
        return True
    for store in list_of(row, "stores"):
        if not isinstance(store, dict):
            raise UnusableRowError(f"has {kind_of(store)} among its stores; expected an object")
        if (store_id is None or store.get("store_id") == store_id) and flag(store, "available_for_sale"):
            return True
    return False


def _is_for_store(modifier: Row, store_id: str | None) -> bool:
    """Whether the tenant's store has the modifier; it may name the stores that do."""
    return store_id is None or modifier.get("stores") is None or store_id in list_of(modifier, "stores")


def _is_deleted(row: object) -> bool:
    return isinstance(row, dict) and row.get("deleted_at") not in (None, "")


def _description(row: Row) -> str | None:
    html = optional_text(row, "description")
    text = text_of_html(html) if html is not None else ""
    return text if text.strip() else None


def _category(row: Row, references: References, warn: Warn) -> str | None:
    identity = code_of(row.get("category_id"), "category_id")
    if identity is None:
        return None
    name = references.categories.get(identity)
    if name is None:
        warn("category that the account does not have left out")
    return name


def _modifier_groups(row: Row, references: References, warn: Warn) -> tuple[ModifierGroup, ...] | None:
    """None where one is dangling or the key is absent: then what is stored stays."""
    # Real answers say modifier_ids, some descriptions of the API modifiers_ids.
    key = "modifiers_ids" if "modifier_ids" not in row else "modifier_ids"
    if key not in row:
        return None
    groups: dict[str, ModifierGroup] = {}
    for value in list_of(row, key):
        group = references.modifiers.get(value) if isinstance(value, str) else None
        if group is None:
            warn("modifiers of an item left as they are: one is not in the account's list")
            return None
        groups[group.code] = group
    return tuple(groups.values())


def _components(row: Row, warn: Warn) -> tuple[Component, ...] | None:
    """A composite has components, so an absent list says nothing; equal ones are kept."""
    if row.get("components") is None:
        return None
    components = []
    for part in list_of(row, "components"):
        identity = code_of(part.get("variant_id"), "components") if isinstance(part, dict) else None
        if identity is None or not isinstance(part, dict):
            warn("components of a composite left as they are: one has no variant_id")
            return None
        components.append(Component(identity, quantity(part.get("quantity"), warn)))
    return tuple(components)


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return max(one, other)
