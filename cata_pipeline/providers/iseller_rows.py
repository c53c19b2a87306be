"""Turns one product row of iSeller into a canonical item, or into the reason why it cannot be one.

Every rule about a field of `GetProducts` lives here, and nothing that needs a network; what may be in a field at all
is in `row_fields`. Prices are never read. Unknown fields, and unknown product types, pass by: the vendor adds some
without notice.
"""

from decimal import Decimal

from cata_pipeline.catalog.model import (
    BundleComponent,
    Item,
    Modifier,
    ModifierGroup,
    Rejection,
    VariantOption,
)
from cata_pipeline.providers.iseller_options import EmptySku
from cata_pipeline.providers.row_fields import (
    Row,
    UnusableRowError,
    Warn,
    changed_at,
    checked_text,
    code_of,
    flag_or_none,
    item_code_of,
    kind_of,
    list_of,
    optional_text,
    quantity,
    shown,
)

_BUNDLE_TYPE = "comboset"


def project(row: object, *, empty_sku: EmptySku, warn: Warn) -> Item | Rejection:
    """The item that `row` describes, or why there is none.

    `warn` gets one fixed sentence for each part of an accepted row that was left out or replaced.
    """
    if not isinstance(row, dict):
        return Rejection(None, None, f"is {kind_of(row)} instead of a product")
    try:
        return _item(row, empty_sku, warn)
    except UnusableRowError as problem:
        return Rejection(shown(row.get("product_id")), shown(row.get("sku")), str(problem))


def product_id(row: object) -> str | None:
    """What identifies a row across pages and passes; None when nothing does."""
    value = row.get("product_id") if isinstance(row, dict) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() else None


def _item(row: Row, empty_sku: EmptySku, warn: Warn) -> Item:
    identity = code_of(row.get("product_id"), "product_id")
    if identity is None:
        raise UnusableRowError("has no product_id")
    options = _variant_options(row, warn)
    item_type = optional_text(row, "type")
    return Item(
        item_code=_item_code(row, identity, empty_sku),
        provider_id=identity,
        name=_display_name(row, options),
        is_active=flag_or_none(row, "is_active"),
        description=optional_text(row, "description"),
        category=_category(row),
        item_type=item_type,
        external_image_url=_first_image(row),
        variant_group=code_of(row.get("product_header_id"), "product_header_id") if options else None,
        variant_options=options,
        modifier_groups=_modifier_groups(row, warn),
        bundle_components=_bundle_components(row, warn) if item_type == _BUNDLE_TYPE else (),
        updated_at=changed_at(row, "modified_date", warn),
    )


def _item_code(row: Row, identity: str, empty_sku: EmptySku) -> str:
    instead = identity if empty_sku == "product_id" else None
    return item_code_of(row.get("sku"), instead, "the product", "the POS", 'empty_sku = "product_id"')


def _display_name(row: Row, options: tuple[VariantOption, ...]) -> str:
    name = optional_text(row, "name")
    if name is None:
        raise UnusableRowError("has no name")
    return f"{name} - {' / '.join(option.value for option in options)}" if options else name


def _category(row: Row) -> str | None:
    product_type = optional_text(row, "product_type")
    if product_type is not None:
        return product_type
    tags = row.get("tags")
    # The document calls tags a String, its own sample shows a list.
    candidates = [tag.strip() for tag in tags.split(",")] if isinstance(tags, str) else list_of(row, "tags")
    texts = (checked_text(tag, "tags") for tag in candidates if tag is not None)
    return next((text for text in texts if text.strip()), None)


def _first_image(row: Row) -> str | None:
    images = row.get("images")
    for image in [images] if isinstance(images, str) else list_of(row, "images"):
        if image is not None and (url := checked_text(image, "images").strip()):
            return url
    return None


def _variant_options(row: Row, warn: Warn) -> tuple[VariantOption, ...]:
    options = []
    for part in list_of(row, "variant_options"):
        if not isinstance(part, dict):
            raise UnusableRowError(f"has {kind_of(part)} among its variant_options; expected option and value")
        value = part.get("value")
        text = str(value) if isinstance(value, Decimal) else code_of(value, "variant_options")
        if text is None:
            warn("variant option without a value left out")
        else:
            options.append(VariantOption(optional_text(part, "option") or "", text))
    return tuple(options)


def _modifier_groups(row: Row, warn: Warn) -> tuple[ModifierGroup, ...] | None:
    """An absent key says nothing about modifiers; null and an empty list say that there are none."""
    if "modifier_groups" not in row:
        return None
    groups: dict[str, ModifierGroup] = {}
    for part in list_of(row, "modifier_groups"):
        named = _code_and_title(part, "modifier_group_id")
        if named is None or not isinstance(part, dict):
            warn("modifier group without id or title left out")
        elif named[0] in groups:
            warn("second modifier group with the same id left out")
        else:
            groups[named[0]] = ModifierGroup(*named, _modifiers(part, warn), flag_or_none(part, "is_active"))
    return tuple(groups.values())


def _modifiers(group: Row, warn: Warn) -> tuple[Modifier, ...]:
    # A nested modifier may carry another group's id (the vendor's own sample does): only the nesting counts.
    modifiers: dict[str, Modifier] = {}
    for part in list_of(group, "modifiers"):
        named = _code_and_title(part, "modifier_id")
        if named is None or not isinstance(part, dict):
            warn("modifier without id or title left out")
        elif named[0] in modifiers:
            warn("second modifier with the same id in its group left out")
        else:
            modifiers[named[0]] = Modifier(*named, flag_or_none(part, "is_active"))
    return tuple(modifiers.values())


def _code_and_title(part: object, key: str) -> tuple[str, str] | None:
    if not isinstance(part, dict):
        return None
    code, title = code_of(part.get(key), key), optional_text(part, "title")
    return None if code is None or title is None else (code, title)


def _bundle_components(row: Row, warn: Warn) -> tuple[BundleComponent, ...] | None:
    """A comboset has components, so null says nothing: it is what an answer without the include looks like."""
    if row.get("bundles") is None:
        return None
    components = []
    for part in list_of(row, "bundles"):
        code = _component_code(part)
        if code is None or not isinstance(part, dict):
            warn("bundle component without SKU and product_id left out")
            continue
        names = (optional_text(part, "product_name"), optional_text(part, "variant_name"))
        components.append(
            BundleComponent(
                slot=optional_text(part, "category") or "",
                item_code=code,
                name=" - ".join(name for name in names if name is not None),
                quantity=quantity(part.get("quantity"), warn),
            )
        )
    return tuple(components)


def _component_code(part: object) -> str | None:
    if not isinstance(part, dict):
        return None
    return code_of(part.get("sku"), "bundles") or code_of(part.get("product_id"), "bundles")
