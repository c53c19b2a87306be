"""What one row of iSeller's GetProducts becomes."""

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from cata_pipeline.catalog.model import (
    MAX_ITEM_CODE_BYTES,
    BundleComponent,
    Item,
    Modifier,
    ModifierGroup,
    Rejection,
    VariantOption,
)
from cata_pipeline.providers.iseller_options import EmptySku
from cata_pipeline.providers.iseller_rows import product_id, project
from cata_pipeline.providers.row_fields import moment_of

VARIANT: dict[str, Any] = {
    "product_id": "11111111-0000-0000-0000-000000000001",
    "product_header_id": "aaaaaaaa-0000-0000-0000-000000000001",
    "name": "Kopi Susu",
    "description": "Iced milk coffee",
    "type": "variant",
    "product_type": "Coffee",
    "tags": ["signature"],
    "sku": "KS-L-ICE",
    "price": "18000.0000",
    "variant_options": [{"option": "Size", "value": "Large"}, {"option": "Temp", "value": "Ice"}],
    "ingredients": [{"product_id": "x", "name": "Milk", "sku": "RM-1", "quantity": Decimal("0.2")}],
    "bundles": None,
    "modifier_groups": [
        {
            "modifier_group_id": "g2",
            "title": "Sugar",
            "modifiers": [{"modifier_id": "m1", "modifier_group_id": "g1", "title": "Less", "price": 0, "quantity": 0}],
            "is_active": True,
        }
    ],
    "images": ["https://cdn.isellercommerce.com/0a/0b.jpg"],
    "is_active": True,
    "modified_date": "2025-09-08 07:59:38",
}
PLAIN: dict[str, Any] = {"product_id": "p1", "name": "Teh", "sku": "T1"}


def taken(row: object, empty_sku: EmptySku = "product_id") -> tuple[Item, Counter[str]]:
    warnings: Counter[str] = Counter()

    def warn(sentence: str) -> None:
        warnings[sentence] += 1

    outcome = project(row, empty_sku=empty_sku, warn=warn)
    assert isinstance(outcome, Item), outcome
    return outcome, warnings


def item(**fields: object) -> Item:
    found, warnings = taken(PLAIN | fields)
    assert not warnings
    return found


NO_SKU = """has no SKU; give the product one in the POS, or set the tenant's option empty_sku = "product_id\""""


def rejected(row: object, empty_sku: EmptySku = "product_id") -> Rejection:
    outcome = project(row, empty_sku=empty_sku, warn=lambda _sentence: None)
    assert isinstance(outcome, Rejection), outcome
    return outcome


def test_a_variant_becomes_an_item_of_its_family() -> None:
    found, warnings = taken(VARIANT)
    assert found == Item(
        item_code="KS-L-ICE",
        provider_id="11111111-0000-0000-0000-000000000001",
        name="Kopi Susu - Large / Ice",
        is_active=True,
        description="Iced milk coffee",
        category="Coffee",
        item_type="variant",
        external_image_url="https://cdn.isellercommerce.com/0a/0b.jpg",
        variant_group="aaaaaaaa-0000-0000-0000-000000000001",
        variant_options=(VariantOption("Size", "Large"), VariantOption("Temp", "Ice")),
        modifier_groups=(ModifierGroup("g2", "Sugar", (Modifier("m1", "Less", None),)),),
        updated_at=datetime(2025, 9, 8, 7, 59, 38, tzinfo=UTC),
    )
    assert not warnings


def test_missing_keys_are_tolerated_and_unknown_ones_ignored() -> None:
    assert item(colour="green", loyalty={"points": 3}) == Item("T1", "p1", "Teh", is_active=None, modifier_groups=None)


def test_a_price_is_never_read() -> None:
    odd_prices = {"price": {"no": "number"}, "outlet_prices": "x", "buying_price": [], "buying_prices": True}
    assert item(**odd_prices) == item()


@pytest.mark.parametrize(
    ("sku", "code"),
    [
        ("A-1", "A-1"),
        ("0", "0"),
        ("007", "007"),
        (" a B ", " a B "),
        ("Kopi\u00a0é", "Kopi\u00a0é"),
        ("e\u0301", "e\u0301"),
        (0, "0"),
        (12, "12"),
        (9007199254740993, "9007199254740993"),
        (None, "p1"),
        ("", "p1"),
        ("x" * MAX_ITEM_CODE_BYTES, "x" * MAX_ITEM_CODE_BYTES),
    ],
)
def test_a_sku_is_the_item_code_byte_for_byte(sku: object, code: str) -> None:
    assert item(sku=sku).item_code == code


@pytest.mark.parametrize(
    ("sku", "reason"),
    [
        (True, "has true or false as SKU; expected a text"),
        (Decimal("1.5"), "has a number with a decimal point as SKU; expected a text"),
        (["A"], "has a list as SKU; expected a text"),
        ({}, "has an object as SKU; expected a text"),
        (" \t\u00a0", "has a SKU of nothing but spaces; give the product a real one in the POS"),
        ("é" * 513, "has a SKU of 1026 bytes; at most 1024 can be stored"),
        (int("9" * 1025), "has a SKU of 1025 bytes; at most 1024 can be stored"),
        ("A\x00B", "has a SKU that holds a NUL character"),
        ("A\ud800", "has a SKU that holds half of a surrogate pair, which is no character"),
    ],
)
def test_a_sku_that_cannot_be_a_code_rejects_its_row(sku: object, reason: str) -> None:
    assert rejected(PLAIN | {"sku": sku}).reason == reason


def test_a_missing_sku_rejects_where_the_tenant_wants_it() -> None:
    without = {"product_id": "p1", "name": "Teh"}
    for row in (without, without | {"sku": None}, without | {"sku": ""}):
        assert rejected(row, "reject") == Rejection("p1", None, NO_SKU)
    assert taken(PLAIN | {"sku": "0"}, "reject")[0].item_code == "0"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (None, "is null instead of a product"),
        ("Teh", "is a text instead of a product"),
        ([PLAIN], "is a list instead of a product"),
        ({"name": "Teh", "sku": "T1"}, "has no product_id"),
        (PLAIN | {"product_id": None}, "has no product_id"),
        (PLAIN | {"product_id": "  "}, "has no product_id"),
        (PLAIN | {"product_id": True}, "has true or false as product_id; expected a text"),
        (PLAIN | {"product_id": "p" * 1025, "sku": ""}, "has a product_id of 1025 bytes; at most 1024 can be stored"),
        (PLAIN | {"product_id": "p\x00"}, "has a product_id that holds a NUL character"),
        ({"product_id": "p1", "sku": "T1"}, "has no name"),
        (PLAIN | {"name": None}, "has no name"),
        (PLAIN | {"name": " \n"}, "has no name"),
        (PLAIN | {"name": 7}, "has a whole number as name; expected a text"),
        (PLAIN | {"name": "Teh\x00"}, "has a name that holds a NUL character"),
        (PLAIN | {"name": "\udc00"}, "has a name that holds half of a surrogate pair, which is no character"),
        (PLAIN | {"product_type": "\ud800"}, "has a product_type that holds half of a surrogate pair"),
        (PLAIN | {"product_type": 3}, "has a whole number as product_type; expected a text"),
        (PLAIN | {"tags": ["\x00"]}, "has a tags that holds a NUL character"),
        (PLAIN | {"tags": [{}]}, "has an object as tags; expected a text"),
        (PLAIN | {"tags": 5}, "has a whole number as tags; expected a list"),
        (PLAIN | {"description": "\x00"}, "has a description that holds a NUL character"),
        (PLAIN | {"type": []}, "has a list as type; expected a text"),
        (PLAIN | {"images": {}}, "has an object as images; expected a list"),
        (PLAIN | {"images": [{"url": "https://x"}]}, "has an object as images; expected a text"),
        (PLAIN | {"images": "https://x/\x00"}, "has a images that holds a NUL character"),
        (PLAIN | {"is_active": "yes"}, "has a text as is_active; expected true or false"),
        (PLAIN | {"is_active": 2}, "has a whole number as is_active; expected true or false"),
        (PLAIN | {"is_active": Decimal("1.0")}, "has a number with a decimal point as is_active"),
        (PLAIN | {"variant_options": "Large"}, "has a text as variant_options; expected a list"),
        (PLAIN | {"variant_options": ["Large"]}, "has a text among its variant_options; expected option and value"),
        (PLAIN | {"variant_options": [{"option": "Size", "value": True}]}, "has true or false as variant_options"),
        (PLAIN | {"variant_options": [{"option": "\x00", "value": "L"}]}, "has a option that holds a NUL character"),
        (PLAIN | {"modifier_groups": {}}, "has an object as modifier_groups; expected a list"),
        (PLAIN | {"modifier_groups": [{"modifier_group_id": "g", "title": "\x00"}]}, "has a title that holds a NUL"),
        (
            PLAIN | {"modifier_groups": [{"modifier_group_id": "g", "title": "G", "modifiers": "x"}]},
            "has a text as modifiers; expected a list",
        ),
        (PLAIN | {"type": "comboset", "bundles": "x"}, "has a text as bundles; expected a list"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_trusted_is_rejected_with_its_reason(row: object, reason: str) -> None:
    assert rejected(row).reason.startswith(reason)


def test_a_rejection_names_the_row_with_texts_that_can_be_stored() -> None:
    assert rejected({"product_id": "p1", "sku": "T1"}) == Rejection("p1", "T1", "has no name")
    assert rejected({"product_id": 7, "sku": 8}) == Rejection("7", "8", "has no name")
    assert rejected({"product_id": "p\x00", "sku": "\ud800"}).provider_id is None
    assert rejected({"product_id": "p\x00", "sku": "\ud800"}).item_code is None
    assert rejected({"product_id": "p1", "sku": "x" * 10_000}).item_code == "x" * 80


@pytest.mark.parametrize(
    ("options", "name", "kept"),
    [
        (None, "Teh", ()),
        ([], "Teh", ()),
        ([{"option": "Size", "value": "Large"}], "Teh - Large", (VariantOption("Size", "Large"),)),
        ([{"value": " L "}], "Teh -  L ", (VariantOption("", " L "),)),
        ([{"option": "Cups", "value": 2}], "Teh - 2", (VariantOption("Cups", "2"),)),
        ([{"option": "Litres", "value": Decimal("1.50")}], "Teh - 1.50", (VariantOption("Litres", "1.50"),)),
    ],
)
def test_option_values_join_the_display_name(options: object, name: str, kept: tuple[VariantOption, ...]) -> None:
    found = item(variant_options=options)
    assert (found.name, found.variant_options) == (name, kept)


def test_a_variant_option_without_value_is_left_out_and_counted() -> None:
    for value in (None, "", " "):
        found, warnings = taken(PLAIN | {"variant_options": [{"option": "Size", "value": value}]})
        assert (found.name, found.variant_options) == ("Teh", ())
        assert warnings == {"variant option without a value left out": 1}


@pytest.mark.parametrize(
    ("header", "options", "group"),
    [
        ("h1", [{"option": "Size", "value": "L"}], "h1"),
        (17, [{"option": "Size", "value": "L"}], "17"),
        ("h1", [], None),
        ("h1", None, None),
        (None, [{"option": "Size", "value": "L"}], None),
        ("", [{"option": "Size", "value": "L"}], None),
    ],
)
def test_a_row_without_siblings_has_no_variant_group(header: object, options: object, group: str | None) -> None:
    assert item(product_header_id=header, variant_options=options).variant_group == group


@pytest.mark.parametrize(
    ("fields", "category"),
    [
        ({"product_type": "Coffee", "tags": ["hot"]}, "Coffee"),
        ({"product_type": None, "tags": ["hot"]}, "hot"),
        ({"product_type": "", "tags": [None, "", "  ", "hot", "new"]}, "hot"),
        ({"tags": " , hot, new"}, "hot"),
        ({"tags": ""}, None),
        ({"tags": None}, None),
        ({}, None),
        ({"product_type": " Coffee "}, " Coffee "),
    ],
)
def test_the_category_is_the_product_type_or_else_the_first_tag(fields: dict[str, object], category: str) -> None:
    assert item(**fields).category == category


@pytest.mark.parametrize("type_", ["standard", "composite_variant", "some new type", None, ""])
def test_the_type_passes_through(type_: str | None) -> None:
    assert item(type=type_).item_type == (type_ or None)


@pytest.mark.parametrize(
    ("given", "active"),
    [
        (None, None), (True, True), (False, False), (1, True), (0, False), ("true", True), ("false", False),
        ("True", True), ("False", False),
    ],
)  # fmt: skip
def test_is_active_in_each_usable_form(given: object, active: bool | None) -> None:  # noqa: FBT001 a parametrized value
    assert item(is_active=given).is_active is active


def test_a_row_or_a_part_of_one_without_is_active_is_neither_active_nor_inactive() -> None:
    groups = [{"modifier_group_id": "g", "title": "Ice", "modifiers": [{"modifier_id": "m", "title": "Less"}]}]
    found = item(modifier_groups=groups)
    assert found.is_active is None
    assert found.modifier_groups == (ModifierGroup("g", "Ice", (Modifier("m", "Less", None),), None),)


@pytest.mark.parametrize(
    ("images", "url"),
    [
        (["https://x/1.jpg", "https://x/2.jpg"], "https://x/1.jpg"),
        (["", None, "  ", " https://x/2.jpg "], "https://x/2.jpg"),
        ("https://x/1.jpg", "https://x/1.jpg"),
        (" https://x/1.jpg\n", "https://x/1.jpg"),
        ("", None),
        ([], None),
        (None, None),
    ],
)
def test_the_picture_is_the_first_that_is_named(images: object, url: str | None) -> None:
    assert item(images=images).external_image_url == url


def test_a_blank_description_is_none() -> None:
    assert [item(description=text).description for text in (None, "", "  ", " a ")] == [None, None, None, " a "]


def test_modifiers_are_keyed_by_their_ids_and_keep_their_order() -> None:
    found = item(
        modifier_groups=[
            {"modifier_group_id": 2, "title": "Sugar", "is_active": "false", "modifiers": None},
            {
                "modifier_group_id": "g1",
                "title": "Ice",
                "modifiers": [
                    {"modifier_id": "m2", "title": "None", "is_active": 0},
                    {"modifier_id": 1, "title": "Less", "sku": "ignored"},
                ],
            },
        ]
    )
    assert found.modifier_groups == (
        ModifierGroup("2", "Sugar", (), is_active=False),
        ModifierGroup("g1", "Ice", (Modifier("m2", "None", is_active=False), Modifier("1", "Less", None)), None),
    )


def test_groups_and_modifiers_without_identity_or_said_twice_are_left_out_and_counted() -> None:
    found, warnings = taken(
        PLAIN
        | {
            "modifier_groups": [
                "Sugar",
                {"modifier_group_id": "g0", "title": " "},
                {"title": "Sugar"},
                {
                    "modifier_group_id": "g1",
                    "title": "Ice",
                    "modifiers": [
                        None,
                        {"modifier_id": "m1", "title": "Less"},
                        {"modifier_id": "m1", "title": "Less again"},
                        {"modifier_id": "", "title": "None"},
                        {"modifier_id": "m3"},
                    ],
                },
                {"modifier_group_id": "g1", "title": "Ice again"},
                {"modifier_group_id": "g2", "title": "Cup", "modifiers": [{"modifier_id": "m1", "title": "Big"}]},
            ]
        }
    )
    assert found.modifier_groups == (
        ModifierGroup("g1", "Ice", (Modifier("m1", "Less", None),), None),
        ModifierGroup("g2", "Cup", (Modifier("m1", "Big", None),), None),
    )
    assert warnings == {
        "modifier group without id or title left out": 3,
        "second modifier group with the same id left out": 1,
        "modifier without id or title left out": 3,
        "second modifier with the same id in its group left out": 1,
    }


def test_components_of_a_comboset_keep_order_slot_and_repetition() -> None:
    drink = {
        "product_id": "p9",
        "sku": "KS",
        "category": "Drink",
        "product_name": "Kopi",
        "variant_name": "Ice",
        "quantity": 1,
    }
    found = item(type="comboset", bundles=[drink, drink, {"product_id": "p8", "sku": "", "product_name": "Roti"}])
    kopi = BundleComponent("Drink", "KS", "Kopi - Ice")
    assert found.bundle_components == (kopi, kopi, BundleComponent("", "p8", "Roti"))


def test_bundles_of_other_types_and_ingredients_are_no_bundle() -> None:
    parts = [{"product_id": "p9", "sku": "KS", "product_name": "Kopi", "quantity": 1}]
    assert item(type="composite", bundles=parts, ingredients=parts).bundle_components == ()


def test_what_the_answer_does_not_say_is_not_known_to_be_empty() -> None:
    assert item().modifier_groups is None
    assert item(modifier_groups=None).modifier_groups == ()
    assert item(modifier_groups=[]).modifier_groups == ()
    assert item(type="comboset").bundle_components is None
    assert item(type="comboset", bundles=None).bundle_components is None
    assert item(type="comboset", bundles=[]).bundle_components == ()
    assert item(type="standard").bundle_components == ()


def test_a_component_without_any_code_is_left_out_and_counted() -> None:
    found, warnings = taken(
        PLAIN | {"type": "comboset", "bundles": [{"product_name": "Kopi"}, "Kopi", {"sku": 0, "category": None}]}
    )
    assert found.bundle_components == (BundleComponent("", "0", ""),)
    assert warnings == {"bundle component without SKU and product_id left out": 2}


@pytest.mark.parametrize(
    ("given", "quantity"),
    [
        (None, "1"), (2, "2"), (0, "0"), (Decimal("0.50"), "0.50"), ("2.0000", "2.0000"), (Decimal("2E+1"), "20"),
    ],
)  # fmt: skip
def test_a_quantity_is_decimal_text(given: object, quantity: str) -> None:
    found = item(type="comboset", bundles=[{"sku": "A", "quantity": given}])
    assert found.bundle_components == (BundleComponent("", "A", "", quantity),)


@pytest.mark.parametrize(
    "given",
    [-1, "-0.5", "NaN", "Infinity", "two", "", True, [], Decimal("1E+999999"), "1e-400", 10**12, "0." + "3" * 40],
)
def test_an_unusable_quantity_is_one_and_counted(given: object) -> None:
    found, warnings = taken(PLAIN | {"type": "comboset", "bundles": [{"sku": "A", "quantity": given}]})
    assert found.bundle_components == (BundleComponent("", "A", "", "1"),)
    assert warnings == {"bundle quantity that is no usable number read as 1": 1}


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2025-09-08 07:59:38", datetime(2025, 9, 8, 7, 59, 38, tzinfo=UTC)),
        ("2025-09-08T07:59:38", datetime(2025, 9, 8, 7, 59, 38, tzinfo=UTC)),
        ("2025-09-08T07:59:38.1234567Z", datetime(2025, 9, 8, 7, 59, 38, 123456, tzinfo=UTC)),
        ("2025-09-08T07:59:38+07:00", datetime(2025, 9, 8, 0, 59, 38, tzinfo=UTC)),
        ("0001-01-01 00:00:00", None),
        ("1969-12-31 23:59:59", None),
        ("", None),
        (None, None),
    ],
)
def test_modified_date_without_zone_is_utc(given: object, moment: datetime | None) -> None:
    assert item(modified_date=given).updated_at == moment


@pytest.mark.parametrize("given", ["yesterday", 1757318378, "2016-12-31 23:59:60", "0001-01-01T00:00:00+07:00", "\x00"])
def test_an_unreadable_modified_date_is_left_out_and_counted(given: object) -> None:
    found, warnings = taken(PLAIN | {"modified_date": given})
    assert found == item()._replace(updated_at=None)
    assert warnings == {"modified_date that cannot be read left out": 1}
    with pytest.raises(ValueError, match=r"."):
        moment_of(given)


@pytest.mark.parametrize(
    ("row", "identity"),
    [({"product_id": "p"}, "p"), ({"product_id": 5}, "5"), ({"product_id": " "}, None), ({}, None), ("p", None),
     ({"product_id": True}, None)],
)  # fmt: skip
def test_a_row_is_identified_by_its_product_id(row: object, identity: str | None) -> None:
    assert product_id(row) == identity


def test_a_row_as_deep_as_json_goes_neither_recurses_nor_fails() -> None:
    row = json.loads('{"product_id": "p1", "name": "Teh", "sku": "T1", "attribute": ' + "[" * 500 + "]" * 500 + "}")
    assert taken(row)[0] == item()
