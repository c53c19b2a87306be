"""Reads products of Square's catalog (ITEM with its nested ITEM_VARIATION) into small parts.

Every rule about a field of an item or a variation lives here; what others refer to (categories, pictures, modifier
lists, options) is in `square_references`, and how parts become a catalog once the last page came in `square_catalog`.
Raw objects are not kept: they are many times larger. Prices are never read, unknown fields and product types pass by.
"""

from datetime import datetime
from typing import NamedTuple

from cata_pipeline.providers.html_text import text_of_html
from cata_pipeline.providers.row_fields import (
    Row,
    UnusableRowError,
    Warn,
    changed_at,
    checked_text,
    code_of,
    flag,
    in_order,
    item_code_of,
    kind_of,
    list_of,
    objects_of,
    optional_text,
    shown,
)
from cata_pipeline.providers.square_options import MissingSku
from cata_pipeline.providers.square_place import Place

_YES_AND_NO = {"YES": True, "NO": False}


class ModifierListUse(NamedTuple):
    """That an item offers a modifier list; `hidden` says which modifiers it shows or hides differently."""

    list_id: str
    hidden: tuple[tuple[str, bool], ...] = ()


class HeldVariation(NamedTuple):
    """One sellable variation; `problem` is why it cannot be an item, when it cannot.

    `option_values` are pairs of an option's and a value's id. `is_active` is the variation's own part of the answer.
    """

    variation_id: str | None
    code: str | None
    problem: str | None = None
    name: str | None = None
    is_deleted: bool = False
    is_active: bool = False
    image_ids: tuple[str, ...] = ()
    option_values: tuple[tuple[str, str], ...] = ()
    updated_at: datetime | None = None


class HeldItem(NamedTuple):
    """A product. `problem` is why none of its variations can be an item; `uses` is None where nothing is said."""

    item_id: str | None
    version: int
    variations: tuple[HeldVariation, ...]
    problem: str | None = None
    name: str = ""
    is_deleted: bool = False
    is_active: bool = False
    description: str | None = None
    category_ids: tuple[str, ...] = ()
    item_type: str | None = None
    image_ids: tuple[str, ...] = ()
    uses: tuple[ModifierListUse, ...] | None = None
    updated_at: datetime | None = None
    warnings: tuple[str, ...] = ()


def read_item(row: Row, place: Place) -> HeldItem:
    """The parts of an ITEM that a catalog needs; never fails, a `problem` says what is wrong."""
    warnings: list[str] = []
    try:
        return _item(row, place, warnings)
    except UnusableRowError as problem:
        return HeldItem(
            item_id=shown(row.get("id")),
            version=version_of(row),
            variations=tuple(_without_item(part, str(problem)) for part in _nested(row)),
            problem=str(problem),
            is_deleted=row.get("is_deleted") is True,
            item_type=shown(_raw_data(row).get("product_type")),
            warnings=tuple(warnings),
        )


def read_variation(part: object, place: Place, warn: Warn) -> HeldVariation:
    """One variation, nested or not; never fails, a `problem` says what is wrong."""
    if not isinstance(part, dict):
        return HeldVariation(None, None, f"is {kind_of(part)} instead of a variation")
    try:
        return _variation(part, place, warn)
    except UnusableRowError as problem:
        return _without_item(part, str(problem))


def data_of(row: Row, key: str) -> Row:
    """The object in a field, such as the part that a type decides; empty where absent, as in what was deleted."""
    data = row.get(key)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UnusableRowError(f"has {kind_of(data)} as {key}; expected an object")
    return data


def version_of(row: Row) -> int:
    """Larger is newer; 0 where the object does not say."""
    version = row.get("version")
    return version if isinstance(version, int) and not isinstance(version, bool) else 0


def _item(row: Row, place: Place, warnings: list[str]) -> HeldItem:
    warn = warnings.append
    data = data_of(row, "item_data")
    item_id = code_of(row.get("id"), "id")
    if item_id is None:
        raise UnusableRowError("has no id")
    is_deleted = flag(row, "is_deleted", absent=False)
    name = optional_text(data, "buyer_facing_name") or optional_text(data, "name")
    if name is None:
        raise UnusableRowError("has no name")
    return HeldItem(
        item_id=item_id,
        version=version_of(row),
        variations=tuple([read_variation(part, place, warn) for part in list_of(data, "variations")]),
        name=name,
        is_deleted=is_deleted,
        is_active=not flag(data, "is_archived", absent=False) and place.has(row),
        description=_description(data),
        category_ids=_category_ids(data),
        item_type=optional_text(data, "product_type"),
        image_ids=_image_ids(data),
        # What was deleted may come without its data, and then says nothing about modifiers.
        uses=None if is_deleted and "modifier_list_info" not in data else _uses(data, warn),
        updated_at=changed_at(row, "updated_at", warn),
        warnings=tuple(warnings),
    )


def _variation(part: Row, place: Place, warn: Warn) -> HeldVariation:
    data = data_of(part, "item_variation_data")
    variation_id = code_of(part.get("id"), "id")
    if variation_id is None:
        raise UnusableRowError("has no id")
    is_sold = place.options.not_sellable == "show" or flag(data, "sellable")
    return HeldVariation(
        variation_id=variation_id,
        code=_item_code(data, variation_id, place.options.missing_sku),
        name=optional_text(data, "name"),
        is_deleted=flag(part, "is_deleted", absent=False),
        is_active=is_sold and place.has(part) and not place.hides_as_sold_out(data, warn),
        image_ids=_image_ids(data),
        option_values=_option_values(data, warn),
        updated_at=changed_at(part, "updated_at", warn),
    )


def _item_code(data: Row, variation_id: str, missing_sku: MissingSku) -> str:
    instead = variation_id if missing_sku == "variation_id" else None
    return item_code_of(data.get("sku"), instead, "the variation", "Square", 'missing_sku = "variation_id"')


def _without_item(part: object, problem: str) -> HeldVariation:
    if not isinstance(part, dict):
        return HeldVariation(None, None, problem)
    data = part.get("item_variation_data")
    sku = data.get("sku") if isinstance(data, dict) else None
    return HeldVariation(shown(part.get("id")), shown(sku), problem, is_deleted=part.get("is_deleted") is True)


def _nested(row: Row) -> list[object]:
    variations = _raw_data(row).get("variations")
    return variations if isinstance(variations, list) else []


def _raw_data(row: Row) -> Row:
    data = row.get("item_data")
    return data if isinstance(data, dict) else {}


def _description(data: Row) -> str | None:
    if (plain := optional_text(data, "description_plaintext")) is not None:
        return plain
    if (html := optional_text(data, "description_html")) is not None and (text := text_of_html(html)).strip():
        return text
    return optional_text(data, "description")


def _category_ids(data: Row) -> tuple[str, ...]:
    """Return the reporting category, those of the list in its order, and the one of the deprecated field, each once."""
    parts = (data_of(data, "reporting_category"), *objects_of(data, "categories"))
    ids = [*(code_of(part.get("id"), "category") for part in parts), code_of(data.get("category_id"), "category_id")]
    return tuple(dict.fromkeys(found for found in ids if found is not None))


def _image_ids(data: Row) -> tuple[str, ...]:
    ids = [code_of(value, "image_ids") for value in list_of(data, "image_ids")]
    return tuple([found for found in ids if found is not None])


def _option_values(data: Row, warn: Warn) -> tuple[tuple[str, str], ...]:
    pairs = []
    for part in list_of(data, "item_option_values"):
        keys = ("item_option_id", "item_option_value_id")
        option, value = (code_of(part.get(key), key) if isinstance(part, dict) else None for key in keys)
        if option is None or value is None:
            warn("option value without ids left out")
        else:
            pairs.append((option, value))
    return tuple(pairs)


def _uses(data: Row, warn: Warn) -> tuple[ModifierListUse, ...]:
    uses: dict[str, ModifierListUse] = {}
    for part in in_order(objects_of(data, "modifier_list_info"), "ordinal"):
        list_id = code_of(part.get("modifier_list_id"), "modifier_list_id")
        if list_id is None:
            warn("modifier list without id left out")
        elif list_id in uses:
            warn("second use of the same modifier list left out")
        elif flag(part, "enabled"):
            uses[list_id] = ModifierListUse(list_id, _hidden(part))
    return tuple(uses.values())


def _hidden(use: Row) -> tuple[tuple[str, bool], ...]:
    """Modifiers that this item hides or shows whatever their list says; NOT_SET and what is unknown change nothing."""
    found = []
    for part in objects_of(use, "modifier_overrides"):
        if (modifier_id := code_of(part.get("modifier_id"), "modifier_id")) is not None:
            override = part.get("hidden_online_override")
            is_hidden = _YES_AND_NO.get(checked_text(override, "hidden_online_override")) if override else None
            if is_hidden is not None:
                found.append((modifier_id, is_hidden))
    return tuple(found)
