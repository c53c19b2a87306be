"""The connections under a provider's HTTP client: each goes to an address that was judged just before.

The judgement itself is `cata_pipeline.addresses`; this module only makes sure that nothing connects
without it. Requests, retries and bodies do not belong here.
"""

import asyncio
import functools
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore
import httpx

from cata_pipeline.addresses import AddressPolicy

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
_ADDRESSES_TRIED = 4
_USER_AGENT = "cata-pipeline"
# Their lines repeat an answer's headers and its reason phrase, where a POS may have put the token that it was sent.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

SocketOptions = Iterable[tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]]
Resolver = Callable[[str, int], list[str]]


def system_resolver(host: str, port: int) -> list[str]:
    """The numeric addresses of `host`, in the order to be tried; raises `OSError` or `UnicodeError`."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves a name once, refuses it when any of its addresses is denied, and connects to what was judged.

    TLS still verifies the host name, because the pool keeps it. Raises `AddressDeniedError` before the first
    packet, and `httpcore.ConnectError` for a name that has no address.
    """

    def __init__(self, policy: AddressPolicy, resolver: Resolver = system_resolver) -> None:
        self._policy = policy
        self._resolver = resolver
        self._inner = httpcore.AnyIOBackend()
        # Threads of our own: the event loop waits for its default ones when it ends, so that one name server
        # that does not answer would hold a fetch beyond its deadline.
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="provider-dns")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 the signature is httpcore's
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first of the host's addresses that answers, after all of them were judged."""
        addresses = await self._addresses(host, port, timeout)
        for address in addresses:
            self._policy.check(address, port)
        failure: Exception = httpcore.ConnectError("its name has no address")
        for address in addresses[:_ADDRESSES_TRIED]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        """Sleep between the connection pool's own attempts."""
        await self._inner.sleep(seconds)

    def close(self) -> None:
        """Let the resolver threads go, without waiting for a name server that does not answer."""
        self._threads.shutdown(wait=False)

    async def _addresses(self, host: str, port: int, seconds: float | None) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                return await loop.run_in_executor(self._threads, self._resolver, host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("its name was not resolved in time") from None
        except (OSError, UnicodeError):
            raise httpcore.ConnectError("its name cannot be resolved") from None


class _PoolTransport(httpx.AsyncBaseTransport):
    """Sends httpx's requests through a pool of httpcore: httpx's own transport takes no network backend."""

    def __init__(self, pool: httpcore.AsyncConnectionPool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; raises httpx's `TransportError`s."""
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        with _errors_of_httpx():
            response = await self._pool.handle_async_request(
                httpcore.Request(
                    request.method,
                    target,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response), extensions=response.extensions
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for piece in self._response.aiter_stream():
                yield piece

    async def aclose(self) -> None:
        await self._response.aclose()


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    """The same error in httpx, which names its classes as httpcore does."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
    ) as error:
        same: type[httpx.TransportError] = getattr(httpx, type(error).__name__)
        raise same(str(error)) from error


def guarded_client(network: GuardedNetwork) -> httpx.AsyncClient:
    """An HTTP client that connects through `network` only: no redirects, proxies, cookies or netrc."""
    pool = httpcore.AsyncConnectionPool(ssl_context=_tls(), network_backend=network, keepalive_expiry=5.0)
    return httpx.AsyncClient(
        transport=_PoolTransport(pool),
        headers={"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": _USER_AGENT},
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
        timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=False,
    )


@functools.cache
def _tls() -> ssl.SSLContext:
    """Verifying context, made once a process: reading the root certificates takes 20 ms each time."""
    return httpx.create_ssl_context(trust_env=False)
