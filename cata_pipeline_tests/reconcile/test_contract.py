"""What a tenant database must offer, held against real tables."""

import pytest

from cata_pipeline.catalog.model import BundleComponent
from cata_pipeline.errors import ContractError, DatabaseError
from cata_pipeline_tests.reconcile.conftest import EVERY_ENGINE, SyncedTenant, latte
from cata_pipeline_tests.reconcile.test_ownership import MILK

ENGINES = EVERY_ENGINE


def test_a_database_without_items_is_refused_and_says_what_it_found(tenant: SyncedTenant) -> None:
    tenant.drop_table("items")
    with pytest.raises(ContractError, match=r"has no table items .*item_modifiers"):
        tenant.sync(latte())


def test_every_missing_required_column_is_listed_at_once(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items DROP COLUMN original_name, DROP COLUMN visible")
    tenant.edit("ALTER TABLE item_modifiers DROP COLUMN name")
    with pytest.raises(ContractError) as error:
        tenant.sync(latte())
    for column in ("items.original_name", "items.visible", "item_modifiers.name"):
        assert f"{column} is missing" in str(error.value)
    assert tenant.rows("SELECT * FROM items") == []


def test_absent_optional_columns_and_structure_tables_are_skipped_and_said(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items DROP COLUMN category, DROP COLUMN variant_options")
    tenant.drop_table("item_modifiers")
    report = tenant.sync(latte(modifier_groups=(MILK,)))
    assert report.items.inserted == 1
    assert set(report.skipped) >= {
        "column items.category is absent",
        "column items.variant_options is absent",
        "table item_modifiers is absent",
        "table item_modifier_options is not written because item_modifiers is absent",
    }
    assert tenant.rows("SELECT * FROM item_modifier_options") == []


def test_a_foreign_not_null_column_without_default_is_refused_before_the_first_insert(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items ADD COLUMN kitchen text NOT NULL")
    with pytest.raises(ContractError, match=r"items\.kitchen is NOT NULL without a default"):
        tenant.sync(latte())


def test_a_picture_column_too_short_for_our_paths_is_refused(tenant: SyncedTenant) -> None:
    change = "MODIFY main_image_url" if tenant.on_mysql else "ALTER main_image_url TYPE"
    tenant.edit(f"ALTER TABLE items {change} varchar(140)")
    assert tenant.sync(latte()).items.inserted == 1
    tenant.edit(f"ALTER TABLE items {change} varchar(139)")
    with pytest.raises(
        ContractError, match=r"items\.main_image_url takes 139 characters; the path of a picture has 140"
    ):
        tenant.sync(latte())


def test_items_without_a_unique_item_code_are_refused(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items DROP CONSTRAINT items_item_code_key")
    with pytest.raises(ContractError, match=r"items has no unique key on \(item_code\)"):
        tenant.sync(latte())


def test_a_name_longer_than_its_column_costs_only_its_item(tenant: SyncedTenant) -> None:
    tenant.sync(latte(), latte(item_code="LONG"))
    report = tenant.sync(latte(name="New"), latte(item_code="LONG", name="x" * 256))
    assert (report.items_in_snapshot, report.rejected, report.items.updated, report.stale) == (1, 1, 1, 0)
    assert report.rejections[0].reason == "original_name has 256 characters; the column takes 255"
    assert tenant.item("LONG")["name"] == "Latte"


def test_a_number_larger_than_its_column_costs_only_its_component(tenant: SyncedTenant) -> None:
    kind = "MODIFY quantity" if tenant.on_mysql else "ALTER quantity TYPE"
    tenant.edit(f"ALTER TABLE item_bundle_components {kind} decimal(3, 1)")
    parts = (BundleComponent("Drink", "A", "A", "99.5"), BundleComponent("Food", "B", "B", "100"))
    report = tenant.sync(latte(bundle_components=parts), latte(item_code="OTHER"))
    assert (report.items.inserted, report.children.inserted, report.children_rejected) == (2, 1, 1)
    assert [float(row["quantity"]) for row in tenant.rows("SELECT quantity FROM item_bundle_components")] == [99.5]


def test_without_a_default_only_the_item_that_lacks_the_value_is_rejected(tenant: SyncedTenant) -> None:
    kind = "MODIFY category varchar(255)" if tenant.on_mysql else "ALTER category SET"
    tenant.edit(f"ALTER TABLE items {kind} NOT NULL")
    report = tenant.sync(latte(category=None), latte(item_code="FULL"))
    assert (report.items.inserted, report.rejected) == (1, 1)
    assert report.rejections[0].reason == "category is not given; the column takes no NULL and has no default"


def test_ids_that_the_database_makes_up_work_dry_or_not(tenant: SyncedTenant) -> None:
    for table in ("menu_items", "item_bundle_components", "item_modifier_options", "item_modifiers"):
        tenant.edit(f"DROP TABLE {table}")
    tenant.edit("ALTER TABLE items DROP COLUMN id")
    kind = "char(36) NOT NULL" if tenant.on_mysql else "uuid DEFAULT gen_random_uuid()"
    tenant.edit(f"ALTER TABLE items ADD COLUMN id {kind} PRIMARY KEY")
    if tenant.on_mysql:  # a column that is added with this default is refused where MySQL keeps a binary log
        tenant.edit("ALTER TABLE items ALTER id SET DEFAULT (uuid())")
    items = [latte(), latte(item_code="OTHER")]
    assert tenant.sync(*items, dry_run=True).items.inserted == 2
    assert tenant.sync(*items).items.inserted == 2
    ids = [row["id"] for row in tenant.rows("SELECT id FROM items ORDER BY item_code")]
    assert tenant.sync(latte(name="New"), items[1], dry_run=True).items.renamed == 1
    assert tenant.sync(latte(name="New"), items[1]).items.renamed == 1
    assert [row["id"] for row in tenant.rows("SELECT id FROM items ORDER BY item_code")] == ids
    assert len(set(ids)) == 2


def test_a_trigger_on_updated_at_fires_for_rows_that_change_and_no_others(tenant: SyncedTenant) -> None:
    if tenant.on_mysql:  # the reference schema for PostgreSQL has such a trigger
        tenant.edit("ALTER TABLE items MODIFY updated_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)")
        tenant.edit("CREATE TRIGGER touch BEFORE UPDATE ON items FOR EACH ROW SET NEW.updated_at = NOW(6)")
    tenant.sync(latte(), latte(item_code="SAME"))
    before = {row["item_code"]: row["updated_at"] for row in tenant.rows("SELECT item_code, updated_at FROM items")}
    for _ in range(2):
        tenant.sync(latte(name="New"), latte(item_code="SAME"))
        after = {row["item_code"]: row["updated_at"] for row in tenant.rows("SELECT item_code, updated_at FROM items")}
        assert after["SAME"] == before["SAME"]
        assert after["LAT-L"] > before["LAT-L"]


def test_an_unreachable_tenant_database_is_named_without_its_password(tenant: SyncedTenant) -> None:
    tenant.url = tenant.url.set(host="127.0.0.1", port=1, username="cata", password="s3cret-word", query={})
    with pytest.raises(DatabaseError, match="cannot be reached") as error:
        tenant.sync(latte())
    assert "127.0.0.1:1" in str(error.value)
    assert "s3cret-word" not in str(error.value)
