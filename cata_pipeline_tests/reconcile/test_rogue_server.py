"""A MySQL server that requests files of this machine gets none, whenever it asks."""

import pytest

from cata_pipeline.errors import DatabaseError
from cata_pipeline.images.tenant_images import TenantImages
from cata_pipeline.tenants.connections import tenant_engine
from cata_pipeline_tests.reconcile.conftest import MYSQL_ENGINES, SyncedTenant, latte
from cata_pipeline_tests.rogue_mysql import AT_CONNECT, RogueMysql, rogue_mysql

ENGINES = MYSQL_ENGINES
MOMENTS = {
    "at connect": AT_CONNECT,
    "before anything else": "SET NAMES",
    "during an ordinary query": "information_schema",
    "during the statement that loads": "LOAD DATA LOCAL",
    "while rows are written": "START TRANSACTION",
}


def assert_nothing_was_sent(rogue: RogueMysql, message: str) -> None:
    assert rogue.requests == 1
    assert "it requested a file of this machine that the statement does not send. Nothing was sent" in message
    assert "set ssl_ca in its URL" in message
    assert rogue.closed.wait(10)
    assert rogue.received == b""


@pytest.mark.parametrize("trigger", MOMENTS.values(), ids=MOMENTS)
def test_a_sync_sends_no_file_that_the_server_requests(tenant: SyncedTenant, trigger: str) -> None:
    with rogue_mysql(tenant.url, trigger) as (rogue, address):
        tenant.url = address
        with pytest.raises(DatabaseError) as error:
            tenant.sync(latte())
        assert_nothing_was_sent(rogue, str(error.value))
    assert tenant.rows("SELECT * FROM items") == []


@pytest.mark.parametrize("trigger", [AT_CONNECT, "SET NAMES", "external_image_url"])
def test_an_image_copy_sends_no_file_that_the_server_requests(tenant: SyncedTenant, trigger: str) -> None:
    tenant.sync(latte())
    with rogue_mysql(tenant.url, trigger) as (rogue, address):
        with pytest.raises(DatabaseError) as error:
            list(TenantImages(tenant_engine(address)).pictured(100, 10))
        assert_nothing_was_sent(rogue, str(error.value))


def test_a_server_that_behaves_gets_the_staged_rows_through_the_same_proxy(tenant: SyncedTenant) -> None:
    with rogue_mysql(tenant.url, "never sent") as (rogue, address):
        tenant.url = address
        assert tenant.sync(latte()).items.inserted == 1
    assert rogue.requests == 0
