"""A POS that all tenants of a test share, for runs in processes of their own: it can keep single tenants waiting."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field

from aiohttp import web

from cata_pipeline_tests.images.hosts import PictureHost, picture
from cata_pipeline_tests.images.pictures import draw

TOKEN, PRODUCTS = "/oauth/token", "/api/v2/GetProducts"
CODES = {f"P{number}" for number in range(20)}


@dataclass
class Till:
    """The POS of all tenants, which knows them by their tokens; those in `kept_waiting` get no products.

    They give up after two minutes of silence, unless it `drips`. With `images`, so many of a tenant's products have an
    image each.
    """

    host: PictureHost = field(default_factory=PictureHost)
    kept_waiting: set[str] = field(default_factory=set)
    asking: Counter[str] = field(default_factory=Counter)
    at_once: Counter[str] = field(default_factory=Counter)
    images: int = 0
    drips: bool = False

    def __post_init__(self) -> None:
        self.host.answers |= {TOKEN: self._token, PRODUCTS: self._products}
        self.host.answers |= {f"/image-{number}": picture(draw(number)) for number in range(self.images)}

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        return web.json_response({"access_token": form["client_id"], "token_type": "bearer"})

    async def _products(self, request: web.Request) -> web.StreamResponse:
        tenant_id = request.headers["Authorization"].removeprefix("Bearer ")
        self.asking[tenant_id] += 1
        self.at_once[tenant_id] = max(self.at_once[tenant_id], self.asking[tenant_id])
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if self.drips:
            await response.prepare(request)
        try:
            while tenant_id in self.kept_waiting:
                if self.drips:
                    await response.write(b" ")
                await asyncio.sleep(0.05)
        finally:  # also where the client of one that drips is gone
            self.asking[tenant_id] -= 1
        rows = [{"product_id": code, "sku": code, "name": f"{code} of {tenant_id}"} for code in sorted(CODES)]
        for number, row in enumerate(rows[: self.images]):
            row["images"] = self.host.url(f"/image-{number}")
        await response.prepare(request)  # no more than once
        await response.write(json.dumps({"products": rows, "status": True, "has_next_item": False}).encode())
        return response
