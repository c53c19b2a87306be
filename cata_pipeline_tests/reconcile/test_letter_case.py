"""A schema mapping in another letter case works where the server ignores case, and is refused where it does not."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
import sqlalchemy as sa

from cata_pipeline.errors import ContractError
from cata_pipeline.images.tenant_images import TenantImages
from cata_pipeline.images.tenant_items import Verdict, WriteBack
from cata_pipeline.reconcile.policy import TABLES
from cata_pipeline.tenants.mapping import SchemaMapping
from cata_pipeline_tests.mysql_servers import find_program, mariadb_server
from cata_pipeline_tests.reconcile.conftest import MYSQL_ENGINES, SyncedTenant, latte
from cata_pipeline_tests.reconcile.test_schema_types import ITEM

COLUMNS = {(table.name, column.name): column.name.title() for table in TABLES for column in table.columns}
TITLED = SchemaMapping(columns=COLUMNS)
TITLED_TABLES = SchemaMapping({table.name: table.name.title() for table in TABLES}, COLUMNS)


@pytest.fixture
def case_blind(tenant: SyncedTenant) -> Iterator[SyncedTenant]:
    """A tenant on a MariaDB server that folds the names of tables to lower case."""
    if find_program("mariadbd") is None:
        pytest.skip("mariadbd is not installed")
    folder = Path(tempfile.mkdtemp(prefix="cata-tests-"))
    schema = resources.files("cata_pipeline.demo").joinpath("tenant_schema_mysql.sql").read_text()
    with mariadb_server(folder, "--lower-case-table-names=1") as server:
        url = server.url("TenantA")
        with sa.create_engine(server.url("mysql"), poolclass=sa.NullPool).connect() as connection:
            for statement in ("CREATE DATABASE TenantA", "USE TenantA", *filter(str.strip, schema.split(";\n"))):
                connection.exec_driver_sql(statement)
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        yield replace(tenant, url=url, engine=engine, engine_name="mariadb")
        engine.dispose()
    shutil.rmtree(folder)


def sync_and_copy(tenant: SyncedTenant) -> None:
    report = tenant.sync(ITEM)
    assert (report.items.inserted, report.children.inserted) == (1, 5)
    [skipped] = report.skipped
    assert skipped.endswith(".Original_Description (our items.original_description) is absent")
    tenant.edit("UPDATE items SET name = 'Ours'")
    assert tenant.sync(ITEM._replace(name="New")).items.names_kept == 1
    assert tenant.sync(ITEM._replace(name="New")).unchanged == 1
    images = TenantImages(tenant.engine, tenant.mapping)
    [[item]] = images.pictured(1000, 100)
    path = "kopi-kita/items/new.jpg"
    verdicts = images.write_back([WriteBack(item.item_code, item.url, path, frozenset({path}))])
    assert verdicts == {"LAT-L": Verdict.WRITTEN}


@pytest.mark.parametrize("tenant", MYSQL_ENGINES, indirect=True)
def test_columns_in_another_case_are_the_same_on_mysql(tenant: SyncedTenant) -> None:
    tenant.mapping = TITLED
    sync_and_copy(tenant)


@pytest.mark.parametrize("tenant", MYSQL_ENGINES, indirect=True)
def test_what_is_wrong_with_columns_in_another_case_is_still_found(tenant: SyncedTenant) -> None:
    tenant.mapping = TITLED
    tenant.edit("ALTER TABLE items ADD COLUMN kitchen varchar(9) NOT NULL, MODIFY visible smallint NOT NULL DEFAULT 1")
    with pytest.raises(ContractError) as error:
        tenant.sync(latte())
    assert "items.kitchen is NOT NULL without a default" in str(error.value)
    assert "items.visible is smallint" in str(error.value)
    assert "is missing" not in str(error.value)
    assert "unique" not in str(error.value)
    assert tenant.rows("SELECT * FROM items") == []


@pytest.mark.parametrize("tenant", MYSQL_ENGINES, indirect=True)
def test_a_table_in_another_case_is_another_where_the_server_tells_them_apart(tenant: SyncedTenant) -> None:
    tenant.mapping = TITLED_TABLES
    with pytest.raises(ContractError, match=r"has no table Items \(our items\)"):
        tenant.sync(latte())
    tenant.edit("CREATE TABLE Items (id int)")
    with pytest.raises(ContractError, match=r"Items.Item_Code \(our items.item_code\) is missing"):
        tenant.sync(latte())


def test_a_table_in_another_case_is_the_same_where_the_server_ignores_it(case_blind: SyncedTenant) -> None:
    case_blind.mapping = TITLED_TABLES
    sync_and_copy(case_blind)
    case_blind.mapping = SchemaMapping()
    assert case_blind.sync(ITEM._replace(name="New")).unchanged == 1


def test_names_are_exact_on_postgresql(tenant: SyncedTenant) -> None:
    tenant.mapping = TITLED
    with pytest.raises(ContractError, match=r"items.Item_Code \(our items.item_code\) is missing"):
        tenant.sync(latte())
    tenant.mapping = TITLED_TABLES
    with pytest.raises(ContractError, match=r"has no table Items \(our items\)"):
        tenant.sync(latte())
    assert tenant.rows("SELECT * FROM items") == []
