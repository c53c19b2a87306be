"""Every row of the ownership table, as behaviour of a real database."""

from pathlib import Path
from typing import Any

import pytest

from cata_pipeline.catalog.model import BundleComponent, Item, Modifier, ModifierGroup, VariantOption
from cata_pipeline.reconcile.policy import ownership_markdown
from cata_pipeline_tests.reconcile.conftest import EVERY_ENGINE, SyncedTenant, latte

ENGINES = EVERY_ENGINE

DOCUMENT = Path(__file__).parents[2] / "docs" / "field-ownership.md"


def test_the_documented_table_is_the_policy() -> None:
    assert ownership_markdown() in DOCUMENT.read_text()


def test_an_inserted_item_takes_every_provider_column(tenant: SyncedTenant) -> None:
    options = (VariantOption("Size", "Large"),)
    report = tenant.sync(latte(variant_group="family", variant_options=options))
    row = tenant.item("LAT-L")
    assert (report.items.inserted, report.items.updated, report.unchanged) == (1, 0, 0)
    assert row["original_name"] == row["name"] == "Latte"
    assert row["description"] == "Espresso with milk"
    assert (row["category"], row["item_type"], row["variant_group"]) == ("Coffee", "standard", "family")
    assert row["variant_options"] == [{"option": "Size", "value": "Large"}]
    assert row["visible"] is True
    assert row["external_image_url"] == "https://cdn.example/latte.jpg"
    assert row["main_image_url"] is None
    assert row["base_price"] is None


@pytest.mark.parametrize(
    "code", [" LAT", "lat", "LAT ", "0", "L\u00e4t\u2615", "a'b\"c\\", "new\nline", "\\.", "\\N", "7" * 255]
)
def test_an_item_code_is_kept_byte_for_byte(tenant: SyncedTenant, code: str) -> None:
    tenant.sync(latte(item_code=code))
    assert tenant.sync(latte(item_code=code, name="Renamed")).items.updated == 1
    assert [row["item_code"] for row in tenant.rows("SELECT item_code FROM items")] == [code]


def test_codes_that_differ_only_in_case_or_spaces_are_different_items(tenant: SyncedTenant) -> None:
    tenant.distinguish_codes()
    codes = ["LAT", "lat", "LAT ", " LAT"]
    assert tenant.sync(*[latte(item_code=code) for code in codes]).items.inserted == 4
    assert tenant.sync(*[latte(item_code=code) for code in codes]).unchanged == 4


def test_a_name_nobody_edited_follows_the_provider(tenant: SyncedTenant) -> None:
    tenant.sync(latte())
    report = tenant.sync(latte(name="Caffe Latte"))
    row = tenant.item("LAT-L")
    assert (row["original_name"], row["name"]) == ("Caffe Latte", "Caffe Latte")
    assert (report.items.renamed, report.items.names_kept) == (1, 0)


@pytest.mark.parametrize("edited", ["House Latte", "latte", "Latte ", "Latt\u00e9", "Latte \u2615", ""])
def test_a_name_a_cata_user_edited_is_kept(tenant: SyncedTenant, edited: str) -> None:
    tenant.sync(latte())
    tenant.edit("UPDATE items SET name = :name", name=edited)
    report = tenant.sync(latte(name="Caffe Latte"))
    row = tenant.item("LAT-L")
    assert (row["original_name"], row["name"]) == ("Caffe Latte", edited)
    assert (report.items.renamed, report.items.names_kept, report.items.updated) == (0, 1, 1)


def test_a_name_a_cata_user_cleared_is_kept(tenant: SyncedTenant) -> None:
    tenant.sync(latte())
    tenant.edit("UPDATE items SET name = NULL")
    tenant.sync(latte(name="Caffe Latte"))
    assert tenant.item("LAT-L")["name"] is None


def test_a_name_and_original_that_are_both_null_follow_the_provider(tenant: SyncedTenant) -> None:
    tenant.sync(latte())
    tenant.edit("UPDATE items SET name = NULL, original_name = NULL")
    tenant.sync(latte())
    assert tenant.item("LAT-L")["name"] == "Latte"


def test_a_description_is_filled_once_where_there_is_no_original(tenant: SyncedTenant) -> None:
    tenant.sync(latte(description=None))
    tenant.sync(latte(description="First"))
    assert tenant.item("LAT-L")["description"] == "First"
    assert tenant.sync(latte(description="Second")).unchanged == 1
    assert tenant.item("LAT-L")["description"] == "First"


def test_a_description_cleared_to_empty_text_stays_empty(tenant: SyncedTenant) -> None:
    tenant.sync(latte())
    tenant.edit("UPDATE items SET description = ''")
    assert tenant.sync(latte()).unchanged == 1
    assert tenant.item("LAT-L")["description"] == ""


def test_a_description_follows_its_original_where_the_table_has_one(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items ADD COLUMN original_description text")
    tenant.sync(latte(), latte(item_code="EDITED"))
    tenant.edit("UPDATE items SET description = 'Ours' WHERE item_code = 'EDITED'")
    tenant.sync(latte(description="New"), latte(item_code="EDITED", description="New"))
    assert tenant.item("LAT-L")["description"] == "New"
    assert (tenant.item("EDITED")["description"], tenant.item("EDITED")["original_description"]) == ("Ours", "New")


def test_an_inactive_product_is_hidden_and_shown_again(tenant: SyncedTenant) -> None:
    tenant.sync(latte())
    assert tenant.sync(latte(is_active=False)).items.hidden == 1
    assert tenant.item("LAT-L")["visible"] is False
    assert tenant.sync(latte()).items.shown == 1
    assert tenant.item("LAT-L")["visible"] is True


def visibility(tenant: SyncedTenant) -> dict[str, bool]:
    """Whether each item, modifier group and option is visible, by its code."""
    tables = {"items": "item_code", "item_modifiers": "modifier_code", "item_modifier_options": "option_code"}
    rows = [
        row for table, code in tables.items() for row in tenant.rows(f"SELECT {code} AS code, visible FROM {table}")
    ]
    return {row["code"]: bool(row["visible"]) for row in rows}


def test_a_missing_is_active_leaves_a_known_row_as_it_is_and_counts_as_active_on_insert(tenant: SyncedTenant) -> None:
    def latte_where(is_active: bool | None, **fields: Any) -> Item:  # noqa: FBT001 a value of the catalog
        options = (Modifier("m-oat", "Oat", is_active), Modifier("m-soy", "Soy"))
        return latte(
            is_active=is_active, modifier_groups=(ModifierGroup("g-milk", "Milk", options, is_active),), **fields
        )

    tenant.sync(latte_where(None))
    assert visibility(tenant) == {"LAT-L": True, "g-milk": True, "m-oat": True, "m-soy": True}
    tenant.sync(latte_where(is_active=False))
    hidden = {"LAT-L": False, "g-milk": False, "m-oat": False, "m-soy": True}
    assert visibility(tenant) == hidden
    report = tenant.sync(latte_where(None, name="New"), latte(item_code="NEW", is_active=None))
    assert visibility(tenant) == hidden | {"NEW": True}
    assert (report.items.shown, report.items.renamed, report.children.updated) == (0, 1, 0)
    tenant.sync(latte_where(is_active=True))
    assert set(visibility(tenant).values()) == {True}
    tenant.edit("UPDATE items SET visible = false")
    assert tenant.sync(latte_where(None)).unchanged == 1
    assert tenant.item("LAT-L")["visible"] is False


def test_the_external_image_url_is_refreshed_and_removed_with_the_provider(tenant: SyncedTenant) -> None:
    tenant.sync(latte())
    assert tenant.sync(latte(external_image_url="https://cdn.example/new.jpg")).items.image_urls_changed == 1
    assert tenant.item("LAT-L")["external_image_url"] == "https://cdn.example/new.jpg"
    assert tenant.sync(latte(external_image_url=None)).items.image_urls_changed == 1
    assert tenant.item("LAT-L")["external_image_url"] is None


def test_the_main_image_and_prices_are_never_touched(tenant: SyncedTenant) -> None:
    tenant.sync(latte())
    tenant.edit("UPDATE items SET main_image_url = 'merchant.jpg', base_price = 25000")
    tenant.edit("INSERT INTO menu_items (item_id, price) SELECT id, 27000 FROM items")
    tenant.sync(latte(name="Other", external_image_url=None, is_active=False, category="Tea"))
    row = tenant.item("LAT-L")
    assert (row["main_image_url"], row["base_price"]) == ("merchant.jpg", 25000)
    assert [r["price"] for r in tenant.rows("SELECT price FROM menu_items")] == [27000]


def test_structure_columns_are_always_written(tenant: SyncedTenant) -> None:
    tenant.sync(latte())
    tenant.edit("UPDATE items SET category = 'Mine', item_type = 'x', variant_group = 'x', variant_options = '[1]'")
    tenant.sync(
        latte(category="Tea", item_type="variant", variant_group="f", variant_options=(VariantOption("a", "b"),))
    )
    row = tenant.item("LAT-L")
    assert (row["category"], row["item_type"], row["variant_group"]) == ("Tea", "variant", "f")
    assert row["variant_options"] == [{"option": "a", "value": "b"}]


def test_ids_are_stable_and_unknown_columns_survive(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items ADD COLUMN loyalty_points integer DEFAULT 5")
    tenant.sync(latte())
    before = tenant.item("LAT-L")
    tenant.edit("UPDATE items SET loyalty_points = 9")
    tenant.sync(latte(name="Other"))
    after = tenant.item("LAT-L")
    assert (after["id"], after["loyalty_points"], after["created_at"]) == (before["id"], 9, before["created_at"])


def test_a_product_the_provider_no_longer_names_is_left_alone_and_reported(tenant: SyncedTenant) -> None:
    tenant.sync(latte(), latte(item_code="GONE"))
    before = tenant.item("GONE")
    report = tenant.sync(latte())
    assert (report.stale, report.stale_codes) == (1, ("GONE",))
    assert tenant.item("GONE") == before


SUGAR = ModifierGroup("g-sugar", "Sugar", (Modifier("m-less", "Less"), Modifier("m-none", "None")))
MILK = ModifierGroup("g-milk", "Milk", (Modifier("m-oat", "Oat"),))


def test_modifiers_follow_the_same_rules_as_items(tenant: SyncedTenant) -> None:
    tenant.sync(latte(modifier_groups=(SUGAR, MILK)))
    tenant.edit("UPDATE item_modifiers SET name = 'Sweetness' WHERE modifier_code = 'g-sugar'")
    tenant.edit("UPDATE item_modifier_options SET price = 500, name = 'A little' WHERE option_code = 'm-less'")
    renamed = ModifierGroup(
        "g-sugar", "Sugar level", (Modifier("m-less", "Less sugar"), Modifier("m-none", "No sugar"))
    )
    report = tenant.sync(latte(modifier_groups=(MILK, renamed)))
    groups = tenant.rows("SELECT modifier_code, original_name, name, position FROM item_modifiers ORDER BY position")
    assert [tuple(row.values()) for row in groups] == [
        ("g-milk", "Milk", "Milk", 0),
        ("g-sugar", "Sugar level", "Sweetness", 1),
    ]
    options = tenant.rows("SELECT option_code, name, price FROM item_modifier_options ORDER BY option_code")
    assert [tuple(row.values()) for row in options] == [
        ("m-less", "A little", 500),
        ("m-none", "No sugar", None),
        ("m-oat", "Oat", None),
    ]
    assert (report.items.updated, report.children.inserted, report.children.updated) == (0, 0, 4)


def test_a_child_its_present_parent_no_longer_lists_is_hidden_and_comes_back(tenant: SyncedTenant) -> None:
    tenant.sync(latte(modifier_groups=(SUGAR, MILK)))
    less = ModifierGroup("g-sugar", "Sugar", (Modifier("m-less", "Less"),))
    assert tenant.sync(latte(modifier_groups=(less,))).children.hidden == 2
    hidden = "SELECT modifier_code FROM item_modifiers WHERE NOT visible"
    assert [row["modifier_code"] for row in tenant.rows(hidden)] == ["g-milk"]
    options = "SELECT option_code FROM item_modifier_options WHERE NOT visible"
    assert [row["option_code"] for row in tenant.rows(options)] == ["m-none"]
    assert tenant.sync(latte(modifier_groups=(SUGAR, MILK))).children.updated == 2
    assert tenant.rows(hidden) == tenant.rows(options) == []


def test_children_of_an_absent_product_and_unlisted_kinds_are_left_alone(tenant: SyncedTenant) -> None:
    tenant.sync(latte(modifier_groups=(SUGAR,)), latte(item_code="OTHER", modifier_groups=(MILK,)))
    report = tenant.sync(latte(item_code="OTHER", modifier_groups=None))
    assert report.children.hidden == 0
    assert tenant.rows("SELECT 1 AS one FROM item_modifiers WHERE NOT visible") == []


def test_bundle_components_keep_order_repeats_and_renames(tenant: SyncedTenant) -> None:
    drink, cake = BundleComponent("Drink", "LAT-L", "Latte"), BundleComponent("Food", "CAKE", "Cake", "2.5")
    tenant.sync(latte(), latte(item_code="SET", item_type="comboset", bundle_components=(drink, drink, cake)))
    tenant.edit("UPDATE item_bundle_components SET name = 'Slice' WHERE slot = 'Food'")
    statement = (
        "SELECT slot, occurrence, name, quantity, position FROM item_bundle_components WHERE visible ORDER BY position"
    )
    assert [tuple(row.values()) for row in tenant.rows(statement)] == [
        ("Drink", 1, "Latte", 1, 0),
        ("Drink", 2, "Latte", 1, 1),
        ("Food", 1, "Slice", 2.5, 2),
    ]
    report = tenant.sync(latte(), latte(item_code="SET", item_type="comboset", bundle_components=(cake, drink)))
    assert [tuple(row.values()) for row in tenant.rows(statement)] == [
        ("Food", 1, "Slice", 2.5, 0),
        ("Drink", 1, "Latte", 1, 1),
    ]
    assert (report.children.updated, report.children.hidden) == (2, 1)


def test_a_second_sync_of_the_same_snapshot_writes_nothing(tenant: SyncedTenant) -> None:
    bundle = (BundleComponent("Drink", "LAT-L", "Latte"),) * 2
    options = (VariantOption("Size", "Large"), VariantOption("Temp", "Ice"))
    items = [
        latte(modifier_groups=(SUGAR, MILK), variant_options=options),
        latte(item_code="SET", bundle_components=bundle),
    ]
    snapshot = tenant.snapshot(items)
    tenant.apply(snapshot)
    tables = ("items", "item_modifiers", "item_modifier_options", "item_bundle_components")
    state = {table: tenant.state(table) for table in tables}
    next_id = tenant.next_item_id()
    report = tenant.apply(snapshot)
    assert report.unchanged == report.items_in_snapshot == 2
    assert report.changes_path is None
    assert {table: tenant.state(table) for table in tables} == state
    assert tenant.next_item_id() == next_id
