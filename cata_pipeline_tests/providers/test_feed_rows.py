"""What each field of a feed becomes, strictly; the schema and the document say the same."""

import json
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from cata_pipeline.catalog.model import (
    MAX_ITEM_CODE_BYTES,
    BundleComponent,
    Item,
    Modifier,
    ModifierGroup,
    VariantOption,
)
from cata_pipeline.providers import feed_rows
from cata_pipeline.providers.feed_rows import FIELDS, REQUIRED_FIELDS, item_of
from cata_pipeline.providers.row_fields import UnusableRowError

DOCUMENT = Path(__file__).parents[2] / "docs" / "feed-format.md"
SCHEMA: Any = json.loads(resources.files("cata_pipeline.providers").joinpath("feed.schema.json").read_text())
SMALL: dict[str, object] = {"item_code": "K-1", "name": "Kopi"}


def reason(**fields: object) -> str:
    with pytest.raises(UnusableRowError) as caught:
        item_of({**SMALL, **fields})
    return str(caught.value)


def test_two_fields_are_enough() -> None:
    assert item_of(SMALL) == Item("K-1", "K-1", "Kopi", is_active=None, modifier_groups=None, bundle_components=None)


def test_each_field_arrives() -> None:
    row = {
        "item_code": " k-1",
        "name": "Kopi - Large",
        "is_active": False,
        "description": "Strong",
        "category": "Coffee",
        "item_type": "drink",
        "image_url": "https://cdn.example.com/k.jpg",
        "variant_group": 12,
        "variant_options": [{"option": "Size", "value": "Large"}],
        "modifier_groups": [
            {"code": "s", "name": "Sugar", "is_active": False, "modifiers": [{"code": 1, "name": "Less"}]},
            {"code": "t", "name": "Top"},
        ],
        "bundle_components": [
            {"item_code": "A", "name": "Teh", "slot": "Drink", "quantity": "0.50"},
            {"item_code": "A", "name": "Teh"},
        ],
        "updated_at": "2026-03-01T08:00:00+07:00",
    }
    assert set(row) == set(FIELDS)
    assert item_of(row) == Item(
        " k-1",
        " k-1",
        "Kopi - Large",
        is_active=False,
        description="Strong",
        category="Coffee",
        item_type="drink",
        external_image_url="https://cdn.example.com/k.jpg",
        variant_group="12",
        variant_options=(VariantOption("Size", "Large"),),
        modifier_groups=(
            ModifierGroup("s", "Sugar", (Modifier("1", "Less", None),), is_active=False),
            ModifierGroup("t", "Top", (), None),
        ),
        bundle_components=(BundleComponent("Drink", "A", "Teh", "0.50"), BundleComponent("", "A", "Teh", "1")),
        updated_at=datetime(2026, 3, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize("field", ["modifier_groups", "bundle_components"])
def test_null_says_that_there_are_none_and_absent_says_nothing(field: str) -> None:
    assert getattr(item_of(SMALL), field) is None
    assert getattr(item_of({**SMALL, field: None}), field) == ()
    assert getattr(item_of({**SMALL, field: []}), field) == ()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"item_code": None}, "has no item_code"),
        ({"item_code": " "}, "has no item_code"),
        ({"item_code": "k" * (MAX_ITEM_CODE_BYTES + 1)}, "has a item_code of 1025 bytes; at most 1024 can be stored"),
        ({"name": ""}, "has no name"),
        ({"name": 5}, "has a whole number as name; expected a text"),
        ({"is_active": "yes"}, "has a text as is_active; expected true or false"),
        ({"is_active": 1}, "has a whole number as is_active; expected true or false"),
        ({"category": ["Coffee"]}, "has a list as category; expected a text"),
        ({"description": "a\x00b"}, "has a description that holds a NUL character"),
        ({"variant_options": "Large"}, "has a text as variant_options; expected a list"),
        ({"variant_options": ["Large"]}, "has a text among its variant_options; expected an object"),
        ({"variant_options": [{"option": "Size"}]}, "has no value"),
        ({"modifier_groups": [{"name": "Sugar"}]}, "has no code"),
        ({"modifier_groups": [{"code": "s", "name": "S"}] * 2}, "has the same code twice in its modifier_groups"),
        (
            {"modifier_groups": [{"code": "s", "name": "S", "modifiers": [{"code": "l", "name": "L"}] * 2}]},
            "has the same code twice in its modifiers",
        ),
        ({"bundle_components": [{"item_code": "A"}]}, "has no name"),
        ({"bundle_components": [{"item_code": "K-1", "name": "Kopi"}]}, "is among its own bundle_components"),
        (
            {"bundle_components": [{"item_code": "A", "name": "A", "quantity": -1}]},
            "has a quantity among its bundle_components that is no usable number",
        ),
    ],
)
def test_a_field_that_is_wrong_rejects_its_row(fields: dict[str, object], told: str) -> None:
    assert reason(**fields) == told


@pytest.mark.parametrize("text", ["yesterday", "2026-03-01T08:00:00", "2026-03-01", "0001-01-01T00:00:00Z", "12:00Z"])
def test_a_time_has_a_date_and_a_zone(text: str) -> None:
    assert reason(updated_at=text).startswith("has an updated_at that is no time with a zone")


@pytest.mark.parametrize(
    "fields",
    [
        {"price": 1},
        {"base_Price": None},
        {"unit_cost": 1},
        {"modifier_groups": [{"code": "s", "name": "S", "modifiers": [{"code": "l", "name": "L", "price": 1}]}]},
        {"bundle_components": [{"item_code": "A", "name": "A", "price": 1}]},
    ],
    ids=repr,
)
def test_a_price_anywhere_is_refused_with_the_rule(fields: dict[str, object]) -> None:
    assert "prices belong to Cata and are never read, leave them out" in reason(**fields)


def test_an_unknown_field_is_named_with_the_known_ones() -> None:
    assert reason(colour="red") == f"has the unknown colour; known are {', '.join(FIELDS)}"
    assert reason(variant_options=[{"option": "a", "value": "b", "x": 1}]) == "has in its variant_options the unknown x"


def test_the_schema_and_the_reader_know_the_same_fields() -> None:
    item = SCHEMA["$defs"]["item"]
    assert tuple(item["properties"]) == FIELDS
    assert tuple(item["required"]) == REQUIRED_FIELDS
    group = item["properties"]["modifier_groups"]["items"]
    modifier = group["properties"]["modifiers"]["items"]
    option = item["properties"]["variant_options"]["items"]
    component = item["properties"]["bundle_components"]["items"]
    for part, known in (
        (option, feed_rows._OPTION_FIELDS),
        (group, feed_rows._GROUP_FIELDS),
        (modifier, feed_rows._MODIFIER_FIELDS),
        (component, feed_rows._COMPONENT_FIELDS),
    ):
        assert part["properties"].keys() == known
        assert part["additionalProperties"] is False
    assert item["additionalProperties"] is False


def test_the_document_has_a_row_for_each_field() -> None:
    rows = [line.split("|")[1:3] for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    assert [(name.strip(" `"), needed.strip() == "yes") for name, needed in rows] == [
        (name, name in REQUIRED_FIELDS) for name in FIELDS
    ]
