"""Tables with keys, types, triggers and constraints that could make a sync lie, lose bytes or stop (PostgreSQL)."""

import pytest
import sqlalchemy as sa

from cata_pipeline.catalog.model import BundleComponent, Modifier, ModifierGroup
from cata_pipeline.errors import ContractError, DatabaseError, GuardRefusedError
from cata_pipeline_tests.reconcile.conftest import SyncedTenant, latte
from cata_pipeline_tests.reconcile.test_ownership import MILK, SUGAR


def test_a_trigger_that_swallows_a_row_costs_only_that_row(tenant: SyncedTenant) -> None:
    tenant.edit(
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.item_code = 'GONE' THEN RETURN NULL; END IF; RETURN NEW; END $$"
    )
    tenant.edit("CREATE TRIGGER swallow BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION swallow()")
    report = tenant.sync(latte(), latte(item_code="GONE", modifier_groups=(MILK,)))
    assert (report.items.inserted, report.items_in_snapshot, report.rejected) == (1, 1, 1)
    assert (report.rejections[0].item_code, report.rejections[0].reason) == ("GONE", "a trigger dropped the row")
    assert tenant.rows("SELECT item_code FROM items") == [{"item_code": "LAT-L"}]
    assert (report.children.inserted, tenant.rows("SELECT 1 AS one FROM item_modifiers")) == (0, [])


def test_children_of_an_item_deleted_meanwhile_are_not_counted(tenant: SyncedTenant) -> None:
    tenant.sync(latte(), latte(item_code="OTHER"))
    tenant.before_write = lambda: tenant.edit("DELETE FROM items WHERE item_code = 'LAT-L'")
    report = tenant.sync(latte(modifier_groups=(MILK,)), latte(item_code="OTHER", modifier_groups=(SUGAR,)))
    assert report.children.inserted == len(tenant.rows("SELECT 1 AS one FROM item_modifiers")) + len(
        tenant.rows("SELECT 1 AS one FROM item_modifier_options")
    )


def test_a_key_that_drops_trailing_spaces_is_refused(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items ALTER item_code TYPE char(20)")
    with pytest.raises(ContractError, match=r"items.item_code is character\(20\), which drops trailing spaces"):
        tenant.sync(latte())


def test_columns_an_index_only_includes_are_no_part_of_its_key(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items DROP CONSTRAINT items_item_code_key")
    tenant.edit("CREATE UNIQUE INDEX ON items (item_code) INCLUDE (name)")
    assert tenant.sync(latte()).items.inserted == 1
    tenant.edit("ALTER TABLE item_modifiers DROP CONSTRAINT item_modifiers_item_id_modifier_code_key")
    tenant.edit("CREATE UNIQUE INDEX ON item_modifiers (modifier_code) INCLUDE (item_id)")
    with pytest.raises(ContractError, match=r"item_modifiers has no unique key on \(item_id, modifier_code\)"):
        tenant.sync(latte())


def test_a_deferrable_key_on_other_columns_does_not_stop_a_sync(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE item_modifiers ADD UNIQUE (item_id, position) DEFERRABLE")
    assert tenant.sync(latte(modifier_groups=(SUGAR, MILK))).children.inserted == 5


def test_a_domain_rejects_what_it_cannot_hold_instead_of_cutting_it(tenant: SyncedTenant) -> None:
    tenant.edit("CREATE DOMAIN short AS varchar(10)")
    tenant.edit("ALTER TABLE items ALTER name TYPE short, ALTER original_name TYPE short")
    report = tenant.sync(latte(name="x" * 11), latte(item_code="FITS", name="x" * 10))
    assert (report.items.inserted, report.rejected) == (1, 1)
    assert tenant.item("FITS")["name"] == "x" * 10


def test_a_default_stands_in_for_a_missing_value_where_null_is_not_allowed(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items ALTER category SET DEFAULT 'none', ALTER category SET NOT NULL")
    assert tenant.sync(latte(category=None)).items.inserted == 1
    assert tenant.item("LAT-L")["category"] == "none"
    assert tenant.sync(latte(category=None)).unchanged == 1


def test_an_unknown_label_of_an_enumeration_leaves_what_is_stored(tenant: SyncedTenant) -> None:
    tenant.edit("CREATE TYPE kind AS ENUM ('standard', 'comboset')")
    tenant.edit("ALTER TABLE items ALTER item_type TYPE kind USING item_type::kind")
    report = tenant.sync(latte(), latte(item_code="ODD", item_type="gift card"))
    assert (report.items.inserted, report.rejected, tenant.item("ODD")["item_type"]) == (2, 0, None)
    [warning] = report.warnings
    assert warning == "ODD: item_type is 'gift card'; the column takes comboset, standard; what is stored stays"


def test_a_fraction_for_a_whole_number_costs_only_its_component(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE item_bundle_components ALTER quantity TYPE integer")
    parts = (BundleComponent("Drink", "LAT-L", "Latte", "2.0"), BundleComponent("Food", "CAKE", "Cake", "2.5"))
    report = tenant.sync(latte(bundle_components=parts))
    assert (report.children.inserted, report.children_rejected) == (1, 1)
    assert tenant.sync(latte(bundle_components=parts)).children.updated == 0


def test_a_constraint_that_is_checked_at_the_commit_costs_only_its_row(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items ADD UNIQUE (external_image_url) DEFERRABLE INITIALLY DEFERRED")
    tenant.edit("CREATE TABLE categories (name text PRIMARY KEY)")
    tenant.edit("INSERT INTO categories VALUES ('Coffee')")
    tenant.edit("ALTER TABLE items ADD FOREIGN KEY (category) REFERENCES categories DEFERRABLE INITIALLY DEFERRED")
    own = [latte(item_code=f"I{n}", external_image_url=f"https://cdn.example/{n}.jpg") for n in range(5)]
    items = [*own, latte(), latte(item_code="TEA", category="Tea", external_image_url=None), latte(item_code="TWICE")]
    report = tenant.sync(*items)
    assert (report.items.inserted, report.rejected) == (6, 2)
    assert {rejection.item_code for rejection in report.rejections} == {"TEA", "TWICE"}
    report = tenant.sync(*own[1:], latte(), own[0]._replace(category="Tea", name="New"))
    assert (report.items.updated, report.rejected, tenant.item("I0")["name"]) == (0, 1, "Latte")


def test_images_may_change_places_where_their_key_is_checked_at_the_commit(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items ADD UNIQUE (external_image_url) DEFERRABLE INITIALLY DEFERRED")
    tenant.sync(latte(external_image_url="https://cdn.example/a.jpg"))
    items = [
        latte(external_image_url="https://cdn.example/b.jpg"),
        latte(item_code="NEW", external_image_url="https://cdn.example/a.jpg"),
    ]
    report = tenant.sync(*items)
    assert (report.items.inserted, report.items.updated, report.rejected) == (1, 1, 0)


def test_children_of_a_rejected_item_stay_as_they_are(tenant: SyncedTenant) -> None:
    tenant.sync(latte(modifier_groups=(SUGAR,)), latte(item_code="OTHER"))
    report = tenant.sync(latte(name="x" * 300, modifier_groups=(MILK,)), latte(item_code="OTHER"))
    assert (report.rejected, report.children.hidden) == (1, 0)
    assert tenant.rows("SELECT modifier_code, visible FROM item_modifiers") == [
        {"modifier_code": "g-sugar", "visible": True}
    ]


def test_a_provider_that_suddenly_lists_no_modifiers_at_all_is_refused(tenant: SyncedTenant) -> None:
    groups = tuple(ModifierGroup(f"g{n}", "Group", (Modifier("m", "Modifier"),)) for n in range(3))
    items = [latte(item_code=f"I{n:02}", modifier_groups=groups) for n in range(20)]
    tenant.sync(*items)
    bare = [latte(item_code=f"I{n:02}") for n in range(20)]
    with pytest.raises(GuardRefusedError, match=r"it would hide 60 of 120 modifiers and components .*hide_children=60"):
        tenant.sync(*bare)
    assert tenant.sync(*bare, allow={"hide_children": 60}).children.hidden == 60


def test_an_item_without_a_code_is_nobodys_business(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items ALTER item_code DROP NOT NULL")
    tenant.edit("INSERT INTO items (name) VALUES ('made by hand')")
    report = tenant.sync(latte())
    assert (report.items.inserted, report.stale, report.stale_codes) == (1, 0, ())


def test_a_null_visibility_that_becomes_true_is_shown(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items ALTER visible DROP NOT NULL")
    tenant.sync(latte())
    tenant.edit("UPDATE items SET visible = NULL")
    assert tenant.sync(latte()).items.shown == 1


def test_characters_arrive_whole_in_a_database_of_another_encoding(
    tenant: SyncedTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    tenant.sync(latte(name="Caf\u00e9"))
    monkeypatch.delenv("PGCLIENTENCODING")
    assert tenant.item("LAT-L")["name"] == "Caf\u00e9"


def test_options_in_the_url_reach_the_database(tenant: SyncedTenant) -> None:
    tenant.edit("CREATE SCHEMA elsewhere")
    tenant.url = tenant.url.update_query_dict({"options": "-c search_path=elsewhere"})
    with pytest.raises(ContractError, match="has no table items"):
        tenant.sync(latte())


def test_a_merchants_insert_that_refers_to_a_row_is_not_in_the_way(tenant: SyncedTenant) -> None:
    tenant.sync(latte())
    with tenant.engine.connect() as merchant:
        merchant.execute(sa.text("INSERT INTO menu_items (item_id, price) SELECT id, 5 FROM items"))
        assert tenant.sync(latte(name="New")).items.renamed == 1
        merchant.commit()
    assert len(tenant.rows("SELECT 1 AS one FROM menu_items")) == 1


def test_a_table_that_is_being_migrated_is_an_error_that_says_so(tenant: SyncedTenant) -> None:
    tenant.sync(latte())
    with tenant.engine.connect() as migration:
        migration.execute(sa.text("LOCK TABLE items IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(DatabaseError, match="A table that this sync reads stayed locked"):
            tenant.sync(latte(name="New"))


def test_a_connection_lost_before_the_commit_says_that_nothing_was_written(tenant: SyncedTenant) -> None:
    tenant.sync(latte())
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'cata_pipeline run-%'"
    tenant.before_write = lambda: tenant.edit(kill)
    with pytest.raises(DatabaseError, match=r"Nothing was written\."):
        tenant.sync(latte(name="New"))
    assert tenant.item("LAT-L")["name"] == "Latte"


def test_a_row_that_got_another_code_meanwhile_is_a_merchants_own(tenant: SyncedTenant) -> None:
    tenant.sync(latte(), latte(item_code="OTHER"))
    tenant.before_write = lambda: tenant.edit("UPDATE items SET item_code = 'MINE' WHERE item_code = 'LAT-L'")
    report = tenant.sync(latte(name="New"), latte(item_code="OTHER"))
    assert (report.items.inserted, report.items.updated) == (1, 0)
    assert (tenant.item("MINE")["name"], tenant.item("LAT-L")["name"]) == ("Latte", "New")
