"""An HTTP session that connects only where the address policy allows, whatever the URL says.

Picture hosts are named by third parties. The numeric address is judged when a socket for it is made, so literals, odd
spellings, redirects and names that change their answer all pass the same gate, and a denied host receives no packet.
What is asked, and what an answer must look like, belongs in `fetch.py`.
"""

import asyncio
import functools
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from cata_pipeline.addresses import AddressDeniedError, AddressPolicy
from cata_pipeline.images.limits import CopyLimits

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


@asynccontextmanager
async def guarded_session(policy: AddressPolicy, limits: CopyLimits) -> AsyncIterator[aiohttp.ClientSession]:
    """A session without cookies, credentials, proxies or inflating, whose every connect is judged by `policy`.

    A denial surfaces as an `aiohttp.ClientConnectorError` that `is_denial` recognises.
    """
    # Names that a slow DNS server leaves hanging would otherwise fill the loop's default threads, which others need.
    lookups = ThreadPoolExecutor(limits.lookup_threads, thread_name_prefix="picture-lookup")
    connector = _Connector(
        resolver=_JudgingResolver(policy, lookups, limits),
        socket_factory=lambda info: _judged_socket(policy, info),
        ttl_dns_cache=10,
        limit=limits.concurrency,
    )
    try:
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(
                total=None,
                # All addresses of a host together: aiohttp goes through them more than once.
                connect=limits.lookup_seconds + limits.silence_seconds,
                sock_connect=limits.silence_seconds,
                sock_read=limits.silence_seconds,
            ),
        ) as session:
            yield session
    finally:
        lookups.shutdown(wait=False, cancel_futures=True)


class _Listener(ResponseHandler):
    """A connection that ends when its host speaks although nothing was asked.

    aiohttp would parse and keep every further "answer" that arrives while the connection waits to be used again,
    which a hostile host can make hundreds of megabytes, and would take the first of them for the next answer.
    """

    is_idle = False

    def wait(self) -> None:
        self.is_idle = True

    def data_received(self, data: bytes) -> None:
        if data and self.is_idle:
            self.abort()
        else:
            super().data_received(data)


class _Connector(aiohttp.TCPConnector):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        # aiohttp has no argument for it.
        self._factory = functools.partial(_Listener, loop=self._loop)  # type: ignore[assignment]

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 the signature is aiohttp's
    ) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            listener = connection.protocol
            assert isinstance(listener, _Listener)
            # What came together with the end of the last answer is nobody's.
            if not listener.should_close:
                listener.is_idle = False
                connection.add_callback(listener.wait)
                return connection
            connection.close()


def is_denial(error: BaseException | None) -> bool:
    """Whether an error of the HTTP client comes from the address policy."""
    while error is not None:
        if isinstance(error, AddressDeniedError):
            return True
        error = error.__cause__ or getattr(error, "os_error", None)
    return False


def _judged_socket(policy: AddressPolicy, info: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, address = info
    host, port = str(address[0]), int(address[1])
    if family == socket.AF_INET6 and len(address) > 3 and address[3]:  # noqa: PLR2004 the scope's place in the tuple
        host = f"{host.partition('%')[0]}%{address[3]}"
    policy.check(host, port)
    return socket.socket(family, kind, protocol)


class _JudgingResolver(AbstractResolver):
    """Looks names up on its own threads, and refuses a name when any of its addresses is denied."""

    def __init__(self, policy: AddressPolicy, threads: ThreadPoolExecutor, limits: CopyLimits) -> None:
        self._policy = policy
        self._threads = threads
        self._limits = limits

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        lookup = loop.run_in_executor(self._threads, _addresses, host, port, family)
        try:
            found = await asyncio.wait_for(lookup, self._limits.lookup_seconds)
        except TimeoutError:
            raise OSError("the name server did not answer in time") from None
        except UnicodeError:
            raise OSError("not a host name") from None
        for _, address in found:
            self._policy.check(address, port)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=found_family, proto=0, flags=_NUMERIC)
            for found_family, address in found[: self._limits.addresses_per_host]
        ]

    async def close(self) -> None:
        """Nothing to do: the threads belong to the session."""


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[tuple[socket.AddressFamily, str]]:
    answers = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    found: list[tuple[socket.AddressFamily, str]] = []
    for answer_family, _, _, _, address in answers:
        scope = f"%{address[3]}" if len(address) > 3 and address[3] else ""  # noqa: PLR2004 only IPv6 addresses have a scope
        found.append((answer_family, f"{address[0]}{scope}"))
    return found
