"""Asks with the access token that a rotating refresh token buys: when it is first needed, and once more when refused.

For every POS whose refresh token changes with each use. What its token request looks like is each provider's own
business; where the refresh token is kept is `cata_pipeline.providers.secrets`'.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.http import Call, JsonClient, RefusedError
from cata_pipeline.providers.secrets import Secrets

Answer = TypeVar("Answer")

_UNAUTHORIZED = 401
_TOKEN_REFUSED = frozenset({400, 401, 403})
_HEADER_SAFE = re.compile(r"[\x21-\x7e]{1,8192}")
_CONNECT_AGAIN = (
    "Connect the tenant's POS account again, and put the refresh token that comes of it into its credentials."
)


class RotatingAccess:
    """One tenant's access during one fetch; `exchange` makes the token request for a refresh token."""

    def __init__(self, client: JsonClient, secrets: Secrets, exchange: Callable[[str], Call]) -> None:
        self._client = client
        self._secrets = secrets
        self._exchange = exchange
        self._token: str | None = None
        self._is_renewed = False

    async def ask(self, how: Callable[[Call], Awaitable[Answer]], call: Call) -> Answer:
        """What `how` (`client.ask`, `client.ask_list`) answers to the call with a token; raises `ProviderError`."""
        if self._token is None:
            self._token = await self._issued()
        try:
            return await how(replace(call, token=self._token))
        except RefusedError as error:
            if error.status != _UNAUTHORIZED or self._is_renewed:
                raise
        self._is_renewed = True
        self._token = await self._issued()
        return await how(replace(call, token=self._token))

    async def _issued(self) -> str:
        if self._secrets.hold_token is None:
            raise ProviderError(f"The tenant's credentials hold no refresh token. {_CONNECT_AGAIN}")
        # Waiting for another run blocks this event loop, which serves this one fetch.
        with self._secrets.hold_token() as held:
            self._client.conceal(held.current)
            try:
                reply = await self._client.ask(self._exchange(held.current))
            except RefusedError as error:
                if error.status not in _TOKEN_REFUSED:
                    raise
                raise ProviderError(
                    f"The refresh token is not accepted (any more): {error} {_CONNECT_AGAIN}"
                ) from error
            following = reply.get("refresh_token")
            if isinstance(following, str) and following and following != held.current:
                self._client.conceal(following)
                held.keep(following)
        token = reply.get("access_token")
        if not isinstance(token, str) or not _HEADER_SAFE.fullmatch(token):
            said = self._client.error_words(reply) or "no error message"
            raise ProviderError(f"The token request was answered without a usable access_token ({said}).")
        self._client.conceal(token)
        return token
