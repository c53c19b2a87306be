"""A MySQL server that has been taken over: a real one behind it answers, until it requests a file of the client."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy.engine import URL

from cata_pipeline_tests.tcp_relay import pump

_SSL = 0x08  # of the second byte of the capabilities
_HEADER = 4
SECRET_FILE = "/proc/self/environ"
AT_CONNECT = "at connect"


@dataclass
class RogueMysql:
    """Passes everything on, and requests `file` in response to the first statement that contains `trigger`.

    `received` holds what clients sent after that: it has to stay empty.
    """

    real_socket: str
    trigger: str
    file: str = SECRET_FILE
    received: bytes = b""
    requests: int = 0
    closed: threading.Event = field(default_factory=threading.Event)

    def serve(self, listener: socket.socket) -> None:
        """Serve each client in a thread of its own, until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError, EOFError):
            server.connect(self.real_socket)
            client.sendall(_without_tls(_packet(server)))
            credentials = _packet(client)
            if self.trigger == AT_CONNECT:
                self._request_file(client, 2)
                return
            server.sendall(credentials)
            threading.Thread(target=pump, args=(server, client), daemon=True).start()
            while True:
                statement = _packet(client)
                if self.trigger.encode() in statement:
                    self._request_file(client, 1)
                    return
                server.sendall(statement)

    def _request_file(self, client: socket.socket, number: int) -> None:
        content = b"\xfb" + self.file.encode()
        self.requests += 1
        client.sendall(len(content).to_bytes(3, "little") + bytes([number]) + content)
        with suppress(OSError):
            while received := client.recv(65_536):
                self.received += received
        self.closed.set()


@contextmanager
def rogue_mysql(real: URL, trigger: str, file: str = SECRET_FILE) -> Iterator[tuple[RogueMysql, URL]]:
    """A rogue server in front of the one at `real`, which names a socket, and the same database's address there."""
    rogue = RogueMysql(str(real.query["unix_socket"]), trigger, file)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=rogue.serve, args=(listener,), daemon=True).start()
        yield rogue, real.set(host="127.0.0.1", port=listener.getsockname()[1], query={})
        listener.shutdown(socket.SHUT_RDWR)


def _packet(source: socket.socket) -> bytes:
    header = _exactly(source, _HEADER)
    return header + _exactly(source, int.from_bytes(header[:3], "little"))


def _exactly(source: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        received = source.recv(size - len(content))
        if not received:
            raise EOFError
        content += received
    return content


def _without_tls(greeting: bytes) -> bytes:
    capabilities = greeting.index(b"\0", _HEADER + 1) + 1 + 4 + 8 + 1
    changed = bytearray(greeting)
    changed[capabilities + 1] &= ~_SSL & 0xFF
    return bytes(changed)
