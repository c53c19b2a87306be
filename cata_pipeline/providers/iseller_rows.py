"""Turns one product row of iSeller into a canonical item, or into the reason why it cannot be one.

Every rule about a field of `GetProducts` lives here, and nothing that needs a network. A value of the wrong
type rejects its row instead of blanking a field: a rejected row leaves the item as it is. Prices are never
read. Unknown fields, and unknown product types, pass by: the vendor adds some without notice.
"""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from cata_pipeline.catalog.model import (
    MAX_ITEM_CODE_BYTES,
    BundleComponent,
    Item,
    Modifier,
    ModifierGroup,
    Rejection,
    VariantOption,
    text_problem,
)
from cata_pipeline.providers.iseller_options import EmptySku

Warn = Callable[[str], None]
Row = dict[str, object]

_BUNDLE_TYPE = "comboset"
_FIRST_YEAR = 1970
_LONGEST_SHOWN = 80
_LARGEST_MAGNITUDE = 9
_LONGEST_QUANTITY = 24
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (int, "a whole number"),
    (Decimal, "a number with a decimal point"),
    (str, "a text"),
    (list, "a list"),
    (dict, "an object"),
)


class _UnusableError(Exception):
    """The row cannot be taken; the message is the rejection's reason."""


def project(row: object, *, empty_sku: EmptySku, warn: Warn) -> Item | Rejection:
    """The item that `row` describes, or why there is none.

    `warn` gets one fixed sentence for each part of an accepted row that was left out or replaced.
    """
    if not isinstance(row, dict):
        return Rejection(None, None, f"is {_kind(row)} instead of a product")
    try:
        return _item(row, empty_sku, warn)
    except _UnusableError as problem:
        return Rejection(_shown(row.get("product_id")), _shown(row.get("sku")), str(problem))


def product_id(row: object) -> str | None:
    """What identifies a row across pages and passes; None when nothing does."""
    value = row.get("product_id") if isinstance(row, dict) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() else None


def modified_at(row: Row) -> datetime | None:
    """`modified_date` in UTC (it comes without zone); None when absent or before 1970.

    Raises `ValueError` when it cannot be read.
    """
    value = row.get("modified_date")
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError("no text")  # noqa: TRY004 one error for all that cannot be read
    moment = datetime.fromisoformat(value)
    try:
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("outside the calendar") from None
    return moment if moment.year >= _FIRST_YEAR else None


def _item(row: Row, empty_sku: EmptySku, warn: Warn) -> Item:
    identity = _code(row.get("product_id"), "product_id")
    if identity is None:
        raise _UnusableError("has no product_id")
    options = _variant_options(row, warn)
    item_type = _optional_text(row, "type")
    return Item(
        item_code=_item_code(row, identity, empty_sku),
        provider_id=identity,
        name=_display_name(row, options),
        is_active=_is_active(row),
        description=_optional_text(row, "description"),
        category=_category(row),
        item_type=item_type,
        external_image_url=_first_image(row),
        variant_group=_code(row.get("product_header_id"), "product_header_id") if options else None,
        variant_options=options,
        modifier_groups=_modifier_groups(row, warn),
        bundle_components=_bundle_components(row, warn) if item_type == _BUNDLE_TYPE else (),
        updated_at=_updated_at(row, warn),
    )


def _item_code(row: Row, identity: str, empty_sku: EmptySku) -> str:
    sku = row.get("sku")
    if sku is None or sku == "":
        if empty_sku == "reject":
            raise _UnusableError("has no SKU; give the product one in the POS")
        return identity
    code = _code(sku, "SKU")
    if code is None:
        raise _UnusableError("has a SKU of nothing but spaces; give the product a real one in the POS")
    return code


def _display_name(row: Row, options: tuple[VariantOption, ...]) -> str:
    name = _optional_text(row, "name")
    if name is None:
        raise _UnusableError("has no name")
    return f"{name} - {' / '.join(option.value for option in options)}" if options else name


def _category(row: Row) -> str | None:
    product_type = _optional_text(row, "product_type")
    if product_type is not None:
        return product_type
    tags = row.get("tags")
    # The document calls tags a String, its own sample shows a list.
    candidates = [tag.strip() for tag in tags.split(",")] if isinstance(tags, str) else _list(row, "tags")
    return next((tag for tag in (_text(tag, "tags") for tag in candidates if tag is not None) if tag.strip()), None)


def _first_image(row: Row) -> str | None:
    images = row.get("images")
    candidates = [images] if isinstance(images, str) else _list(row, "images")
    urls = (_text(image, "images").strip() for image in candidates if image is not None)
    return next((url for url in urls if url), None)


def _is_active(part: Row) -> bool:
    value = part.get("is_active")
    if value is None or value is True:
        return True
    if value is False:
        return False
    if isinstance(value, int) and value in (0, 1):
        return value == 1
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise _UnusableError(f"has {_kind(value)} as is_active; expected true or false")


def _variant_options(row: Row, warn: Warn) -> tuple[VariantOption, ...]:
    options = []
    for part in _list(row, "variant_options"):
        if not isinstance(part, dict):
            raise _UnusableError(f"has {_kind(part)} among its variant_options; expected option and value")
        value = part.get("value")
        text = str(value) if isinstance(value, Decimal) else _code(value, "variant_options")
        if text is None:
            warn("variant option without a value left out")
        else:
            options.append(VariantOption(_optional_text(part, "option") or "", text))
    return tuple(options)


def _modifier_groups(row: Row, warn: Warn) -> tuple[ModifierGroup, ...] | None:
    """An absent key says nothing about modifiers; null and an empty list say that there are none."""
    if "modifier_groups" not in row:
        return None
    groups: dict[str, ModifierGroup] = {}
    for part in _list(row, "modifier_groups"):
        named = _code_and_title(part, "modifier_group_id")
        if named is None or not isinstance(part, dict):
            warn("modifier group without id or title left out")
        elif named[0] in groups:
            warn("second modifier group with the same id left out")
        else:
            groups[named[0]] = ModifierGroup(*named, _modifiers(part, warn), _is_active(part))
    return tuple(groups.values())


def _modifiers(group: Row, warn: Warn) -> tuple[Modifier, ...]:
    # A nested modifier may carry another group's id (the vendor's own sample does): only the nesting counts.
    modifiers: dict[str, Modifier] = {}
    for part in _list(group, "modifiers"):
        named = _code_and_title(part, "modifier_id")
        if named is None or not isinstance(part, dict):
            warn("modifier without id or title left out")
        elif named[0] in modifiers:
            warn("second modifier with the same id in its group left out")
        else:
            modifiers[named[0]] = Modifier(*named, _is_active(part))
    return tuple(modifiers.values())


def _code_and_title(part: object, key: str) -> tuple[str, str] | None:
    if not isinstance(part, dict):
        return None
    code, title = _code(part.get(key), key), _optional_text(part, "title")
    return None if code is None or title is None else (code, title)


def _bundle_components(row: Row, warn: Warn) -> tuple[BundleComponent, ...] | None:
    """A comboset has components, so null says nothing: it is what an answer without the include looks like."""
    if row.get("bundles") is None:
        return None
    components = []
    for part in _list(row, "bundles"):
        code = _component_code(part)
        if code is None or not isinstance(part, dict):
            warn("bundle component without SKU and product_id left out")
            continue
        names = (_optional_text(part, "product_name"), _optional_text(part, "variant_name"))
        components.append(
            BundleComponent(
                slot=_optional_text(part, "category") or "",
                item_code=code,
                name=" - ".join(name for name in names if name is not None),
                quantity=_quantity(part.get("quantity"), warn),
            )
        )
    return tuple(components)


def _component_code(part: object) -> str | None:
    if not isinstance(part, dict):
        return None
    return _code(part.get("sku"), "bundles") or _code(part.get("product_id"), "bundles")


def _quantity(value: object, warn: Warn) -> str:
    if value is None:
        return "1"
    number = None
    if isinstance(value, int | str | Decimal) and not isinstance(value, bool):
        with contextlib.suppress(InvalidOperation):
            number = Decimal(value)
    if number is not None and number.is_finite() and not number.is_signed():
        # Judged before it is written out: 1E+999999 would become a million digits.
        text = format(number, "f") if abs(number.adjusted()) <= _LARGEST_MAGNITUDE else ""
        if 0 < len(text) <= _LONGEST_QUANTITY:
            return text
    warn("bundle quantity that is no usable number read as 1")
    return "1"


def _updated_at(row: Row, warn: Warn) -> datetime | None:
    try:
        return modified_at(row)
    except ValueError:
        warn("modified_date that cannot be read left out")
        return None


def _list(part: Row, key: str) -> list[object]:
    value = part.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _UnusableError(f"has {_kind(value)} as {key}; expected a list")
    return value


def _optional_text(part: Row, key: str) -> str | None:
    """The text exactly as it came, or None when it is absent, null or blank."""
    value = part.get(key)
    if value is None:
        return None
    text = _text(value, key)
    return text if text.strip() else None


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise _UnusableError(f"has {_kind(value)} as {key}; expected a text")
    if problem := text_problem(value):
        raise _UnusableError(f"has a {key} that {problem}")
    return value


def _code(value: object, key: str) -> str | None:
    """An identifier, byte for byte, or a whole number's digits; None when it is absent, null or blank."""
    if value is None:
        return None
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value, key)
    if not text.strip():
        return None
    if (length := len(text.encode())) > MAX_ITEM_CODE_BYTES:
        raise _UnusableError(f"has a {key} of {length} bytes; at most {MAX_ITEM_CODE_BYTES} can be stored")
    return text


def _kind(value: object) -> str:
    return next((kind for type_, kind in _KINDS if isinstance(value, type_)), "null")


def _shown(value: object) -> str | None:
    """An identifier fit for a report, or None."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value)
    return None if not text or text_problem(text) else text[:_LONGEST_SHOWN]
