"""A make-believe Square seller, written from the vendor's documents: catalog search, cursors, references, oddities."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import ClassVar

from cata_pipeline.providers.conformance.pos_server import PosServer, Sold
from cata_pipeline.providers.conformance.scripted_server import Answer, Received, answer
from cata_pipeline.providers.contract import Provider
from cata_pipeline.providers.square import SQUARE

SEARCH = "/v2/catalog/search"
LATEST = "2026-03-02T00:00:00.123456789Z"
CURSOR = "cursor-to-page-"
RATE_LIMITED = answer({"errors": [{"category": "RATE_LIMIT_ERROR", "code": "RATE_LIMITED"}]}, status=429)


class SquarePos(PosServer):
    """Each product is an item with one variation; its category and picture come a page later, if there is one.

    As Square does: a page without objects has none (no empty list), the last one no cursor, an empty catalog is `{}`.
    """

    provider: ClassVar[Provider] = SQUARE
    takes_empty_object: ClassVar[bool] = True

    def options(self) -> dict[str, object]:
        return {"origin": self.origin, "location_id": "L-KOPI"}

    def secrets(self) -> dict[str, str]:
        return {"access_token": "EAAAl-token-of-kopi-4711"}

    def page_asked_for(self, received: Received) -> int | None:
        if received.path != SEARCH:
            return None
        return int(received.json.get("cursor", f"{CURSOR}1").removeprefix(CURSOR))

    def page(self, number: int, products: Sequence[Sold], *, is_last: bool) -> Answer:
        asked = self.received[-1]
        if asked.headers.get("Authorization") != f"Bearer {self.secrets()['access_token']}":
            return _refusal(401, "AUTHENTICATION_ERROR", "UNAUTHORIZED", "This request could not be authorized.")
        if "Square-Version" not in asked.headers:
            return _refusal(400, "INVALID_REQUEST_ERROR", "BAD_REQUEST", "No version.")
        objects = [row for sold in products for row in _objects_of(sold)]
        objects += _references([*(self.pages[number - 2] if number > 1 else ()), *(products if is_last else ())])
        wanted = asked.json["object_types"]
        return search_page([row for row in objects if row["type"] in wanted], None if is_last else number + 1)

    def other(self, received: Received) -> Answer:
        return _refusal(404, "INVALID_REQUEST_ERROR", "NOT_FOUND", "Resource not found.")


def search_page(objects: Sequence[Mapping[str, object]], following: int | None = None) -> Answer:
    """A reply of the search; `following` is the page that its cursor leads to."""
    if not objects and following is None:
        return answer({})
    reply: dict[str, object] = {"latest_time": LATEST}
    if objects:
        reply["objects"] = list(objects)
    if following is not None:
        reply["cursor"] = f"{CURSOR}{following}"
    return answer(reply)


def catalog_object(type_: str, id_: str, data: Mapping[str, object], **fields: object) -> dict[str, object]:
    """An object as every type has it, with its own part under the key of its type."""
    return {
        "type": type_,
        "id": id_,
        "updated_at": "2026-03-01T08:00:00.5Z",
        "created_at": "2024-01-01T00:00:00Z",
        "version": 1_772_352_000_500,
        "is_deleted": False,
        "present_at_all_locations": True,
        f"{type_.lower()}_data": dict(data),
        **fields,
    }


def _objects_of(sold: Sold) -> list[dict[str, object]]:
    price = {"amount": sold.price, "currency": "IDR"}
    variation = catalog_object(
        "ITEM_VARIATION",
        sold.provider_id,
        {
            "item_id": f"item-{sold.provider_id}",
            "name": "Regular",
            "sku": sold.code,
            "ordinal": 0,
            "pricing_type": "FIXED_PRICING",
            "price_money": price,
            "location_overrides": [{"location_id": "L-KOPI", "price_money": price}],
            "sellable": True,
            "stockable": True,
        },
        updated_at=sold.updated_at,
    )
    if sold.code is None:
        del variation["item_variation_data"]["sku"]  # type: ignore[attr-defined]
    data: dict[str, object] = {
        "name": sold.name,
        "is_archived": not sold.active,
        "product_type": "REGULAR",
        "variations": [variation],
        "ecom_uri": "https://kopi.square.site/product/1",
        **sold.more,
    }
    if sold.description is not None:
        data["description_html"] = f"<p>{sold.description.replace('&', '&amp;')}</p>"
    if sold.category is not None:
        data["categories"] = [{"id": _id("category", sold.category), "ordinal": -2_251_799_813_685_248}]
        data["reporting_category"] = data["categories"][0]  # type: ignore[index]
    if sold.image is not None:
        data["image_ids"] = [_id("image", sold.image)]
    item = catalog_object("ITEM", f"item-{sold.provider_id}", data, updated_at=sold.updated_at)
    return [item, variation]


def _references(products: Sequence[Sold]) -> list[dict[str, object]]:
    categories = dict.fromkeys(sold.category for sold in products if sold.category is not None)
    images = dict.fromkeys(sold.image for sold in products if sold.image is not None)
    return [
        *(
            catalog_object("CATEGORY", _id("category", name), {"name": name, "category_type": "REGULAR_CATEGORY"})
            for name in categories
        ),
        *(catalog_object("IMAGE", _id("image", url), {"url": url, "name": "kopi"}) for url in images),
    ]


def _id(kind: str, text: str) -> str:
    return f"{kind}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:24]}"


def _refusal(status: int, category: str, code: str, detail: str) -> Answer:
    return answer({"errors": [{"category": category, "code": code, "detail": detail}]}, status=status)
