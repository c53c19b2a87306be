"""A make-believe Loyverse account, written from the vendor's documents: three lists, cursors, references, oddities."""

import base64
from collections.abc import Mapping, Sequence
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from cata_pipeline.providers.conformance.pos_server import PosServer, Sold
from cata_pipeline.providers.conformance.scripted_server import Answer, Received, answer
from cata_pipeline.providers.contract import Provider
from cata_pipeline.providers.loyverse import LOYVERSE

STORE = "5f3a0000-0000-4000-8000-000000000001"
OTHER_STORE = "5f3a0000-0000-4000-8000-000000000002"
RATE_LIMITED = answer({"errors": [{"code": "RATE_LIMITED", "details": "Too many requests"}]}, status=429)
_MOST = 250


class LoyversePos(PosServer):
    """Each product is an item with one variant, until `items` says otherwise: whole items in the wire format, by page.

    `categories` and `modifiers` are rows too; categories that products name are added. Deleted rows are told only to
    who asks for them, and the last page has no cursor.
    """

    provider: ClassVar[Provider] = LOYVERSE

    def __init__(self) -> None:
        super().__init__()
        self.items: list[list[dict[str, object]]] | None = None
        self.categories: list[dict[str, object]] = []
        self.modifiers: list[dict[str, object]] = []
        self.cursors_keep_filters = False
        """A cursor stands for the filters that it was asked for with, and refuses to be sent along with any."""

    def offer(self, *pages: list[dict[str, object]]) -> None:
        """These items, page by page."""
        self.items = list(pages)
        self.sell(*([] for _ in pages))

    def options(self) -> dict[str, object]:
        return {"origin": self.origin}

    def secrets(self) -> dict[str, str]:
        return {"access_token": "0123loyverse-token-of-kopi"}

    def page_asked_for(self, received: Received) -> int | None:
        if urlsplit(received.path).path != "/v1.0/items":
            return None
        return _number(query_of(received).get("cursor"))

    def page(self, number: int, products: Sequence[Sold], *, is_last: bool) -> Answer:
        if refusal := self._refusal(self.received[-1]):
            return refusal
        rows = [item_of(sold) for sold in products] if self.items is None else self.items[number - 1]
        return self._answer("items", rows, None if is_last else number + 1)

    def other(self, received: Received) -> Answer:
        """Categories and modifiers come two a page, so that they have pages too."""
        name = urlsplit(received.path).path.rpartition("/")[2]
        if urlsplit(received.path).path not in ("/v1.0/categories", "/v1.0/modifiers"):
            return answer({"errors": [{"code": "NOT_FOUND", "details": "Not found"}]}, status=404)
        if refusal := self._refusal(received):
            return refusal
        named = dict.fromkeys(sold.category for page in self.pages for sold in page if sold.category is not None)
        rows = [*self.categories, *map(category, named)] if name == "categories" else self.modifiers
        start = (_number(query_of(received).get("cursor")) - 1) * 2
        following = start // 2 + 2 if start + 2 < len(rows) else None
        return self._answer(name, rows[start : start + 2], following)

    def _refusal(self, received: Received) -> Answer | None:
        if received.headers.get("Authorization") != f"Bearer {self.secrets()['access_token']}":
            return answer({"errors": [{"code": "UNAUTHORIZED", "details": "Bad token"}]}, status=401)
        if not 1 <= int(query_of(received).get("limit", "50")) <= _MOST:
            details = {"code": "INVALID_RANGE", "details": "limit", "field": "limit"}
            return answer({"errors": [details]}, status=400)
        if self.cursors_keep_filters and len(query_of(received).keys() & {"cursor", "show_deleted"}) > 1:
            return answer({"errors": [{"code": "CONFLICTING_PARAMETERS", "details": "cursor"}]}, status=400)
        return None

    def _answer(self, name: str, rows: Sequence[Mapping[str, object]], following: int | None) -> Answer:
        query = query_of(self.received[-1])
        with_deleted = query.get("show_deleted") == "true" or (self.cursors_keep_filters and "cursor" in query)
        told: dict[str, object] = {name: [row for row in rows if with_deleted or not row.get("deleted_at")]}
        if following is not None:
            told["cursor"] = base64.b64encode(f"page={following}".encode()).decode()
        return answer(told)


def query_of(received: Received) -> dict[str, str]:
    """The parameters of a request."""
    return {key: values[0] for key, values in parse_qs(urlsplit(received.path).query).items()}


def _number(cursor: str | None) -> int:
    return 1 if cursor is None else int(base64.b64decode(cursor).decode().removeprefix("page="))


def variant(sku: object, variant_id: str = "", **fields: object) -> dict[str, object]:
    """A variant with everything that the vendor's own samples have."""
    return {
        "variant_id": variant_id or f"variant-{sku}",
        "item_id": "item",
        "sku": sku,
        "reference_variant_id": None,
        "option1_value": None,
        "option2_value": None,
        "option3_value": None,
        "barcode": "8990001",
        "cost": 9000.5,
        "purchase_cost": None,
        "default_pricing_type": "VARIABLE",
        "default_price": None,
        "stores": [store()],
        "created_at": "2024-01-01T00:00:00.000Z",
        "updated_at": "2026-03-01T08:00:00.000Z",
        "deleted_at": None,
        **fields,
    }


def item(*variants: object, **fields: object) -> dict[str, object]:
    """An item with everything that the vendor's own samples have."""
    return {
        "id": "item",
        "handle": "kopi-susu",
        "reference_id": None,
        "item_name": "Kopi Susu",
        "description": None,
        "track_stock": False,
        "sold_by_weight": False,
        "is_composite": False,
        "use_production": False,
        "category_id": None,
        "components": [],
        "primary_supplier_id": None,
        "tax_ids": [],
        "modifier_ids": [],
        "form": "CIRCLE",
        "color": "CHARTREUSE",
        "image_url": None,
        "option1_name": None,
        "option2_name": None,
        "option3_name": None,
        "created_at": "2024-01-01T00:00:00.000Z",
        "updated_at": "2026-03-01T08:00:00.000Z",
        "deleted_at": None,
        "variants": list(variants),
        **fields,
    }


def store(store_id: str = STORE, *, for_sale: bool = True, price: int = 18_000) -> dict[str, object]:
    """What a variant says of one store."""
    return {
        "store_id": store_id,
        "pricing_type": "FIXED",
        "price": price,
        "available_for_sale": for_sale,
        "optimal_stock": None,
        "low_stock": None,
    }


def category(name: str, **fields: object) -> dict[str, object]:
    """A category, with an id made of its name."""
    dates = {"created_at": "2024-01-01T00:00:00.000Z", "deleted_at": None}
    return {"id": f"category-{name}", "name": name, "color": "GREY", **dates, **fields}


def modifier(identity: str, name: object, *options: tuple[str, object], **fields: object) -> dict[str, object]:
    """A modifier with its options, each an id and a name."""
    told = [{"id": code, "name": title, "price": 3_000, "position": n} for n, (code, title) in enumerate(options)]
    dates = {"created_at": "2024-01-01T00:00:00.000Z", "updated_at": "2024-01-01T00:00:00.000Z", "deleted_at": None}
    return {"id": identity, "name": name, "position": 0, "stores": [STORE], "modifier_options": told, **dates, **fields}


def item_of(sold: Sold) -> dict[str, object]:
    """A product as Loyverse would tell it."""
    only = variant(
        sold.code,
        sold.provider_id,
        item_id=f"item-{sold.provider_id}",
        cost=sold.price / 2,
        default_price=sold.price,
        stores=[store(for_sale=sold.active is not False, price=sold.price)],
        updated_at=sold.updated_at,
    )
    described = None if sold.description is None else f"<p>{sold.description.replace('&', '&amp;')}</p>"
    return item(
        only,
        id=f"item-{sold.provider_id}",
        item_name=sold.name,
        description=described,
        category_id=None if sold.category is None else f"category-{sold.category}",
        image_url=sold.image,
        updated_at=sold.updated_at,
        **sold.more,
    )
