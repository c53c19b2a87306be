"""A private MariaDB server for a test session: Debian's programs, a data folder of its own, a unix socket only."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from sqlalchemy.engine import URL

from cata_pipeline.demo.detached import Program, end, own_account

_FAST = (
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=0",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--performance-schema=OFF",
    "--skip-log-bin",
)


def find_program(name: str) -> Path | None:
    """Where a program of the server's kit lies, None when it is not installed."""
    # An ordinary user's PATH often lacks the folders of servers.
    found = shutil.which(
        name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    )
    return Path(found) if found else None


class MariadbServer:
    """A running server; anybody who may enter its folder connects as its superuser."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def url(self, database: str) -> URL:
        """The address of a database, for SQLAlchemy."""
        return URL.create("mysql+pymysql", username="root", database=database, query={"unix_socket": str(self._socket)})


@contextmanager
def mariadb_server(folder: Path) -> Iterator[MariadbServer]:
    """Run a server in an empty `folder` whose path is short enough for a socket, and end it."""
    server, installer = find_program("mariadbd"), find_program("mariadb-install-db")
    assert server is not None
    assert installer is not None
    data, log, socket = folder / "data", folder / "log", folder / "socket"
    data.mkdir(mode=0o700)
    # Not the machine's own: a server that starts removes what look like leftovers there, another server's live tables.
    temporary = folder / "tmp"
    temporary.mkdir(mode=0o700)
    as_root = ["--user=root"] if os.geteuid() == 0 else []
    subprocess.run(
        [
            str(installer),
            "--no-defaults",
            f"--datadir={data}",
            f"--tmpdir={temporary}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            *as_root,
            *_FAST,
        ],
        check=True,
        capture_output=True,
    )
    program = Program(server, data, log, own_account())
    arguments = [
        "--no-defaults",
        "--datadir",
        str(data),
        f"--tmpdir={temporary}",
        f"--socket={socket}",
        f"--pid-file={folder / 'pid'}",
        "--skip-networking",
        "--character-set-server=utf8mb4",
        *as_root,
        *_FAST,
    ]
    process = program.ensure(lambda: arguments, lambda process: _answers(process, socket))
    try:
        yield MariadbServer(socket)
    finally:
        end(process, signal.SIGTERM)


def _answers(process: psutil.Process, socket: Path) -> bool:
    return process.is_running() and socket.exists()
