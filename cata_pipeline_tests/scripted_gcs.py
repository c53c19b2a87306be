"""A Google Cloud Storage on loopback that misbehaves as a test says, and otherwise keeps Google's promises.

It speaks as much of the JSON API as creating an object takes: create-only, checksums verified, an account of
the object in the answer.
"""

import base64
import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Upload:
    """A request to create an object, as it arrived; the names of its headers in lower case."""

    bucket: str
    query: dict[str, str]
    headers: dict[str, str]
    metadata: dict[str, Any]
    content_type: str
    content: bytes


@dataclass(frozen=True)
class Reply:
    """What is answered; `content` is JSON unless it is bytes."""

    status: int
    content: object = b""
    headers: tuple[tuple[str, str], ...] = ()


Hangup = Callable[[socket.socket], None]
Step = Callable[["ScriptedGcs", Upload], Reply | Hangup]


def answers(status: int, content: object = b"", **headers: str) -> Step:
    """Answers without looking at the upload; an underscore in a header's name stands for a dash."""
    told = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return lambda _gcs, _upload: Reply(status, content, told)


def hangs_up(_gcs: "ScriptedGcs", _upload: Upload) -> Hangup:
    """Closes the connection without an answer."""
    return lambda _connection: None


def resets(_gcs: "ScriptedGcs", _upload: Upload) -> Hangup:
    """Breaks the connection off, as a crashed server does."""
    return lambda connection: connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def stalls(gcs: "ScriptedGcs", _upload: Upload) -> Hangup:
    """Never answers, and hangs up when the test is over."""

    def wait(_connection: socket.socket) -> None:
        gcs.over.wait(10)

    return wait


def lags(seconds: float) -> Step:
    """Does everything right, but later."""

    def step(gcs: "ScriptedGcs", upload: Upload) -> Reply:
        gcs.over.wait(seconds)
        return gcs.behave(upload)

    return step


def stores_and(step: Step) -> Step:
    """Does everything right and then, instead of saying so, does what `step` does."""

    def both(gcs: "ScriptedGcs", upload: Upload) -> Reply | Hangup:
        gcs.behave(upload)
        return step(gcs, upload)

    return both


def claims(**account: str) -> Step:
    """Stores the object, and says something else of it."""

    def step(gcs: "ScriptedGcs", upload: Upload) -> Reply:
        reply = gcs.behave(upload)
        assert isinstance(reply.content, dict)
        return replace(reply, content=reply.content | account)

    return step


def alters(gcs: "ScriptedGcs", upload: Upload) -> Reply:
    """The content changes on its way to the server."""
    return gcs.behave(replace(upload, content=upload.content[:-1] + bytes([upload.content[-1] ^ 1])))


class ScriptedGcs:
    """Follows a script, one step an upload; behaves once it is at the end."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: list[Upload] = []
        self.looks = 0
        self.over = threading.Event()
        self._script: deque[Step] = deque()
        self._always: Step | None = None
        self._lock = threading.Lock()
        self._server = _Server(self)

    @property
    def origin(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def script(self, *steps: Step) -> None:
        self._script.extend(steps)

    def always(self, step: Step) -> None:
        self._always = step

    def next_step(self, upload: Upload) -> Step:
        with self._lock:
            self.uploads.append(upload)
            if self._script:
                return self._script.popleft()
        return self._always or (lambda gcs, upload: gcs.behave(upload))

    def behave(self, upload: Upload) -> Reply:
        """What Google does."""
        with self._lock:
            name = upload.metadata["name"]
            sent = upload.metadata.get("crc32c")
            if sent is not None and sent != crc32c(upload.content):
                said = f'Provided CRC32C "{sent}" doesn\'t match calculated CRC32C "{crc32c(upload.content)}".'
                return Reply(400, {"error": {"code": 400, "message": said}})
            if upload.query.get("ifGenerationMatch") == "0" and name in self.objects:
                return Reply(412, {"error": {"code": 412, "message": "At least one of the pre-conditions failed."}})
            self.objects[name] = upload.content
            return self.look(name)

    def look(self, name: str) -> Reply:
        if name not in self.objects:
            return Reply(404, {"error": {"code": 404, "message": f"No such object: {name}"}})
        content = self.objects[name]
        return Reply(200, {"name": name, "size": str(len(content)), "crc32c": crc32c(content)})

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.01)

    def stop(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


def crc32c(content: bytes) -> str:
    return base64.b64encode(google_crc32c.Checksum(content).digest()).decode()


@contextmanager
def scripted_gcs() -> Iterator[ScriptedGcs]:
    gcs = ScriptedGcs()
    thread = threading.Thread(target=gcs.serve)
    thread.start()
    try:
        yield gcs
    finally:
        gcs.stop()
        thread.join()


class _Server(ThreadingHTTPServer):
    def __init__(self, gcs: ScriptedGcs) -> None:
        self.gcs = gcs
        super().__init__((LOOPBACK, 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is what many of these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        gcs = self._gcs()
        gcs.looks += 1
        name = urlsplit(self.path).path.partition("/o/")[2]
        # To Google a name is one part of the path, so its own slashes come encoded.
        self._reply(Reply(404) if "/" in name else gcs.look(unquote(name)))

    def do_POST(self) -> None:
        gcs = self._gcs()
        upload = self._upload()
        reply = gcs.next_step(upload)(gcs, upload)
        if isinstance(reply, Reply):
            self._reply(reply)
            return
        reply(self.connection)
        self.close_connection = True

    def _gcs(self) -> ScriptedGcs:
        assert isinstance(self.server, _Server)
        return self.server.gcs

    def _upload(self) -> Upload:
        url = urlsplit(self.path)
        content_type = self.headers["Content-Type"]
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        boundary = b"--" + content_type.partition("boundary=")[2].strip('"').encode()
        assert raw.startswith(boundary)
        assert raw.rstrip().endswith(boundary + b"--")
        _, metadata, rest = raw.split(boundary, 2)
        head, _, content = rest.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        return Upload(
            bucket=url.path.removeprefix("/upload/storage/v1/b/").removesuffix("/o"),
            query={key: values[0] for key, values in parse_qs(url.query).items()},
            headers={name.lower(): value for name, value in self.headers.items()},
            metadata=json.loads(metadata.partition(b"\r\n\r\n")[2]),
            content_type=message_from_bytes(head + b"\r\n\r\n").get_content_type(),
            content=content[: content.rindex(b"\r\n" + boundary + b"--")],
        )

    def _reply(self, reply: Reply) -> None:
        body = reply.content if isinstance(reply.content, bytes) else json.dumps(reply.content).encode()
        with suppress(ConnectionError):
            self.send_response(reply.status)
            for name, value in (("Content-Type", "application/json"), *reply.headers):
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the signature is http.server's
        """Keeps the test's output for the test."""
