"""What a provider must not send and sends all the same: one bad item never costs the others (both engines).

What only one engine can get wrong is in `test_mysql` and `test_hostile_schemas`.
"""

import random
from collections import Counter
from decimal import Decimal

from cata_pipeline.catalog.model import BundleComponent, Item, Modifier, ModifierGroup, Rejection, unite
from cata_pipeline.providers.iseller_rows import project
from cata_pipeline.providers.row_fields import Row
from cata_pipeline_tests.reconcile.conftest import EVERY_ENGINE, SyncedTenant, latte

ENGINES = EVERY_ENGINE

HALF = "holds half of a surrogate pair, which is no character"
BAD_ROWS: dict[str, tuple[Row, str]] = {
    "NUL in the name": ({"name": "Te\x00h"}, "has a name that holds a NUL character"),
    "half a surrogate pair in the name": ({"name": "Teh \ud83c"}, f"has a name that {HALF}"),
    "half a surrogate pair in the description": ({"description": "\udf70"}, f"has a description that {HALF}"),
    "NUL in a modifier": (
        {"modifier_groups": [{"modifier_group_id": "g", "title": "Ice\x00"}]},
        "has a title that holds a NUL character",
    ),
    "NUL in the code": ({"sku": "T\x00"}, "has a SKU that holds a NUL character"),
    "a code of 10 kB": ({"sku": "T" * 10_000}, "has a SKU of 10000 bytes; at most 1024 can be stored"),
    "a fraction as code": ({"sku": Decimal("1.5")}, "has a number with a decimal point as SKU; expected a text"),
    "no name": ({"name": None}, "has no name"),
    "nothing but spaces as code": (
        {"sku": "  "},
        "has a SKU of nothing but spaces; give the product a real one in the POS",
    ),
}


def row(product_id: str, **fields: object) -> Row:
    return {"product_id": product_id, "sku": f"SKU-{product_id}", "name": "Teh", "is_active": True} | fields


def projected(*rows: Row) -> tuple[list[Item], list[Rejection], Counter[str]]:
    warnings: Counter[str] = Counter()
    answers = [project(row, empty_sku="reject", warn=lambda words: warnings.update([words])) for row in rows]
    items = [answer for answer in answers if isinstance(answer, Item)]
    return items, [answer for answer in answers if isinstance(answer, Rejection)], warnings


def codes(tenant: SyncedTenant) -> list[str]:
    return sorted(row["item_code"] for row in tenant.rows("SELECT item_code FROM items"))


def test_rows_that_no_database_takes_are_rejected_with_a_reason_and_the_others_arrive(tenant: SyncedTenant) -> None:
    bad = [row(name, **fields) for name, (fields, _) in BAD_ROWS.items()]
    items, rejections, _ = projected(row("1"), *bad, row("2"))
    report = tenant.apply(tenant.snapshot(items, rejections))
    assert (report.items.inserted, report.rejected, report.items_in_snapshot) == (2, len(BAD_ROWS), 2)
    assert codes(tenant) == ["SKU-1", "SKU-2"]
    assert {rejection.provider_id: rejection.reason for rejection in report.rejections} == {
        name: reason for name, (_, reason) in BAD_ROWS.items()
    }


def test_a_row_that_turns_bad_leaves_what_is_stored_as_it_was(tenant: SyncedTenant) -> None:
    tenant.apply(tenant.snapshot(projected(row("1"), row("2"))[0]))
    before = tenant.item("SKU-1")
    items, rejections, _ = projected(row("1", name="Teh\x00", is_active=False), row("2", name="Teh tarik"))
    report = tenant.apply(tenant.snapshot(items, rejections))
    assert (report.rejected, report.items.renamed, report.items.hidden) == (1, 1, 0)
    assert tenant.item("SKU-1") == before


def test_a_number_and_the_same_digits_are_one_code_and_zero_is_a_code(tenant: SyncedTenant) -> None:
    items, rejections, _ = projected(row("1", sku=12), row("2", sku="12"), row("3", sku="0"), row("4", sku=0))
    united, duplicates = unite(items)
    report = tenant.sync(*united)
    assert (report.items.inserted, rejections, codes(tenant)) == (2, [], ["0", "12"])
    assert [(loser.item_code, loser.kept_provider_id) for loser in duplicates] == [("0", "3"), ("12", "1")]
    assert tenant.sync(*unite(projected(row("1", sku="12"), row("3", sku=0))[0])[0]).unchanged == 2


def test_dates_that_are_none_cost_nothing(tenant: SyncedTenant) -> None:
    moments: list[object] = ["yesterday", "0000-00-00 00:00:00", "9999-99-99", "2026-02-30", 20260101, {}]
    rows = [row(str(number), modified_date=moment) for number, moment in enumerate(moments)]
    items, rejections, warnings = projected(*rows, row("fine", modified_date="2026-02-28 10:00:00"))
    assert (rejections, warnings) == ([], {"modified_date that cannot be read left out": len(moments)})
    assert tenant.sync(*items).items.inserted == len(moments) + 1


def test_a_code_that_is_longer_than_its_column_costs_only_its_item(tenant: SyncedTenant) -> None:
    longest, longer = "\u00e9" * 255, "\u00e9" * 256
    report = tenant.sync(latte(item_code=longest), latte(item_code=longer), latte())
    assert (report.items.inserted, report.rejected) == (2, 1)
    assert report.rejections[0].reason == "item_code has 256 characters; the column takes 255"
    assert codes(tenant) == sorted([longest, "LAT-L"])


def test_codes_of_parts_that_are_longer_than_their_columns_cost_only_those_parts(tenant: SyncedTenant) -> None:
    long = "x" * 10_000
    groups = (
        ModifierGroup(long, "Long", (Modifier("m", "M"),)),
        ModifierGroup("g", "Ice", (Modifier(long, "Long"), Modifier("less", "Less"))),
    )
    parts = (BundleComponent(long, "A", "A"), BundleComponent("Drink", long, "B"), BundleComponent("Drink", "C", "C"))
    report = tenant.sync(latte(modifier_groups=groups, bundle_components=parts), latte(item_code="OTHER"))
    assert (report.items.inserted, report.rejected, report.children.inserted) == (2, 0, 3)
    assert report.children_rejected == 4
    assert tenant.sync(latte(modifier_groups=groups, bundle_components=parts)).children.inserted == 0


def test_a_description_of_five_megabytes_arrives_where_the_column_holds_it(tenant: SyncedTenant) -> None:
    text = "Kopi \u2615 \U0001f370\n" * 400_000
    assert len(text.encode()) > 5_000_000
    if tenant.on_mysql:
        report = tenant.sync(latte(description=text), latte(item_code="OTHER"))
        assert (report.items.inserted, report.rejected, tenant.item("LAT-L")["description"]) == (2, 0, None)
        [warning] = report.warnings
        assert f"LAT-L: description has {len(text.encode())} bytes; the column takes 65535" in warning
        tenant.edit("ALTER TABLE items MODIFY description longtext")
    items = [latte(description=text), latte(item_code="OTHER")]
    tenant.sync(*items)
    assert tenant.item("LAT-L")["description"] == text
    assert tenant.sync(*items).unchanged == 2


def test_keys_that_no_index_holds_cost_only_their_rows_where_the_columns_have_no_length(tenant: SyncedTenant) -> None:
    long = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=10_000))  # noqa: S311 must not compress well
    if not tenant.on_mysql:
        tenant.edit("ALTER TABLE items ALTER item_code TYPE text")
        tenant.edit("ALTER TABLE item_bundle_components ALTER slot TYPE text")
    parts = (BundleComponent(long, "A", "A"), BundleComponent("Drink", "C", "C"))
    report = tenant.sync(latte(bundle_components=parts), latte(item_code=long), latte(item_code="OTHER"))
    assert (report.items.inserted, report.rejected) == (2, 1)
    assert (report.children.inserted, report.children_rejected) == (1, 1)
