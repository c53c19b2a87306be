"""The connection that a run keeps for its events, on a real PostgreSQL."""

import time
from collections.abc import Iterator

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster_postgres.event_log import PostgresEventLogStorage
from sqlalchemy.engine import Connection

from cata_pipeline.orchestration.event_connection import kept_event_connection
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


def test_events_share_one_connection_that_is_gone_afterwards(instance: dg.DagsterInstance, watcher: Connection) -> None:
    with kept_event_connection(instance):
        report(instance, "kopi")
        kept = left(watcher, 1)
        report(instance, "roti")
        assert (len(kept), left(watcher, 1)) == (1, kept)
    assert left(watcher, 0) == []


@pytest.mark.parametrize("first_out", [0, 1])
def test_runs_that_overlap_share_the_connection_and_the_last_gives_dagsters_own_back(
    instance: dg.DagsterInstance, watcher: Connection, first_out: int
) -> None:
    storage = instance.event_log_storage
    assert isinstance(storage, PostgresEventLogStorage)
    dagsters_own = storage._engine
    runs = [kept_event_connection(instance), kept_event_connection(instance)]
    for run in runs:
        run.__enter__()
    report(instance, "kopi")
    kept = left(watcher, 1)
    assert len(kept) == 1
    runs[first_out].__exit__(None, None, None)
    report(instance, "roti")
    assert left(watcher, 1) == kept
    runs[1 - first_out].__exit__(None, None, None)
    assert storage._engine is dagsters_own
    assert left(watcher, 0) == []
    report(instance, "ayam")
    assert instance.get_materialized_partitions(RECONCILED) == {"kopi", "roti", "ayam"}


def test_a_lost_connection_loses_no_event(instance: dg.DagsterInstance, watcher: Connection) -> None:
    with kept_event_connection(instance):
        report(instance, "kopi")
        watcher.execute(sa.text(_OTHERS.format("pg_terminate_backend(pid, 5000)")))
        report(instance, "roti")
    assert instance.get_materialized_partitions(RECONCILED) == {"kopi", "roti"}


def test_another_storage_is_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance, kept_event_connection(instance):
        report(instance, "kopi")
        assert instance.get_materialized_partitions(RECONCILED) == {"kopi"}
