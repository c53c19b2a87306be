"""A tenant schema that calls every table and column otherwise is synced exactly as one that uses our names."""

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine

from cata_pipeline.catalog.model import BundleComponent, VariantOption
from cata_pipeline.errors import ContractError
from cata_pipeline.reconcile.policy import TABLES
from cata_pipeline.tenants.mapping import SchemaMapping
from cata_pipeline_tests.reconcile.conftest import EVERY_ENGINE, SyncedTenant, latte
from cata_pipeline_tests.reconcile.test_ownership import MILK, SUGAR

ENGINES = EVERY_ENGINE

# Names that must be quoted, and `name` for what we call otherwise: a column taken for its namesake would be seen.
_COLUMNS = {
    (table.name, column.name): f"{column.name[:1].upper()}{column.name[1:]} $-{column.rule.name}"
    for table in TABLES
    for column in table.columns
} | {("items", "original_name"): "name", ("items", "name"): "original_name"}
RENAMED = SchemaMapping({table.name: f"Pos {table.name}" for table in TABLES}, _COLUMNS)


def rename_everything(engine: Engine, mapping: SchemaMapping) -> None:
    """Rename a tenant database's tables and columns, in two steps so that names can change places."""
    quote = engine.dialect.identifier_preparer.quote_identifier
    with engine.begin() as connection:
        for table in TABLES:
            held = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
            columns = [column.name for column in table.columns if column.name in held]
            for old, new in [
                *((name, f"moving_{name}") for name in columns),
                *((f"moving_{name}", mapping.column(table.name, name)) for name in columns),
            ]:
                connection.exec_driver_sql(f"ALTER TABLE {table.name} RENAME COLUMN {quote(old)} TO {quote(new)}")
            connection.exec_driver_sql(f"ALTER TABLE {table.name} RENAME TO {quote(mapping.table(table.name))}")


def stored(tenant: SyncedTenant) -> dict[str, list[dict[str, Any]]]:
    """Every policy column of every table, under our names."""
    quote = tenant.engine.dialect.identifier_preparer.quote_identifier
    found = {}
    for table in TABLES:
        real = tenant.mapping.table(table.name)
        held = {column["name"] for column in sa.inspect(tenant.engine).get_columns(real)}
        columns = ", ".join(
            f"{quote(theirs)} AS {quote(column.name)}"
            for column in table.columns
            if (theirs := tenant.mapping.column(table.name, column.name)) in held
        )
        found[table.name] = tenant.rows(f"SELECT {columns} FROM {quote(real)} ORDER BY {quote('id')}")
    return found


def tell_the_story(tenant: SyncedTenant) -> list[Any]:
    """First sync, edits of both sides, a dry run, a second sync and a third that changes nothing; all that came out."""
    items = [
        latte(modifier_groups=(SUGAR, MILK), variant_options=(VariantOption("Size", "Large"),)),
        latte(item_code="SET", bundle_components=(BundleComponent("Drink", "LAT-L", "Latte"),) * 2),
        latte(item_code="GONE"),
        latte(item_code="HIDDEN"),
    ]
    reports = [tenant.sync(*items)]
    preparer = tenant.engine.dialect.identifier_preparer
    table, name, code = (
        preparer.quote_identifier(text)
        for text in (
            tenant.mapping.table("items"),
            tenant.mapping.column("items", "name"),
            tenant.mapping.column("items", "item_code"),
        )
    )
    tenant.edit(f"UPDATE {table} SET {name} = 'House Latte' WHERE {code} = 'LAT-L'")
    changed = [
        latte(name="Caffe Latte", modifier_groups=(SUGAR,), external_image_url=None, category="Tea"),
        latte(item_code="SET", name="Set menu", bundle_components=(BundleComponent("Drink", "SET", "Tea"),)),
        latte(item_code="HIDDEN", is_active=False),
        latte(item_code="NEW"),
    ]
    reports.append(tenant.sync(*changed, dry_run=True))
    reports.append(tenant.sync(*changed))
    reports.append(tenant.sync(*changed))
    return [replace(report, changes_path=None, seconds_write=0.0, skipped=()) for report in reports]


def test_a_renamed_schema_is_synced_as_one_with_our_names(tenant: SyncedTenant, request: pytest.FixtureRequest) -> None:
    url: URL = (
        request.getfixturevalue("new_tenant_database")("other")
        if tenant.engine_name == "postgresql"
        else request.getfixturevalue(f"new_{tenant.engine_name}_database")()
    )
    other = replace(tenant, engine=sa.create_engine(url, poolclass=sa.NullPool), url=url, mapping=RENAMED)
    rename_everything(other.engine, RENAMED)

    assert tell_the_story(other) == tell_the_story(tenant)
    assert stored(other) == stored(tenant)
    [row] = [row for row in stored(other)["items"] if row["item_code"] == "LAT-L"]
    assert (row["original_name"], row["name"], row["external_image_url"]) == ("Caffe Latte", "House Latte", None)
    other.engine.dispose()


def test_what_a_renamed_schema_lacks_is_named_in_both_languages(tenant: SyncedTenant) -> None:
    tenant.mapping = SchemaMapping(columns={("items", "item_code"): "sku"})
    with pytest.raises(ContractError, match=r"items\.sku \(our items\.item_code\) is missing"):
        tenant.sync(latte())
    tenant.mapping = SchemaMapping({"items": "products"})
    with pytest.raises(ContractError, match=r"no table products \(our items\)"):
        tenant.sync(latte())


def test_a_foreign_column_that_bears_one_of_our_names_is_none_of_ours(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items RENAME COLUMN category TO department")
    tenant.edit("ALTER TABLE items ADD COLUMN category varchar(20) DEFAULT 'theirs'")
    tenant.mapping = SchemaMapping(columns={("items", "category"): "department"})
    tenant.sync(latte())
    assert tenant.rows("SELECT category, department FROM items") == [{"category": "theirs", "department": "Coffee"}]
