"""Makes connections to picture hosts, and only where the address policy allows, whatever the URL says.

Picture hosts are named by third parties. The numeric address is judged when a socket for it is made, so literals, odd
spellings, redirects and names that change their answer all pass the same gate, and a denied host receives no packet.
Which connections are kept is `pool.py`; what is asked on them, and what an answer must say, is `fetch.py`.
"""

import asyncio
import errno
import functools
import ipaddress
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

from aiohappyeyeballs import AddrInfoType, start_connection

from cata_pipeline.addresses import AddressDeniedError, AddressPolicy
from cata_pipeline.images.connection import Connection
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.picture_url import Origin

_REMEMBERED_SECONDS = 10.0
_NEXT_ADDRESS_SECONDS = 0.25
_Addresses = list[tuple[socket.AddressFamily, str]]


_OUR_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})


class UnreachableError(OSError):
    """The name has no address, or none of its addresses takes a connection: everyone would meet the same."""


class NoSocketError(OSError):
    """This machine has no socket left; nothing was sent, and nothing is known of the host."""


class Guard:
    """Connects for one event loop; a denial is raised as `AddressDeniedError`, all else as another `OSError`."""

    def __init__(self, policy: AddressPolicy, limits: CopyLimits) -> None:
        self._policy = policy
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        # Names that a slow DNS server leaves hanging would fill the loop's default threads, which others need.
        self._threads = ThreadPoolExecutor(limits.lookup_threads, thread_name_prefix="picture-lookup")
        self._lookups: dict[Origin, asyncio.Future[_Addresses]] = {}

    async def connect(self, origin: Origin) -> Connection:
        """A connection that nothing was asked on yet.

        Raises `UnreachableError`, `NoSocketError`, or for a TLS handshake that fails `ssl.SSLError`, `TimeoutError` or
        another `OSError`.
        """
        ours = await self._connected(origin)
        is_tls = origin.scheme == "https"
        async with asyncio.timeout(self._limits.silence_seconds):
            connection = Connection(origin, self._limits)
            try:
                await self._loop.create_connection(
                    lambda: connection,
                    sock=ours,
                    ssl=_tls() if is_tls else None,
                    # The certificate is for the name, whatever address it has; no certificate has the final dot.
                    server_hostname=origin.host.rstrip(".") if is_tls else None,
                )
            except BaseException:
                # Closed behind the back of a transport, the socket would stay in the loop's books: the next one that
                # gets its number could not connect, or be taken for it.
                connection.abort()
                ours.close()
                raise
        return connection

    async def speaks_tls(self, origin: Origin) -> bool:
        """Whether the port of a plain-http origin expects TLS, found by a handshake; sends no request."""
        try:
            connection = await self.connect(origin._replace(scheme="https"))
        except ssl.SSLCertVerificationError:
            return True
        except OSError:
            return False
        connection.abort()
        return True

    def close(self) -> None:
        """Look nothing up any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _connected(self, origin: Origin) -> socket.socket:
        addresses = await self._addresses_of(origin)
        try:
            # All addresses of a host together.
            async with asyncio.timeout(self._limits.silence_seconds):
                return await start_connection(
                    [_address_info(family, address, origin.port) for family, address in addresses],
                    happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS,
                    socket_factory=functools.partial(_judged_socket, self._policy),
                )
        except AddressDeniedError:
            raise
        except OSError as error:
            if error.errno in _OUR_LIMITS:
                raise NoSocketError(error.errno, "no socket is left") from None
            raise UnreachableError("no address of the host takes a connection") from None

    async def _addresses_of(self, origin: Origin) -> _Addresses:
        """The numeric addresses to try; a name is refused when any of its addresses is denied."""
        try:
            version = ipaddress.ip_address(origin.host).version
        except ValueError:
            pass
        else:
            return [(socket.AF_INET if version == 4 else socket.AF_INET6, origin.host)]  # noqa: PLR2004 IPv4
        try:
            async with asyncio.timeout(self._limits.lookup_seconds):
                found = await asyncio.shield(self._lookup(origin))
        except TimeoutError:
            # Not `UnreachableError`: this tenant's other names may have kept all lookup threads busy.
            raise OSError("the name server did not answer in time") from None
        except socket.gaierror as error:
            raise UnreachableError("the name has no address") from error
        except UnicodeError:
            raise OSError("not a host name") from None
        for _, address in found:
            self._policy.check(address, origin.port)
        return found[: self._limits.addresses_per_host]

    def _lookup(self, origin: Origin) -> asyncio.Future[_Addresses]:
        """One lookup for all who ask at once or soon after, so that a slow name holds up one thread only."""
        lookup = self._lookups.get(origin)
        if lookup is None:
            lookup = self._loop.run_in_executor(self._threads, _addresses, origin.host, origin.port)
            self._lookups[origin] = lookup
            lookup.add_done_callback(functools.partial(self._remember, origin))
        return lookup

    def _remember(self, origin: Origin, lookup: asyncio.Future[_Addresses]) -> None:
        # A failure is forgotten at once; asking for it also tells the loop that somebody knows of it.
        failed = lookup.cancelled() or lookup.exception() is not None
        self._loop.call_later(0 if failed else _REMEMBERED_SECONDS, self._lookups.pop, origin, None)


@functools.cache
def _tls() -> ssl.SSLContext:
    """Loading all authorities takes a good part of a second's hundredths, so it is done once."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _address_info(family: socket.AddressFamily, address: str, port: int) -> AddrInfoType:
    numeric = (address, port) if family == socket.AF_INET else (address, port, 0, 0)
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", numeric


def _judged_socket(policy: AddressPolicy, info: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, address = info
    policy.check(str(address[0]), int(address[1]))
    return socket.socket(family, kind, protocol)


def _addresses(host: str, port: int) -> _Addresses:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    found: _Addresses = []
    for family, _, _, _, address in answers:
        scope = f"%{address[3]}" if len(address) > 3 and address[3] else ""  # noqa: PLR2004 only IPv6 addresses have a scope
        found.append((family, f"{address[0]}{scope}"))
    return found
