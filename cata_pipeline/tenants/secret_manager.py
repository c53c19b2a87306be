"""Reads secrets from Google Secret Manager: one token and a few connections for a whole process.

Change this module when the service's answers change; which reference leads here is `cata_pipeline.tenants.credentials`.
A secret never becomes part of a message, nor does any other word of an answer.
"""

import base64
import functools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from cata_pipeline.google_token import CLOUD_PLATFORM, GoogleToken, TokenError, token_of_this_machine

_ORIGIN = "https://secretmanager.googleapis.com"
_OK, _UNAUTHORIZED, _FIRST_SERVER_ERROR = 200, 401, 500
_TRANSIENT = frozenset({408, 429})
_LONGEST_ANSWER = 256 * 1024
"""A secret has at most 64 KiB, base64 a third more."""
_BACKOFF = wait_random_exponential(max=5)
_ADVICE = {
    400: "The version is disabled or destroyed, or the name is none: enable it, or add a version.",
    401: "It does not accept this machine's own token: check its service account.",
    403: "Give this service account roles/secretmanager.secretAccessor on it, and check the project's name.",
    404: "There is no such secret or version in that project: check the reference.",
}


class SecretUnreadableError(Exception):
    """Why a secret cannot be read, and what to do; holds no word of the answer."""


class _PassingError(SecretUnreadableError):
    """This try failed; the next may not."""


@dataclass(frozen=True)
class Patience:
    """How long and how often to ask; `seconds` bound all tries together, `silence_seconds` each wait for a byte."""

    seconds: float = 30.0
    silence_seconds: float = 10.0
    tries: int = 4
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


class SecretManager:
    """Safe to share between threads. `origin` is the service's own unless a test has a stand-in for it."""

    def __init__(self, token: GoogleToken, patience: Patience | None = None, origin: str = _ORIGIN) -> None:
        import httpx

        self._token = token
        self._patience = patience or Patience()
        self._http = httpx.Client(base_url=origin, timeout=self._patience.silence_seconds)

    def read(self, version: str) -> str:
        """The text of `projects/…/secrets/…/versions/…`, without surrounding space.

        Raises `SecretUnreadableError`.
        """
        deadline = self._patience.clock() + self._patience.seconds
        tries = Retrying(
            sleep=self._patience.sleep,
            wait=_BACKOFF,
            stop=stop_after_attempt(self._patience.tries),
            retry=retry_if_exception_type(_PassingError),
            reraise=True,
        )
        try:
            return tries(self._read_once, version, deadline)
        except _PassingError as error:
            raise SecretUnreadableError(f"{error}, also when asked again. Try again later.") from error.__cause__

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def _read_once(self, version: str, deadline: float) -> str:
        headers = self._headers()
        status, body = self._ask(version, headers, deadline)
        if status == _UNAUTHORIZED:
            status, body = self._ask(version, self._headers(instead_of=headers), deadline)
        if status in _TRANSIENT or status >= _FIRST_SERVER_ERROR:
            raise _PassingError(f"Secret Manager answered {status}")
        if status != _OK:
            raise SecretUnreadableError(f"Secret Manager answered {status}. {_ADVICE.get(status, 'Expected 200.')}")
        return _text(body)

    def _headers(self, instead_of: dict[str, str] | None = None) -> dict[str, str]:
        try:
            return self._token.headers_now(instead_of)
        except TokenError as error:
            if error.passing:
                raise _PassingError(str(error)) from error
            raise SecretUnreadableError(f"{error}. Check the credentials of this machine.") from error

    def _ask(self, version: str, headers: dict[str, str], deadline: float) -> tuple[int, bytes]:
        import httpx

        body = bytearray()
        try:
            with self._http.stream("GET", f"/v1/{version}:access", headers=headers) as reply:
                for piece in reply.iter_bytes():
                    body += piece
                    if len(body) > _LONGEST_ANSWER:
                        raise SecretUnreadableError("the answer is longer than any secret.")
                    self._check(deadline)
                return reply.status_code, bytes(body)
        except httpx.HTTPError as error:
            self._check(deadline)
            raise _PassingError(f"no complete answer from Secret Manager ({type(error).__name__})") from error

    def _check(self, deadline: float) -> None:
        if self._patience.clock() > deadline:
            raise SecretUnreadableError(
                f"no complete answer from Secret Manager within {self._patience.seconds:g} s. Try again later."
            )


@functools.cache
def secret_manager_of_this_machine() -> SecretManager:
    """The one of the application default credentials, for the whole process."""
    return SecretManager(token_of_this_machine(CLOUD_PLATFORM))


def _text(body: bytes) -> str:
    """The secret in an answer; raises where that is not certainly what was stored."""
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
            f"the answer holds no text in base64 ({type(error).__name__}). Check that the secret is plain UTF-8 text."
        ) from None
    if not intact:
        raise _PassingError("the answer was damaged on its way (CRC32C)")
    if not text:
        raise SecretUnreadableError("it is empty. Add a version that holds the secret.")
    return text
