"""Turns one row of a feed into a canonical item, or into the reason why it cannot be one.

Every rule about a field of our own format lives here, as strictly as docs/feed-format.md and `feed.schema.json` say:
whoever writes a feed can correct it, so that nothing is guessed, left out or passed over. Prices are no field of it.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import NoReturn, TypeVar

from cata_pipeline.catalog.model import BundleComponent, Item, Modifier, ModifierGroup, VariantOption
from cata_pipeline.providers.row_fields import (
    Row,
    UnusableRowError,
    code_of,
    kind_of,
    list_of,
    moment_of,
    optional_text,
    quantity,
    required_code,
    required_text,
)

Part = TypeVar("Part")

REQUIRED_FIELDS = ("item_code", "name")
JSON_FIELDS = ("variant_options", "modifier_groups", "bundle_components")
FIELDS = (
    *REQUIRED_FIELDS,
    "is_active",
    "description",
    "category",
    "item_type",
    "image_url",
    "variant_group",
    *JSON_FIELDS,
    "updated_at",
)
_KNOWN = frozenset(FIELDS)
_OPTION_FIELDS = frozenset({"option", "value"})
_MODIFIER_FIELDS = frozenset({"code", "name", "is_active"})
_GROUP_FIELDS = _MODIFIER_FIELDS | {"modifiers"}
_COMPONENT_FIELDS = frozenset({"item_code", "name", "slot", "quantity"})
_PRICE = re.compile(r"price|cost|amount", re.IGNORECASE)
# Narrower than what Python reads: the schema has the same patterns, and a time without zone would be anybody's guess.
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-5][0-9])")
_QUANTITY = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")
_NAMED = 10
_LONGEST_NAMED = 40


def item_of(row: Row) -> Item:
    """The item that a row describes; raises `UnusableRowError`.

    Its provider id is its code, because a feed knows no other.
    """
    if not _KNOWN.issuperset(row):
        raise UnusableRowError(f"has {unknown_fields([name for name in row if name not in _KNOWN])}")
    code = required_code(row, "item_code")
    return Item(
        item_code=code,
        provider_id=code,
        name=required_text(row, "name"),
        is_active=_flag(row),
        description=optional_text(row, "description"),
        category=optional_text(row, "category"),
        item_type=optional_text(row, "item_type"),
        external_image_url=optional_text(row, "image_url"),
        variant_group=code_of(row.get("variant_group"), "variant_group"),
        variant_options=_parts(row, "variant_options", _variant_option),
        modifier_groups=_modifier_groups(row),
        bundle_components=_bundle_components(row, code),
        updated_at=_updated_at(row),
    )


def unknown_fields(names: list[str]) -> str:
    """Says which fields are none of the format's; where one is a price, also why."""
    told = ", ".join(_named(name[:_LONGEST_NAMED]) for name in names[:_NAMED])
    if any(_PRICE.search(name) for name in names):
        return f"the unknown {told}: prices belong to Cata and are never read, leave them out"
    return f"the unknown {told}; known are {', '.join(FIELDS)}"


def _named(name: str) -> str:
    """A name as it is, or in quotes where something about it would not be seen."""
    return name if name and name.isprintable() and name == name.strip() else repr(name)


def _flag(part: Row) -> bool | None:
    value = part.get("is_active")
    if value is not None and not isinstance(value, bool):
        raise UnusableRowError(f"has {kind_of(value)} as is_active; expected true or false")
    return value


def _parts(part: Row, key: str, read: Callable[[Row], Part]) -> tuple[Part, ...]:
    if part.get(key) is None:
        return ()
    parts = []
    for value in list_of(part, key):
        if not isinstance(value, dict):
            raise UnusableRowError(f"has {kind_of(value)} among its {key}; expected an object")
        parts.append(read(value))
    return tuple(parts)


def _only(part: Row, known: frozenset[str], where: str) -> None:
    if unknown := sorted(part.keys() - known):
        raise UnusableRowError(f"has in its {where} {unknown_fields(unknown).partition('; known are')[0]}")


def _variant_option(part: Row) -> VariantOption:
    _only(part, _OPTION_FIELDS, "variant_options")
    return VariantOption(required_text(part, "option"), required_text(part, "value"))


def _modifier_groups(row: Row) -> tuple[ModifierGroup, ...] | None:
    """An absent key says nothing about modifiers; null and an empty list say that there are none."""
    if "modifier_groups" not in row:
        return None
    groups = _parts(row, "modifier_groups", _modifier_group)
    _refuse_repetition([group.code for group in groups], "modifier_groups")
    return groups


def _modifier_group(part: Row) -> ModifierGroup:
    _only(part, _GROUP_FIELDS, "modifier_groups")
    modifiers = _parts(part, "modifiers", _modifier)
    _refuse_repetition([modifier.code for modifier in modifiers], "modifiers")
    return ModifierGroup(required_code(part, "code"), required_text(part, "name"), modifiers, _flag(part))


def _modifier(part: Row) -> Modifier:
    _only(part, _MODIFIER_FIELDS, "modifiers")
    return Modifier(required_code(part, "code"), required_text(part, "name"), _flag(part))


def _refuse_repetition(codes: list[str], where: str) -> None:
    if len(set(codes)) != len(codes):
        raise UnusableRowError(f"has the same code twice in its {where}")


def _bundle_components(row: Row, code: str) -> tuple[BundleComponent, ...] | None:
    """As with modifiers; equal components are legal and kept."""
    if "bundle_components" not in row:
        return None
    components = _parts(row, "bundle_components", _component)
    if any(component.item_code == code for component in components):
        raise UnusableRowError("is among its own bundle_components")
    return components


def _component(part: Row) -> BundleComponent:
    _only(part, _COMPONENT_FIELDS, "bundle_components")
    return BundleComponent(
        slot=optional_text(part, "slot") or "",
        item_code=required_code(part, "item_code"),
        name=required_text(part, "name"),
        quantity=_quantity(part.get("quantity")),
    )


def _quantity(value: object) -> str:
    if isinstance(value, str) and not _QUANTITY.fullmatch(value):
        _refuse_quantity("")
    return quantity(value, _refuse_quantity)


def _refuse_quantity(_: str) -> NoReturn:
    raise UnusableRowError("has a quantity among its bundle_components that is no usable number")


def _updated_at(row: Row) -> datetime | None:
    text = optional_text(row, "updated_at")
    if text is None:
        return None
    try:
        moment = moment_of(text) if _MOMENT.fullmatch(text) else None
    except ValueError:
        moment = None
    if moment is None:
        raise UnusableRowError(
            "has an updated_at that is no time with a zone; expected one such as 2026-03-01T08:00:00Z"
        )
    return moment
