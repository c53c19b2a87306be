"""Reads what Square's products refer to: categories, pictures, modifier lists and options.

Each comes as an object of its own, on any page, before or after the product that names it. Only what a catalog needs is
kept of it. The products themselves are in `square_objects`.
"""

from dataclasses import dataclass
from datetime import datetime

from cata_pipeline.catalog.model import Modifier, ModifierGroup
from cata_pipeline.providers.row_fields import (
    Row,
    UnusableRowError,
    Warn,
    changed_at,
    code_of,
    flag,
    in_order,
    list_of,
    optional_text,
)
from cata_pipeline.providers.square_objects import data_of, version_of
from cata_pipeline.providers.square_place import Place

_FREE_TEXT = "TEXT"
_REGULAR = "REGULAR_CATEGORY"


@dataclass(frozen=True, slots=True)
class Reference:
    """What every object has that a product can refer to. `text` is its name, or a picture's URL; None when it has none.

    `warnings` count only when a product refers to it.
    """

    version: int
    is_deleted: bool
    text: str | None
    updated_at: datetime | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Category(Reference):
    """What an item belongs to. `is_regular` is false for what arranges a menu or routes orders to a kitchen."""

    is_regular: bool = True


@dataclass(frozen=True, slots=True)
class ModifierList(Reference):
    """Choices that products share. `modifiers` are as the list has them; `hidden` names those not shown online."""

    modifiers: tuple[Modifier, ...] = ()
    hidden: frozenset[str] = frozenset()
    is_free_text: bool = False
    is_active: bool = True

    def group(self, list_id: str, overrides: tuple[tuple[str, bool], ...]) -> ModifierGroup:
        """The choices as one product offers them."""
        hidden = set(self.hidden)
        for modifier_id, is_hidden in overrides:
            (hidden.add if is_hidden else hidden.discard)(modifier_id)
        modifiers = tuple(
            Modifier(modifier.code, modifier.name, modifier.is_active and modifier.code not in hidden)
            for modifier in self.modifiers
        )
        return ModifierGroup(list_id, self.text or "", modifiers, self.is_active)


@dataclass(frozen=True, slots=True)
class ItemOption(Reference):
    """What variations differ by, such as Size; `values` by their ids."""

    values: tuple[tuple[str, str], ...] = ()


def read_category(row: Row, _: Place) -> Category:
    """Read a CATEGORY: its name and whether it is a regular one, as those without a type are."""
    data = data_of(row, "category_data")
    seen = _reference(row, optional_text(data, "name"))
    is_regular = (optional_text(data, "category_type") or _REGULAR) == _REGULAR
    return Category(seen.version, seen.is_deleted, seen.text, seen.updated_at, seen.warnings, is_regular)


def read_image(row: Row, _: Place) -> Reference:
    """An IMAGE, by its URL."""
    url = optional_text(data_of(row, "image_data"), "url")
    return _reference(row, url.strip() if url else None)


def read_item_option(row: Row, _: Place) -> ItemOption:
    """An ITEM_OPTION with its values; buyers read the display name."""
    data = data_of(row, "item_option_data")
    values = []
    for part in list_of(data, "values"):
        if isinstance(part, dict):
            value_id = code_of(part.get("id"), "id")
            name = optional_text(data_of(part, "item_option_value_data"), "name")
            if value_id is not None and name is not None:
                values.append((value_id, name))
    seen = _reference(row, optional_text(data, "display_name") or optional_text(data, "name"))
    return ItemOption(seen.version, seen.is_deleted, seen.text, seen.updated_at, seen.warnings, tuple(values))


def read_modifier_list(row: Row, place: Place) -> ModifierList:
    """A MODIFIER_LIST with its modifiers; only their names and whether they are offered count."""
    data = data_of(row, "modifier_list_data")
    warnings: list[str] = []
    modifiers: dict[str, Modifier] = {}
    hidden = set()
    for part in _modifiers_in_order(data):
        modifier = _modifier(part, place, warnings.append)
        if modifier is None:
            warnings.append("modifier without id or name left out")
        elif modifier.code in modifiers:
            warnings.append("second modifier with the same id in its list left out")
        else:
            modifiers[modifier.code] = modifier
            if flag(data_of(part, "modifier_data"), "hidden_online", absent=False):
                hidden.add(modifier.code)
    seen = _reference(row, optional_text(data, "name"))
    return ModifierList(
        version=seen.version,
        is_deleted=seen.is_deleted,
        text=seen.text,
        updated_at=seen.updated_at,
        warnings=(*seen.warnings, *warnings),
        modifiers=tuple(modifiers.values()),
        hidden=frozenset(hidden),
        is_free_text=optional_text(data, "modifier_type") == _FREE_TEXT,
        is_active=place.has(row),
    )


def _modifiers_in_order(data: Row) -> list[Row]:
    parts = [part if isinstance(part, dict) else {} for part in list_of(data, "modifiers")]
    numbered: list[Row] = [{"ordinal": data_of(part, "modifier_data").get("ordinal"), "part": part} for part in parts]
    ordered = in_order(numbered, "ordinal")
    return [row["part"] for row in ordered if isinstance(row["part"], dict)]


def _modifier(part: Row, place: Place, warn: Warn) -> Modifier | None:
    data = data_of(part, "modifier_data")
    code, name = code_of(part.get("id"), "id"), optional_text(data, "name")
    if code is None or name is None:
        return None
    if list_of(data, "child_modifier_list_ids"):
        warn("modifier lists below a modifier are not supported and left out")
    is_deleted = flag(part, "is_deleted", absent=False)
    return Modifier(code, name, not is_deleted and place.has(part) and not place.hides_as_sold_out(data, warn))


def _reference(row: Row, text: str | None) -> Reference:
    warnings: list[str] = []
    if code_of(row.get("id"), "id") is None:
        raise UnusableRowError("has no id")
    is_deleted = flag(row, "is_deleted", absent=False)
    return Reference(version_of(row), is_deleted, text, changed_at(row, "updated_at", warnings.append), tuple(warnings))
