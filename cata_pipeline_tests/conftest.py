"""Real servers for the tests, and a fresh database or bucket for each test that asks for one.

Add a fixture here when tests of several packages need it. Databases are copied from a template, which takes a few
hundredths of a second; nothing here stands in for a server.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.engine import URL, Engine

from cata_pipeline import buckets
from cata_pipeline.buckets import Bucket
from cata_pipeline.control.database import open_control_database
from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.settings import Settings
from cata_pipeline_tests.mysql_servers import PrivateServer, find_mysqld, find_program, mariadb_server, mysql_server

_CONTROL_TEMPLATE = "template_control"
_TENANT_TEMPLATE = "template_tenant"
_FROM_OUTSIDE = ("CATA_", "DAGSTER_", "STORAGE_EMULATOR_HOST")
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may depend on, or reach, what the developer's shell happens to name."""
    for name in os.environ:
        if name.startswith(_FROM_OUTSIDE) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def servers() -> Iterator[EmbeddedServers]:
    """PostgreSQL and a fake GCS, for the whole session."""
    # Not below pytest's own folder: another session of the same user makes that one private again, and where root
    # runs the tests, PostgreSQL's user has to pass through.
    state = Path(tempfile.mkdtemp(prefix="cata-tests-"))
    try:
        with EmbeddedServers(state, durable=False) as running:
            yield running
            if buckets._client.cache_info().currsize:
                buckets._client(running.gcs_origin).close()
                buckets._client.cache_clear()
    finally:
        shutil.rmtree(state)


@pytest.fixture(scope="session")
def _administration(servers: EmbeddedServers) -> Iterator[psycopg.Connection]:
    url = servers.postgresql_url("postgres", "postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def _templates(servers: EmbeddedServers) -> None:
    servers.create_database(_CONTROL_TEMPLATE)
    open_control_database(servers.postgresql_url(_CONTROL_TEMPLATE)).dispose()
    servers.create_database(_TENANT_TEMPLATE)
    url = servers.postgresql_url(_TENANT_TEMPLATE, "postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        connection.execute(
            resources.files("cata_pipeline.demo").joinpath("tenant_schema_postgresql.sql").read_text().encode()
        )


@pytest.fixture
def new_database(servers: EmbeddedServers, _administration: psycopg.Connection) -> Iterator[Callable[..., URL]]:
    """Makes a database: `new_database()` an empty one, `new_database(name, template)` a named copy."""
    made: list[str] = []

    def make(name: str | None = None, template: str = "template0") -> URL:
        made.append(name or f"test_{next(_numbers)}")
        _administration.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(made[-1]), sql.Identifier(template))
        )
        return servers.postgresql_url(made[-1])

    yield make
    for name in made:
        _administration.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def control_database_url(_templates: None, new_database: Callable[..., URL]) -> URL:
    """A fresh control database at the head revision."""
    return new_database(template=_CONTROL_TEMPLATE)


@pytest.fixture
def control(control_database_url: URL) -> Iterator[Engine]:
    """The engine of a fresh control database."""
    engine = open_control_database(control_database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def tenant_id() -> str:
    """The tenant that `tenant_engine` and `tenant_database_url` belong to."""
    return "kopi-kita"


@pytest.fixture
def tenant_database_template(servers: EmbeddedServers) -> str:
    """A value for `CATA_TENANT_DATABASE_URL`; its databases exist once `new_tenant_database` made them."""
    mark = "TENANT-ID"
    text = servers.postgresql_url(f"test_{next(_numbers)}_{mark}").render_as_string(hide_password=False)
    assert mark in text
    return text.replace(mark, "{tenant}")


@pytest.fixture
def new_tenant_database(
    tenant_database_template: str, _templates: None, new_database: Callable[..., URL]
) -> Callable[[str], URL]:
    """Makes the tenant database of a tenant id, with the reference schema, where the template looks for it."""

    def make(tenant: str) -> URL:
        url = sa.make_url(tenant_database_template.replace("{tenant}", tenant))
        return new_database(url.database, _TENANT_TEMPLATE)

    return make


@pytest.fixture
def tenant_database_url(tenant_id: str, new_tenant_database: Callable[[str], URL]) -> URL:
    """A fresh tenant database with the reference schema."""
    return new_tenant_database(tenant_id)


@pytest.fixture
def tenant_engine(tenant_database_url: URL) -> Iterator[Engine]:
    """The engine of a fresh tenant database; every connection is its own."""
    engine = sa.create_engine(tenant_database_url, poolclass=sa.NullPool)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[PrivateServer]:
    """A private MariaDB server, for the whole session."""
    for program in ("mariadbd", "mariadb-install-db"):
        if find_program(program) is None:
            pytest.skip(f"{program} is not installed")
    with _short_folder() as folder, mariadb_server(folder) as running:
        yield running


@pytest.fixture(scope="session")
def mysql() -> Iterator[PrivateServer]:
    """A private MySQL server, for the whole session."""
    if find_mysqld() is None:
        pytest.skip("MySQL's mysqld is not installed, and CATA_TEST_MYSQLD does not name one")
    with _short_folder() as folder, mysql_server(folder) as running:
        yield running


@contextmanager
def _short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name."""
    folder = Path(tempfile.mkdtemp(prefix="cata-tests-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def new_mariadb_database(mariadb: PrivateServer) -> Iterator[Callable[[], URL]]:
    """Makes a tenant database with the reference schema on MariaDB; its name has a dash, as those of UUIDs do."""
    with _reference_databases(mariadb) as make:
        yield make


@pytest.fixture
def new_mysql_database(mysql: PrivateServer) -> Iterator[Callable[[], URL]]:
    """Makes a tenant database with the reference schema on MySQL, named as those on MariaDB."""
    with _reference_databases(mysql) as make:
        yield make


@contextmanager
def _reference_databases(server: PrivateServer) -> Iterator[Callable[[], URL]]:
    made: list[URL] = []
    administration = sa.create_engine(server.url("mysql"), poolclass=sa.NullPool)
    schema = resources.files("cata_pipeline.demo").joinpath("tenant_schema_mysql.sql").read_text()

    def make() -> URL:
        made.append(server.url(f"tenant3f2a-{next(_numbers)}"))
        with administration.connect() as connection:
            for statement in (f"CREATE DATABASE `{made[-1].database}`", f"USE `{made[-1].database}`"):
                connection.exec_driver_sql(statement)
            for statement in filter(str.strip, schema.split(";\n")):
                connection.exec_driver_sql(statement)
        return made[-1]

    yield make
    with administration.connect() as connection:
        for url in made:
            connection.exec_driver_sql(f"DROP DATABASE `{url.database}`")


@pytest.fixture
def new_bucket(servers: EmbeddedServers) -> Callable[[str], Bucket]:
    """Makes an empty bucket whose name begins with the given word."""

    def make(word: str) -> Bucket:
        name = f"{word}-{next(_numbers)}"
        servers.create_bucket(name)
        return Bucket(name, emulator=servers.gcs_origin)

    return make


@pytest.fixture
def image_bucket(new_bucket: Callable[[str], Bucket]) -> Bucket:
    return new_bucket("images")


@pytest.fixture
def snapshot_bucket(new_bucket: Callable[[str], Bucket]) -> Bucket:
    return new_bucket("snapshots")


@pytest.fixture
def settings_environment(
    *,
    servers: EmbeddedServers,
    control_database_url: URL,
    tenant_database_template: str,
    tenant_database_url: URL,
    image_bucket: Bucket,
    snapshot_bucket: Bucket,
) -> dict[str, str]:
    """The variables that lead to this test's databases and buckets; the tenant database of `tenant_id` exists."""
    return {
        "CATA_DATABASE_URL": control_database_url.render_as_string(hide_password=False),
        "CATA_TENANT_DATABASE_URL": tenant_database_template,
        "CATA_IMAGE_BUCKET": image_bucket.name,
        "CATA_SNAPSHOT_BUCKET": snapshot_bucket.name,
        "CATA_IMAGE_BASE_URL": f"{servers.gcs_origin}/{image_bucket.name}/",
        "STORAGE_EMULATOR_HOST": servers.gcs_origin,
    }


@pytest.fixture
def settings(settings_environment: dict[str, str]) -> Settings:
    """Settings made from `settings_environment`."""
    return Settings.from_environment(settings_environment)
