"""The connection that a process keeps to Dagster's event log, on a real PostgreSQL."""

import time
from collections.abc import Iterator

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy.engine import Connection

from cata_pipeline.orchestration.event_connection import KeptConnectionEventLogStorage
from cata_pipeline.orchestration.metadata import RECONCILED

_OTHERS = """
    SELECT {} FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""

_PATIENCE_SECONDS = 20.0


@pytest.fixture
def watcher(instance: dg.DagsterInstance) -> Iterator[Connection]:
    """Somebody who sees who else is connected to Dagster's database."""
    storage = instance.event_log_storage
    assert isinstance(storage, PostgresEventLogStorage)
    engine = sa.create_engine(storage.postgres_url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


def report(instance: dg.DagsterInstance, tenant_id: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(RECONCILED, partition=tenant_id))


def left(watcher: Connection, count: int) -> list[int]:
    """Who is connected once there are at most `count`: a backend ends a moment after its client has left."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        others = list(watcher.scalars(sa.text(_OTHERS.format("pid"))))
        if len(others) <= count or time.monotonic() > deadline:
            return others
        time.sleep(0.05)


def test_events_share_one_connection_that_ends_with_the_instance(
    instance: dg.DagsterInstance, watcher: Connection
) -> None:
    report(instance, "kopi")
    kept = left(watcher, 1)
    report(instance, "roti")
    assert (len(kept), left(watcher, 1)) == (1, kept)
    instance.event_log_storage.dispose()
    assert left(watcher, 0) == []


def test_a_connection_in_use_keeps_nobody_waiting_and_one_stays(
    instance: dg.DagsterInstance, watcher: Connection
) -> None:
    storage = instance.event_log_storage
    assert isinstance(storage, PostgresEventLogStorage)
    with storage.index_connection():
        report(instance, "kopi")
    assert len(left(watcher, 1)) == 1
    assert instance.get_materialized_partitions(RECONCILED) == {"kopi"}


def test_a_lost_connection_loses_no_event(instance: dg.DagsterInstance, watcher: Connection) -> None:
    report(instance, "kopi")
    watcher.execute(sa.text(_OTHERS.format("pg_terminate_backend(pid, 5000)")))
    report(instance, "roti")
    assert instance.get_materialized_partitions(RECONCILED) == {"kopi", "roti"}


def test_the_projects_configurations_name_the_storage_and_can_be_rebuilt_in_another_process(
    instance: dg.DagsterInstance,
) -> None:
    assert isinstance(instance.event_log_storage, KeptConnectionEventLogStorage)
    with dg.DagsterInstance.from_ref(instance.get_ref()) as other:
        assert isinstance(other.event_log_storage, KeptConnectionEventLogStorage)
        report(other, "kopi")
    assert instance.get_materialized_partitions(RECONCILED) == {"kopi"}
