"""A real HTTP server on loopback that answers as a test says, and remembers what it was asked."""

import json
import socket
import ssl
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import parse_qs

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.settings import Endpoint


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return {key: values[0] for key, values in parse_qs(self.body.decode()).items()}


AnyServer = TypeVar("AnyServer", bound="ScriptedServer")
Answer = Callable[[BaseHTTPRequestHandler], None]


def answer(
    body: bytes | str | object = b"",
    *,
    status: int = 200,
    content_type: str | None = "application/json",
    headers: Mapping[str, str] | None = None,
    declared_length: int | None = None,
    without_length: bool = False,
) -> Answer:
    """Answers with `body` (anything but bytes and text as JSON); a wrong or absent length closes the connection."""
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        if content_type is not None:
            handler.send_header("Content-Type", content_type)
        if not without_length:
            handler.send_header("Content-Length", str(len(raw) if declared_length is None else declared_length))
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(raw)
        handler.close_connection = without_length or declared_length is not None

    return send


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Closes the connection without an answer."""
    handler.close_connection = True


class ScriptedServer:
    """Serves `answers[path]` one after the other, the last one for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.received: list[Received] = []
        self.connections = 0
        self.ending = threading.Event()
        self._given: dict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def policy(self) -> AddressPolicy:
        return allowing(self.port)

    def script(self, path: str, *answers: Answer) -> None:
        self.answers[path] = list(answers)
        self._given[path] = 0

    def asked(self, path: str) -> list[Received]:
        return [request for request in self.received if request.path == path]

    def answer_to(self, received: Received) -> Answer:
        """What a request gets."""
        return self.next_answer(received.path)

    def next_answer(self, path: str) -> Answer:
        with self._lock:
            answers = self.answers.get(path) or [answer({"error": "no such path"}, status=404)]
            given = self._given[path]
            self._given[path] += 1
            return answers[min(given, len(answers) - 1)]

    def repeat(self, first: bytes, piece: bytes) -> Answer:
        """Sends `first` and then `piece` over and over, until the client or the test has had enough."""

        def send(handler: BaseHTTPRequestHandler) -> None:
            handler.close_connection = True
            handler.wfile.write(first)
            while not self.ending.wait(0.005):
                handler.wfile.write(piece)

        return send

    def stall(self, first: bytes) -> Answer:
        """Sends `first` and then nothing more."""

        def send(handler: BaseHTTPRequestHandler) -> None:
            handler.close_connection = True
            handler.wfile.write(first)
            self.ending.wait(30)

        return send

    def speak_tls(self, context: ssl.SSLContext) -> None:
        """From now on each connection begins with a TLS handshake."""
        self._server.tls = context

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.ending.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def __init__(self, script: ScriptedServer) -> None:
        self.script = script
        self.tls: ssl.SSLContext | None = None
        super().__init__(("127.0.0.1", 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is None:
            super().finish_request(request, client_address)
        else:
            with self.tls.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.script.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is what many of these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        assert isinstance(self.server, _Server)
        script = self.server.script
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        received = Received(self.command, self.path, dict(self.headers.items()), body)
        script.received.append(received)
        script.answer_to(received)(self)

    do_GET = _serve  # noqa: N815 the name is http.server's
    do_POST = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the signature is http.server's
        """Keeps the test's output for the test."""


@dataclass
class Canary:
    """Listens, and knows whether anybody ever connected."""

    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def connections(self) -> int:
        self.listener.setblocking(False)
        count = 0
        while True:
            try:
                self.listener.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1


def allowing(*ports: int) -> AddressPolicy:
    return AddressPolicy(frozenset(Endpoint(ip_address("127.0.0.1"), port) for port in ports))


@contextmanager
def running(server: AnyServer) -> Iterator[AnyServer]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


def closed_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
