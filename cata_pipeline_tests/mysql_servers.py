"""Private MySQL and MariaDB servers for a test session: a data folder of their own, a unix socket only.

MariaDB is Debian's. MySQL is the program that `CATA_TEST_MYSQLD` names, else a `mysqld` on the PATH that is MySQL's
own: Debian installs only one of the two.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from sqlalchemy.engine import URL

from cata_pipeline.demo.detached import Program, end, own_account

_FAST = ("--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-buffer-pool-size=64M")
_FAST_MARIADB = (
    *_FAST,
    "--innodb-flush-method=nosync",
    "--innodb-log-file-size=16M",
    "--performance-schema=OFF",
    "--skip-log-bin",
)
_FAST_MYSQL = (*_FAST, "--innodb-redo-log-capacity=32M", "--performance-schema=OFF", "--mysqlx=OFF")

_MYSQLD = os.environ.get("CATA_TEST_MYSQLD")  # read before the tests clear their environment


def find_program(name: str) -> Path | None:
    """Return where a server's program is, None when it is not installed."""
    # An ordinary user's PATH often lacks the folders of servers.
    found = shutil.which(
        name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    )
    return Path(found) if found else None


def find_mysqld() -> Path | None:
    """Return MySQL's server program, None when there is only MariaDB's or none."""
    program = Path(_MYSQLD) if _MYSQLD else find_program("mysqld")
    if program is None:
        return None
    version = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=True).stdout
    return None if "MariaDB" in version else program


class PrivateServer:
    """A running server; anyone who may enter its folder connects as its superuser."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def url(self, database: str) -> URL:
        """The address of a database, for SQLAlchemy."""
        return URL.create("mysql+pymysql", username="root", database=database, query={"unix_socket": str(self._socket)})


@contextmanager
def mariadb_server(folder: Path, *options: str) -> Iterator[PrivateServer]:
    """Run a MariaDB server in an empty `folder` whose path is short enough for a socket, and end it."""
    server, installer = find_program("mariadbd"), find_program("mariadb-install-db")
    assert server is not None
    assert installer is not None
    install = [
        str(installer),
        "--no-defaults",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        *_FAST_MARIADB,
    ]
    with _running(folder, install, server, [*_FAST_MARIADB, *options]) as running:
        yield running


@contextmanager
def mysql_server(folder: Path, *options: str) -> Iterator[PrivateServer]:
    """Run a MySQL server in an empty `folder` whose path is short enough for a socket, and end it."""
    server = find_mysqld()
    assert server is not None
    initialize = [str(server), "--no-defaults", "--initialize-insecure", *_FAST_MYSQL]
    started = [*_FAST_MYSQL, "--local-infile=ON", "--secure-file-priv=NULL", *options]
    with _running(folder, initialize, server, started) as running:
        yield running


@contextmanager
def _running(folder: Path, install: Sequence[str], server: Path, options: Sequence[str]) -> Iterator[PrivateServer]:
    data, log, socket = folder / "data", folder / "log", folder / "socket"
    data.mkdir(mode=0o700)
    # Not the machine's own: a starting server removes what look like leftovers there, another server's live tables.
    temporary = folder / "tmp"
    temporary.mkdir(mode=0o700)
    places = [f"--datadir={data}", f"--tmpdir={temporary}", *(["--user=root"] if os.geteuid() == 0 else [])]
    subprocess.run([*install, *places], check=True, capture_output=True)
    arguments = [
        "--no-defaults",
        *places,
        f"--socket={socket}",
        f"--pid-file={folder / 'pid'}",
        "--skip-networking",
        "--character-set-server=utf8mb4",
        *options,
    ]
    process = Program(server, data, log, own_account()).ensure(
        lambda: arguments, lambda process: _has_socket(process, socket)
    )
    try:
        yield PrivateServer(socket)
    finally:
        end(process, signal.SIGTERM)


def _has_socket(process: psutil.Process, socket: Path) -> bool:
    return process.is_running() and socket.exists()
