"""The merchants' picture host: a private nginx that serves one folder, and what its access log says was served.

It is never the system's own nginx: configuration, log, process id file and temporary files lie in a folder of ours.
"""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.server import HOST, Server, free_port

_SYSTEM_FOLDERS = "/usr/sbin:/usr/local/sbin"
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_FOLDERS}"

# One worker: the clients need the other core. As root, nginx would serve as a user who cannot enter our folder.
_CONFIGURATION = """
daemon off;
worker_processes 1;
{user}
pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
    log_format served '$request_method $status $body_bytes_sent $connection $uri';
    access_log access.log served;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    types {{ image/jpeg jpg; }}
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    server {{ listen {host}:{port}; root {root}; autoindex on; }}
}}
"""


@dataclass(frozen=True)
class Served:
    """What a picture host served: connections, requests, responses with a picture in them, and the bytes of those."""

    connections: int
    requests: int
    bodies: int
    body_bytes: int


class PictureHost:
    """nginx on one port that stays the same, started anew for each stage; `pictures` is what it serves."""

    def __init__(self, folder: Path, nginx: str) -> None:
        self.pictures = folder / "pictures"
        self.port = free_port()
        self.origin = f"http://{HOST}:{self.port}"
        self._folder = folder
        self._nginx = nginx
        self._access_log = folder / "access.log"
        self._server: Server | None = None
        self._delay: Server | None = None

    def urls(self) -> list[str]:
        """The address of every picture there is now."""
        return [f"{self.origin}/{path.name}" for path in sorted(self.pictures.iterdir())]

    def start(self, delay_seconds: float) -> None:
        """Serve, each response that much later; the log begins anew."""
        self._access_log.unlink(missing_ok=True)
        user = "user root;" if os.geteuid() == 0 else ""
        port = free_port() if delay_seconds else self.port
        configuration = self._folder / "nginx.conf"
        configuration.write_text(_CONFIGURATION.format(user=user, host=HOST, port=port, root=self.pictures))
        log = self._folder / "error.log"
        command = [self._nginx, "-p", str(self._folder), "-e", str(log), "-c", str(configuration)]
        self._server = Server(command, port, log)
        if delay_seconds:
            delay = [sys.executable, "-m", "benchmarks.images.delay", str(self.port), str(port), str(delay_seconds)]
            self._delay = Server(delay, self.port, log)

    def cpu_seconds(self) -> float:
        """CPU seconds since `start`."""
        assert self._server is not None
        return self._server.cpu_seconds()

    def stop(self) -> Served:
        """Finish every answer and stop; says what was served since `start`. Nothing was, when it did not run."""
        if self._server is None:
            return Served(0, 0, 0, 0)
        if self._delay is not None:
            self._delay.stop(signal.SIGTERM)
            self._delay = None
        self._server.stop(signal.SIGQUIT)
        self._server = None
        return _served(self._access_log.read_text())


def _served(log: str) -> Served:
    lines = [line.split(maxsplit=4) for line in log.splitlines()]
    # Listings of the folder, which rclone reads, are bodies too, but not of pictures.
    sizes = [
        int(size)
        for method, status, size, _, path in lines
        if (method, status) == ("GET", "200") and path.endswith(".jpg")
    ]
    connections = {connection for _, _, _, connection, _ in lines}
    return Served(len(connections), len(lines), len(sizes), sum(sizes))
