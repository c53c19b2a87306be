"""Asks with access tokens that the POS issues: one when it is first needed, and one more when it is refused.

For every POS with OAuth, whether its refresh token changes with each use or its credentials alone buy a token. What a
token request looks like is each provider's own business; where a refresh token is kept is
`cata_pipeline.providers.secrets`'.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.http import Call, JsonClient, RefusedError, is_sendable
from cata_pipeline.providers.secrets import HoldToken, Secrets
from cata_pipeline.providers.urls import origin_of

Answer = TypeVar("Answer")

_UNAUTHORIZED = 401
_TOKEN_REFUSED = frozenset({400, 401, 403})
_CONNECT_AGAIN = (
    "Connect the tenant's POS account again, and put the refresh token that comes of it into its credentials."
)


def _is_anybodys(_: Mapping[str, object]) -> None:
    """No answer tells whose token it holds."""


class TokenAccess:
    """One tenant's access during one fetch.

    `exchange` makes the token request for a refresh token; `alone` is the one that credentials alone suffice for, where
    the tenant has no refresh token. `check` raises for an answer that is another tenant's, before its token is sent.
    `advice` is for an operator whose credentials are refused.
    """

    def __init__(
        self,
        client: JsonClient,
        secrets: Mapping[str, str],
        exchange: Callable[[str], Call],
        *,
        alone: Call | None = None,
        check: Callable[[Mapping[str, object]], None] = _is_anybodys,
        advice: str = _CONNECT_AGAIN,
    ) -> None:
        self._client = client
        self._hold_token = secrets.hold_token if isinstance(secrets, Secrets) else None
        self._exchange = exchange
        self._alone = alone
        self._check = check
        self._advice = advice
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
        if self._hold_token is not None:
            return await self._exchanged(self._hold_token)
        if self._alone is None:
            raise ProviderError(f"The tenant's credentials hold no refresh token. {self._advice}")
        return self._usable(self._alone, await self._request(self._alone))

    async def _exchanged(self, hold_token: HoldToken) -> str:
        # Waiting for another run blocks this event loop, which serves this one fetch.
        with hold_token() as held:
            self._client.redact(held.current)
            request = self._exchange(held.current)
            reply = await self._request(request)
            following = reply.get("refresh_token")
            if isinstance(following, str) and following and following != held.current:
                self._client.redact(following)
                held.keep(following)
        return self._usable(request, reply)

    async def _request(self, request: Call) -> dict[str, object]:
        try:
            return await self._client.ask(request)
        except RefusedError as error:
            if error.status not in _TOKEN_REFUSED:
                raise
            raise ProviderError(f"The POS does not accept the credentials: {error} {self._advice}") from error

    def _usable(self, request: Call, reply: Mapping[str, object]) -> str:
        """The access token of an answer, if it is one for this tenant."""
        token = reply.get("access_token")
        if not is_sendable(token):
            said = self._client.error_words(reply) or "no error message"
            raise ProviderError(
                f"{request.what} at {origin_of(request.url)}: the answer holds no usable access_token ({said})."
                f" {self._advice}"
            )
        self._client.redact(token)
        self._check(reply)
        return token
