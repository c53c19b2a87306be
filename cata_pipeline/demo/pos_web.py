"""What the demo POS answers: one web application for accounts and pictures, one for each store.

Add a call of the vendor's API here. Listening, ports and threads belong to `cata_pipeline.demo.pos`.
"""

import asyncio
import json
import secrets
import uuid
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

from cata_pipeline.demo import wire
from cata_pipeline.demo.picture_shelf import PictureShelf, ShelvedPicture
from cata_pipeline.demo.pictures import CONTENT_TYPES
from cata_pipeline.demo.pos_store import DemoStore
from cata_pipeline.demo.products import made_up_id

TOKEN_SECONDS = 1_209_599  # 14 days less a second, as the vendor says


class Accounts:
    """The origin that hands out tokens and serves every store's pictures; lives on the server's loop only."""

    def __init__(self, stores: Mapping[str, DemoStore], shelf: PictureShelf) -> None:
        self._by_client = {store.credentials["api_key"]: store for store in stores.values()}
        self._by_folder = {uuid.UUID(made_up_id(tenant_id)).hex: store for tenant_id, store in stores.items()}
        self._shelf = shelf
        self._issued: dict[str, DemoStore] = {}

    def application(self) -> web.Application:
        """The web application of this origin."""
        app = web.Application()
        app.router.add_post("/oauth/token", self._token)
        app.router.add_get(r"/{folder:[0-9a-f]{32}}/{file:[0-9a-f]{32}\.(?:jpg|png|webp)}", self._picture)
        return app

    def owner(self, token: str) -> DemoStore | None:
        """The store a token was issued for, or None."""
        return self._issued.get(token)

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("grant_type") != "client_credentials":
            return _oauth_error(HTTPStatus.BAD_REQUEST, "unsupported_grant_type", "expected client_credentials")
        store = self._by_client.get(str(form.get("client_id")))
        if store is None or form.get("client_secret") != store.credentials["api_secret"]:
            return _oauth_error(HTTPStatus.UNAUTHORIZED, "invalid_client", "client_id or client_secret is wrong")
        token = secrets.token_hex(32)
        self._issued[token] = store
        store.count("token")
        return web.json_response(
            {
                "access_token": token,
                "token_type": "bearer",
                "expires_in": TOKEN_SECONDS,
                "refresh_token": secrets.token_hex(32),
                "resource_url": store.url,
            }
        )

    async def _picture(self, request: web.Request) -> web.Response:
        store = self._by_folder.get(request.match_info["folder"])
        shelved = self._shelf.get(request.path)
        if store is None or shelved is None:
            raise web.HTTPNotFound(text="no such picture")
        if _is_known(request, shelved):
            response = web.Response(status=HTTPStatus.NOT_MODIFIED)
            store.count("not_modified")
        else:
            # Drawing holds a processor for milliseconds; on the loop it would hold up every other client.
            content = await asyncio.to_thread(shelved.content)
            response = web.Response(body=content, content_type=CONTENT_TYPES[shelved.picture.kind])
            store.count("pictures")
        response.etag = shelved.etag
        response.last_modified = shelved.modified_at
        return response


class StoreFront:
    """The origin of one store; every call needs a token that was issued for this store."""

    def __init__(self, store: DemoStore, accounts: Accounts, picture_origin: str) -> None:
        self._store = store
        self._accounts = accounts
        self._picture_origin = picture_origin

    def application(self) -> web.Application:
        """The web application of this origin."""
        app = web.Application()
        app.router.add_post("/api/v2/GetProducts", self._get_products)
        app.router.add_post("/api/v2/GetStoreInfo", self._get_store_info)
        return app

    async def _get_products(self, request: web.Request) -> web.Response:
        self._check_token(request)
        try:
            query = wire.ProductQuery.parse(await _parameters(request))
        except ValueError as error:
            return web.json_response(wire.refusal(str(error)))
        self._store.count("products")
        return web.json_response(wire.products_page(self._store.products, query, self._picture_origin))

    async def _get_store_info(self, request: web.Request) -> web.Response:
        self._check_token(request)
        return web.json_response(wire.store_info(self._store.menu))

    def _check_token(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        owner = self._accounts.owner(token.strip()) if scheme.lower() == "bearer" else None
        if owner is None:
            body = json.dumps(wire.refusal("the access token is missing, unknown or expired"))
            raise web.HTTPUnauthorized(text=body, content_type="application/json")
        if owner is not self._store:
            body = json.dumps(wire.refusal("the access token belongs to another store"))
            raise web.HTTPForbidden(text=body, content_type="application/json")


def _oauth_error(status: HTTPStatus, error: str, description: str) -> web.Response:
    return web.json_response({"error": error, "error_description": description}, status=status)


def _is_known(request: web.Request, shelved: ShelvedPicture) -> bool:
    if request.if_none_match is not None:
        return any(tag.value in {"*", shelved.etag} for tag in request.if_none_match)
    since = request.if_modified_since
    return since is not None and shelved.modified_at <= since


async def _parameters(request: web.Request) -> Mapping[str, object]:
    if request.content_type != "application/json":
        return await request.post()
    try:
        body = json.loads(await request.text())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object or a form")  # noqa: TRY004 one error for every bad request
    return body
