"""A sync whose process is killed in the middle of its transaction: nothing half applied, and the tenant free again."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cata_pipeline.outcomes import SyncOrder
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.settings import Settings
from cata_pipeline.tenants.lock import tenant_lock
from cata_pipeline.tenants.model import Tenant
from cata_pipeline_tests.reconcile.conftest import EVERY_ENGINE, SyncedTenant, latte, until
from cata_pipeline_tests.reconcile.test_ownership import MILK, SUGAR

ENGINES = EVERY_ENGINE

TENANT = "kopi-kita"
SYNC = """
from cata_pipeline.outcomes import SyncOrder
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.settings import Settings

Pipeline(Settings.from_environment()).sync("kopi-kita", SyncOrder(fetch=False), "run-that-dies")
"""
TABLES = ("items", "item_modifiers", "item_modifier_options")
# A write of a modifier, which comes after those of the items, takes for ever: on PostgreSQL that of the process that
# dies, on MariaDB, where a trigger does not know whose it is, any write while the test holds a lock.
STAND_STILL = {
    "postgresql": (
        "CREATE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_setting('application_name') = 'cata_pipeline run-that-dies' THEN PERFORM pg_sleep(3600); END IF;"
        " RETURN NEW; END $$;"
        " CREATE TRIGGER stand_still BEFORE UPDATE ON item_modifiers FOR EACH ROW EXECUTE FUNCTION stand_still()"
    ),
    "mysql": (
        "CREATE TRIGGER stand_still BEFORE UPDATE ON item_modifiers FOR EACH ROW"
        " SET @held = GET_LOCK(CONCAT(DATABASE(), '-still'), 3600), @free = RELEASE_LOCK(CONCAT(DATABASE(), '-still'))"
    ),
}
HOLD = {"postgresql": "SELECT 1", "mysql": "SELECT GET_LOCK(CONCAT(DATABASE(), '-still'), 0)"}
STANDING = {
    "postgresql": "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()",
    "mysql": "SELECT 1 FROM information_schema.processlist WHERE db = DATABASE() AND state = 'User lock'",
}


@contextmanager
def standing_still(tenant: SyncedTenant) -> Iterator[None]:
    """The process that dies stands still as soon as it writes a modifier, until the block ends."""
    tenant.edit(STAND_STILL[tenant.engine.dialect.name])
    with tenant.engine.connect() as connection:
        connection.execute(sa.text(HOLD[tenant.engine.dialect.name]))
        yield


@contextmanager
def sync_process(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own that syncs the tenant from the stored snapshot; gone when the block ends."""
    with subprocess.Popen([sys.executable, "-c", SYNC], env=os.environ | environment) as process:
        try:
            yield process
        finally:
            process.kill()


def stored(tenant: SyncedTenant) -> dict[str, list[dict[str, Any]]]:
    return {table: tenant.rows(f"SELECT * FROM {table} ORDER BY id") for table in TABLES}


@pytest.fixture
def environment(settings_environment: dict[str, str], tenant: SyncedTenant) -> dict[str, str]:
    """The variables of a process that syncs `tenant` from its newest snapshot; the tenant is registered."""
    url = tenant.url.render_as_string(hide_password=False)
    options = {"store_url": "https://kopikita.example", "token_url": "https://kopikita.example/token"}
    Pipeline(Settings.from_environment(settings_environment)).registry.import_tenants(
        [Tenant(TENANT, "iseller", "env:NOBODY", url, options)]
    )
    return settings_environment


def test_a_sync_killed_in_its_transaction_leaves_every_row_as_it_was_and_the_tenant_free(
    tenant: SyncedTenant, environment: dict[str, str], control: Engine
) -> None:
    tenant.sync(latte(modifier_groups=(SUGAR, MILK)), latte(item_code="OTHER"))
    before = stored(tenant)
    tenant.snapshot([latte(name="New"), latte(item_code="OTHER", name="New"), latte(item_code="MORE")])
    [first] = tenant.rows("SELECT id FROM items WHERE item_code = 'LAT-L'")
    with standing_still(tenant):
        with sync_process(environment) as process:
            until(lambda: bool(tenant.rows(STANDING[tenant.engine.dialect.name])) or process.poll() is not None)
            assert tenant.is_locked("items", first["id"]), "the process had written the items"
            os.kill(process.pid, signal.SIGKILL)
        with tenant_lock(control, TENANT, "sync", "run-2", wait_seconds=10) as lock:
            lock.verify()
        until(lambda: not tenant.is_locked("items", first["id"]))
    assert stored(tenant) == before
    outcome = Pipeline(Settings.from_environment(environment)).sync(TENANT, SyncOrder(fetch=False), "run-3")
    assert (outcome.error, outcome.counts["renamed"], outcome.counts["inserted"]) == (None, 2, 1)
    assert outcome.counts["children_hidden"] == 2
    assert {row["name"] for row in stored(tenant)["items"]} == {"New", "Latte"}
