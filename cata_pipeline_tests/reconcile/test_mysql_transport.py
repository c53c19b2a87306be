"""MySQL over TCP: passwords of its own kind, with and without TLS; each way works, or the error names what to set."""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from cata_pipeline.errors import DatabaseError
from cata_pipeline_tests.mysql_servers import PrivateServer, find_mysqld, mysql_server
from cata_pipeline_tests.reconcile.conftest import SyncedTenant, latte
from cata_pipeline_tests.reconcile.whole_sync import sync_through_everything

ENGINES = ("mysql",)
SCHEMA = Path(__file__).parents[2] / "cata_pipeline/demo/tenant_schema_mysql.sql"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[URL, Path]]:
    """A server on a port of loopback with certificates of its own making: a URL, and the folder of its certificates."""
    if find_mysqld() is None:
        pytest.skip("MySQL's mysqld is not installed, and CATA_TEST_MYSQLD does not name one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="cata-tcp-"))
    try:
        with mysql_server(
            folder, "--skip-networking=OFF", "--bind-address=127.0.0.1", f"--port={port}", "--auto-generate-certs=ON"
        ) as running:
            engine = sa.create_engine(running.url("mysql"), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.exec_driver_sql(
                    "CREATE USER shop@'%%' IDENTIFIED WITH caching_sha2_password BY 's3cret, long enough'"
                )
                connection.exec_driver_sql("GRANT ALL ON `shop%%`.* TO shop@'%%'")
            url = running.url("mysql").set(
                username="shop", password="s3cret, long enough", host="127.0.0.1", port=port, query={}
            )
            yield url, folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def over_tcp(tenant: SyncedTenant, server: tuple[URL, Path]) -> Iterator[SyncedTenant]:
    """The tenant, on a fresh schema of that server; nothing of its password is cached there."""
    url, folder = server
    root = PrivateServer(folder / "socket").url("mysql")
    engine = sa.create_engine(root, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in ("CREATE DATABASE shop1", "USE shop1", *filter(str.strip, SCHEMA.read_text().split(";\n"))):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql("FLUSH PRIVILEGES")
        tenant.url = url.set(database="shop1")
        tenant.engine = sa.create_engine(root.set(database="shop1"), poolclass=sa.NullPool)
        yield tenant
        connection.exec_driver_sql("DROP DATABASE shop1")
        connection.exec_driver_sql("SET GLOBAL require_secure_transport = OFF")


def with_parameters(tenant: SyncedTenant, **parameters: str) -> None:
    tenant.url = tenant.url.set(query=parameters)


@pytest.mark.parametrize("parameters", [{}, {"ssl_disabled": "true"}], ids=["with TLS", "without TLS"])
def test_a_password_that_mysql_hashes_itself_works(over_tcp: SyncedTenant, parameters: dict[str, str]) -> None:
    with_parameters(over_tcp, **parameters)
    sync_through_everything(over_tcp)


def test_a_verified_certificate_works(over_tcp: SyncedTenant, server: tuple[URL, Path]) -> None:
    authority = server[1] / "data" / "ca.pem"
    with_parameters(over_tcp, ssl_ca=str(authority), ssl_check_hostname="false")
    sync_through_everything(over_tcp)


@pytest.mark.parametrize("parameters", [{}, {"ssl_disabled": "true"}], ids=["with TLS", "without TLS"])
def test_a_server_that_demands_encryption_gets_it_or_is_named(
    over_tcp: SyncedTenant, parameters: dict[str, str]
) -> None:
    over_tcp.edit("SET GLOBAL require_secure_transport = ON")
    with_parameters(over_tcp, **parameters)
    if not parameters:
        sync_through_everything(over_tcp)
        return
    with pytest.raises(DatabaseError, match=r"remove ssl_disabled from its URL") as error:
        over_tcp.sync(latte())
    assert "s3cret" not in str(error.value)


def test_a_certificate_of_another_host_is_refused_and_says_what_to_set(
    over_tcp: SyncedTenant, server: tuple[URL, Path]
) -> None:
    with_parameters(over_tcp, ssl_ca=str(server[1] / "data" / "ca.pem"), ssl_check_hostname="true")
    with pytest.raises(DatabaseError, match=r"set ssl_check_hostname=false"):
        over_tcp.sync(latte())


def test_a_certificate_of_another_authority_is_refused_and_says_what_to_set(
    over_tcp: SyncedTenant, server: tuple[URL, Path]
) -> None:
    with_parameters(over_tcp, ssl_ca=str(server[1] / "data" / "client-cert.pem"), ssl_check_hostname="false")
    with pytest.raises(DatabaseError, match=r"Set ssl_ca in its URL"):
        over_tcp.sync(latte())
