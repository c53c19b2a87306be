"""What objects of Square's catalog become, in whatever order they came."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from cata_pipeline.catalog.model import Catalog, Duplicate, Item, Modifier, ModifierGroup, Rejection, VariantOption
from cata_pipeline.providers.square_catalog import Gathered
from cata_pipeline.providers.square_options import SquareOptions
from cata_pipeline_tests.providers.square_pos import catalog_object

Object = dict[str, Any]
WHEN = datetime(2026, 3, 1, 8, 0, 0, 500_000, tzinfo=UTC)
NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
HIDES_SOLD_OUT = {"location_id": "L1", "sold_out": "hide"}


def variation(number: int = 1, data: Object | None = None, **fields: object) -> Object:
    named = {"item_id": "i1", "name": "Regular", "sku": f"K{number}"} | (data or {})
    return catalog_object("ITEM_VARIATION", f"v{number}", named, **fields)


def product(data: Object | None = None, **fields: object) -> Object:
    return catalog_object("ITEM", "i1", {"name": "Kopi", "variations": [variation()]} | (data or {}), **fields)


def gathered(*objects: object, **options: object) -> Catalog:
    together = Gathered(SquareOptions.model_validate(options), NOW)
    together.take(objects)
    return together.catalog()


def item(*objects: object, **options: object) -> Item:
    """The only item of a catalog in which nothing is wrong."""
    catalog = gathered(*objects, **options)
    assert (catalog.rejections, catalog.duplicates, catalog.warnings) == ((), (), Counter())
    [found] = catalog.items
    return found


def test_a_plain_product_becomes_an_item() -> None:
    assert item(product()) == Item("K1", "v1", "Kopi", is_active=True, updated_at=WHEN)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["Regular"], ["Kopi"]),
        (["regular "], ["Kopi"]),
        ([""], ["Kopi"]),
        ([None], ["Kopi"]),
        (["Large"], ["Kopi"]),
        (["通常"], ["Kopi"]),
        (["KOPI"], ["Kopi"]),
        (["Regular", "Large"], ["Kopi - Regular", "Kopi - Large"]),
        (["通常", "大"], ["Kopi - 通常", "Kopi - 大"]),
        (["", "Large"], ["Kopi", "Kopi - Large"]),
    ],
)
def test_a_variation_joins_the_name_only_where_the_item_has_several(names: list[str | None], shown: list[str]) -> None:
    parts = [variation(number, {"name": name}) for number, name in enumerate(names, 1)]
    assert [found.name for found in gathered(product({"variations": parts})).items] == shown


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ({"buyer_facing_name": "Iced Coffee"}, "Iced Coffee"),
        ({"buyer_facing_name": " Iced  Coffee "}, " Iced  Coffee "),
        ({"buyer_facing_name": "Iced Coffee", "name": None}, "Iced Coffee"),
        ({"buyer_facing_name": "Iced Coffee", "kitchen_name": "IC"}, "Iced Coffee"),
        ({"buyer_facing_name": ""}, "Kopi"),
        ({"buyer_facing_name": " "}, "Kopi"),
        ({"buyer_facing_name": None}, "Kopi"),
        ({"kitchen_name": "IC"}, "Kopi"),
    ],
)
def test_the_name_for_buyers_comes_before_the_sellers_own(data: Object, shown: str) -> None:
    assert item(product(data)).name == shown
    several = product({"variations": [variation(1, {"name": "S"}), variation(2, {"name": "L"})]} | data)
    assert [found.name for found in gathered(several).items] == [f"{shown} - S", f"{shown} - L"]


def test_a_single_variation_with_option_values_keeps_them_beside_the_items_name() -> None:
    values = [catalog_object("ITEM_OPTION_VAL", "large", {}, item_option_value_data={"name": "Large"})]
    size = catalog_object("ITEM_OPTION", "size", {"name": "Size", "values": values})
    part = variation(1, {"item_option_values": [{"item_option_id": "size", "item_option_value_id": "large"}]})
    found = item(product({"variations": [part]}), size)
    assert (found.name, found.variant_options) == ("Kopi", (VariantOption("Size", "Large"),))


def test_variations_of_one_product_form_a_group_and_one_alone_does_not() -> None:
    several = gathered(product({"variations": [variation(1, {"name": "S"}), variation(2, {"name": "L"})]}))
    assert [(found.variant_group, found.variant_options) for found in several.items] == [
        ("i1", (VariantOption("", "S"),)),
        ("i1", (VariantOption("", "L"),)),
    ]
    alone = item(product({"variations": [variation(1, {"name": "L"})]}))
    assert (alone.variant_group, alone.variant_options) == (None, ())


def test_a_deleted_variation_is_no_sibling_but_is_told_as_inactive() -> None:
    parts = [variation(1), variation(2, {"name": "Large"}, is_deleted=True)]
    told = gathered(product({"variations": parts})).items
    assert [(found.item_code, found.name, found.is_active, found.variant_group) for found in told] == [
        ("K1", "Kopi", True, None),
        ("K2", "Kopi - Large", False, "i1"),
    ]


def test_option_values_are_read_by_their_ids_and_from_a_later_object() -> None:
    values = [catalog_object("ITEM_OPTION_VAL", "large", {}, item_option_value_data={"name": "Large"})]
    size = catalog_object("ITEM_OPTION", "size", {"name": "size-2", "display_name": "Size", "values": values})
    parts = [
        variation(1, {"name": "", "item_option_values": [{"item_option_id": "size", "item_option_value_id": "large"}]}),
        variation(2, {"name": "Small"}),
    ]
    large, small = gathered(product({"variations": parts}), size).items
    assert (large.name, large.variant_options) == ("Kopi - Large", (VariantOption("Size", "Large"),))
    assert (small.name, small.variant_options) == ("Kopi - Small", (VariantOption("", "Small"),))


def test_option_values_that_nobody_knows_are_left_out_and_counted() -> None:
    unknown = [{"item_option_id": "size", "item_option_value_id": "large"}, {"item_option_id": "size"}, "large"]
    catalog = gathered(product({"variations": [variation(1, {"item_option_values": unknown})]}))
    assert catalog.items[0].variant_options == ()
    assert catalog.warnings == {
        "option value that is not in the catalog left out": 1,
        "option value without ids left out": 2,
    }


@pytest.mark.parametrize(
    ("data", "description"),
    [
        ({"description_plaintext": "Plain ", "description_html": "<p>Html</p>", "description": "Old"}, "Plain "),
        ({"description_plaintext": " ", "description_html": "<p>Html &amp; <b>more</b></p>"}, "Html & more"),
        ({"description_html": "<p>One</p><p>Two</p>", "description": "Old"}, "One\nTwo"),
        ({"description_html": "<p> </p>", "description": "Old"}, "Old"),
        ({"description": "Old"}, "Old"),
        ({"description_plaintext": None}, None),
        ({}, None),
    ],
)
def test_the_description_is_plain_text_else_what_html_says(data: Object, description: str | None) -> None:
    assert item(product(data)).description == description


@pytest.mark.parametrize(
    ("data", "category"),
    [
        ({"reporting_category": {"id": "c2"}, "categories": [{"id": "c1"}], "category_id": "c3"}, "Two"),
        ({"categories": [{"id": "c1", "ordinal": 5}, {"id": "c2", "ordinal": 1}], "category_id": "c3"}, "One"),
        ({"reporting_category": None, "categories": [], "category_id": "c3"}, "Three"),
        ({"reporting_category": {"ordinal": 1}, "categories": [{"id": "c1"}]}, "One"),
        ({"categories": [{"id": "menu"}, {"id": "kitchen"}, {"id": "c2"}, {"id": "c1"}]}, "Two"),
        ({"reporting_category": {"id": "menu"}, "categories": [{"id": "menu"}, {"id": "c1"}]}, "One"),
        ({"reporting_category": {"id": "new"}, "categories": [{"id": "c1"}]}, "One"),
        ({"categories": [{"id": "menu"}], "category_id": "c3"}, "Three"),
        ({"reporting_category": {"id": "kitchen"}, "categories": [{"id": "menu"}], "category_id": "menu"}, None),
        ({"categories": [{"id": "untyped"}]}, "Untyped"),
        ({}, None),
    ],
)
def test_the_category_is_the_reporting_one_else_the_first_regular_one_else_the_one_of_old(
    data: Object, category: str | None
) -> None:
    names = {"c1": "One", "c2": "Two", "c3": "Three"}
    types = {"menu": "MENU_CATEGORY", "kitchen": "KITCHEN_CATEGORY", "new": "SOME_NEW_CATEGORY", "untyped": None}
    others = [
        catalog_object("CATEGORY", key, {"name": key.capitalize(), "category_type": category_type})
        for key, category_type in types.items()
    ]
    for type_ in ({"category_type": "REGULAR_CATEGORY"}, {}):
        regular = [catalog_object("CATEGORY", key, {"name": name} | type_) for key, name in names.items()]
        assert item(product(data), *others, *regular).category == category


@pytest.mark.parametrize(
    "gone",
    [
        [],
        [catalog_object("CATEGORY", "gone", {"name": "Old"}, is_deleted=True)],
        [catalog_object("CATEGORY", "gone", {"category_type": "REGULAR_CATEGORY"})],
    ],
    ids=["absent", "deleted", "without name"],
)
@pytest.mark.parametrize(
    "data",
    [
        {"reporting_category": {"id": "gone"}, "categories": [{"id": "gone"}, {"id": "c1"}], "category_id": "gone"},
        {"categories": [{"id": "gone"}, {"id": "menu"}, {"id": "c1"}]},
        {"reporting_category": {"id": "gone"}, "category_id": "c1"},
    ],
    ids=["reporting", "listed", "before the one of old"],
)
def test_a_category_that_is_gone_gives_way_to_the_next_and_is_counted_once(gone: list[Object], data: Object) -> None:
    there = [
        catalog_object("CATEGORY", "c1", {"name": "One"}),
        catalog_object("CATEGORY", "menu", {"name": "Menu", "category_type": "MENU_CATEGORY"}),
    ]
    catalog = gathered(product(data), *there, *gone)
    assert [found.category for found in catalog.items] == ["One"]
    assert catalog.warnings == {"category that is not in the catalog left out": 1}


@pytest.mark.parametrize(
    ("of_item", "of_variation", "url"),
    [
        (["p1", "p2"], ["p2", "p1"], "https://x/2.jpg"),
        (["p1", "p2"], [], "https://x/1.jpg"),
        (["p1"], None, "https://x/1.jpg"),
        ([None, "", "p2"], None, "https://x/2.jpg"),
        (None, None, None),
    ],
)
def test_the_picture_is_the_first_of_the_variation_else_of_the_item(
    of_item: object, of_variation: object, url: str | None
) -> None:
    pictures = [catalog_object("IMAGE", f"p{n}", {"url": f" https://x/{n}.jpg ", "caption": "Kopi"}) for n in (1, 2)]
    row = product({"image_ids": of_item, "variations": [variation(1, {"image_ids": of_variation})]})
    assert item(*pictures, row).external_image_url == url


@pytest.mark.parametrize(
    ("of_item", "of_variation"), [(["gone", "p1"], []), (["p1"], ["gone"]), (["p1"], ["deleted", "without url"])]
)
def test_a_picture_that_is_gone_gives_way_to_the_next_and_is_counted(of_item: object, of_variation: object) -> None:
    pictures = [
        catalog_object("IMAGE", "p1", {"url": "https://x/1.jpg"}),
        catalog_object("IMAGE", "deleted", {"url": "https://x/2.jpg"}, is_deleted=True),
        catalog_object("IMAGE", "without url", {}),
    ]
    row = product({"image_ids": of_item, "variations": [variation(1, {"image_ids": of_variation})]})
    catalog = gathered(row, *pictures)
    assert [found.external_image_url for found in catalog.items] == ["https://x/1.jpg"]
    assert set(catalog.warnings) == {"picture that is not in the catalog left out"}


@pytest.mark.parametrize("is_reverse", [False, True])
def test_references_are_resolved_wherever_they_stand(is_reverse: bool) -> None:  # noqa: FBT001 a parametrized value
    objects = [
        product({"categories": [{"id": "c"}], "image_ids": ["p"], "modifier_list_info": [{"modifier_list_id": "m"}]}),
        catalog_object("CATEGORY", "c", {"name": "Coffee"}),
        catalog_object("IMAGE", "p", {"url": "https://x/1.jpg"}),
        catalog_object("MODIFIER_LIST", "m", {"name": "Milk"}),
    ]
    found = item(*(reversed(objects) if is_reverse else objects))
    assert (found.category, found.external_image_url) == ("Coffee", "https://x/1.jpg")
    assert found.modifier_groups == (ModifierGroup("m", "Milk", ()),)


@pytest.mark.parametrize(
    "others",
    [
        [],
        [
            catalog_object("CATEGORY", "c", {"name": "Coffee"}, is_deleted=True),
            catalog_object("IMAGE", "p", {"url": "https://x/1.jpg"}, is_deleted=True),
        ],
        [catalog_object("CATEGORY", "c", {}), catalog_object("IMAGE", "p", {"url": ""})],
    ],
    ids=["absent", "deleted", "empty"],
)
def test_a_reference_to_what_is_not_there_is_none_and_counted(others: list[Object]) -> None:
    catalog = gathered(product({"category_id": "c", "image_ids": ["p"]}), *others)
    [found] = catalog.items
    assert (found.category, found.external_image_url) == (None, None)
    assert catalog.warnings == {
        "category that is not in the catalog left out": 1,
        "picture that is not in the catalog left out": 1,
    }


def test_a_reference_that_cannot_be_read_costs_no_product() -> None:
    broken = catalog_object("CATEGORY", "c", {"name": 5})
    catalog = gathered(product({"category_id": "c"}), broken, catalog_object("IMAGE", "", {}))
    assert [found.item_code for found in catalog.items] == ["K1"]
    assert catalog.warnings == {
        "category that cannot be read left out": 1,
        "image that cannot be read left out": 1,
        "category that is not in the catalog left out": 1,
    }


@pytest.mark.parametrize(
    ("presence", "here", "anywhere"),
    [
        ({}, True, True),
        ({"present_at_all_locations": True}, True, True),
        ({"present_at_all_locations": True, "absent_at_location_ids": ["L1"]}, False, True),
        ({"present_at_all_locations": True, "absent_at_location_ids": ["L2"]}, True, True),
        ({"present_at_all_locations": False}, False, False),
        ({"present_at_all_locations": False, "present_at_location_ids": ["L1"]}, True, True),
        ({"present_at_all_locations": False, "present_at_location_ids": ["L2"]}, False, True),
    ],
)
@pytest.mark.parametrize("of", ["item", "variation"])
def test_an_item_is_active_only_where_it_and_its_variation_are_present(
    presence: Object,
    here: bool,  # noqa: FBT001 a parametrized value
    anywhere: bool,  # noqa: FBT001 a parametrized value
    of: str,
) -> None:
    part = variation()
    row = product({"variations": [part]})
    bearer = row if of == "item" else part
    del bearer["present_at_all_locations"]
    bearer.update(presence)
    assert item(row, location_id="L1").is_active is here
    assert item(row).is_active is anywhere


@pytest.mark.parametrize(
    "row",
    [
        product(is_deleted=True),
        product({"is_archived": True}),
        product({"variations": [variation(is_deleted=True)]}),
        product({"variations": [variation(1, {"sellable": False})]}),
    ],
    ids=["item deleted", "archived", "variation deleted", "not sellable"],
)
def test_what_is_not_for_sale_is_inactive_and_not_absent(row: Object) -> None:
    assert item(row).is_active is False


def test_what_is_not_sold_by_itself_is_shown_where_the_tenant_says_so() -> None:
    row = product({"variations": [variation(1, {"sellable": False})]})
    assert item(row, not_sellable="show").is_active is True


@pytest.mark.parametrize(
    ("overrides", "is_sold_out"),
    [
        ([{"location_id": "L1", "sold_out": True}], True),
        ([{"location_id": "L2", "sold_out": True}, {"location_id": "L1", "sold_out": True}], True),
        ([{"location_id": "L1", "sold_out": True, "sold_out_valid_until": "2026-09-01T12:00:01Z"}], True),
        ([{"location_id": "L1", "sold_out": True, "sold_out_valid_until": "2026-09-01T12:00:00Z"}], True),
        ([{"location_id": "L1", "sold_out": True, "sold_out_valid_until": "2026-09-01T20:00:00+07:00"}], True),
        ([{"location_id": "L1", "sold_out": True, "sold_out_valid_until": "2026-09-01T11:59:59.999Z"}], False),
        ([{"location_id": "L1", "sold_out": True, "sold_out_valid_until": "2026-09-01T18:00:00+07:00"}], False),
        ([{"location_id": "L1", "sold_out": True, "sold_out_valid_until": None}], True),
        ([{"location_id": "L1", "sold_out": True, "sold_out_valid_until": ""}], True),
        ([{"location_id": "L1", "sold_out": True, "sold_out_valid_until": "0001-01-01T00:00:00Z"}], True),
        ([{"location_id": "L1", "sold_out": False}], False),
        ([{"location_id": "L1", "sold_out": None}], False),
        ([{"location_id": "L1", "price_money": {"amount": 5}}], False),
        ([{"location_id": "L2", "sold_out": True}], False),
        ([{"sold_out": True}], False),
        ([], False),
        (None, False),
    ],
)
def test_what_is_sold_out_at_the_location_is_inactive_where_the_tenant_says_so(
    overrides: object,
    is_sold_out: bool,  # noqa: FBT001 a parametrized value
) -> None:
    row = product(
        {
            "variations": [variation(1, {"location_overrides": overrides})],
            "modifier_list_info": [use()],
        }
    )
    milk = modifier_list({"modifiers": [modifier("oat", {"location_overrides": overrides}), modifier("soy")]})
    for options, is_active in (
        (HIDES_SOLD_OUT, not is_sold_out),
        ({"location_id": "L1"}, True),
        ({"location_id": "L1", "sold_out": "show"}, True),
        ({}, True),
    ):
        found = item(row, milk, **options)
        assert found.is_active is is_active
        assert found.modifier_groups == (
            ModifierGroup("m", "Milk", (Modifier("oat", "OAT", is_active), Modifier("soy", "SOY"))),
        )


def test_a_time_until_which_something_is_sold_out_counts_only_where_it_can_be_read() -> None:
    overrides = [{"location_id": "L1", "sold_out": True, "sold_out_valid_until": "tomorrow"}]
    catalog = gathered(product({"variations": [variation(1, {"location_overrides": overrides})]}), **HIDES_SOLD_OUT)
    assert [found.is_active for found in catalog.items] == [False]
    assert catalog.warnings == {"sold_out_valid_until that cannot be read left out": 1}


def test_an_override_that_cannot_be_read_rejects_only_where_it_is_needed() -> None:
    row = product({"variations": [variation(1, {"location_overrides": ["L1"]})]})
    assert item(row, location_id="L1").is_active is True
    assert gathered(row, **HIDES_SOLD_OUT).rejections == (
        Rejection("v1", "K1", "has a text among its location_overrides; expected objects"),
    )


def test_a_deleted_product_keeps_its_name_and_says_nothing_of_modifiers_it_came_without() -> None:
    row = product({"variations": [variation(1, {"name": "S"}), variation(2, {"name": "L"})]}, is_deleted=True)
    told = gathered(row).items
    assert [(found.name, found.is_active) for found in told] == [("Kopi - S", False), ("Kopi - L", False)]
    assert [(found.modifier_groups, found.bundle_components) for found in told] == [(None, None)] * 2


@pytest.mark.parametrize(
    ("row", "warning"),
    [
        ({"type": "ITEM", "id": "i1", "is_deleted": True}, "deleted item without name or variations left out"),
        (product({"variations": None}, is_deleted=True), "deleted item without name or variations left out"),
        (product({"variations": [variation(1, {"sku": None})]}, is_deleted=True),
         "deleted variation that cannot be an item left out"),
        (product({"variations": [variation(), variation(2, {"sku": ""}, is_deleted=True)]}),
         "deleted variation that cannot be an item left out"),
    ],
)  # fmt: skip
def test_what_was_deleted_and_came_thin_is_counted_and_no_rejection(row: Object, warning: str) -> None:
    catalog = gathered(row, missing_sku="reject")
    assert catalog.rejections == ()
    assert catalog.warnings == {warning: 1}


def test_a_variation_that_was_deleted_alone_is_told_with_the_name_of_its_item() -> None:
    lost = variation(2, {"name": "Large"}, is_deleted=True)
    for objects in ([product(), lost], [lost, product()], [product(), lost, lost]):
        kept, gone = gathered(*objects).items
        assert (kept.item_code, kept.name, kept.is_active) == ("K1", "Kopi", True)
        assert (gone.item_code, gone.name, gone.is_active) == ("K2", "Kopi - Large", False)


def test_variations_beside_their_item_are_not_told_twice() -> None:
    nested = variation(2, {"name": "Large"}, is_deleted=True)
    catalog = gathered(product({"variations": [variation(), nested]}), variation(), nested, variation(3))
    assert [found.item_code for found in catalog.items] == ["K1", "K2"]
    assert catalog.duplicates == ()


def test_a_deleted_variation_whose_item_is_not_there_is_counted() -> None:
    catalog = gathered(variation(2, {"item_id": "i9"}, is_deleted=True))
    assert catalog.items == ()
    assert catalog.warnings == {"deleted variation of an item that is not there left out": 1}


@pytest.mark.parametrize(("sku", "code"), [("0", "0"), (0, "0"), (" a ", " a "), ("007", "007")])
def test_a_sku_is_taken_as_it_is(sku: object, code: str) -> None:
    assert item(product({"variations": [variation(1, {"sku": sku})]})).item_code == code


@pytest.mark.parametrize("sku", [{"sku": None}, {"sku": ""}, {}], ids=repr)
def test_a_variation_without_sku_takes_its_id_unless_the_tenant_wants_it_rejected(sku: Object) -> None:
    row = product({"variations": [catalog_object("ITEM_VARIATION", "v1", {"name": "Regular"} | sku)]})
    assert item(row).item_code == item(row, missing_sku="variation_id").item_code == "v1"
    reason = (
        """has no SKU; give the variation one in Square, or set the tenant's option missing_sku = "variation_id\""""
    )
    assert gathered(row, missing_sku="reject").rejections == (Rejection("v1", None, reason),)


@pytest.mark.parametrize("is_active", [True, False])
def test_an_id_that_is_another_variations_sku_is_a_duplicate_like_any_other(
    is_active: bool,  # noqa: FBT001 a parametrized value
) -> None:
    """Active before inactive, then the newest: which of the two has a SKU makes no difference."""
    without = variation(1, {"sku": "", "sellable": is_active}, updated_at="2026-03-02T00:00:00Z")
    catalog = gathered(product({"variations": [without, variation(2, {"sku": "v1"})]}))
    assert [(found.item_code, found.provider_id) for found in catalog.items] == [("v1", "v1" if is_active else "v2")]
    assert catalog.duplicates == (Duplicate("v1", "v2" if is_active else "v1", "v1" if is_active else "v2"),)


def test_a_deleted_variation_without_sku_is_inactive_under_its_id() -> None:
    parts = [variation(1, {"sku": None}), variation(2, {"sku": None}, is_deleted=True)]
    catalog = gathered(product({"variations": parts}))
    assert [(found.item_code, found.is_active) for found in catalog.items] == [("v1", True), ("v2", False)]


def test_one_bad_variation_costs_its_siblings_nothing() -> None:
    parts = [variation(1), variation(2, {"sku": " "}), variation(3, {"sku": ["K"]}), variation(4), "K5"]
    catalog = gathered(product({"variations": parts}))
    assert [found.item_code for found in catalog.items] == ["K1", "K4"]
    assert [(rejection.provider_id, rejection.reason) for rejection in catalog.rejections] == [
        ("v2", "has a SKU of nothing but spaces; give the variation a real one in Square"),
        ("v3", "has a list as SKU; expected a text"),
        (None, "is a text instead of a variation"),
    ]


@pytest.mark.parametrize(
    ("row", "rejections"),
    [
        (product({"name": " ", "variations": [variation(1), variation(2)]}),
         (Rejection("v1", "K1", "has no name"), Rejection("v2", "K2", "has no name"))),
        (product(id=None), (Rejection("v1", "K1", "has no id"),)),
        (product({"variations": []}), (Rejection("i1", None, "has no variation, so nothing that could be sold"),)),
        (product(item_data="Kopi"), (Rejection("i1", None, "has a text as item_data; expected an object"),)),
        (product({"is_archived": "maybe"}),
         (Rejection("v1", "K1", "has a text as is_archived; expected true or false"),)),
        ("Kopi", (Rejection(None, None, "is a text instead of an object"),)),
    ],
)  # fmt: skip
def test_a_product_that_cannot_be_taken_rejects_each_of_its_variations(
    row: object, rejections: tuple[Rejection, ...]
) -> None:
    catalog = gathered(row, catalog_object("ITEM", "i2", {"name": "Teh", "variations": [variation(9)]}))
    assert catalog.rejections == rejections
    assert [found.item_code for found in catalog.items] == ["K9"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"modifier_list_info": ["m1"]}, "has a text among its modifier_list_info; expected objects"),
        (
            {"modifier_list_info": [{"modifier_list_id": "m1", "modifier_overrides": ["o1"]}]},
            "has a text among its modifier_overrides; expected objects",
        ),
        ({"categories": [5]}, "has a whole number among its categories; expected objects"),
        ({"reporting_category": "c1"}, "has a text as reporting_category; expected an object"),
    ],
)
def test_a_part_that_is_no_object_is_never_taken_for_one_less(data: Object, reason: str) -> None:
    """Left out, it would hide the modifiers or take the category of an item that has them."""
    assert gathered(product(data)).rejections == (Rejection("v1", "K1", reason),)


def test_the_newest_version_of_an_object_counts_whatever_the_order() -> None:
    old, new = product({"name": "Old"}, version=1), product({"name": "New"}, version=2)
    category = [catalog_object("CATEGORY", "c", {"name": name}, version=n) for n, name in ((1, "Tea"), (2, "Coffee"))]
    for row in (old, new):
        row["item_data"]["category_id"] = "c"
    for objects in ([old, new, *category], [new, old, *reversed(category)]):
        found = item(*objects)
        assert (found.name, found.category) == ("New", "Coffee")


@pytest.mark.parametrize("is_archived", [True, False])
def test_a_sku_that_was_given_to_a_new_product_is_the_new_ones_and_no_duplicate(
    is_archived: bool,  # noqa: FBT001 a parametrized value
) -> None:
    old = {"name": "Old", "variations": [variation(0, {"sku": "K1"})]}
    dead = catalog_object("ITEM", "i0", old, is_deleted=True, updated_at="2026-09-09T00:00:00Z")
    told = item(dead, product({"is_archived": is_archived}))
    assert (told.provider_id, told.name, told.is_active) == ("v1", "Kopi", not is_archived)


def test_a_product_that_is_rejected_is_not_hidden_by_one_that_was_deleted_before_it() -> None:
    old = {"name": "Old", "variations": [variation(0, {"sku": "K1"})]}
    catalog = gathered(catalog_object("ITEM", "i0", old, is_deleted=True), product({"name": None}))
    assert catalog.items == ()
    assert [rejection.item_code for rejection in catalog.rejections] == ["K1"]


def modifier(key: str, data: Object | None = None, **fields: object) -> Object:
    return catalog_object(
        "MODIFIER", key, {"name": key.upper(), "price_money": {"amount": 50}} | (data or {}), **fields
    )


def modifier_list(data: Object | None = None, **fields: object) -> Object:
    plain = {"name": "Milk", "modifier_type": "LIST", "modifiers": [modifier("oat"), modifier("soy")]}
    return catalog_object("MODIFIER_LIST", "m", plain | (data or {}), **fields)


def use(**fields: object) -> Object:
    return {"modifier_list_id": "m", "min_selected_modifiers": -1, "max_selected_modifiers": -1, **fields}


def test_modifier_lists_are_groups_in_the_order_of_the_item() -> None:
    lists = [catalog_object("MODIFIER_LIST", key, {"name": key}) for key in ("a", "b", "c")]
    uses = [
        use(modifier_list_id="c", ordinal=2),
        use(modifier_list_id="b", ordinal=1),
        use(modifier_list_id="a", enabled=False),
    ]
    groups = item(product({"modifier_list_info": uses}), *lists).modifier_groups
    assert groups == (ModifierGroup("b", "b", ()), ModifierGroup("c", "c", ()))


def test_modifiers_keep_their_order_and_say_whether_they_are_offered() -> None:
    modifiers = [
        modifier("late", {"ordinal": 9}),
        modifier("first", {"ordinal": 1}),
        modifier("gone", {"ordinal": 2}, is_deleted=True),
        modifier("elsewhere", {"ordinal": 3}, present_at_all_locations=False, present_at_location_ids=["L2"]),
        modifier("hidden", {"ordinal": 4, "hidden_online": True}),
    ]
    row = product({"modifier_list_info": [use()]})
    groups = item(row, modifier_list({"modifiers": modifiers}), location_id="L1").modifier_groups
    assert groups is not None
    assert [(part.code, part.is_active) for part in groups[0].modifiers] == [
        ("first", True), ("gone", False), ("elsewhere", False), ("hidden", False), ("late", True),
    ]  # fmt: skip


def test_an_item_may_hide_or_show_modifiers_of_a_list_that_others_share() -> None:
    overrides = [
        {"modifier_id": "oat", "hidden_online_override": "YES"},
        {"modifier_id": "soy", "hidden_online_override": "NO"},
        {"modifier_id": "nut", "hidden_online_override": "NOT_SET"},
        {"modifier_id": "rice", "hidden_online_override": "SOME_NEW_WORD", "on_by_default": True},
        {"hidden_online_override": "YES"},
    ]
    shared = modifier_list(
        {"modifiers": [*(modifier(key) for key in ("oat", "nut", "rice")), modifier("soy", {"hidden_online": True})]}
    )
    other = catalog_object("ITEM", "i2", {"name": "Teh", "variations": [variation(2)], "modifier_list_info": [use()]})
    mine, theirs = gathered(product({"modifier_list_info": [use(modifier_overrides=overrides)]}), other, shared).items
    shown = [
        {part.code: part.is_active for part in found.modifier_groups[0].modifiers}
        for found in (mine, theirs)
        if found.modifier_groups
    ]
    assert shown == [
        {"oat": False, "nut": True, "rice": True, "soy": True},
        {"oat": True, "nut": True, "rice": True, "soy": False},
    ]


@pytest.mark.parametrize(
    ("info", "lists", "groups", "warning"),
    [
        ([use()], [], None, "modifier list that is not in the catalog; the item's modifiers stay as they are"),
        ([use()], [modifier_list({"name": ""})], None,
         "modifier list that is not in the catalog; the item's modifiers stay as they are"),
        ([use()], [modifier_list(is_deleted=True)], (), "modifier list that was deleted left out"),
        ([use()], [modifier_list({"modifier_type": "TEXT", "modifiers": None})], (),
         "modifier list for free text is not supported and left out"),
        ([{"enabled": True}], [], (), "modifier list without id left out"),
        ([use(), use()], [modifier_list({"modifiers": []})], (ModifierGroup("m", "Milk", ()),),
         "second use of the same modifier list left out"),
        ([use()], [modifier_list({"modifiers": [modifier("oat"), modifier("oat")]})],
         (ModifierGroup("m", "Milk", (Modifier("oat", "OAT"),)),),
         "second modifier with the same id in its list left out"),
        ([use()], [modifier_list({"modifiers": [modifier("oat", {"name": ""})]})], (ModifierGroup("m", "Milk", ()),),
         "modifier without id or name left out"),
        ([use()], [modifier_list({"modifiers": [modifier("oat", {"child_modifier_list_ids": ["m2"]})]})],
         (ModifierGroup("m", "Milk", (Modifier("oat", "OAT"),)),),
         "modifier lists below a modifier are not supported and left out"),
    ],
)  # fmt: skip
def test_modifiers_that_cannot_be_had_are_counted(
    info: list[Object], lists: list[Object], groups: tuple[ModifierGroup, ...] | None, warning: str
) -> None:
    catalog = gathered(product({"modifier_list_info": info}), *lists)
    assert catalog.items[0].modifier_groups == groups
    assert catalog.warnings == {warning: 1}


def test_a_list_away_from_the_location_is_an_inactive_group() -> None:
    row = product({"modifier_list_info": [use()]})
    away = modifier_list({"modifiers": []}, present_at_all_locations=False, present_at_location_ids=["L2"])
    assert item(row, away, location_id="L1").modifier_groups == (ModifierGroup("m", "Milk", (), is_active=False),)
    assert item(row, away).modifier_groups == (ModifierGroup("m", "Milk", ()),)


def test_a_product_without_modifier_lists_has_none() -> None:
    for data in ({"modifier_list_info": None}, {"modifier_list_info": list[Object]()}, {}):
        assert item(product(data)).modifier_groups == ()


def test_a_combo_is_an_item_whose_components_and_modifiers_are_not_said() -> None:
    catalog = gathered(product({"product_type": "COMBO", "modifier_list_info": []}))
    [found] = catalog.items
    assert (found.item_type, found.modifier_groups, found.bundle_components) == ("COMBO", None, None)
    assert catalog.warnings == {"COMBO: its components and modifiers are not offered by Square and stay as they are": 1}


@pytest.mark.parametrize(
    "product_type",
    [
        "REGULAR",
        "FOOD_AND_BEV",
        "EVENT",
        "DIGITAL",
        "LEGACY_SQUARE_ONLINE_SERVICE",
        "LEGACY_SQUARE_ONLINE_MEMBERSHIP",
        "A_NEW_ONE",
        "gift_card",
        None,
    ],
)
def test_product_types_pass_through_and_have_no_components(product_type: str | None) -> None:
    found = item(product({"product_type": product_type}))
    assert (found.item_type, found.bundle_components) == (product_type, ())


@pytest.mark.parametrize(
    ("product_type", "warning"),
    [
        ("GIFT_CARD", "gift card left out: not a product of a menu"),
        ("APPOINTMENTS_SERVICE", "appointment left out: not a product of a menu"),
        ("DONATION", "donation left out: not a product of a menu"),
    ],
)
@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({"variations": [variation(7), variation(8, {"sku": None})]}, {}),
        ({"variations": [variation(7, {"sku": ["K"]})], "modifier_list_info": [{"modifier_list_id": "gone"}]}, {}),
        ({"variations": []}, {}),
        ({"name": None}, {}),
        ({"categories": ["c"]}, {}),
        ({}, {"is_deleted": True}),
        ({}, {"updated_at": "yesterday"}),
    ],
    ids=["two variations", "odd parts", "no variation", "no name", "not readable", "deleted", "odd time"],
)
def test_what_no_menu_offers_is_neither_an_item_nor_rejected_but_counted_once(
    product_type: str, warning: str, data: Object, fields: Object
) -> None:
    odd = catalog_object(
        "ITEM", "i9", {"name": "Odd", "variations": [variation(9)], "product_type": product_type} | data
    )
    lost = variation(10, {"item_id": "i9"}, is_deleted=True)
    catalog = gathered(product(), odd | fields, odd | fields, lost)
    assert [found.item_code for found in catalog.items] == ["K1"]
    assert (catalog.rejections, catalog.duplicates, catalog.received) == ((), (), 1)
    assert catalog.warnings == {warning: 1}


def test_a_sku_of_what_no_menu_offers_is_free_for_a_product() -> None:
    card = catalog_object("ITEM", "i9", {"name": "Card", "variations": [variation(1)], "product_type": "GIFT_CARD"})
    catalog = gathered(card, product())
    assert [(found.item_code, found.name) for found in catalog.items] == [("K1", "Kopi")]
    assert catalog.duplicates == ()


def test_objects_of_types_that_nobody_asked_for_pass_by() -> None:
    catalog = gathered(product(), catalog_object("TAX", "t", {"name": "VAT"}), {"id": "x"}, {"type": ["ITEM"]})
    assert [found.item_code for found in catalog.items] == ["K1"]
    assert catalog.warnings == {"object without type left out": 1}


@pytest.mark.parametrize("newest", ["item", "variation", "category", "picture", "list"])
def test_an_item_changed_when_anything_it_shows_did(newest: str) -> None:
    when: dict[str, Object] = {name: {"updated_at": f"202{5 + (name == newest)}-01-01T00:00:00.123456789Z"} for name in
            ("item", "variation", "category", "picture", "list")}  # fmt: skip
    data = {"category_id": "c", "image_ids": ["p"], "modifier_list_info": [use()]}
    found = item(
        product(data | {"variations": [variation(1, None, **when["variation"])]}, **when["item"]),
        catalog_object("CATEGORY", "c", {"name": "Coffee"}, **when["category"]),
        catalog_object("IMAGE", "p", {"url": "https://x/1.jpg"}, **when["picture"]),
        modifier_list(None, **when["list"]),
    )
    assert found.updated_at == datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)


def test_a_time_that_cannot_be_read_is_left_out_and_counted() -> None:
    catalog = gathered(product(updated_at="yesterday"))
    assert catalog.items[0].updated_at == WHEN
    assert catalog.warnings == {"updated_at that cannot be read left out": 1}


def test_a_price_changes_nothing() -> None:
    dear = variation(1, {"price_money": {"amount": 10**30}, "location_overrides": "none", "pricing_type": 5})
    assert item(product({"variations": [dear]})) == item(product())
