"""Picture hosts on loopback that the tests of this folder talk to: a well-behaved one, a raw one, and a canary."""

import asyncio
import contextlib
import itertools
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Self

from aiohttp import web

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.settings import Endpoint

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
LOOPBACK = "127.0.0.1"


def policy_for(*ports: int) -> AddressPolicy:
    return AddressPolicy(allowed=frozenset(Endpoint(ip_address(LOOPBACK), port) for port in ports))


def picture(
    content: bytes, *, etag: str | None = None, last_modified: str | None = None, content_type: str = "image/jpeg"
) -> Answer:
    """Answers with `content`, and with 304 when the validators match."""

    async def answer(request: web.Request) -> web.Response:
        headers = {"Content-Type": content_type}
        if etag:
            headers["ETag"] = etag
        if last_modified:
            headers["Last-Modified"] = last_modified
        unchanged = (etag and request.headers.get("If-None-Match") == etag) or (
            last_modified and request.headers.get("If-Modified-Since") == last_modified
        )
        if unchanged:
            return web.Response(status=304, headers=headers)
        return web.Response(body=content, headers=headers)

    return answer


def status(code: int, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=code, body=b"no picture here", headers=headers)

    return answer


def redirect(location: str, code: int = 302) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=code, headers={"Location": location})

    return answer


@dataclass(frozen=True)
class Seen:
    """A request as it arrived; `client` is the same for requests on one connection."""

    path: str
    headers: dict[str, str]
    client: tuple[str, int]


@dataclass
class PictureHost:
    """An HTTP server in a thread; `answers` maps paths to what they give, everything else is 404."""

    answers: dict[str, Answer] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    port: int = 0

    def url(self, path: str) -> str:
        return f"http://{LOOPBACK}:{self.port}{path}"

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)))
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = web.Server(self._answer, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, LOOPBACK, self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.BaseRequest)
        assert request.transport is not None
        client = request.transport.get_extra_info("peername")
        self.seen.append(Seen(request.path, dict(request.headers), client))
        answer = self.answers.get(request.path, status(404))
        return await answer(request)  # type: ignore[arg-type]  # handlers read only headers and path


class Sentinel:
    """Counts the TCP connections that arrive at one port of several loopback addresses; nobody may make one."""

    def __init__(self, addresses: tuple[str, ...], port: int = 0) -> None:
        self._servers: list[socket.socket] = []
        self.port = port
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            self._servers.append(socket.create_server((address, self.port), family=family, backlog=512))
            self.port = self._servers[-1].getsockname()[1]

    @property
    def visits(self) -> int:
        """Connections since the last time this was asked, whether anything was sent on them or not."""
        return sum(_waiting(server) for server in self._servers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()


def _waiting(server: socket.socket) -> int:
    # A last connection of our own proves that the counting works, and that all earlier ones are in the queue.
    with socket.create_connection(server.getsockname()[:2]) as ours:
        for number in itertools.count():
            connection, peer = server.accept()
            with connection:
                if peer == ours.getsockname():
                    return number
    raise AssertionError


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def listener(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP listener in a thread that gives each connection to `handle`; yields its port."""
    with socket.create_server((LOOPBACK, 0)) as server:
        stopping = threading.Event()

        def serve() -> None:
            while True:
                connection, _ = server.accept()
                with connection:
                    if stopping.is_set():
                        return
                    with contextlib.suppress(OSError):
                        handle(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        try:
            yield port
        finally:
            stopping.set()
            socket.create_connection((LOOPBACK, port)).close()
            thread.join()


def says(*pieces: bytes, drip: threading.Event | None = None) -> Callable[[socket.socket], None]:
    """Reads a request, sends the pieces, and closes; with `drip`, repeats the last piece until it is set."""

    def handle(connection: socket.socket) -> None:
        connection.recv(65_536)
        for piece in pieces:
            connection.sendall(piece)
        while drip is not None and not drip.wait(0.01):
            connection.sendall(pieces[-1])

    return handle
