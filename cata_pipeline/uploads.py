"""Creates many small objects from an event loop: one request each, over the JSON API of Google Cloud Storage.

Google's library spends more than twice the CPU on a picture of 80 kB (docs/decisions/0009-storage-client.md). Reading,
listing and the few large objects stay with it, in `cata_pipeline.buckets`; which credentials are sent is
`cata_pipeline.google_token`. Here is what one upload says, what its answers mean, and which of them are asked again.
"""

import asyncio
import base64
import json
import logging
import random
import secrets
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from urllib.parse import quote

import aiohttp
from yarl import URL

from cata_pipeline.buckets import RETRY_SECONDS, Checksum, Created, WrongBytesError, refusal
from cata_pipeline.errors import StorageError
from cata_pipeline.google_token import GoogleToken, TokenError, token_of_this_machine

_log = logging.getLogger(__name__)

_GOOGLE = "https://storage.googleapis.com"
_ACCOUNT = "crc32c,size"  # what an answer is to say of the object
_OK, _BAD_REQUEST, _UNAUTHORIZED, _NOT_FOUND, _THERE_ALREADY = 200, 400, 401, 404, 412
_PASSING = frozenset({408, 429})
_FIRST_SERVER_ERROR = 500
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0
_CONNECT_SECONDS = 5.0
_SLOWEST_RATE = 200_000  # bytes a second that a try may count on, on top of `answer_seconds`
_PIECE = 1 << 18  # a larger one would be copied into the socket's buffer as a whole


@dataclass(frozen=True)
class Patience:
    """How long and how often: no try begins later than `retry_seconds` after the first.

    A try may take `answer_seconds`, and longer the larger its body. `clock` counts seconds.
    """

    retry_seconds: float = RETRY_SECONDS
    answer_seconds: float = 10.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic


class _PassingError(Exception):
    """This try failed, or its outcome is unknown; since it creates only, it may be repeated."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    retry_after: str


@dataclass(frozen=True, slots=True)
class _Body:
    """A `multipart/related` body: the object's metadata, then its content, which is not copied."""

    head: bytes
    content: bytes
    tail: bytes
    content_type: str

    @classmethod
    def of(cls, metadata: dict[str, str | None], content: bytes, content_type: str) -> "_Body":
        # Drawn for each body: the content is somebody else's, and must not be able to hold its own end.
        boundary = secrets.token_hex(16)
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(metadata)}"
            f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n\r\n"
        )
        return cls(
            head.encode(), content, f"\r\n--{boundary}--\r\n".encode(), f"multipart/related; boundary={boundary}"
        )

    @property
    def headers(self) -> dict[str, str]:
        length = len(self.head) + len(self.content) + len(self.tail)
        return {"Content-Type": self.content_type, "Content-Length": str(length)}

    async def pieces(self) -> AsyncIterator[bytes | memoryview]:
        yield self.head
        view = memoryview(self.content)
        for start in range(0, len(view), _PIECE):
            yield view[start : start + _PIECE]
        yield self.tail


class Uploads:
    """Creates objects in one bucket, on one event loop; as many at once as the session has connections.

    `origin` is Google's or a fake's. `token` is None where nobody asks who we are. `proxy_headers` go to the session's
    proxy only.
    """

    def __init__(
        self,
        bucket: str,
        origin: str,
        session: aiohttp.ClientSession,
        token: GoogleToken | None = None,
        patience: Patience | None = None,
        proxy_headers: dict[str, str] | None = None,
    ) -> None:
        self._bucket = bucket
        self._origin = origin
        self._session = session
        self._token = token
        self._patience = patience or Patience()
        self._proxy_headers = proxy_headers

    async def create(
        self, name: str, content: bytes, *, content_type: str, cache_control: str | None = None
    ) -> Created:
        """Store `content` under `name` unless that name exists, by the rules of `Bucket.create`.

        An answer that got lost is asked for again; then the object is found there, and is not new. Raises
        `WrongBytesError` when what is there is not `content`, and `StorageError` when the bucket refuses or there is no
        usable answer in time.
        """
        ours = Checksum.of(content)
        metadata = {"name": name, "contentType": content_type, "cacheControl": cache_control, "crc32c": ours.crc32c}
        body = _Body.of(metadata, content, content_type)
        begun = self._patience.clock()
        for tries in count(1):
            try:
                return await self._create_once(name, body, ours)
            except _PassingError as error:
                pause = max(error.retry_after, _pause(tries))
                if self._patience.clock() - begun + pause > self._patience.retry_seconds:
                    raise self._not_stored(
                        name,
                        f"no usable answer in {self._patience.retry_seconds:g} seconds; try {tries} came to this:"
                        f" {error}. Check that the storage service can be reached.",
                    ) from error.__cause__
                _log.info("bucket %s, object %s: %s; asking again in %.1f s", self._bucket, name, error, pause)
            await self._patience.sleep(pause)
        raise AssertionError("unreachable: counting has no end")

    async def _create_once(self, name: str, body: _Body, ours: Checksum) -> Created:
        query = f"uploadType=multipart&ifGenerationMatch=0&fields={_ACCOUNT}"
        reply = await self._ask("POST", f"/upload/storage/v1/b/{self._bucket}/o?{query}", name, body)
        new = reply.status != _THERE_ALREADY
        if not new:
            reply = await self._ask(
                "GET", f"/storage/v1/b/{self._bucket}/o/{quote(name, safe='')}?fields={_ACCOUNT}", name
            )
            if reply.status == _NOT_FOUND:
                raise _PassingError("it was there already, and then was not")
        self._check_accepted(name, reply)
        theirs = _account(reply)
        if theirs != ours:
            raise WrongBytesError(self._bucket, name, ours, theirs)
        return Created(name, new)

    def _check_accepted(self, name: str, reply: _Reply) -> None:
        status = reply.status
        if status == _OK:
            return
        if status in _PASSING or status >= _FIRST_SERVER_ERROR:
            raise _PassingError(f"it answered {status}", _seconds(reply.retry_after))
        if status == _BAD_REQUEST and b"crc32c" in reply.body.lower():
            raise _PassingError("the content arrived altered, and was refused")
        raise self._not_stored(name, refusal(status))

    async def _ask(self, method: str, path: str, name: str, body: _Body | None = None) -> _Reply:
        """One answer, of whatever status; a token that is refused is renewed once."""
        try:
            sent = await self._token.headers() if self._token else {}
            reply = await self._send(method, path, sent, body)
            if reply.status == _UNAUTHORIZED and self._token:
                reply = await self._send(method, path, await self._token.headers(instead_of=sent), body)
        except TokenError as error:
            if error.passing:
                raise _PassingError(str(error)) from error
            raise self._not_stored(name, f"{error}. Check the credentials of this machine.") from error
        return reply

    async def _send(self, method: str, path: str, headers: dict[str, str], body: _Body | None) -> _Reply:
        seconds = self._patience.answer_seconds + (len(body.content) / _SLOWEST_RATE if body else 0)
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.request(
                    method,
                    URL(f"{self._origin}{path}", encoded=True),
                    data=body.pieces() if body else None,
                    headers=headers | (body.headers if body else {}),
                    allow_redirects=False,
                    proxy_headers=self._proxy_headers,
                ) as reply,
            ):
                return _Reply(reply.status, await reply.read(), reply.headers.get("Retry-After", ""))
        except TimeoutError:
            raise _PassingError(f"no answer within {seconds:g} seconds") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _PassingError(f"the connection failed ({type(error).__name__})") from error

    def _not_stored(self, name: str, reason: str) -> StorageError:
        return StorageError(f"Bucket {self._bucket} did not store {name}: {reason}")


@asynccontextmanager
async def open_uploads(
    bucket: str, emulator: str | None, concurrency: int, patience: Patience
) -> AsyncIterator[Uploads]:
    """Uploads into a bucket of a fake GCS, or of the real one with this machine's own credentials."""
    proxy, proxy_headers = (None, None) if emulator else _proxy()
    token = None if emulator else token_of_this_machine()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        proxy=proxy,
    ) as session:
        yield Uploads(bucket, emulator or _GOOGLE, session, token, patience, proxy_headers)


def _proxy() -> tuple[URL | None, dict[str, str] | None]:
    """The environment's proxy to Google and what to tell it, looked up once: aiohttp would look for each request."""
    found = urllib.request.getproxies().get("https")
    host = URL(_GOOGLE).host
    if not found or (host and urllib.request.proxy_bypass(host)):
        return None, None
    url = URL(found)
    if not url.user:
        return url, None
    account = base64.b64encode(f"{url.user}:{url.password or ''}".encode()).decode()
    return url.with_user(None), {"Proxy-Authorization": f"Basic {account}"}


def _account(reply: _Reply) -> Checksum:
    try:
        told = json.loads(reply.body)
        return Checksum(int(told["size"]), str(told["crc32c"]))
    except (ValueError, TypeError, KeyError):
        # Whether it is stored is unknown; asking again finds out.
        raise _PassingError("it answered 200 without saying what it stored") from None


def _pause(tries: int) -> float:
    return min(_FIRST_PAUSE * 2.0 ** (tries - 1), _LONGEST_PAUSE) * random.uniform(0.5, 1)  # noqa: S311 jitter


def _seconds(retry_after: str) -> float:
    """What a `Retry-After` asks for; Google sends seconds."""
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
