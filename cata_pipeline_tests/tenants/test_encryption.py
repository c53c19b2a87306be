"""Unencrypted connections to other machines: one warning a run."""

import logging
from collections.abc import Callable

import pytest
from sqlalchemy.engine import URL

from cata_pipeline.reconcile.steps import open_session
from cata_pipeline.tenants import encryption
from cata_pipeline.tenants.connections import tenant_engine
from cata_pipeline_tests.rogue_mysql import rogue_mysql
from cata_pipeline_tests.tcp_relay import tcp_relay

WARNING = "The connection to the tenant database at 127.0.0.1 is not encrypted"


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback counts as another machine: tests connect to no other one."""
    monkeypatch.setattr(encryption, "_is_loopback", lambda _: False)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


def connect(url: URL, run_id: str) -> None:
    with open_session(url, run_id):
        pass
    with tenant_engine(url, run_id).connect():
        pass


@pytest.mark.usefixtures("far_away")
def test_a_run_warns_once_about_unencrypted_connections_of_either_engine(
    tenant_database_url: URL,
    new_mariadb_database: Callable[[], URL],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        tcp_relay(f"{tenant_database_url.query['host']}/.s.PGSQL.5432") as port,
        rogue_mysql(new_mariadb_database(), "never sent") as (_, mariadb),
    ):
        postgresql = tenant_database_url.set(host="127.0.0.1", port=port, query={})
        connect(postgresql, "run of postgresql")
        connect(postgresql, "run of postgresql")
        connect(mariadb, "run of mariadb")
        connect(postgresql, "run of mariadb")
    assert [text.startswith(WARNING) for text in warnings(caplog)] == [True, True]


@pytest.mark.usefixtures("far_away")
def test_a_socket_needs_no_encryption(
    new_mariadb_database: Callable[[], URL], caplog: pytest.LogCaptureFixture
) -> None:
    connect(new_mariadb_database(), "run over a socket")
    assert warnings(caplog) == []


def test_loopback_needs_no_encryption(tenant_database_url: URL, caplog: pytest.LogCaptureFixture) -> None:
    with tcp_relay(f"{tenant_database_url.query['host']}/.s.PGSQL.5432") as port:
        connect(tenant_database_url.set(host="127.0.0.1", port=port, query={}), "run over loopback")
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    ("address", "is_loopback"),
    {
        "127.0.0.1": True,
        "127.8.9.1": True,
        "::1": True,
        "::ffff:127.0.0.1": True,
        "10.1.2.3": False,
        "::ffff:10.1.2.3": False,
        "fe80::1%eth0": False,
    }.items(),
)
def test_other_machines_are_told_by_their_address(address: str, is_loopback: bool) -> None:  # noqa: FBT001
    assert encryption._is_loopback(address) is is_loopback
