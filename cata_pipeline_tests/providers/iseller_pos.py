"""A make-believe iSeller store, written from the vendor's documents: two passes, tokens, flags and their oddities."""

from collections.abc import Sequence
from typing import ClassVar

from cata_pipeline.providers.conformance.pos_server import PosServer, Sold
from cata_pipeline.providers.conformance.scripted_server import Answer, Received, answer
from cata_pipeline.providers.contract import Provider
from cata_pipeline.providers.iseller import ISELLER

TOKEN, PRODUCTS = "/oauth/token", "/api/v2/GetProducts"


class ISellerPos(PosServer):
    """All products are in the pass without stock tracking; the other one is empty."""

    provider: ClassVar[Provider] = ISELLER
    omits_active: ClassVar[bool] = True

    def options(self) -> dict[str, object]:
        return {"store_url": self.origin, "token_url": f"{self.origin}{TOKEN}"}

    def secrets(self) -> dict[str, str]:
        return {"api_key": "client-of-kopi-4711", "api_secret": "sh+h/secret-of-kopi"}

    def page_asked_for(self, received: Received) -> int | None:
        if received.path != PRODUCTS or received.json["track_inventory"]:
            return None
        return int(received.json["page"])

    def page(self, number: int, products: Sequence[Sold], *, is_last: bool) -> Answer:
        return answer(
            {
                "products": [_row(sold) for sold in products],
                "has_next_item": not is_last,
                "status": True,
                "error_message": None,
                "time": "00:00:00.35",
            }
        )

    def other(self, received: Received) -> Answer:
        if received.path == PRODUCTS:
            return self.page(1, (), is_last=True)
        if received.path == TOKEN and received.form["client_secret"] == self.secrets()["api_secret"]:
            token = {"access_token": "issued-token", "token_type": "bearer", "expires_in": 1_209_599}
            return answer({**token, "refresh_token": "next", "resource_url": f"{self.origin}/"})
        return answer({"error": "invalid_client"}, status=401)


class FormISellerPos(ISellerPos):
    """A store that reads forms alone, as the vendor documents; a JSON body gets `refusal`."""

    def __init__(self) -> None:
        super().__init__()
        self.refusal = answer(b"", status=415)

    def page_asked_for(self, received: Received) -> int | None:
        if received.path != PRODUCTS or not is_form(received) or received.form["track_inventory"] != "false":
            return None
        return int(received.form["page"])

    def other(self, received: Received) -> Answer:
        if received.path == PRODUCTS and not is_form(received):
            return self.refusal
        return super().other(received)


def is_form(received: Received) -> bool:
    """Whether a request's body is a form."""
    return received.headers["Content-Type"] == "application/x-www-form-urlencoded"


def _row(sold: Sold) -> dict[str, object]:
    return {
        "product_id": sold.provider_id,
        "name": sold.name,
        "description": sold.description,
        "type": "standard",
        "product_type": sold.category,
        "tags": [],
        "sku": sold.code,
        "price": f"{sold.price}.0000",
        "variant_options": [],
        "bundles": None,
        "modifier_groups": [],
        "images": [sold.image] if sold.image else [],
        **({} if sold.active is None else {"is_active": sold.active}),
        "modified_date": sold.updated_at.removesuffix("Z").replace("T", " "),
        **sold.more,
    }
