"""What each field of a Loyverse item becomes."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from cata_pipeline.catalog.model import Item, Modifier, ModifierGroup, Rejection, VariantOption
from cata_pipeline.providers.loyverse_options import LoyverseOptions
from cata_pipeline.providers.loyverse_rows import (
    Component,
    Projected,
    References,
    category_of,
    modifier_group_of,
    project,
)
from cata_pipeline.providers.row_fields import UnusableRowError
from cata_pipeline_tests.providers.loyverse_pos import OTHER_STORE, STORE, category, item, modifier, store, variant

ANY_STORE = LoyverseOptions()
REJECTING = LoyverseOptions(missing_sku="reject")
REFERENCES = References(
    {"category-Coffee": "Coffee"},
    {"sugar": ModifierGroup("sugar", "Sugar", (Modifier("less", "Less"),))},
)


def projected(row: object, options: LoyverseOptions = ANY_STORE, warnings: list[str] | None = None) -> list[Projected]:
    return list(project(row, REFERENCES, options, (warnings if warnings is not None else []).append))


def only(row: object, options: LoyverseOptions = ANY_STORE) -> Item:
    [one] = projected(row, options)
    assert isinstance(one.outcome, Item), one.outcome
    return one.outcome


def rejection(row: object, options: LoyverseOptions = ANY_STORE) -> Rejection:
    [one] = projected(row, options)
    assert isinstance(one.outcome, Rejection), one.outcome
    return one.outcome


def test_each_variant_is_an_item_of_its_own_named_by_its_options() -> None:
    row = item(
        variant("KS-L", "v-1", option1_value="Large", option2_value="Ice"),
        variant("KS-S", "v-2", option1_value="Small", option2_value=None),
        id="i-1",
        option1_name="Size",
        option2_name="Temp",
    )
    large, small = (one.outcome for one in projected(row))
    assert isinstance(large, Item)
    assert isinstance(small, Item)
    assert (large.item_code, large.provider_id, large.name) == ("KS-L", "v-1", "Kopi Susu - Large / Ice")
    assert large.variant_options == (VariantOption("Size", "Large"), VariantOption("Temp", "Ice"))
    assert (small.name, small.variant_options) == ("Kopi Susu - Small", (VariantOption("Size", "Small"),))
    assert large.variant_group == small.variant_group == "i-1"


def test_an_item_without_options_is_no_family() -> None:
    told = only(item(variant("10000")))
    assert (told.name, told.variant_group, told.variant_options) == ("Kopi Susu", None, ())


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Strong &amp; <b>sweet</b></p><p>Iced</p>", "Strong & sweet\nIced"),
        ("<p><br></p>", None),
        ("", None),
        (None, None),
    ],
)
def test_a_description_loses_its_tags(html: str | None, text: str | None) -> None:
    assert only(item(variant("K"), description=html)).description == text


@pytest.mark.parametrize("where", ["item", "variant"])
def test_what_is_deleted_is_inactive(where: str) -> None:
    gone = {"deleted_at": "2026-03-01T00:00:00.000Z"}
    row = item(variant("K", **(gone if where == "variant" else {})), **(gone if where == "item" else {}))
    assert only(row).is_active is False


@pytest.mark.parametrize(
    ("stores", "anywhere", "in_ours"),
    [
        ([store(for_sale=True)], True, True),
        ([store(for_sale=False)], False, False),
        ([store(for_sale=False), store(OTHER_STORE, for_sale=True)], True, False),
        ([], False, False),
        (None, True, True),
    ],
)
def test_what_is_for_sale_at_the_store_or_without_one_anywhere_is_active(
    stores: object,
    anywhere: bool,  # noqa: FBT001 a parameter
    in_ours: bool,  # noqa: FBT001
) -> None:
    row = item(variant("K", stores=stores))
    assert only(row).is_active is anywhere
    assert only(row, LoyverseOptions(store_id=STORE)).is_active is in_ours


def test_the_newer_of_item_and_variant_says_when_it_changed() -> None:
    row = item(variant("K", updated_at="2026-03-02T00:00:00.123Z"), updated_at="2026-03-01T00:00:00.000Z")
    assert only(row).updated_at == datetime(2026, 3, 2, microsecond=123_000, tzinfo=UTC)


def test_a_time_that_cannot_be_read_is_left_out_with_a_warning() -> None:
    [one] = projected(item(variant("K", updated_at="yesterday"), updated_at=None))
    assert isinstance(one.outcome, Item)
    assert one.outcome.updated_at is None
    assert one.warnings == ("updated_at that cannot be read left out",)


@pytest.mark.parametrize("key", ["modifier_ids", "modifiers_ids"])
def test_modifiers_are_found_under_either_spelling(key: str) -> None:
    row = item(variant("K"))
    del row["modifier_ids"]
    assert only({**row, key: ["sugar"]}).modifier_groups == (REFERENCES.modifiers["sugar"],)


def test_no_word_about_modifiers_is_not_none_of_them() -> None:
    row = item(variant("K"))
    del row["modifier_ids"]
    assert only(row).modifier_groups is None
    assert only({**row, "modifier_ids": None}).modifier_groups == ()
    assert only({**row, "modifier_ids": []}).modifier_groups == ()


def test_one_unknown_modifier_leaves_all_of_the_item_as_they_are() -> None:
    [one] = projected(item(variant("K"), modifier_ids=["sugar", "gone"]))
    assert isinstance(one.outcome, Item)
    assert one.outcome.modifier_groups is None
    assert one.warnings == ("modifiers of an item left as they are: one is not in the account's list",)


def test_a_category_is_named_and_a_dangling_one_left_out() -> None:
    assert only(item(variant("K"), category_id="category-Coffee")).category == "Coffee"
    [one] = projected(item(variant("K"), category_id="gone"))
    assert isinstance(one.outcome, Item)
    assert one.outcome.category is None
    assert one.warnings == ("category that the account does not have left out",)


def test_a_composite_keeps_its_components_in_order_and_repeated() -> None:
    parts = [{"variant_id": "v-1", "quantity": 1}, {"variant_id": "v-2", "quantity": Decimal("0.5")}] * 2
    [one] = projected(item(variant("DUO"), is_composite=True, components=parts))
    assert one.components == (Component("v-1", "1"), Component("v-2", "0.5")) * 2
    assert isinstance(one.outcome, Item)
    assert one.outcome.item_type == "composite"


def test_the_components_of_a_recipe_are_nobodys_bundle() -> None:
    row = item(variant("DUO"), is_composite=True, components=[{"variant_id": "v-1", "quantity": 1}])
    [one] = projected(row, LoyverseOptions(composite="recipe"))
    assert one.components == ()
    assert isinstance(one.outcome, Item)
    assert one.outcome.item_type == "composite"


@pytest.mark.parametrize("components", [None, [{"quantity": 1}], ["v-1"]], ids=repr)
def test_a_composite_whose_components_cannot_be_told_says_nothing_of_them(components: object) -> None:
    [one] = projected(item(variant("DUO"), is_composite=True, components=components))
    assert one.components is None


def test_components_of_what_is_no_composite_are_ignored() -> None:
    [one] = projected(item(variant("K"), components=[{"variant_id": "v-1", "quantity": 1}]))
    assert one.components == ()


@pytest.mark.parametrize("sku", [{"sku": None}, {"sku": ""}, {}], ids=repr)
def test_a_variant_without_sku_takes_its_id_unless_the_tenant_wants_it_rejected(sku: dict[str, object]) -> None:
    part = {key: value for key, value in variant("", "v-1").items() if key != "sku"} | sku
    assert only(item(part)).item_code == "v-1"
    assert rejection(item(part), REJECTING).reason == (
        """has no SKU; give the variant one in the POS, or set the tenant's option missing_sku = "variant_id\""""
    )


def test_zero_is_a_sku() -> None:
    assert only(item(variant("0"))).item_code == "0"


def test_one_unusable_variant_costs_itself_only() -> None:
    outcomes = [one.outcome for one in projected(item(variant("A"), variant(" ", "v-2"), variant("C"), "odd"))]
    assert [type(outcome) for outcome in outcomes] == [Item, Rejection, Item, Rejection]


def test_an_unusable_item_rejects_each_of_its_variants_by_name() -> None:
    outcomes = [one.outcome for one in projected(item(variant("A", "v-1"), variant("B", "v-2"), item_name=5))]
    told = "has a whole number as item_name; expected a text"
    assert outcomes == [Rejection("v-1", "A", told), Rejection("v-2", "B", told)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (None, "is null instead of an item"),
        ([], "is a list instead of an item"),
        (item(), "has no variants"),
        (item({**variant("K"), "variant_id": None}), "has no variant_id"),
        ({**item(), "variants": "K"}, "has a text as variants; expected a list"),
        (item(variant("K", stores=["A"])), "has a text among its stores; expected an object"),
    ],
    ids=["null", "list", "no variants", "no id", "odd variants", "odd stores"],
)
def test_a_row_that_is_no_item_says_why(row: object, reason: str) -> None:
    assert rejection(row).reason == reason


@pytest.mark.parametrize(
    ("row", "warning"),
    [
        (item(deleted_at="2026-01-01T00:00:00.000Z"), "deleted item without variants left out"),
        (item(variant(None), deleted_at="2026-01-01T00:00:00.000Z"), "deleted variant that is no item left out"),
        (item(variant(None, deleted_at="2026-01-01T00:00:00.000Z")), "deleted variant that is no item left out"),
        (item(variant(" ", deleted_at="2026-01-01T00:00:00.000Z")), "deleted variant that is no item left out"),
    ],
)
def test_deleted_rows_that_nobody_can_repair_are_no_rejections(row: object, warning: str) -> None:
    warnings: list[str] = []
    assert projected(row, REJECTING, warnings) == []
    assert warnings == [warning]


def test_a_modifier_is_a_group_of_its_options() -> None:
    warnings: list[str] = []
    row = modifier("sugar", "Sugar", ("less", "Less"), ("no", "No"), ("less", "Again"), ("", "x"), ("y", None))
    assert modifier_group_of(row, None, warnings.append) == (
        "sugar",
        ModifierGroup("sugar", "Sugar", (Modifier("less", "Less"), Modifier("no", "No"))),
    )
    assert sorted(warnings) == [
        "modifier option without id or name left out",
        "modifier option without id or name left out",
        "second modifier option with the same id left out",
    ]


def test_modifier_options_come_in_the_order_of_their_positions_and_deleted_ones_are_inactive() -> None:
    options = [
        {"id": "last", "name": "Last", "position": 10},
        {"id": "gone", "name": "Gone", "position": 1, "deleted_at": "2026-01-01T00:00:00.000Z"},
        {"id": "also second", "name": "Also second", "position": Decimal("2.0"), "deleted_at": None},
        {"id": "second", "name": "Second", "position": 2, "deleted_at": ""},
        {"id": "first", "name": "First", "position": 0},
    ]
    row = modifier("sugar", "Sugar", modifier_options=options)
    assert modifier_group_of(row, None, lambda _: None)[1].modifiers == (
        Modifier("first", "First"),
        Modifier("gone", "Gone", is_active=False),
        Modifier("also second", "Also second"),
        Modifier("second", "Second"),
        Modifier("last", "Last"),
    )


def test_modifier_options_without_positions_keep_their_order() -> None:
    for position in ({"position": None}, {"position": "x"}, {}):
        options = [{"id": code, "name": code} | position for code in "cab"]
        row = modifier("sugar", "Sugar", modifier_options=options)
        assert [part.code for part in modifier_group_of(row, None, lambda _: None)[1].modifiers] == ["c", "a", "b"]


def test_a_deleted_modifier_is_an_inactive_group() -> None:
    row = modifier("sugar", "Sugar", deleted_at="2026-01-01T00:00:00.000Z")
    assert modifier_group_of(row, None, lambda _: None)[1].is_active is False


@pytest.mark.parametrize(
    ("fields", "store_id", "is_active"),
    [
        ({}, STORE, True),
        ({}, OTHER_STORE, False),
        ({}, None, True),
        ({"stores": None}, OTHER_STORE, True),
        ({"stores": []}, OTHER_STORE, False),
        ({"stores": [STORE, OTHER_STORE]}, OTHER_STORE, True),
    ],
)
def test_a_modifier_of_other_stores_is_an_inactive_group(
    fields: dict[str, object], store_id: str | None, is_active: object
) -> None:
    row = modifier("sugar", "Sugar", **fields)
    assert modifier_group_of(row, store_id, lambda _: None)[1].is_active is is_active


@pytest.mark.parametrize("row", [None, {}, {"id": "x"}, {"id": "x", "name": 5}, {"name": "x"}], ids=repr)
def test_references_that_are_none_are_unusable(row: object) -> None:
    with pytest.raises(UnusableRowError):
        modifier_group_of(row, None, lambda _: None)
    with pytest.raises(UnusableRowError):
        category_of(row)


def test_a_category_has_an_id_and_a_name() -> None:
    assert category_of(category("Coffee")) == ("category-Coffee", "Coffee")


@pytest.mark.parametrize("name", ["Coffee", "", None])
def test_a_deleted_category_has_no_name(name: object) -> None:
    row = category("Coffee", deleted_at="2026-01-01T00:00:00.000Z") | {"name": name}
    assert category_of(row) == ("category-Coffee", None)
