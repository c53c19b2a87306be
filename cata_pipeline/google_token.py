"""This machine's own Google credentials as request headers, for clients that live on an event loop.

Google's library does this for itself. Add nothing here about what a request asks for.
"""

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)


class TokenError(Exception):
    """There is no usable token; `passing` says that there may be one in a moment."""

    def __init__(self, reason: str, *, passing: bool) -> None:
        super().__init__(reason)
        self.passing = passing


class GoogleToken:
    """A bearer token that is fetched off the loop, when first asked for and whenever it is about to expire.

    Safe to share between the event loops of several threads, one of which fetches while the others wait.
    """

    def __init__(self, load: "Callable[[], Credentials]") -> None:
        self._load = load
        self._credentials: Credentials | None = None
        self._lock = threading.Lock()

    async def headers(self, instead_of: dict[str, str] | None = None) -> dict[str, str]:
        """What to send along; never equal to `instead_of`, which was refused. Raises `TokenError`."""
        credentials = self._credentials
        if credentials is not None and credentials.valid:
            headers = _headers(credentials)
            if headers != instead_of:
                return headers
        return await asyncio.to_thread(self._fetch, instead_of)

    def _fetch(self, refused: dict[str, str] | None) -> dict[str, str]:
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.auth.transport.requests import Request

        with self._lock:
            try:
                if self._credentials is None:
                    self._credentials = self._load()
                if not self._credentials.valid or _headers(self._credentials) == refused:
                    self._credentials.refresh(Request())
            except GoogleAuthError as error:
                passing = error.retryable or isinstance(error, TransportError)
                raise TokenError(f"no token from Google ({type(error).__name__})", passing=passing) from error
            return _headers(self._credentials)


@functools.cache
def token_of_this_machine() -> GoogleToken:
    """The token of the application default credentials, one for the whole process."""

    def load() -> "Credentials":
        import google.auth

        credentials: Credentials = google.auth.default(scopes=_SCOPES)[0]
        return credentials

    return GoogleToken(load)


def _headers(credentials: "Credentials") -> dict[str, str]:
    headers: dict[str, str] = {}
    credentials.apply(headers)
    return headers
