"""The demo POS's side of the iSeller wire format: what a GetProducts request says and how a product is answered.

Add a request parameter or a field of a row here. The uneven types (a price now as text, now as a number; keys that
some rows lack) are the vendor's and are meant: each row is always written the same way. Nothing here knows HTTP.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cata_pipeline.demo.products import Component, Menu, ModifierGroup, Product, made_up_id

PAGE_SIZE_CAP = 500
_OUTLET_ID = made_up_id("outlet")
_OUTLET_NAME = "Pusat"
_TIME_TAKEN = "00:00:00.05"


@dataclass(frozen=True)
class ProductQuery:
    """One GetProducts request; `page` counts from 1, `modified_after` includes its own instant."""

    track_inventory: bool
    modified_after: datetime
    page: int
    page_size: int
    includes: frozenset[str]

    @classmethod
    def parse(cls, parameters: Mapping[str, object]) -> "ProductQuery":
        """Read the parameters of a JSON or form body; raises `ValueError` that names the wrong one."""
        includes = parameters.get("includes") or ""
        if not isinstance(includes, str):
            raise ValueError("includes must be a comma separated text")  # noqa: TRY004 one error for every bad parameter
        return cls(
            track_inventory=_flag(parameters, "track_inventory"),
            modified_after=_moment(parameters, "modified_after"),
            page=_count(parameters, "page"),
            page_size=min(_count(parameters, "page_size"), PAGE_SIZE_CAP),
            includes=frozenset(part.strip() for part in includes.split(",")),
        )


def products_page(products: Sequence[Product], query: ProductQuery, picture_origin: str) -> dict[str, object]:
    """The answer to GetProducts; picture addresses begin with `picture_origin`."""
    matching = [
        product
        for product in products
        if product.track_inventory is query.track_inventory and product.modified_at >= query.modified_after
    ]
    end = query.page * query.page_size
    page = matching[end - query.page_size : end]
    return {
        "products": [product_row(product, query.includes, picture_origin) for product in page],
        "has_next_item": len(matching) > end,
        "status": True,
        "error_message": None,
        "time": _TIME_TAKEN,
    }


def refusal(message: str) -> dict[str, object]:
    """How the vendor says no: the body tells, the HTTP status need not."""
    return {"products": [], "has_next_item": False, "status": False, "error_message": message, "time": _TIME_TAKEN}


def store_info(menu: Menu) -> dict[str, object]:
    """The answer to GetStoreInfo."""
    outlet = {
        "outlet_id": _OUTLET_ID,
        "outlet_code": "01",
        "outlet_name": _OUTLET_NAME,
        "phone": "",
        "address": menu.address,
        "image": None,
    }
    return {
        "store_info": {
            "store_name": menu.store_name,
            "active_outlets": [outlet],
            "active_payments": [{"payment_name": "Cash"}, {"payment_name": "QRIS"}],
        },
        "status": True,
        "error_message": None,
        "time": _TIME_TAKEN,
    }


def product_row(product: Product, includes: frozenset[str], picture_origin: str) -> dict[str, object]:
    """One StoreProduct; what is not in `includes` is null."""
    fate = uuid.UUID(product.product_id).int
    images = [picture_origin + product.picture.path] if product.picture else []
    price: object = f"{product.price}.0000" if fate % 3 == 0 else product.price
    row: dict[str, object] = {
        "product_id": product.product_id,
        "name": product.name,
        "description": product.description,
        "type": product.type,
        "product_type": product.category,
        "vendor": None,
        "attribute": None,
        "tags": list(product.tags) if "Tags" in includes else None,
        "barcode": "",
        "sku": product.sku,
        "price": price,
        "outlet_prices": [{"outlet_id": _OUTLET_ID, "outlet_name": _OUTLET_NAME, "price": price}]
        if "OutletPrice" in includes
        else None,
        "taxable": True,
        "track_inventory": product.track_inventory,
        "allow_negative_stock": not product.track_inventory,
        "sold_count": float(fate % 900),
        "unit_of_measurement": "pcs",
        "buying_prices": [],
        "buying_price": 0,
        "inventories": [],
        "ingredients": [
            {"product_id": part.product_id, "name": part.name, "sku": part.sku, "quantity": part.quantity}
            for part in product.ingredients
        ]
        or None,
        "variant_options": [{"option": option, "value": value} for option, value in product.options],
        "bundles": _bundles(product) if "Bundles" in includes else None,
        "modifier_groups": _groups(product, with_modifiers="Modifiers" in includes)
        if "ModifierGroups" in includes
        else None,
        "images": (images[0] if images else "") if fate % 7 == 0 else images,
        "need_scale": False,
        "modified_date": product.modified_at.strftime("%Y-%m-%d %H:%M:%S"),
    }
    if product.header_id is not None:
        row["product_header_id"] = product.header_id
    if fate % 5 != 0 or product.was_inactive or not product.is_active:
        row["is_active"] = product.is_active
    return row


def _bundles(product: Product) -> list[dict[str, object]] | None:
    if product.type != "comboset":
        return None
    return [_bundle(component) for component in product.components]


def _bundle(component: Component) -> dict[str, object]:
    return {
        "product_id": component.product_id,
        "sku": component.sku,
        "category": component.slot,
        "product_name": component.product_name,
        "variant_name": component.variant_name,
        "quantity": component.quantity,
    }


def _groups(product: Product, *, with_modifiers: bool) -> list[dict[str, object]]:
    return [_modifier_group(group, with_modifiers=with_modifiers) for group in product.modifier_groups]


def _modifier_group(group: ModifierGroup, *, with_modifiers: bool) -> dict[str, object]:
    row: dict[str, object] = {
        "modifier_group_id": group.group_id,
        "title": group.title,
        "modifiers": [
            {
                "modifier_id": modifier.modifier_id,
                "modifier_group_id": modifier.group_id,
                "title": modifier.title,
                "price": modifier.price,
                "quantity": 0,
            }
            for modifier in group.modifiers
        ]
        if with_modifiers
        else None,
    }
    if uuid.UUID(group.group_id).int % 2 == 0:
        row["is_active"] = True
    return row


def _flag(parameters: Mapping[str, object], name: str) -> bool:
    match parameters.get(name):
        case bool(value):
            return value
        case str(text) if text.lower() in {"true", "false"}:
            return text.lower() == "true"
        case _:
            raise ValueError(f"{name} is required and must be true or false")


def _count(parameters: Mapping[str, object], name: str) -> int:
    value = parameters.get(name)
    number = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if isinstance(value, str) and value.isdecimal():
        number = int(value)
    if number < 1:
        raise ValueError(f"{name} is required and must be a whole number from 1")
    return number


def _moment(parameters: Mapping[str, object], name: str) -> datetime:
    value = parameters.get(name)
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is not None:
        raise ValueError(f"{name} is required and must be an ISO 8601 time in UTC without a zone")
    return moment.replace(tzinfo=UTC)
