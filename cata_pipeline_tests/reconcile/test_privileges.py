"""What our account may do in a tenant database: the documented privileges are enough, a missing one is named."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from cata_pipeline.errors import ContractError, DatabaseError
from cata_pipeline.images.tenant_images import TenantImages
from cata_pipeline.images.tenant_items import Verdict, WriteBack
from cata_pipeline_tests.reconcile.conftest import EVERY_ENGINE, MYSQL_ENGINES, SyncedTenant, latte
from cata_pipeline_tests.reconcile.test_schema_types import ITEM, TABLES, contents, replace_column

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
_accounts = itertools.count(1)


@pytest.fixture
def restricted(tenant: SyncedTenant) -> Iterator[SyncedTenant]:
    """The tenant as an account sees it that may connect and, but for what anybody may do, nothing else."""
    name = f"cata_{next(_accounts)}"
    url = tenant.url.set(username=name)
    if tenant.on_mysql:
        tenant.edit(f"CREATE USER {name}")
    else:
        tenant.edit(f"CREATE ROLE {name} LOGIN")
        tenant.edit(f'REVOKE ALL ON DATABASE "{url.database}" FROM PUBLIC')
        tenant.edit("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        tenant.edit(f'GRANT CONNECT ON DATABASE "{url.database}" TO {name}')
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    yield replace(tenant, url=url, engine=engine)
    engine.dispose()
    if not tenant.on_mysql:
        tenant.edit(f"DROP OWNED BY {name}")
    tenant.edit(f"DROP {'USER' if tenant.on_mysql else 'ROLE'} {name}")


def documented(tenant: SyncedTenant) -> list[str]:
    """The statements of the documentation, for this tenant's database and account."""
    chapter = OPERATIONS.read_text("utf-8").partition("### Privileges in tenant databases")[2].partition("\n### ")[0]
    blocks = re.findall(r"```sql\n(.*?)```", chapter, re.DOTALL)
    assert len(blocks) == 2
    text = blocks[tenant.on_mysql].replace("'cata'@'%'", f"'{tenant.url.username}'@'%'")
    name = tenant.url.database if tenant.on_mysql else f'"{tenant.url.database}"'
    text = text.replace("tenantqapoints", str(name)).replace("TO cata;", f"TO {tenant.url.username};")
    return [line.partition(";")[0] for line in text.strip().splitlines()]


def copy_an_image(tenant: SyncedTenant) -> Verdict:
    images = TenantImages(tenant.engine)
    [[item]] = images.pictured(1000, 100)
    path = "kopi-kita/items/new.jpg"
    return images.write_back([WriteBack(item.item_code, item.url, path, frozenset({path}))])[item.item_code]


@pytest.mark.parametrize("tenant", EVERY_ENGINE, indirect=True)
@pytest.mark.parametrize("ids", ["reference", "serial"])
def test_the_documented_privileges_are_enough(tenant: SyncedTenant, restricted: SyncedTenant, ids: str) -> None:
    if ids == "serial" and not tenant.on_mysql:
        tenant.edit("CREATE SEQUENCE item_numbers")
        tenant.edit("ALTER TABLE items ALTER id DROP IDENTITY, ALTER id SET DEFAULT nextval('item_numbers')")
    for statement in documented(restricted):
        tenant.edit(statement)
    assert restricted.sync(ITEM, dry_run=True).items.inserted == 1
    report = restricted.sync(ITEM)
    assert (report.items.inserted, report.children.inserted) == (1, 5)
    assert copy_an_image(restricted) is Verdict.WRITTEN
    report = restricted.sync(ITEM._replace(name="New", modifier_groups=()))
    assert (report.items.updated, report.children.hidden) == (1, 1)
    assert tenant.item("LAT-L")["main_image_url"] == "kopi-kita/items/new.jpg"


@pytest.mark.parametrize("tenant", MYSQL_ENGINES, indirect=True)
def test_privileges_from_a_role_count(tenant: SyncedTenant, restricted: SyncedTenant) -> None:
    account = restricted.url.username
    tenant.edit(f"CREATE ROLE role_{account}")
    for statement in documented(restricted):
        tenant.edit(statement.replace(f"'{account}'", f"'role_{account}'").removesuffix("@'%'"))
    tenant.edit(f"GRANT role_{account} TO {account}")
    with pytest.raises(DatabaseError, match="Access denied"):
        restricted.sync(ITEM)
    tenant.edit(f"SET DEFAULT ROLE role_{account} {'FOR' if tenant.engine_name == 'mariadb' else 'TO'} {account}")
    assert restricted.sync(ITEM).items.inserted == 1
    tenant.edit(f"DROP ROLE role_{account}")


@pytest.mark.parametrize("tenant", MYSQL_ENGINES, indirect=True)
def test_privileges_on_a_pattern_of_schemas_count(tenant: SyncedTenant, restricted: SyncedTenant) -> None:
    privileges = "SELECT, INSERT, UPDATE, CREATE TEMPORARY TABLES"
    tenant.edit(f"GRANT {privileges} ON `tenant%`.* TO {restricted.url.username}")
    assert restricted.sync(ITEM).items.inserted == 1


POSTGRESQL_LACKS = [
    (
        "REVOKE TEMPORARY ON DATABASE {database} FROM {account}",
        "our account may not create temporary tables: GRANT TEMPO",
    ),
    ("REVOKE USAGE ON SCHEMA public FROM {account}", "our account may not use the schema of items: GRANT USAGE"),
    ("REVOKE SELECT ON items FROM {account}", "our account lacks SELECT (id, item_code, original_name, name"),
    ("REVOKE INSERT ON items FROM {account}", "our account lacks INSERT (item_code, original_name, name"),
    ("REVOKE UPDATE ON items FROM {account}", "our account lacks UPDATE (original_name, name"),
    (
        "REVOKE UPDATE ON item_modifiers FROM {account}",
        "lacks UPDATE (original_name, name, position, visible) on item_mod",
    ),
    ("REVOKE ALL ON items FROM {account}", "our account lacks SELECT (id, item_code"),
    (
        "REVOKE ALL ON SEQUENCE item_numbers FROM {account}",
        "our account may not use the sequence that fills items.id: GRANT USAGE ON SEQUENCE public.item_numbers TO",
    ),
]
MYSQL_LACKS = [
    (
        "REVOKE CREATE TEMPORARY TABLES ON {database}.* FROM {account}",
        "our account may not create temporary tables: GRANT CREATE TEMPORARY TABLES ON",
    ),
    (
        "REVOKE SELECT ON {database}.items FROM {account}",
        "our account lacks SELECT (id, item_code, original_name, name",
    ),
    ("REVOKE INSERT ON {database}.items FROM {account}", "our account lacks INSERT (item_code, original_name, name"),
    ("REVOKE UPDATE ON {database}.items FROM {account}", "our account lacks UPDATE (original_name, name"),
    (
        "REVOKE INSERT, UPDATE ON {database}.item_modifiers FROM {account}",
        "UPDATE (original_name, name, position, visible) on item_modifiers: GRANT INSERT, UPDATE ON",
    ),
]
LACKS = [
    *(("postgresql", *case) for case in POSTGRESQL_LACKS),
    *((engine, *case) for engine in MYSQL_ENGINES for case in MYSQL_LACKS),
]


@pytest.mark.parametrize(("tenant", "revoke", "words"), LACKS, indirect=["tenant"])
def test_a_missing_privilege_is_named_with_the_grant_that_mends_it(
    tenant: SyncedTenant, restricted: SyncedTenant, revoke: str, words: str
) -> None:
    if not tenant.on_mysql:
        tenant.edit("CREATE SEQUENCE item_numbers START 100")
        tenant.edit("ALTER TABLE items ALTER id DROP IDENTITY, ALTER id SET DEFAULT nextval('item_numbers')")
    tenant.sync(ITEM)
    for statement in documented(restricted):
        tenant.edit(statement)
    quote = tenant.engine.dialect.identifier_preparer.quote_identifier
    tenant.edit(revoke.format(database=quote(str(tenant.url.database)), account=restricted.url.username))
    before = contents(tenant)

    with pytest.raises(ContractError) as error:
        restricted.sync(latte(name="New"), latte(item_code="OTHER"))
    assert words in str(error.value)
    assert str(error.value).count("temporary tables") <= 1
    assert contents(tenant) == before

    grants = re.findall(r"GRANT .+? TO [^;. ]+", str(error.value))
    assert grants
    for grant in grants:
        tenant.edit(grant)
    assert restricted.sync(latte(name="New"), latte(item_code="OTHER")).items.inserted == 1


@pytest.mark.parametrize("tenant", MYSQL_ENGINES, indirect=True)
def test_tables_that_the_server_hides_are_reported_with_the_reason_they_may_be(
    tenant: SyncedTenant, restricted: SyncedTenant
) -> None:
    tenant.edit(f"GRANT CREATE TEMPORARY TABLES ON `{tenant.url.database}`.* TO {restricted.url.username}")
    with pytest.raises(ContractError, match=r"has no table items .*do not show tables without a privilege on them"):
        restricted.sync(ITEM)


def test_a_schema_that_may_not_be_used_hides_no_other_privilege(tenant: SyncedTenant, restricted: SyncedTenant) -> None:
    with pytest.raises(ContractError) as error:
        restricted.sync(ITEM)
    account = restricted.url.username
    assert f"may not use the schema of items: GRANT USAGE ON SCHEMA public TO {account}" in str(error.value)
    assert str(error.value).count("may not create temporary tables: GRANT TEMPORARY ON DATABASE") == 1
    assert contents(tenant) == [[]] * len(TABLES)


@pytest.mark.parametrize("tenant", EVERY_ENGINE, indirect=True)
def test_missing_privileges_and_wrong_types_are_one_message(tenant: SyncedTenant, restricted: SyncedTenant) -> None:
    replace_column(tenant, "items", "visible smallint")
    for statement in documented(restricted):
        if "TEMPORARY" not in statement:
            tenant.edit(statement)
    with pytest.raises(ContractError) as error:
        restricted.sync(ITEM)
    assert "may not create temporary tables" in str(error.value)
    assert "items.visible is smallint" in str(error.value)


@pytest.mark.parametrize("tenant", EVERY_ENGINE, indirect=True)
def test_what_a_sync_does_not_write_needs_no_privilege(tenant: SyncedTenant, restricted: SyncedTenant) -> None:
    written = "original_name, name, description, visible, external_image_url, category, item_type, variant_group"
    written += ", variant_options"
    items = "items"
    for table in TABLES[1:]:
        tenant.drop_table(table)
    for statement in documented(restricted):
        if "item_modifiers" not in statement and "item_bundle" not in statement and "options" not in statement:
            tenant.edit(statement)
    if tenant.on_mysql:
        items = f"`{tenant.url.database}`.items"
        tenant.edit(f"REVOKE UPDATE ON {items} FROM {restricted.url.username}")
    else:
        tenant.edit(f"GRANT SELECT ON items TO {restricted.url.username}")
        tenant.edit(f"GRANT INSERT (item_code, {written}) ON items TO {restricted.url.username}")
    tenant.edit(f"GRANT UPDATE ({written}, main_image_url) ON {items} TO {restricted.url.username}")
    assert restricted.sync(latte()).items.inserted == 1
    assert restricted.sync(latte(name="New")).items.renamed == 1
    assert copy_an_image(restricted) is Verdict.WRITTEN
