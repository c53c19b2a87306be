"""Sessions that others share or configure: a pooler in front of PostgreSQL, and settings of a role or a database."""

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from cata_pipeline_tests.pgbouncer import pooled
from cata_pipeline_tests.reconcile.conftest import SyncedTenant
from cata_pipeline_tests.reconcile.whole_sync import sync_through_everything


@pytest.fixture
def pooled_url(tenant: SyncedTenant) -> Iterator[URL]:
    """The tenant's URL through PgBouncer in transaction mode, with a single connection to the server."""
    with pooled(tenant.url, connections=1) as url:
        yield url


def test_behind_a_pooler_nothing_of_a_sync_is_left_to_the_next_client(tenant: SyncedTenant, pooled_url: URL) -> None:
    direct, tenant.url = tenant.url, pooled_url
    sync_through_everything(tenant)
    with pytest.raises(psycopg.errors.UndefinedTable), _connected(pooled_url) as next_client:
        next_client.execute("SELECT 1 FROM cata_stage_items")
    with _connected(pooled_url) as next_client, _connected(direct) as own:
        for setting in ("lock_timeout", "statement_timeout", "work_mem", "idle_in_transaction_session_timeout"):
            assert next_client.execute(f"SHOW {setting}").fetchone() == own.execute(f"SHOW {setting}").fetchone()
        leftovers = "SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()"
        assert next_client.execute(leftovers).fetchall() == []


def test_what_an_earlier_client_left_on_the_connection_is_not_in_the_way(tenant: SyncedTenant, pooled_url: URL) -> None:
    with _connected(pooled_url) as earlier:
        earlier.execute("CREATE TEMP TABLE cata_stage_items (left_behind int)")
        earlier.execute("CREATE TEMP TABLE somebody (s int)")
    tenant.url = pooled_url
    sync_through_everything(tenant)


def _connected(url: URL) -> psycopg.Connection:
    text = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(text, autocommit=True)


HANDED_OUT_BY_POSTGRESQL = {
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "lock_timeout": "'7d'",
    "standard_conforming_strings": "off",
    "backslash_quote": "off",
    "search_path": "public, pg_catalog",
    "temp_buffers": "'1MB'",
    "enable_hashjoin": "off",
    "row_security": "off",
}


@pytest.mark.parametrize("setting", HANDED_OUT_BY_POSTGRESQL)
def test_settings_that_postgresql_hands_to_every_session_change_no_result(tenant: SyncedTenant, setting: str) -> None:
    value = HANDED_OUT_BY_POSTGRESQL[setting]
    with _connected(tenant.url) as connection:
        connection.execute(f'ALTER DATABASE "{tenant.url.database}" SET {setting} = {value}')
    tenant.engine = sa.create_engine(
        tenant.url, poolclass=sa.NullPool, execution_options={"postgresql_readonly": False}
    )
    sync_through_everything(tenant)
