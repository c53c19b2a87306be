"""Reads secrets from Google Secret Manager with google-auth: one token and a few connections for a whole process.

Change this module when the service's responses change; `cata_pipeline.tenants.credentials` decides which reference
leads here. No message holds a secret, or any other text of a response.
"""

import base64
import functools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.auth.transport.requests import AuthorizedSession

_ORIGIN = "https://secretmanager.googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_OK, _FIRST_SERVER_ERROR = 200, 500
_TRANSIENT = frozenset({408, 429})
_MAX_BYTES = 256 * 1024
"""A secret has at most 64 KiB, base64 a third more."""
_BACKOFF = wait_random_exponential(max=5)
_ADVICE = {
    400: "The version is disabled or destroyed, or the name is not valid: enable it, or add a version.",
    401: "It does not accept this machine's own token: check its service account.",
    403: "Give this service account roles/secretmanager.secretAccessor on it, and check the project's name.",
    404: "There is no such secret or version in that project: check the reference.",
}


class SecretUnreadableError(Exception):
    """Why a secret cannot be read, and what to do; holds no text of the response."""


class _TransientError(SecretUnreadableError):
    """This attempt failed; the next one may succeed."""


@dataclass(frozen=True)
class RetryPolicy:
    """`seconds` bound all attempts together, `silence_seconds` each wait for a byte."""

    seconds: float = 30.0
    silence_seconds: float = 10.0
    attempts: int = 4
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


def _credentials_of_this_machine() -> "Credentials":
    import google.auth

    credentials: Credentials = google.auth.default(scopes=(_SCOPE,))[0]
    return credentials


class SecretManager:
    """Safe to share between threads. `origin` is the service's own unless a test has a stand-in for it."""

    def __init__(
        self,
        load_credentials: "Callable[[], Credentials]" = _credentials_of_this_machine,
        policy: RetryPolicy | None = None,
        origin: str = _ORIGIN,
    ) -> None:
        self._load_credentials = load_credentials
        self._policy = policy or RetryPolicy()
        self._origin = origin
        self._session: AuthorizedSession | None = None
        self._lock = threading.Lock()

    def read(self, version: str) -> str:
        """The text of `projects/…/secrets/…/versions/…`, without surrounding space.

        Raises `SecretUnreadableError`.
        """
        deadline = self._policy.clock() + self._policy.seconds
        attempts = Retrying(
            sleep=self._policy.sleep,
            wait=_BACKOFF,
            stop=stop_after_attempt(self._policy.attempts),
            retry=retry_if_exception_type(_TransientError),
            reraise=True,
        )
        try:
            return attempts(self._read_once, version, deadline)
        except _TransientError as error:
            raise SecretUnreadableError(f"{error}, also on repetition. Try again later.") from error.__cause__

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()

    def _read_once(self, version: str, deadline: float) -> str:
        from google.auth.exceptions import GoogleAuthError, TransportError
        from requests import RequestException
        from urllib3.exceptions import HTTPError

        try:
            status, body = self._response(version, deadline)
        except GoogleAuthError as error:
            message = f"no token from Google ({type(error).__name__})"
            if error.retryable or isinstance(error, TransportError):
                raise _TransientError(message) from error
            raise SecretUnreadableError(f"{message}. Check the credentials of this machine.") from error
        except (RequestException, HTTPError) as error:
            self._check(deadline)
            raise _TransientError(f"no complete response from Secret Manager ({type(error).__name__})") from error
        if status in _TRANSIENT or status >= _FIRST_SERVER_ERROR:
            raise _TransientError(f"Secret Manager answered {status}")
        if status != _OK:
            raise SecretUnreadableError(f"Secret Manager answered {status}. {_ADVICE.get(status, 'Expected 200.')}")
        return _text(body)

    def _response(self, version: str, deadline: float) -> tuple[int, bytes]:
        body = bytearray()
        url = f"{self._origin}/v1/{version}:access"
        timeout = self._policy.silence_seconds
        with self._authorized().get(url, timeout=timeout, stream=True, allow_redirects=False) as response:
            # What has arrived: `iter_content` would wait for a whole piece, beyond the deadline.
            while piece := response.raw.read1(_MAX_BYTES, decode_content=True):
                body += piece
                if len(body) > _MAX_BYTES:
                    raise SecretUnreadableError("the response is longer than any secret.")
                self._check(deadline)
            return response.status_code, bytes(body)

    def _authorized(self) -> "AuthorizedSession":
        """The session, with a valid token; one thread fetches it while the others wait."""
        from google.auth.transport.requests import AuthorizedSession, Request

        with self._lock:
            if self._session is None:
                self._session = AuthorizedSession(self._load_credentials(), max_refresh_attempts=1)
            if not self._session.credentials.valid:
                # Google's own limit is 120 s, for which every tenant of a batch would wait in turn.
                self._session.credentials.refresh(functools.partial(Request(), timeout=self._policy.silence_seconds))
            return self._session

    def _check(self, deadline: float) -> None:
        if self._policy.clock() > deadline:
            raise SecretUnreadableError(
                f"no complete response from Secret Manager within {self._policy.seconds:g} s. Try again later."
            )


@functools.cache
def secret_manager_of_this_machine() -> SecretManager:
    """The one of the application default credentials, for the whole process."""
    return SecretManager()


def _text(body: bytes) -> str:
    """The secret in a response; raises where that is not certainly what was stored."""
    import google_crc32c

    try:
        payload: Any = json.loads(body)["payload"]
        secret = base64.b64decode(payload["data"], validate=True)
        checksum = payload.get("dataCrc32c")
        intact = checksum is None or int(checksum) == google_crc32c.value(secret)
        text = secret.decode().strip()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # The error itself may quote what it could not read.
        raise SecretUnreadableError(
            f"the response holds no text in base64 ({type(error).__name__}). Check that the secret is plain UTF-8 text."
        ) from None
    if not intact:
        raise _TransientError("the response was damaged on its way (CRC32C)")
    if not text:
        raise SecretUnreadableError("it is empty. Add a version that holds the secret.")
    return text
