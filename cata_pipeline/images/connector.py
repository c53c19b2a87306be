"""Connect to image hosts, and keep connections for the next request to the same origin.

Add rules about when a connection may be used again here, and about what a failure to connect proves. Which addresses
may be reached is `guard.py`.
"""

import asyncio
import errno
import functools
import socket
import ssl
from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from cata_pipeline.addresses import AddressDeniedError

_OUR_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})

# Handshakes that began for the request of the current task. aiohttp reports a failure to connect and a failed handshake
# by the same errors; only the former proves that every tenant would meet it.
_handshakes: ContextVar[list[str | None]] = ContextVar("handshakes")


class UnreachableError(aiohttp.ClientConnectionError):
    """The name has no address, or none of its addresses takes a connection: every tenant would meet the same."""


class NoSocketError(aiohttp.ClientConnectionError):
    """This machine has no socket left; nothing was sent, and nothing is known of the host."""


class HandshakeObject(ssl.SSLObject):
    """Records that a handshake began, and therefore that TCP connected."""

    def do_handshake(self) -> None:
        """Start or continue the handshake."""
        _handshakes.get([]).append(self.server_hostname)
        super().do_handshake()


class ImageConnector(aiohttp.TCPConnector):
    """Connects without a queue, and keeps at most `most_idle` connections, each for 15 s and for its own origin.

    It closes a kept connection as soon as its server sends anything: aiohttp would parse and store any number of
    unrequested responses, and return the first of them for the next request.
    """

    def __init__(self, most_idle: int, **arguments: Any) -> None:
        super().__init__(limit=0, **arguments)
        self._most_idle = most_idle
        # From the connection that was used least recently.
        self._idle: dict[_IdleProtocol, None] = {}

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 aiohttp's signature
    ) -> Connection:
        """Return a kept connection or a new one.

        Raises `UnreachableError`, `NoSocketError`, `ClientConnectorError` (whose `os_error` may be an
        `AddressDeniedError` or `ssl.SSLError`), `ServerDisconnectedError`, or `TimeoutError` for a TLS handshake.
        """
        while True:
            connection = await self._connected(req, traces, timeout)
            protocol, transport = connection.protocol, connection.transport
            idle = transport.get_protocol() if transport is not None else None
            if isinstance(idle, _IdleProtocol):
                self._idle.pop(idle, None)
            # Data may have arrived together with the end of the previous response, or before any request.
            if protocol is not None and transport is not None and not protocol.should_close:
                transport.set_protocol(protocol)
                connection.add_callback(functools.partial(self._ended, protocol, transport))
                return connection
            connection.close()
            if not isinstance(idle, _IdleProtocol):
                raise aiohttp.ServerDisconnectedError("The server closed the connection or sent data before a request.")

    async def _connected(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 aiohttp's
    ) -> Connection:
        handshakes: list[str | None] = []
        _handshakes.set(handshakes)
        try:
            return await super().connect(req, traces, timeout)
        except TimeoutError as error:
            if handshakes:
                raise
            raise UnreachableError("No address of the host accepts a connection in time.") from error
        except aiohttp.ClientConnectorError as error:
            if error.errno in _OUR_LIMITS:
                raise NoSocketError("No socket is left.") from error
            if not handshakes and _proves_unreachable(error):
                raise UnreachableError("The host has no address, or none accepts a connection.") from error
            raise

    def _ended(self, protocol: ResponseHandler, transport: asyncio.Transport) -> None:
        """The request on a connection ended; aiohttp is about to keep the connection or to close it."""
        idle = _IdleProtocol(protocol, transport, self._idle)
        transport.set_protocol(idle)
        asyncio.get_running_loop().call_soon(self._keep, idle)

    def _keep(self, idle: "_IdleProtocol") -> None:
        if idle.transport.is_closing():
            # Closing TLS goes on receiving until the server agrees, for up to 30 s.
            idle.transport.abort()
        elif idle.transport.get_protocol() is idle:
            self._idle[idle] = None
            if len(self._idle) > self._most_idle:
                oldest = next(iter(self._idle))
                del self._idle[oldest]
                oldest.transport.abort()


class _IdleProtocol(asyncio.Protocol):
    """Stands in for aiohttp's protocol while a connection is kept; any data ends the connection."""

    def __init__(
        self, protocol: ResponseHandler, transport: asyncio.Transport, kept: "dict[_IdleProtocol, None]"
    ) -> None:
        self.transport = transport
        self._protocol = protocol
        self._kept = kept

    def data_received(self, _: bytes) -> None:
        """The server sent data that nothing requested."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on, so that aiohttp drops the connection."""
        self._kept.pop(self, None)
        self._protocol.connection_lost(exc)


def _proves_unreachable(error: aiohttp.ClientConnectorError) -> bool:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return isinstance(error.os_error, socket.gaierror)
    return not isinstance(error.os_error, AddressDeniedError)
