"""Rows that a constraint or a trigger refuses, and values that do not fit: one bad row never stops a tenant."""

import pytest

from cata_pipeline.catalog.model import Item, Modifier, ModifierGroup
from cata_pipeline.errors import DatabaseError, GuardRefusedError
from cata_pipeline.reconcile.changes import read_changes
from cata_pipeline.reconcile.report import ReconcileReport
from cata_pipeline_tests.reconcile.conftest import EVERY_ENGINE, SyncedTenant, latte
from cata_pipeline_tests.reconcile.test_ownership import MILK, SUGAR

ENGINES = EVERY_ENGINE


def lattes(count: int, **changes: object) -> list[Item]:
    return [latte(item_code=f"I{number:03}", **changes) for number in range(count)]


def refuse(tenant: SyncedTenant, table: str, event: str, condition: str) -> None:
    """Have a trigger refuse rows; `condition` is on NEW."""
    if tenant.on_mysql:
        tenant.edit(
            f"CREATE TRIGGER picky_{event} BEFORE {event} ON {table} FOR EACH ROW BEGIN IF {condition} THEN"
            " SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not on our menu'; END IF; END"
        )
        return
    tenant.edit(
        f"CREATE FUNCTION picky_{event}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF {condition} THEN RAISE EXCEPTION 'not on our menu'; END IF; RETURN NEW; END $$"
    )
    tenant.edit(f"CREATE TRIGGER picky BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION picky_{event}()")


def reasons(report: ReconcileReport) -> dict[str | None, str]:
    return {rejection.item_code: rejection.reason for rejection in report.rejections}


def test_a_violated_check_costs_only_its_row(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items ADD CONSTRAINT sane CHECK (item_code <> 'ODD')")
    items = [*lattes(60), latte(item_code="ODD", modifier_groups=(MILK,)), latte(modifier_groups=(SUGAR,))]
    report = tenant.sync(*items)
    assert (report.items.inserted, report.items_in_snapshot, report.rejected, report.stale) == (61, 61, 1, 0)
    assert "sane" in reasons(report)["ODD"]
    assert (report.children_rejected, report.children.inserted) == (0, 1 + len(SUGAR.modifiers))
    assert report.changes_path is not None
    changes = list(read_changes(tenant.bucket.read(report.changes_path)))
    assert [change.item_code for change in changes if change.table == "items"] == sorted(
        [item.item_code for item in items if item.item_code != "ODD"]
    )
    before = tenant.state("items")
    again = tenant.sync(*items)
    assert (again.unchanged, again.rejected, again.changes_path) == (61, 1, None)
    assert tenant.state("items") == before


def test_a_violated_check_leaves_a_stored_row_as_it_is(tenant: SyncedTenant) -> None:
    tenant.sync(*lattes(30))
    tenant.edit("ALTER TABLE items ADD CONSTRAINT sane CHECK (category <> 'Tea')")
    before = tenant.item("I007")
    items = [latte(item_code=f"I{n:03}", name="New", category="Tea" if n == 7 else "Coffee") for n in range(30)]
    report = tenant.sync(*items)
    assert (report.items.updated, report.items.renamed, report.rejected, report.items_in_snapshot) == (29, 29, 1, 29)
    assert "sane" in reasons(report)["I007"]
    assert tenant.item("I007") == before
    assert report.change_rows == 2 * 29


def test_of_rows_that_another_unique_key_takes_for_equal_the_first_is_stored(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items ADD COLUMN placeholder int")
    if tenant.on_mysql:
        tenant.edit("ALTER TABLE items ADD UNIQUE KEY one_image (external_image_url(200))")
    else:
        tenant.edit("ALTER TABLE items ADD CONSTRAINT one_image UNIQUE (external_image_url)")
    own = [latte(item_code=f"O{n}", external_image_url=f"https://cdn.example/{n}.jpg") for n in range(5)]
    report = tenant.sync(*lattes(3), *own)
    assert (report.items.inserted, report.rejected) == (6, 2)
    assert set(reasons(report)) == {"I001", "I002"}
    assert "one_image" in reasons(report)["I001"]


def test_a_violated_foreign_key_costs_only_its_row(tenant: SyncedTenant) -> None:
    tenant.edit("CREATE TABLE categories (name varchar(255) NOT NULL PRIMARY KEY)")
    tenant.edit("INSERT INTO categories VALUES ('Coffee')")
    tenant.edit("ALTER TABLE items ADD CONSTRAINT known FOREIGN KEY (category) REFERENCES categories (name)")
    report = tenant.sync(*lattes(10), latte(item_code="NEW", category="Tea"))
    assert (report.items.inserted, report.rejected) == (10, 1)
    assert "known" in reasons(report)["NEW"]
    tenant.edit("ALTER TABLE items DROP CONSTRAINT known")


@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
def test_a_row_that_a_trigger_refuses_costs_only_itself(tenant: SyncedTenant, event: str) -> None:
    bad = {"I003", "I004", "I020"}
    if event == "UPDATE":
        tenant.sync(*lattes(40))
    refuse(tenant, "items", event, "NEW.original_name = 'Bad'")
    items = [latte(item_code=f"I{n:03}", name="Bad" if f"I{n:03}" in bad else "Good") for n in range(40)]
    report = tenant.sync(*items)
    assert (report.items.inserted + report.items.updated, report.rejected) == (37, 3)
    assert set(reasons(report)) == bad
    assert all("not on our menu" in reason for reason in reasons(report).values())
    assert len(tenant.rows("SELECT item_code FROM items WHERE original_name = 'Good'")) == 37


def test_as_many_bad_rows_as_the_guard_allows_are_all_found(tenant: SyncedTenant) -> None:
    refuse(tenant, "items", "INSERT", "NEW.original_name = 'Bad'")
    items = [latte(item_code=f"I{n:03}", name="Bad" if n % 20 == 0 else "Good") for n in range(400)]
    report = tenant.sync(*items)
    assert (report.items.inserted, report.rejected, report.items_in_snapshot) == (380, 20, 380)
    assert tenant.rows("SELECT item_code FROM items WHERE original_name = 'Bad'") == []


def test_the_allowance_that_the_guard_names_suffices_for_all_refused_rows(tenant: SyncedTenant) -> None:
    refuse(tenant, "items", "INSERT", "NEW.original_name = 'Bad'")
    items = [latte(item_code=f"I{n:03}", name="Bad" if n % 5 == 0 else "Good") for n in range(200)]
    with pytest.raises(GuardRefusedError, match=r"40 of 200 rows were rejected .*--allow reject=40"):
        tenant.sync(*items)
    assert tenant.rows("SELECT item_code FROM items") == []
    assert tenant.sync(*items, allow={"reject": 40}).items.inserted == 160


def test_one_refused_part_costs_neither_its_item_nor_its_siblings(tenant: SyncedTenant) -> None:
    refuse(tenant, "item_modifier_options", "INSERT", "NEW.option_code = 'm-soy'")
    milks = ModifierGroup("g-milk", "Milk", (Modifier("m-oat", "Oat"), Modifier("m-soy", "Soy"), Modifier("m", "Cow")))
    report = tenant.sync(latte(modifier_groups=(milks,)), latte(item_code="TEA", modifier_groups=(SUGAR,)))
    assert (report.items.inserted, report.rejected, report.children_rejected) == (2, 0, 1)
    [rejection] = report.rejections
    assert rejection.item_code == "LAT-L"
    assert rejection.reason.startswith("item_modifier_options g-milk, m-soy: ")
    assert "not on our menu" in rejection.reason
    stored = {row["option_code"] for row in tenant.rows("SELECT option_code FROM item_modifier_options")}
    assert stored == {"m", "m-oat", *(modifier.code for modifier in SUGAR.modifiers)}


def test_parts_of_a_refused_group_are_not_written(tenant: SyncedTenant) -> None:
    refuse(tenant, "item_modifiers", "INSERT", "NEW.modifier_code = 'g-milk'")
    report = tenant.sync(latte(modifier_groups=(MILK, SUGAR)))
    assert (report.items.inserted, report.children_rejected) == (1, 1)
    assert report.children.inserted == 1 + len(SUGAR.modifiers)
    assert [row["modifier_code"] for row in tenant.rows("SELECT modifier_code FROM item_modifiers")] == ["g-sugar"]


def test_a_part_that_may_not_be_hidden_stays_and_is_reported(tenant: SyncedTenant) -> None:
    tenant.sync(latte(modifier_groups=(MILK, SUGAR)), latte(item_code="TEA", modifier_groups=(SUGAR,)))
    refuse(tenant, "item_modifiers", "UPDATE", "NEW.modifier_code = 'g-milk'")
    report = tenant.sync(latte(name="New"), latte(item_code="TEA"))
    assert (report.items.renamed, report.children.hidden, report.children_rejected) == (1, 2, 1)
    assert report.rejections[0].reason.startswith("item_modifiers g-milk: ")
    assert [row["modifier_code"] for row in tenant.rows("SELECT modifier_code FROM item_modifiers WHERE visible")] == [
        "g-milk"
    ]


def test_refused_parts_without_end_stop_the_sync_with_nothing_written(tenant: SyncedTenant) -> None:
    refuse(tenant, "item_modifiers", "INSERT", "NEW.modifier_code LIKE 'g%'")
    items = [latte(item_code=f"I{n:04}", modifier_groups=(MILK,)) for n in range(1_001)]
    with pytest.raises(DatabaseError, match=r"more than 1,000 rows of the structure tables: I0000: item_modifiers"):
        tenant.sync(*items)
    assert tenant.rows("SELECT item_code FROM items") == []


def test_a_bad_row_is_told_from_one_that_a_merchant_inserted_meanwhile(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items ADD CONSTRAINT sane CHECK (item_code <> 'ODD')")
    tenant.before_write = lambda: tenant.edit("INSERT INTO items (item_code, name) VALUES ('I002', 'Ours')")
    report = tenant.sync(*lattes(5), latte(item_code="ODD"))
    assert (report.items.inserted, report.items.updated, report.rejected) == (4, 1, 1)
    assert (tenant.item("I002")["name"], tenant.item("I002")["original_name"]) == ("Ours", "Latte")


def test_an_image_url_that_does_not_fit_does_not_keep_a_product_on_sale(tenant: SyncedTenant) -> None:
    kind = "MODIFY external_image_url" if tenant.on_mysql else "ALTER external_image_url TYPE"
    tenant.edit(f"ALTER TABLE items {kind} varchar(100)")
    stored = latte().external_image_url
    tenant.sync(latte())
    long = "https://cdn.example/" + "x" * 100
    items = [
        latte(is_active=False, name="New", external_image_url=long),
        latte(item_code="NEW", external_image_url=long),
    ]
    report = tenant.sync(*items)
    row = tenant.item("LAT-L")
    assert (row["visible"], row["name"], row["external_image_url"]) == (False, "New", stored)
    assert tenant.item("NEW")["external_image_url"] is None
    assert (report.items.hidden, report.items.inserted, report.rejected, report.items.image_urls_changed) == (
        1,
        1,
        0,
        0,
    )
    said = "external_image_url has 120 characters; the column takes 100; what is stored stays"
    assert report.warnings == (f"LAT-L: {said}", f"NEW: {said}")
    assert tenant.sync(*items).unchanged == 2
    assert tenant.sync(latte(is_active=False, name="New", external_image_url=None)).items.image_urls_changed == 1


def test_a_description_that_does_not_fit_moves_neither_of_its_pair(tenant: SyncedTenant) -> None:
    tenant.edit("ALTER TABLE items ADD COLUMN original_description varchar(50)")
    tenant.sync(latte(description="Short"))
    report = tenant.sync(latte(description="x" * 51))
    row = tenant.item("LAT-L")
    assert (row["description"], row["original_description"]) == ("Short", "Short")
    assert (report.unchanged, len(report.warnings)) == (1, 1)
    assert tenant.sync(latte(description="Other")).items.updated == 1
    assert tenant.item("LAT-L")["description"] == "Other"


def test_many_values_that_do_not_fit_are_counted_and_the_first_named(tenant: SyncedTenant) -> None:
    report = tenant.sync(*lattes(14, item_type="x" * 65))
    assert (report.items.inserted, len(report.warnings)) == (14, 11)
    assert report.warnings[0] == "I000: item_type has 65 characters; the column takes 64; what is stored stays"
    assert report.warnings[-1] == "4 more values do not fit; what is stored stays"


DEFAULTS = {
    "a placeholder of the driver": "'50%s off, 100%'",
    "a quote": "'it''s new'",
    "a backslash": r"'C:\\temp'",
}


@pytest.mark.parametrize("default", DEFAULTS.values(), ids=DEFAULTS)
def test_the_database_fills_a_missing_value_on_insert_only(tenant: SyncedTenant, default: str) -> None:
    if tenant.on_mysql:
        tenant.edit(f"ALTER TABLE items MODIFY category varchar(255) NOT NULL DEFAULT {default}".replace("%", "%%"))
    else:
        tenant.edit(f"ALTER TABLE items ALTER category SET DEFAULT {default}, ALTER category SET NOT NULL")
    items = [latte(category=None), latte(item_code="TEA", category="Tea")]
    assert tenant.sync(*items).items.inserted == 2
    filled = tenant.item("LAT-L")["category"]
    assert filled[:2] in default
    assert tenant.item("TEA")["category"] == "Tea"
    before = tenant.state("items")
    assert tenant.sync(*items).unchanged == 2
    assert tenant.state("items") == before
    assert tenant.sync(latte(category=None, name="New"), latte(item_code="TEA", category=None)).items.updated == 1
    assert [row["category"] for row in tenant.rows("SELECT category FROM items ORDER BY item_code")] == [filled, "Tea"]


def test_a_default_that_differs_with_each_use_is_not_written_again(tenant: SyncedTenant) -> None:
    if tenant.on_mysql:
        tenant.edit("ALTER TABLE items MODIFY category varchar(255) NOT NULL")
        tenant.edit("ALTER TABLE items ALTER category SET DEFAULT (uuid())")
    else:
        tenant.edit("ALTER TABLE items ALTER category SET DEFAULT gen_random_uuid()::text, ALTER category SET NOT NULL")
    tenant.sync(*lattes(5, category=None))
    before = tenant.state("items")
    assert len({row["category"] for row in before}) == 5
    assert tenant.sync(*lattes(5, category=None)).unchanged == 5
    assert tenant.state("items") == before


def test_columns_that_need_a_default_do_so_each_for_itself(tenant: SyncedTenant) -> None:
    for column in ("category", "item_type"):
        if tenant.on_mysql:
            tenant.edit(f"ALTER TABLE items MODIFY {column} varchar(64) NOT NULL DEFAULT 'none'")
        else:
            tenant.edit(f"ALTER TABLE items ALTER {column} SET DEFAULT 'none', ALTER {column} SET NOT NULL")
    values = [(None, None), ("Tea", None), (None, "set"), ("Tea", "set")]
    items = [latte(item_code=f"I{n}", category=c, item_type=t) for n, (c, t) in enumerate(values)]
    assert tenant.sync(*items).items.inserted == 4
    stored = tenant.rows("SELECT category, item_type FROM items ORDER BY item_code")
    assert [tuple(row.values()) for row in stored] == [(c or "none", t or "none") for c, t in values]
    assert tenant.sync(*items).unchanged == 4


def test_a_value_that_a_stored_row_may_lack_is_no_reason_to_leave_it_on_sale(tenant: SyncedTenant) -> None:
    tenant.sync(latte())
    kind = "MODIFY category varchar(255)" if tenant.on_mysql else "ALTER category SET"
    tenant.edit(f"ALTER TABLE items {kind} NOT NULL")
    items = [latte(category=None, is_active=False), latte(item_code="NEW", category=None)]
    for report in (tenant.sync(*items, dry_run=True), tenant.sync(*items)):
        assert (report.items.hidden, report.rejected, report.items.inserted) == (1, 1, 0)
        assert reasons(report) == {"NEW": "category is not given; the column takes no NULL and has no default"}
    assert (tenant.item("LAT-L")["category"], tenant.item("LAT-L")["visible"]) == ("Coffee", False)
