"""Make HTTP sessions for image hosts that connect only where the address policy allows, whatever the URL says.

Third parties name image hosts. The numeric address is checked when a socket for it is made, so literals, odd spellings,
redirects and names whose DNS records change all pass the same check, and a denied host receives no packet. How
connections are kept is `connector.py`; what a response must contain, and what a failure proves, is `fetch.py`.
"""

import asyncio
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.images.connector import HandshakeObject, ImageConnector
from cata_pipeline.images.limits import CopyLimits

_HEADERS = {
    "Accept": "image/jpeg, image/png, image/webp, */*;q=0.1",
    "Accept-Encoding": "identity",
    "User-Agent": "cata-pipeline",
}


@asynccontextmanager
async def guarded_session(policy: AddressPolicy, limits: CopyLimits) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session without cookies, credentials, proxies or decompression, for the running event loop.

    `policy` judges its every connection. Requests are made by `get`.
    """
    # Names that a slow DNS server leaves hanging would fill the loop's default threads, which others need.
    threads = ThreadPoolExecutor(limits.lookup_threads, thread_name_prefix="image-lookup")
    connector = ImageConnector(
        limits.concurrency,
        resolver=_JudgingResolver(policy, threads, limits),
        socket_factory=lambda info: _judged_socket(policy, info),
    )
    try:
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            trust_env=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(
                total=None,
                # All addresses of a host together: aiohttp tries them more than once.
                connect=limits.lookup_seconds + limits.silence_seconds,
                sock_connect=limits.silence_seconds,
                sock_read=limits.silence_seconds,
            ),
            max_line_size=limits.header_bytes,
            max_field_size=limits.header_bytes,
            max_headers=limits.header_lines,
        ) as session:
            yield session
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        # The connector ends its connections in the loop's next turn.
        await asyncio.sleep(0)


def get(
    session: aiohttp.ClientSession, url: URL, headers: Mapping[str, str]
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    """GET exactly `url`, without following a redirect; errors of the connect phase are those of `ImageConnector`."""
    # Loading the certificate authorities costs as much CPU as some hundred requests.
    tls = _tls() if url.scheme == "https" else True
    return session.get(url, headers=headers, allow_redirects=False, ssl=tls)


async def speaks_tls(session: aiohttp.ClientSession, url: URL) -> bool:
    """Return whether the port of a plain-http URL expects TLS, found by a handshake; sends no request."""
    assert session.connector is not None
    assert url.port is not None
    target = URL.build(scheme="https", authority=f"{url.host_subcomponent}:{url.port}", encoded=True)
    request = aiohttp.ClientRequest("GET", target, loop=asyncio.get_running_loop(), session=session, ssl=_tls())
    try:
        connection = await session.connector.connect(request, [], session.timeout)
    except aiohttp.ClientConnectorCertificateError:
        return True
    except aiohttp.ClientConnectorSSLError as error:
        # Only TLS servers send alerts.
        return isinstance(error.os_error, ssl.SSLError) and "ALERT" in (error.os_error.reason or "")
    except (aiohttp.ClientError, TimeoutError):
        return False
    connection.close()
    return True


@functools.cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    context.sslobject_class = HandshakeObject
    return context


def _judged_socket(policy: AddressPolicy, info: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, address = info
    policy.check(str(address[0]), int(address[1]))
    return socket.socket(family, kind, protocol)


class _JudgingResolver(AbstractResolver):
    """Looks names up on its own threads, and refuses a name when any of its addresses is denied.

    aiohttp does not ask for literals, shares a lookup between requests, and remembers a name for ten seconds.
    """

    def __init__(self, policy: AddressPolicy, threads: ThreadPoolExecutor, limits: CopyLimits) -> None:
        self._policy = policy
        self._threads = threads
        self._limits = limits

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 both families, always
    ) -> list[ResolveResult]:
        """Return the numeric addresses to try; raises `AddressDeniedError`, `socket.gaierror` or another `OSError`."""
        lookup = asyncio.get_running_loop().run_in_executor(self._threads, _addresses, host, port)
        try:
            found = await asyncio.wait_for(lookup, self._limits.lookup_seconds)
        except TimeoutError:
            # Not a `gaierror`: this tenant's other names may have kept all lookup threads busy.
            raise OSError("the name server did not answer in time") from None
        except UnicodeError:
            raise OSError("not a host name") from None
        for _, address in found:
            self._policy.check(address, port)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=found_family, proto=0, flags=0)
            for found_family, address in found[: self._limits.addresses_per_host]
        ]

    async def close(self) -> None:
        """Nothing to do: the threads belong to the session."""


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    found: list[tuple[socket.AddressFamily, str]] = []
    for family, _, _, _, address in answers:
        scope = f"%{address[3]}" if len(address) > 3 and address[3] else ""  # noqa: PLR2004 only IPv6 addresses have a scope
        found.append((family, f"{address[0]}{scope}"))
    return found
