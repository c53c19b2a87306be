"""Whose table it is: a tenant's table is written by this tenant alone, whatever its URL says."""

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.errors import DatabaseOwnerError
from cata_pipeline.images.inspection import Inspector
from cata_pipeline.outcomes import SyncOrder, SyncOutcome
from cata_pipeline.tenants.database_identity import DatabaseIdentity
from cata_pipeline.tenants.model import Tenant
from cata_pipeline_tests.tcp_relay import tcp_relay
from cata_pipeline_tests.tenant_fleet import open_fleet
from cata_pipeline_tests.test_pipeline import TOKEN, Fleet, Till, product

_numbers = itertools.count(1)


@pytest.fixture
def fleet(servers: EmbeddedServers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.setenv("SHOP", json.dumps({"api_key": "shop", "api_secret": "s3cret-of-the-shop"}))
    with open_fleet(servers, Fleet) as fleet:
        yield fleet


def text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def tenant_at(tenant_id: str, till: Till, url: URL) -> Tenant:
    options = {"store_url": till.origin, "token_url": f"{till.origin}{TOKEN}"}
    return Tenant(tenant_id, "iseller", "env:SHOP", text(url), options)


def add(fleet: Fleet, name: str, url: URL) -> tuple[str, Till]:
    """A tenant that sells one product of its own, and whose tables are where `url` says."""
    till = fleet.till(product(f"{name}-1"))
    return fleet.register(tenant_at(f"{name}-{next(_numbers)}", till, url)), till


def sync(fleet: Fleet, tenant_id: str, till: Till, order: SyncOrder | None = None) -> SyncOutcome:
    return fleet.pipeline(till).sync(tenant_id, order or SyncOrder(), f"run-{next(_numbers)}")


def codes(url: URL, table: str = "items") -> list[str]:
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        return sorted(connection.scalars(sa.text(f"SELECT item_code FROM {table}")))


@pytest.fixture(params=["postgresql", "mariadb", "mysql"])
def shared(request: pytest.FixtureRequest) -> URL:
    """A tenant database on each engine."""
    if request.param == "postgresql":
        url: URL = request.getfixturevalue("tenant_database_url")
        return url
    made: URL = request.getfixturevalue(f"new_{request.param}_database")()
    return made


def test_a_database_url_that_leads_to_another_tenants_table_writes_nothing(fleet: Fleet, shared: URL) -> None:
    first, first_till = add(fleet, "first", shared)
    second, second_till = add(fleet, "second", shared)
    assert sync(fleet, first, first_till).error is None
    refused = sync(fleet, second, second_till)
    assert refused.error_kind == "owner"
    assert f"items belongs to tenant {first} " in str(refused.error)
    assert f"`cata-pipeline tenants claim {second} --from {first}`" in str(refused.error)
    assert codes(shared) == ["first-1"]
    assert sync(fleet, first, first_till).error is None


def test_another_address_of_the_same_server_is_recognised(fleet: Fleet, shared: URL) -> None:
    first, first_till = add(fleet, "first", shared)
    assert sync(fleet, first, first_till).error is None
    postgresql = shared.get_backend_name() == "postgresql"
    path = f"{shared.query['host']}/.s.PGSQL.5432" if postgresql else str(shared.query["unix_socket"])
    with tcp_relay(path) as port:
        second, second_till = add(fleet, "second", shared.set(host="localhost", port=port, query={}))
        refused = sync(fleet, second, second_till)
        assert f"belongs to tenant {first} " in str(refused.error)
        fleet.pipeline().registry.import_tenants(
            [tenant_at(first, first_till, shared.set(host="127.0.0.1", port=port, query={}))]
        )
        assert sync(fleet, first, first_till).error is None
    assert codes(shared) == ["first-1"]


def test_two_first_syncs_at_once_end_with_one_owner(fleet: Fleet, shared: URL) -> None:
    tenants = [add(fleet, name, shared) for name in ("first", "second")]
    together = Barrier(len(tenants))

    def first_sync(tenant: tuple[str, Till]) -> SyncOutcome:
        together.wait()
        return sync(fleet, *tenant)

    with ThreadPoolExecutor(len(tenants)) as pool:
        outcomes = list(pool.map(first_sync, tenants))
    [winner] = [outcome.tenant_id for outcome in outcomes if outcome.error is None]
    [loser] = [outcome for outcome in outcomes if outcome.error]
    assert f"belongs to tenant {winner} " in str(loser.error)
    assert codes(shared) == [f"{winner.rpartition('-')[0]}-1"]


def test_a_dry_run_and_a_refused_sync_take_no_table(fleet: Fleet, shared: URL) -> None:
    first, first_till = add(fleet, "first", shared)
    second, second_till = add(fleet, "second", shared)
    assert sync(fleet, second, second_till, SyncOrder(dry_run=True)).error is None
    second_till.sell(*({"name": None, "sku": f"broken-{number}"} for number in range(30)))
    assert "Nothing was written" in str(sync(fleet, second, second_till).error)
    assert sync(fleet, first, first_till).error is None
    assert "belongs to tenant" in str(sync(fleet, second, second_till, SyncOrder(dry_run=True)).error)


def test_an_image_copy_writes_to_no_table_of_another_tenant(fleet: Fleet, tenant_database_url: URL) -> None:
    first, first_till = add(fleet, "first", tenant_database_url)
    second, _ = add(fleet, "second", tenant_database_url)
    first_till.sell(product("first-1", images=[first_till.picture]))
    assert sync(fleet, first, first_till).error is None
    with Inspector() as inspector:
        refused = fleet.pipeline(first_till).copy_images(second, "run", inspector)
        assert refused.error_kind == "owner"
        copied = fleet.pipeline(first_till).copy_images(first, "run", inspector)
    assert copied.error is None
    assert copied.counts["written_back"] == 1


def test_a_command_moves_a_table_and_its_former_owner_is_refused(fleet: Fleet, shared: URL) -> None:
    first, first_till = add(fleet, "first", shared)
    second, second_till = add(fleet, "second", shared)
    assert sync(fleet, first, first_till).error is None
    pipeline = fleet.pipeline()
    with pytest.raises(DatabaseOwnerError, match=f"belongs to tenant {first} "):
        pipeline.claim_database(second)
    with pytest.raises(DatabaseOwnerError, match=f"belongs to tenant {first} "):
        pipeline.claim_database(second, former="somebody-else")
    pipeline.registry.retire([first])
    assert "belongs to tenant" in str(sync(fleet, second, second_till).error)
    assert pipeline.claim_database(second, former=first) is True
    assert pipeline.claim_database(second) is False
    assert sync(fleet, second, second_till).error is None
    fleet.pipeline().registry.import_tenants([tenant_at(first, first_till, shared)])
    assert f"belongs to tenant {second} " in str(sync(fleet, first, first_till).error)


def test_a_url_that_leads_away_from_the_tenants_table_needs_the_command(
    fleet: Fleet, shared: URL, request: pytest.FixtureRequest
) -> None:
    tenant_id, till = add(fleet, "first", shared)
    assert sync(fleet, tenant_id, till).error is None
    other = request.getfixturevalue("new_mariadb_database")()
    fleet.pipeline().registry.import_tenants([tenant_at(tenant_id, till, other)])
    refused = sync(fleet, tenant_id, till)
    assert f"run `cata-pipeline tenants claim {tenant_id}`" in str(refused.error)
    assert codes(other) == []
    assert fleet.pipeline().claim_database(tenant_id, only_server=True) is False
    assert fleet.pipeline().claim_database(tenant_id) is True
    assert sync(fleet, tenant_id, till).error is None


def test_schemas_of_one_database_are_different_tables(fleet: Fleet, tenant_database_url: URL) -> None:
    with sa.create_engine(
        tenant_database_url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT"
    ).connect() as connection:
        for statement in ("CREATE SCHEMA other", "CREATE TABLE other.items (LIKE public.items INCLUDING ALL)"):
            connection.exec_driver_sql(statement)
    first, first_till = add(fleet, "first", tenant_database_url)
    elsewhere = tenant_database_url.update_query_dict({"options": "-csearch_path=other,public"})
    second, second_till = add(fleet, "second", elsewhere)
    third, third_till = add(fleet, "third", elsewhere)
    assert sync(fleet, first, first_till).error is None
    assert sync(fleet, second, second_till).error is None
    assert "table other.items belongs to" in str(sync(fleet, third, third_till).error)


def identity(*servers: str, database: str = "shop") -> DatabaseIdentity:
    return DatabaseIdentity(servers, database, "items")


def test_a_promoted_replica_keeps_the_owner(fleet: Fleet) -> None:
    owners = fleet.pipeline().database_owners
    owners.claim("first", identity("mysql a"), "before")
    with pytest.raises(DatabaseOwnerError, match="belongs to tenant first "):
        owners.claim("second", identity("mysql b", "mysql a"), "after")
    owners.claim("first", identity("mysql b", "mysql a"), "after")
    owners.claim("first", identity("mysql b"), "after")


def test_a_copied_server_can_serve_another_tenant_beside_the_original(fleet: Fleet) -> None:
    owners = fleet.pipeline().database_owners
    owners.claim("first", identity("mysql a"), "original")
    assert owners.move("second", identity("mysql b", "mysql a"), "copy", former="first")
    for _ in range(2):
        owners.claim("first", identity("mysql a"), "original")
        owners.claim("second", identity("mysql b", "mysql a"), "copy")


def test_a_new_server_of_the_fleet_is_accepted_where_the_names_are_as_before(fleet: Fleet) -> None:
    owners = fleet.pipeline().database_owners
    owners.claim("first", identity("mariadb a"), "before")
    with pytest.raises(DatabaseOwnerError, match="tenants claim first"):
        owners.claim("first", identity("mariadb b"), "after")
    assert (
        owners.move("first", identity("mariadb b", database="shop2"), "after", former=None, only_server=True) is False
    )
    assert owners.move("unknown", identity("mariadb b"), "after", former=None, only_server=True) is False
    assert owners.move("first", identity("mariadb b"), "after", former=None, only_server=True) is True
    owners.claim("first", identity("mariadb b"), "after")


def test_an_account_that_may_not_read_the_system_identifier_finds_its_server_by_its_address(
    fleet: Fleet, tenant_database_url: URL
) -> None:
    with sa.create_engine(
        tenant_database_url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT"
    ).connect() as connection:
        connection.exec_driver_sql("CREATE ROLE clerk LOGIN")
        connection.exec_driver_sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO clerk")
        connection.exec_driver_sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    try:
        clerk = tenant_database_url.set(username="clerk")
        first, first_till = add(fleet, "first", clerk)
        second, second_till = add(fleet, "second", tenant_database_url)
        assert sync(fleet, first, first_till).error is None
        assert f"belongs to tenant {first} " in str(sync(fleet, second, second_till).error)
        assert sync(fleet, first, first_till).error is None
    finally:
        with sa.create_engine(
            tenant_database_url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT"
        ).connect() as connection:
            connection.exec_driver_sql("DROP OWNED BY clerk")
            connection.exec_driver_sql("DROP ROLE clerk")
