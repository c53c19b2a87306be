import hashlib
import itertools
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import fields

import pytest

from cata_pipeline.demo.menus import MENUS, Menu
from cata_pipeline.demo.products import find

every_menu = pytest.mark.parametrize("menu", MENUS, ids=lambda menu: menu.tenant_id)


def _case_codes(menu: Menu) -> list[str]:
    values = [getattr(menu.cases, field.name) for field in fields(menu.cases)]
    nested = [value if isinstance(value, tuple) else (value,) for value in values if value is not None]
    return list(itertools.chain.from_iterable(nested))


def test_there_are_three_tenants() -> None:
    assert [menu.tenant_id for menu in MENUS] == ["kopi-kita", "warung-nusantara", "roti-pagi"]


@every_menu
def test_a_menu_is_as_long_as_a_real_one(menu: Menu) -> None:
    assert 120 <= len(menu.products) <= 160


@every_menu
def test_only_the_planned_sku_is_used_twice(menu: Menu) -> None:
    codes = Counter(product.item_code for product in menu.products)
    assert [code for code, count in codes.items() if count > 1] == [menu.cases.duplicate_sku]


@every_menu
def test_no_two_products_read_the_same(menu: Menu) -> None:
    titles = Counter((product.name, product.choice) for product in menu.products)
    assert titles.most_common(1)[0][1] == 1


@every_menu
def test_skus_are_readable_and_products_described(menu: Menu) -> None:
    for product in menu.products:
        assert re.fullmatch(r"[A-Z0-9]+(-[A-Z0-9]+)*|", product.sku)
        assert product.description.endswith(".")
        assert product.category or product.tags


@every_menu
def test_variants_of_a_family_share_name_and_header_and_differ_in_options(menu: Menu) -> None:
    family = [menu.product(code) for code in menu.cases.variant_family]
    assert len(family) >= 2
    assert {product.type for product in family} == {"variant"}
    assert len({(product.header_id, product.name) for product in family}) == 1
    assert len({product.options for product in family}) == len(family)


@every_menu
def test_every_planned_case_has_a_product_of_its_own(menu: Menu) -> None:
    codes = _case_codes(menu)
    assert len(codes) == len(set(codes))
    known = {product.product_id for product in menu.products} | {product.sku for product in menu.products}
    assert set(codes) <= known


@every_menu
def test_products_for_edits_are_plain_active_and_have_a_picture_of_their_own(menu: Menu) -> None:
    paths = Counter(product.picture.path for product in menu.products if product.picture)
    for code in menu.cases.edits():
        product = menu.product(code)
        assert product.is_active
        assert product.type == "standard"
        assert product.picture is not None
        assert product.picture.condition == "good"
        assert paths[product.picture.path] == 1


@every_menu
def test_no_set_contains_a_product_that_the_story_takes_away(menu: Menu) -> None:
    in_sets = {component.sku for product in menu.products for component in product.components}
    assert in_sets.isdisjoint({menu.cases.to_remove, menu.cases.to_deactivate, menu.cases.inactive})


@every_menu
def test_the_row_that_loses_its_code_is_older_and_inactive(menu: Menu) -> None:
    rows = [product for product in menu.products if product.sku == menu.cases.duplicate_sku]
    winner = menu.product(menu.cases.duplicate_sku)
    (loser,) = [row for row in rows if row is not winner]
    assert winner.is_active
    assert not loser.is_active
    assert loser.modified_at < winner.modified_at


def test_exactly_one_menu_has_a_nameless_row() -> None:
    nameless = [product.product_id for menu in MENUS for product in menu.products if not product.name]
    assert nameless == [menu.cases.nameless_product_id for menu in MENUS if menu.cases.nameless_product_id]
    assert len(nameless) == 1


@every_menu
def test_some_products_are_tracked_and_others_not(menu: Menu) -> None:
    assert {product.track_inventory for product in menu.products} == {True, False}


@every_menu
def test_pictures_come_in_three_formats(menu: Menu) -> None:
    assert {product.picture.kind for product in menu.products if product.picture} == {"jpg", "png", "webp"}


def test_menus_are_the_same_in_every_process() -> None:
    program = "import cata_pipeline.demo.menus as m, hashlib; print(hashlib.sha256(repr(m.MENUS).encode()).hexdigest())"
    elsewhere = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert elsewhere.stdout.strip() == hashlib.sha256(repr(MENUS).encode()).hexdigest()


def test_an_unknown_item_code_is_said() -> None:
    with pytest.raises(LookupError, match="'NOPE'"):
        find(MENUS[0].products, "NOPE")
