"""Unique keys of PostgreSQL that take different codes for equal: citext, and collations that ignore case."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from cata_pipeline.catalog.model import Modifier, ModifierGroup
from cata_pipeline_tests.postgresql_server import find_postgresql, postgresql_server
from cata_pipeline_tests.reconcile.conftest import SyncedTenant, latte
from cata_pipeline_tests.reconcile.test_ownership import MILK, SUGAR

SCHEMA = Path(__file__).parents[2] / "cata_pipeline/demo/tenant_schema_postgresql.sql"
KEYS = (("items", "item_code"), ("item_modifiers", "modifier_code"))


@pytest.fixture(scope="module")
def server() -> Iterator[URL]:
    """A server that knows citext and ICU."""
    if find_postgresql() is None:
        pytest.skip("PostgreSQL's server with its extensions is not installed")
    folder = Path(tempfile.mkdtemp(prefix="cata-pg-"))
    try:
        with postgresql_server(folder) as url:
            yield url
    finally:
        shutil.rmtree(folder)


@pytest.fixture(params=["citext", "text COLLATE caseless"])
def folding(request: pytest.FixtureRequest, tenant: SyncedTenant, server: URL) -> Iterator[SyncedTenant]:
    """The tenant, whose codes are equal without case."""
    administration = sa.create_engine(server, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with administration.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE shop")
        tenant.url = server.set(database="shop")
        tenant.engine = sa.create_engine(tenant.url, poolclass=sa.NullPool)
        tenant.edit(SCHEMA.read_text())
        tenant.edit("CREATE SCHEMA extensions")
        tenant.edit("CREATE EXTENSION citext SCHEMA extensions")
        tenant.edit("CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
        kind = request.param.replace("citext", "extensions.citext")
        for table, column in KEYS:
            tenant.edit(f"ALTER TABLE {table} ALTER {column} TYPE {kind}")
        yield tenant
        connection.exec_driver_sql("DROP DATABASE shop WITH (FORCE)")


def codes(tenant: SyncedTenant) -> list[str]:
    return [
        row["item_code"]
        for row in tenant.rows('SELECT item_code::text FROM items ORDER BY item_code::text COLLATE "C"')
    ]


@pytest.mark.parametrize("dry_run", [True, False])
def test_of_codes_that_the_key_calls_equal_the_first_is_stored(folding: SyncedTenant, *, dry_run: bool) -> None:
    items = [latte(item_code="LAT"), latte(item_code="TEA"), latte(item_code="lat", modifier_groups=(MILK,))]
    report = folding.sync(*items, dry_run=dry_run)
    assert (report.items.inserted, report.items_in_snapshot, report.rejected, report.children.inserted) == (2, 2, 1, 0)
    assert report.rejections[0].item_code == "lat"
    assert "'lat' cannot be stored beside 'LAT' of the same snapshot" in report.rejections[0].reason
    assert codes(folding) == ([] if dry_run else ["LAT", "TEA"])


def test_a_stored_code_wins_over_others_of_the_snapshot(folding: SyncedTenant) -> None:
    folding.sync(latte(item_code="lat"))
    items = [latte(item_code="LAT", name="Other"), latte(item_code="lat", name="New"), latte(item_code="lAT")]
    report = folding.sync(*items)
    assert (report.items.updated, report.items.inserted, report.rejected, report.stale) == (1, 0, 2, 0)
    assert all("the stored 'lat'" in rejection.reason for rejection in report.rejections)
    assert folding.rows("SELECT item_code::text, name FROM items") == [{"item_code": "lat", "name": "New"}]
    before = folding.state("items")
    assert folding.sync(*items).unchanged == 1
    assert folding.state("items") == before


def test_a_part_that_is_only_respelled_is_neither_stored_nor_hidden(folding: SyncedTenant) -> None:
    shouted = ModifierGroup("G-MILK", "Milk!", (Modifier("m-soy", "Soy"),))
    folding.sync(latte(modifier_groups=(MILK,)))
    report = folding.sync(latte(modifier_groups=(shouted, SUGAR)))
    assert (report.children_rejected, report.rejected, report.children.hidden) == (1, 0, 0)
    groups = folding.rows("SELECT modifier_code::text, name, visible FROM item_modifiers ORDER BY 1")
    assert [tuple(row.values()) for row in groups] == [("g-milk", "Milk", True), ("g-sugar", "Sugar", True)]
