"""Whatever one field of one row holds: there is a catalog, it can be stored, and no other product is any different.

The rows are what each POS sends at its fullest. What a field means, and what becomes of it when it is odd, is tested
beside its provider.
"""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cata_pipeline.catalog.model import Catalog, Item, text_problem
from cata_pipeline.providers.iseller import _Gathered
from cata_pipeline.providers.loyverse_catalog import Gathered as LoyverseGathered
from cata_pipeline.providers.loyverse_options import LoyverseOptions
from cata_pipeline.providers.loyverse_rows import References, modifier_group_of
from cata_pipeline.providers.square_catalog import Gathered as SquareGathered
from cata_pipeline.providers.square_options import SquareOptions
from cata_pipeline_tests.providers import loyverse_pos as loyverse
from cata_pipeline_tests.providers.square_pos import catalog_object

Path = tuple[str | int, ...]
PRICE = 987_654
NOW = datetime(2026, 9, 1, tzinfo=UTC)
YESTERDAY = "2026-08-31T00:00:00Z"
ABSENT = object()
ODD: list[object] = [
    ABSENT,
    None,
    "",
    "  ",
    0,
    1,
    -1,
    10**1200,
    True,
    False,
    Decimal("1E+400"),
    "nul \x00",
    "half \ud800",
    "É" * 700,
    "9999-12-31T23:59:59-14:00",
    "<a " * 50,
    "&#0;&#1114112;",
    [],
    {},
    [None],
    [[]],
    ["a"],
    [{}],
    {"id": 5},
]


def _square_rows() -> list[Any]:
    price = {"amount": PRICE, "currency": "IDR"}

    def variation(number: int, item_id: str, **fields: object) -> dict[str, object]:
        override = {"location_id": "L-KOPI", "price_money": price, "sold_out": False, "sold_out_valid_until": YESTERDAY}
        more = {"price_money": price, "ordinal": number, "sellable": True, "image_ids": ["p2"], **fields}
        more["location_overrides"] = [override]
        data = {"item_id": item_id, "name": f"No {number}", "sku": f"K{number}", **more}
        return catalog_object("ITEM_VARIATION", f"v{number}", data)

    def chosen(value: str) -> list[dict[str, str]]:
        return [{"item_option_id": "o", "item_option_value_id": value}]

    kopi = {
        "name": "Kopi",
        "buyer_facing_name": "Kopi Susu",
        "description_html": "<p>Strong &amp; sweet</p>",
        "description_plaintext": "Strong & sweet",
        "categories": [{"id": "c", "ordinal": 1}],
        "reporting_category": {"id": "c", "ordinal": 1},
        "category_id": "c",
        "product_type": "REGULAR",
        "image_ids": ["p1"],
        "is_archived": False,
        "modifier_list_info": [
            {
                "modifier_list_id": "m",
                "min_selected_modifiers": -1,
                "enabled": True,
                "ordinal": 1,
                "modifier_overrides": [{"modifier_id": "less", "hidden_online_override": "YES"}],
            }
        ],
        "variations": [
            variation(1, "i1", item_option_values=chosen("large")),
            variation(2, "i1", item_option_values=chosen("small")),
        ],
    }
    gone = catalog_object("ITEM", "i3", {"name": "Gone", "variations": [variation(4, "i3")]}, is_deleted=True)
    milk = [
        catalog_object("MODIFIER", "less", {"name": "Less", "ordinal": 2, "price_money": price}),
        catalog_object("MODIFIER", "more", {"name": "More", "ordinal": 1, "hidden_online": False}),
    ]
    values = [catalog_object("ITEM_OPTION_VAL", key, {"name": key}) for key in ("large", "small")]
    return [
        catalog_object("ITEM", "i1", kopi, absent_at_location_ids=["L9"], present_at_location_ids=[]),
        catalog_object("ITEM", "i2", {**kopi, "name": "Teh", "variations": [variation(3, "i2")]}),
        gone,
        variation(5, "i2") | {"is_deleted": True},
        catalog_object("CATEGORY", "c", {"name": "Coffee", "category_type": "REGULAR_CATEGORY"}),
        catalog_object("IMAGE", "p1", {"url": "https://x/1.jpg"}),
        catalog_object("IMAGE", "p2", {"url": "https://x/2.jpg"}),
        catalog_object("MODIFIER_LIST", "m", {"name": "Milk", "modifier_type": "LIST", "modifiers": milk}),
        catalog_object("ITEM_OPTION", "o", {"name": "Size", "display_name": "Size", "values": values}),
    ]


def _square_catalog(pages: list[list[object]]) -> Catalog:
    gathered = SquareGathered(SquareOptions(location_id="L-KOPI", sold_out="hide"), NOW)
    for page in pages:
        gathered.take(page)
    return gathered.catalog()


def _loyverse_rows() -> list[Any]:
    stores = [loyverse.store(price=PRICE), loyverse.store(loyverse.OTHER_STORE, for_sale=False, price=PRICE)]
    described = {"category_id": "c", "modifier_ids": ["m"], "image_url": "https://x/1.jpg", "option1_name": "Size"}
    duo = {"id": "i2", "is_composite": True, "components": [{"variant_id": "v4", "quantity": 2}] * 2}
    return [
        loyverse.item(
            loyverse.variant("K1", "v1", option1_value="Large", stores=stores, cost=PRICE, default_price=PRICE),
            loyverse.variant("K2", "v2", option1_value="Small"),
            id="i1",
            description="<p>Strong &amp; sweet</p>",
            **described,
        ),
        loyverse.item(loyverse.variant("K3", "v3"), **described | duo),
        loyverse.item(loyverse.variant("K4", "v4"), id="i3"),
        loyverse.item(loyverse.variant("K5", "v5"), id="i4", deleted_at="2026-01-01T00:00:00.000Z"),
    ]


def _loyverse_catalog(pages: list[list[object]]) -> Catalog:
    options = LoyverseOptions(store_id=loyverse.STORE)
    code, group = modifier_group_of(loyverse.modifier("m", "Milk", ("oat", "Oat")), options.store_id, lambda _: None)
    gathered = LoyverseGathered(options, References({"c": "Coffee"}, {code: group}), Catalog(()).warnings)
    for page in pages:
        gathered.take(page)
    return gathered.catalog()


def _iseller_rows() -> list[Any]:
    component = {
        "product_id": "p3",
        "sku": "K3",
        "category": "Drink",
        "product_name": "Teh",
        "variant_name": "L",
        "quantity": 1,
    }
    return [
        {
            "product_id": "p1",
            "product_header_id": "h1",
            "name": "Kopi",
            "description": "Strong",
            "type": "variant",
            "product_type": "Coffee",
            "tags": ["signature"],
            "sku": "K1",
            "price": f"{PRICE}.0000",
            "variant_options": [{"option": "Size", "value": "Large"}, {"option": "Temp", "value": "Ice"}],
            "ingredients": [{"product_id": "x", "name": "Milk", "quantity": 0.2}],
            "bundles": None,
            "modifier_groups": [
                {
                    "modifier_group_id": "g2",
                    "title": "Sugar",
                    "modifiers": [
                        {"modifier_id": "m1", "modifier_group_id": "g1", "title": "Less", "price": PRICE},
                        {"modifier_id": "m2", "modifier_group_id": "g1", "title": "More", "price": PRICE},
                    ],
                    "is_active": True,
                }
            ],
            "images": ["https://x/1.jpg"],
            "is_active": True,
            "modified_date": "2025-09-08 07:59:38",
        },
        {
            "product_id": "p2",
            "name": "Duo",
            "type": "comboset",
            "tags": "a, b",
            "sku": "K2",
            "bundles": [component] * 2,
        },
        {"product_id": "p3", "name": "Teh", "type": "standard", "sku": "K3", "images": "https://x/2.jpg"},
    ]


def _iseller_catalog(pages: list[list[object]]) -> Catalog:
    gathered = _Gathered("product_id")
    for page in pages:
        gathered.take(page)
    return gathered.catalog()


@dataclass(frozen=True)
class _Pos:
    """A provider's rows, what it makes of them, and for each row of a product the codes that it says something about.

    A bundle of Loyverse has the names of its components.
    """

    rows: Callable[[], list[Any]]
    catalog: Callable[[list[list[object]]], Catalog]
    codes: tuple[frozenset[str], ...]


POS = {
    "square": _Pos(_square_rows, _square_catalog, tuple(map(frozenset, (["K1", "K2"], ["K3", "K5"], ["K4"], ["K5"])))),
    "loyverse": _Pos(
        _loyverse_rows, _loyverse_catalog, tuple(map(frozenset, (["K1", "K2"], ["K3"], ["K3", "K4"], ["K5"])))
    ),
    "iseller": _Pos(_iseller_rows, _iseller_catalog, tuple(map(frozenset, (["K1"], ["K2"], ["K3"])))),
}


def _paths(node: object, above: Path = ()) -> Iterator[Path]:
    if above:
        yield above
    inner: Any = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield from _paths(value, (*above, key))


def _changed(rows: list[Any], path: Path, value: object) -> list[Any]:
    # Through JSON, so that no two places hold one object.
    rows = json.loads(json.dumps(rows))
    place: Any = rows
    for key in path[:-1]:
        place = place[key]
    if value is ABSENT:
        del place[path[-1]]
    else:
        place[path[-1]] = copy.deepcopy(value)
    return rows


def _texts(part: object) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, tuple):
        for inner in part:
            yield from _texts(inner)


def _told(catalog: Catalog) -> tuple[object, ...]:
    rejections = sorted(str(rejection) for rejection in catalog.rejections)
    return catalog.items, catalog.duplicates, rejections, dict(catalog.warnings)


def _by_code(catalog: Catalog) -> dict[str, Item]:
    return {item.item_code: item for item in catalog.items}


@pytest.mark.parametrize("name", POS)
@settings(deadline=None, max_examples=600)
@given(data=st.data())
def test_one_odd_field_costs_no_other_product_and_nothing_that_cannot_be_stored(name: str, data: st.DataObject) -> None:
    pos = POS[name]
    path = data.draw(st.sampled_from(list(_paths(pos.rows()))))
    value = data.draw(st.sampled_from(ODD))
    rows = _changed(pos.rows(), path, value)

    catalog = pos.catalog([copy.deepcopy(rows)])
    found, whole = _by_code(catalog), _by_code(pos.catalog([pos.rows()]))
    texts = [text for item in catalog.items for text in _texts(item)]
    texts += [text for row in catalog.rejections for text in (row.provider_id, row.item_code, row.reason) if text]
    assert [text for text in texts if text_problem(text) or str(PRICE) in text] == []
    assert list(found) == sorted(found, key=str.encode)
    if isinstance(path[0], int) and path[0] < len(pos.codes):
        others = whole.keys() - pos.codes[path[0]] - {lost.item_code for lost in catalog.duplicates}
        assert {code: found[code] for code in others} == {code: whole[code] for code in others}
    else:
        assert found.keys() == whole.keys()

    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    assert _told(pos.catalog([shuffled[:cut], [], shuffled[cut:]])) == _told(catalog)
