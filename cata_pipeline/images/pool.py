"""The HTTP client for pictures: asks on a connection that is kept, or on a new one, and says as little as possible.

No cookies, credentials, proxies, inflating or redirects: none of them is there. Where a connection may lead is
`guard.py`; what an answer must say to be a picture is `fetch.py`.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from yarl import URL

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.images.answer import Answer
from cata_pipeline.images.connection import Connection, DroppedError
from cata_pipeline.images.guard import Guard
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.picture_url import Origin, origin_of

_KEPT_SECONDS = 15.0
_TARGET = re.compile(r"/[\x21-\x7e]*")
_VALUE = re.compile(r"[\x20-\x7e]*")
_HEADERS = (
    "Accept: image/jpeg, image/png, image/webp, */*;q=0.1\r\nAccept-Encoding: identity\r\nUser-Agent: cata-pipeline\r\n"
)


@asynccontextmanager
async def guarded_pool(policy: AddressPolicy, limits: CopyLimits) -> AsyncIterator["Pool"]:
    """A pool whose every connection is judged by `policy`; belongs to the running event loop."""
    guard = Guard(policy, limits)
    pool = Pool(guard, limits)
    try:
        yield pool
    finally:
        pool.close()
        guard.close()
        # The transports say goodbye in the loop's next turn.
        await asyncio.sleep(0)


class Pool:
    """Connections to picture hosts, each kept for its own origin only."""

    def __init__(self, guard: Guard, limits: CopyLimits) -> None:
        self._guard = guard
        self._most_resting = limits.concurrency
        self._loop = asyncio.get_running_loop()
        # From the one that was used last to the one that waits longest.
        self._resting: list[Connection] = []

    async def ask(self, url: URL, headers: Mapping[str, str], end: float) -> tuple[Connection, Answer]:
        """GET `url`; returns as soon as the head of the answer is there.

        Raises `TimeoutError` for what takes longer than the limits or until `end` (by the loop's clock), otherwise
        an `OSError`, or a `ValueError` for what cannot be asked. Whoever gets a connection gives it back by `done`.
        """
        request = _request(url, headers)
        origin = origin_of(url)
        kept = self._take(origin)
        if kept is not None:
            try:
                return kept, await self._asked(kept, request, end)
            except DroppedError:
                # It was ended while nobody asked, which says nothing of the picture.
                pass
        async with asyncio.timeout_at(end):
            fresh = await self._guard.connect(origin)
        return fresh, await self._asked(fresh, request, end)

    async def speaks_tls(self, url: URL, end: float) -> bool:
        """Whether the port of a plain-http URL expects TLS; False for what is not known by `end`."""
        try:
            async with asyncio.timeout_at(end):
                return await self._guard.speaks_tls(origin_of(url))
        except TimeoutError:
            return False

    def done(self, connection: Connection) -> None:
        """Keep a connection whose answer was read to its end; any other is closed."""
        if connection.rest():
            self._resting.insert(0, connection)
            if len(self._resting) > self._most_resting:
                self._resting.pop().abort()

    def close(self) -> None:
        """Close what rests; what is under way ends with whoever asked."""
        while self._resting:
            self._resting.pop().abort()

    def _take(self, origin: Origin) -> Connection | None:
        freshest = self._loop.time() - _KEPT_SECONDS
        while (place := self._place_of(origin)) is not None:
            connection = self._resting.pop(place)
            if connection.is_open and connection.heard_at >= freshest:
                return connection
            connection.abort()
        return None

    def _place_of(self, origin: Origin) -> int | None:
        return next((place for place, resting in enumerate(self._resting) if resting.origin == origin), None)

    async def _asked(self, connection: Connection, request: bytes, end: float) -> Answer:
        try:
            return await connection.ask(request, end)
        except BaseException:
            connection.abort()
            raise


def _request(url: URL, headers: Mapping[str, str]) -> bytes:
    target = url.raw_path_qs or "/"
    # The URL was judged before; whatever slipped through must not become a line of its own.
    if not _TARGET.fullmatch(target) or not all(map(_VALUE.fullmatch, headers.values())):
        raise ValueError("not to be sent")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {target} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n{_HEADERS}{lines}\r\n".encode("ascii")
