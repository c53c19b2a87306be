"""Refuses requests to the Dagster webserver that a page of another site, or a foreign name for its address, made.

The webserver itself has no login and executes a GraphQL mutation from any origin, also one sent by GET. The guard stops
other sites, not other people: docs/operations.md says who may reach the webserver. The program is `guarded_webserver`.
"""

from collections.abc import Iterable

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose
from yarl import URL

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_HEALTH = "/server_info"  # versions only; health checks call it by the server's address
_POLICY_VIOLATION = 1008
_REFUSED = (
    "Refused: expected {header} {expected}, found {found!r}. Open the UI itself. If it has an address of its own, as"
    " behind a proxy, name that in CATA_DAGSTER_URL and start the webserver again.\n"
)
_NO_GET = "Refused: expected a GraphQL request by POST, found GET, which a page of another site can send too.\n"


class RequestGuard:
    """ASGI middleware that passes on only requests of the UI's own pages and of programs.

    The UI's origins are the loopback names with the port that the server listens on, and the origin of `own_url`.
    """

    def __init__(self, app: ASGIApp, own_url: URL | None = None) -> None:
        self._app = app
        self._own = [own_url.origin()] if own_url else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 as ASGI has it
        if scope["type"] not in {"http", "websocket"} or (refusal := self._refusal(scope)) is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(_POLICY_VIOLATION, refusal)(scope, receive, send)
        else:
            await PlainTextResponse(refusal, 403)(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        if scope["path"] == _HEALTH:
            return None
        headers = HTTPConnection(scope).headers
        own = [*self._own, *(URL(f"http://{name}:{scope['server'][1]}").origin() for name in _LOOPBACK)]
        origins = {str(origin).partition("://")[2]: str(origin) for origin in own}
        host = ", ".join(headers.getlist("host"))
        if host not in origins:
            return _refused("Host", origins, host)
        if (origin := headers.get("origin", origins[host])) != origins[host]:
            return _refused("Origin", [origins[host]], origin)
        is_get = scope.get("method") in {"GET", "HEAD"}
        # A link in an alert leads to a page that only the user of this browser sees.
        is_link = is_get and headers.get("sec-fetch-dest") == "document"
        if (site := headers.get("sec-fetch-site", "none")) not in {"same-origin", "none"} and not is_link:
            return _refused("Sec-Fetch-Site", ["same-origin", "none"], site)
        # Where HTML is wanted, the webserver sends an editor; what any other GET brings, it executes.
        is_graphql = scope["path"].rstrip("/").endswith("/graphql")
        return _NO_GET if is_get and is_graphql and "text/html" not in headers.get("accept", "") else None


def _refused(header: str, expected: Iterable[str], found: str) -> str:
    return _REFUSED.format(header=header, expected=" or ".join(sorted(expected)), found=found)
