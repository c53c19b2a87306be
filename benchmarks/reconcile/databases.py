"""Servers of the benchmark's own, fresh tenant databases on them, and what really lies in those afterwards.

All servers run without syncing to disk: the disk is not what is compared.
"""

import itertools
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL

from benchmarks.measure import BenchmarkError
from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline_tests.mysql_servers import PrivateServer, find_mysqld, find_program, mariadb_server, mysql_server

POSTGRESQL, MARIADB, MYSQL = "PostgreSQL", "MariaDB", "MySQL"

# The private instances are small, for tests. 500,000 items have to fit, as they do in PostgreSQL's page cache.
_BUFFERS = "SET GLOBAL innodb_buffer_pool_size = 1 << 30"
_ROOM = {
    MARIADB: (_BUFFERS, "SET GLOBAL innodb_log_file_size = 1 << 29"),
    MYSQL: (_BUFFERS, "SET GLOBAL innodb_redo_log_capacity = 1 << 29"),
}
_SETTLE = {
    POSTGRESQL: ("VACUUM (ANALYZE) items", "CHECKPOINT"),
    MARIADB: ("ANALYZE TABLE items",),
    MYSQL: ("ANALYZE TABLE items",),
}


class Databases:
    """The running servers; tenant databases have the reference schema."""

    def __init__(
        self, servers: EmbeddedServers, others: Mapping[str, PrivateServer], control: URL, folder: Path
    ) -> None:
        self._servers = servers
        self._others = others
        self._numbers = itertools.count(1)
        self.control = control
        self.folder = folder

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines that run here."""
        return (POSTGRESQL, *self._others)

    def fresh(self, engine: str) -> URL:
        """A new tenant database."""
        name = f"tenant_{next(self._numbers)}"
        if engine == POSTGRESQL:
            self._servers.create_database(name)
            url = self._servers.postgresql_url(name)
            schema = resources.files("cata_pipeline.demo").joinpath("tenant_schema_postgresql.sql").read_text()
            _run(url, [schema])
            return url
        _run(self._others[engine].url("mysql"), [f"CREATE DATABASE {name}"])
        schema = resources.files("cata_pipeline.demo").joinpath("tenant_schema_mysql.sql").read_text()
        url = self._others[engine].url(name)
        _run(url, [statement for statement in schema.split(";\n") if statement.strip()])
        return url

    def drop(self, engine: str, url: URL) -> None:
        """Remove a tenant database."""
        if engine == POSTGRESQL:
            _run(self._servers.postgresql_url("postgres"), [f'DROP DATABASE "{url.database}" WITH (FORCE)'])
        else:
            _run(self._others[engine].url("mysql"), [f"DROP DATABASE {url.database}"])

    def server(self, engine: str) -> int:
        """The process that all others of a server belong to."""
        file = self.folder / ("state/postgresql/postmaster.pid" if engine == POSTGRESQL else f"{engine}/pid")
        return int(file.read_text().split()[0])

    def settle(self, engine: str, url: URL) -> None:
        """Do now what the server would do in the background, during somebody else's measurement."""
        _run(url, _SETTLE[engine])

    def check(self, url: URL, expected: dict[str, str]) -> None:
        """Raise `BenchmarkError` unless `items` holds exactly these names by code: figures of undone work are none."""
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT item_code, name FROM items"))
            found: dict[str, str] = dict(rows.tuples().all())
        engine.dispose()
        if found != expected:
            wrong = sum(found.get(code) != name for code, name in expected.items())
            raise BenchmarkError(
                f"{url.database} holds {len(found)} items; {wrong} of {len(expected)} names are wrong."
            )


@contextmanager
def databases() -> Iterator[Databases]:
    """Start the servers in a folder of their own; stop them and remove it. MySQL only where it is installed."""
    for program in ("mariadbd", "mariadb-install-db"):
        if find_program(program) is None:
            raise BenchmarkError(f"{program} is not installed; this benchmark needs MariaDB's server.")
    folder = Path(tempfile.mkdtemp(prefix="cata-bench-"))
    folder.chmod(0o711)  # PostgreSQL runs as another user where this is root
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        servers = stack.enter_context(EmbeddedServers(folder / "state", durable=False))
        starters = {MARIADB: mariadb_server} | ({MYSQL: mysql_server} if find_mysqld() else {})
        others: dict[str, PrivateServer] = {}
        for engine, start in starters.items():
            (folder / engine).mkdir()
            others[engine] = stack.enter_context(start(folder / engine))
            _run(others[engine].url("mysql"), _ROOM[engine])
        servers.create_database("control")
        yield Databases(servers, others, servers.postgresql_url("control"), folder)


def _run(url: URL, statements: tuple[str, ...] | list[str]) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()
