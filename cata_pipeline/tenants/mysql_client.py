"""The MySQL connection: PyMySQL's, without its answer to a server that requests a file of this machine.

The protocol lets a server respond to any statement with the name of a file, which PyMySQL then opens and sends:
`/proc/self/environ` holds every secret of this process. Here a statement sends one stream, which its caller hands
over, or nothing; no file is ever opened by a name that a server sent.

PyMySQL has no public interface for this, so this is the one module that uses its private parts.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from pymysql.connections import Connection, MySQLResult
from pymysql.constants import CR
from pymysql.err import OperationalError

_PACKET_BYTES = 16 * 1024


class FileRequestedError(OperationalError):  # type: ignore[misc]
    """The server requested a file that the statement does not send; the connection is closed."""

    def __init__(self) -> None:
        super().__init__(
            CR.CR_SERVER_LOST,  # so that nobody tries to roll back
            "it requested a file of this machine that the statement does not send. Nothing was sent, and the connection"
            " is closed. Either the server is not the one that its URL names, or somebody intercepts the connection:"
            " verify the server, and set ssl_ca in its URL so that its certificate is verified",
        )


class MysqlConnection(Connection):  # type: ignore[misc]
    """A connection that sends only what `sending` hands over."""

    _responses_begin = True
    _authenticated = False
    _stream: tuple[bytes, IO[bytes]] | None = None

    @contextmanager
    def sending(self, stream: IO[bytes]) -> Iterator[str]:
        """Yield the name by which one LOAD DATA LOCAL statement may request `stream`; outside, nothing is sent."""
        name = f"cata-stage-{secrets.token_hex(16)}"
        self._stream = name.encode(), stream
        try:
            yield name
        finally:
            self._stream = None

    def allow_silence(self, seconds: float) -> None:
        """Set how long a statement may wait for the server, which PyMySQL limits as it does the greeting."""
        self._read_timeout = seconds

    def unencrypted_peer(self) -> str | None:
        """Return the server's address; None where the connection is encrypted or a socket: `_secure` is both."""
        return None if self._secure else str(self._sock.getpeername()[0])

    def requested_stream(self) -> IO[bytes]:
        """Return the stream of the request that `_read_packet` let pass, once."""
        assert self._stream is not None
        (_, stream), self._stream = self._stream, None
        return stream

    def next_packet(self) -> Any:
        """Read one packet."""
        return self._read_packet()

    def _request_authentication(self) -> None:
        super()._request_authentication()
        self._authenticated = True

    def _execute_command(self, *arguments: Any) -> None:
        self._responses_begin = True
        super()._execute_command(*arguments)

    def _read_packet(self, *arguments: Any) -> Any:
        """Read a packet; one that requests a file other than the stream closes the connection.

        Only the first packet of a response can: a row begins alike where its first value is NULL.
        """
        is_first, self._responses_begin = self._responses_begin, not self._authenticated
        packet = super()._read_packet(*arguments)
        is_request = is_first and packet.is_load_local_packet()
        if is_request and (self._stream is None or self._stream[0] != packet.get_all_data()[1:]):
            self._force_close()
            raise FileRequestedError
        return packet

    def _read_query_result(self, unbuffered: bool = False) -> Any:  # noqa: FBT001, FBT002 PyMySQL's own signature
        self._result, self._responses_begin = None, True
        result = _Result(self)
        if unbuffered:
            result.init_unbuffered_query()
        else:
            result.read()
        self._result = result
        if result.server_status is not None:
            self.server_status = result.server_status
        return result.affected_rows


class _Result(MySQLResult):  # type: ignore[misc]
    def _read_load_local_packet(self, _: Any) -> None:
        connection = self.connection
        stream = connection.requested_stream()
        while chunk := stream.read(min(connection.max_allowed_packet, _PACKET_BYTES)):
            connection.write_packet(chunk)
        connection.write_packet(b"")
        self._read_ok_packet(connection.next_packet())
