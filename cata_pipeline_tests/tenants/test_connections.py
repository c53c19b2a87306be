"""Tenant databases that accept a connection and then say nothing."""

import socket
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from cata_pipeline.errors import DatabaseError
from cata_pipeline.images.tenant_images import TenantImages
from cata_pipeline.reconcile.steps import open_session
from cata_pipeline.tenants import connections
from cata_pipeline.tenants.connections import tenant_engine

DRIVERS = ["postgresql+psycopg", "mysql+pymysql"]


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server that never speaks, for which nobody waits longer than the shortest time libpq knows."""
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0), backlog=8) as server:
        yield server.getsockname()[1]


def url(driver: str, port: int) -> URL:
    return sa.make_url(f"{driver}://cata:secret@127.0.0.1:{port}/tenant")


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_silent_server_is_given_up_by_a_sync(silent: int, driver: str) -> None:
    with (
        pytest.raises(DatabaseError, match=rf"127\.0\.0\.1:{silent}/tenant cannot be reached"),
        open_session(url(driver, silent), "run"),
    ):
        pass


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_silent_server_is_given_up_by_a_picture_copy(silent: int, driver: str) -> None:
    with pytest.raises(DatabaseError, match="Check that it can be reached"):
        list(TenantImages(tenant_engine(url(driver, silent))).pictured(100, 10))


def test_a_greeting_has_less_time_than_a_statement(new_mariadb_database: Callable[[], URL]) -> None:
    with tenant_engine(new_mariadb_database()).connect() as connection:
        assert connection.connection.dbapi_connection is not None
        assert connection.connection.dbapi_connection._read_timeout > 600
