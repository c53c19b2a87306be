"""This machine's own Google credentials as request headers, for clients that are not Google's own.

Add nothing here about what a request asks for.
"""

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

STORAGE = "https://www.googleapis.com/auth/devstorage.read_write"
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
"""Scopes; Secret Manager has none of its own."""

_REQUEST_SECONDS = 10


class TokenError(Exception):
    """There is no usable token; `passing` says that there may be one in a moment."""

    def __init__(self, reason: str, *, passing: bool) -> None:
        super().__init__(reason)
        self.passing = passing


class GoogleToken:
    """A bearer token that is fetched when first asked for and whenever it is about to expire.

    Safe to share between threads and their event loops; one fetches while the others wait.
    """

    def __init__(self, load: "Callable[[], Credentials]") -> None:
        self._load = load
        self._credentials: Credentials | None = None
        self._lock = threading.Lock()

    async def headers(self, instead_of: dict[str, str] | None = None) -> dict[str, str]:
        """What to send along, fetched off the loop; never equal to `instead_of`, which was refused.

        Raises `TokenError`.
        """
        if (at_hand := self._at_hand(instead_of)) is not None:
            return at_hand
        return await asyncio.to_thread(self._fetch, instead_of)

    def headers_now(self, instead_of: dict[str, str] | None = None) -> dict[str, str]:
        """As `headers`, for whoever may block."""
        return self._at_hand(instead_of) or self._fetch(instead_of)

    def _at_hand(self, refused: dict[str, str] | None) -> dict[str, str] | None:
        credentials = self._credentials
        if credentials is None or not credentials.valid:
            return None
        headers = _headers(credentials)
        return None if headers == refused else headers

    def _fetch(self, refused: dict[str, str] | None) -> dict[str, str]:
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.auth.transport.requests import Request

        class Bounded(Request):
            def __call__(self, *arguments: Any, **options: Any) -> Any:
                # Google's default is 120 s, for which every tenant of a batch would wait in turn.
                options.setdefault("timeout", _REQUEST_SECONDS)
                return super().__call__(*arguments, **options)  # type: ignore[no-untyped-call]

        with self._lock:
            try:
                if self._credentials is None:
                    self._credentials = self._load()
                if not self._credentials.valid or _headers(self._credentials) == refused:
                    self._credentials.refresh(Bounded())
            except GoogleAuthError as error:
                passing = error.retryable or isinstance(error, TransportError)
                raise TokenError(f"no token from Google ({type(error).__name__})", passing=passing) from error
            return _headers(self._credentials)


@functools.cache
def token_of_this_machine(scope: str = STORAGE) -> GoogleToken:
    """The token of the application default credentials, one a scope for the whole process."""

    def load() -> "Credentials":
        import google.auth

        credentials: Credentials = google.auth.default(scopes=(scope,))[0]
        return credentials

    return GoogleToken(load)


def _headers(credentials: "Credentials") -> dict[str, str]:
    headers: dict[str, str] = {}
    credentials.apply(headers)
    return headers
