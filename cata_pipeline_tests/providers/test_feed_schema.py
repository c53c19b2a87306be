"""The schema that is shipped, judged by a validator: what it accepts and what the reader accepts are the same lines.

A schema cannot say everything (`BEYOND_A_SCHEMA`; docs/feed-format.md tells senders the same). There the reader is the
stricter one; what the reader takes, the schema always accepts.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cata_pipeline.providers import feed_rows
from cata_pipeline.providers.feed_bytes import BrokenFeedError
from cata_pipeline.providers.feed_records import Reading
from cata_pipeline.providers.feed_rows import item_of
from cata_pipeline.providers.row_fields import UnusableRowError
from cata_pipeline_tests.providers.test_feed import BLOCKS
from cata_pipeline_tests.providers.test_feed_rows import SCHEMA, SMALL

VALIDATOR = Draft202012Validator(SCHEMA)
BEYOND_A_SCHEMA = (
    r"holds half of a surrogate pair",
    r"bytes; at most 1024 can be stored",
    r"has a number with a decimal point as (item_code|code|variant_group); expected a text",
    r"has the same code twice",
    r"is among its own bundle_components",
    r"has an updated_at that is no time",
    r"has a quantity among its bundle_components that is no usable number",
    r"says on line 1 that it has [-+.\dE]+ items, and has \d+",
)


def why_not(line: str, rows_before: int = 0) -> str | None:
    """Why the reader takes this line neither as an item nor as the end; None where it does."""
    reading = Reading("jsonl")
    try:
        for _ in range(rows_before):
            reading.row(1, b'{"item_code": "A", "name": "A"}')
        row = reading.row(1, line.encode())
        if row is not None:
            item_of(row)
    except (UnusableRowError, BrokenFeedError) as problem:
        return str(problem)
    return None


def assert_agreement(line: str, rows_before: int = 0) -> None:
    accepted, problem = VALIDATOR.is_valid(json.loads(line)), why_not(line, rows_before)
    if problem is None:
        assert accepted, f"read, but the schema refuses it: {line}"
    elif accepted:
        assert any(re.search(known, problem) for known in BEYOND_A_SCHEMA), f"{problem}, but not for the schema: {line}"


BLANKS = st.sampled_from(["", " ", "\t\n", "\u2003"])
WORDS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda text: not text.isspace()
)
CODES = WORDS | st.integers(-5, 2**64) | st.just("k" * 1024)
FLAGS = st.none() | st.booleans()
TEXTS = st.none() | BLANKS | WORDS
MODIFIERS = st.fixed_dictionaries({"code": CODES, "name": WORDS}, optional={"is_active": FLAGS})
GROUPS = st.fixed_dictionaries(
    {"code": CODES, "name": WORDS},
    optional={"is_active": FLAGS, "modifiers": st.none() | st.lists(MODIFIERS, min_size=1, max_size=2)},
)
COMPONENTS = st.fixed_dictionaries(
    {"item_code": CODES, "name": WORDS},
    optional={
        "slot": TEXTS,
        "quantity": st.none() | st.sampled_from([0, 1, 0.5, 9_999_999_999, "0", "2.50", "9999999999.999999999"]),
    },
)
MOMENTS = st.datetimes().map(lambda moment: f"{moment.isoformat()}Z") | st.sampled_from(
    ["2026-03-01T08:00:00+07:00", "2026-03-01 08:00:00.123456789-11:30", "1969-12-31T23:30:00-01:00"]
)
ITEMS = st.fixed_dictionaries(
    {"item_code": CODES, "name": WORDS},
    optional={
        "is_active": FLAGS,
        "description": TEXTS,
        "category": TEXTS,
        "item_type": TEXTS,
        "image_url": TEXTS,
        "variant_group": st.none() | BLANKS | CODES,
        "variant_options": st.none() | st.lists(st.fixed_dictionaries({"option": WORDS, "value": WORDS}), min_size=1),
        "modifier_groups": st.none() | st.lists(GROUPS, min_size=1, max_size=2),
        "bundle_components": st.none() | st.lists(COMPONENTS, min_size=1, max_size=2),
        "updated_at": st.none() | BLANKS | MOMENTS,
    },
)
ODD: list[object] = [
    *[None, True, False, 0, 1, -1, 1.0, 1.5, -0.0, 1e-12, 1e10, 10**10, 10**2_000, 0.1 + 0.2],
    *["", " ", "a", "1", "-1", " 1", "1\n", "1_0", "\u0661", "1e3", "Infinity", "a\x00b", "a\x01b", "\x1f", "\x85"],
    *["\ufeff", "\ud800", "a\udfff", "k" * 1025, "\u00e9" * 513, "🍜" * 256, "true", "#end"],
    *["2026-03-01", "2026-03-01T08:00:00", "2026-02-30T08:00:00Z", "20260301T080000Z", "2026-W09-7T08:00:00Z"],
    *["2026-03-01T08:00Z", "2026-03-01t08:00:00z", "2026-03-01T08:00:00+0700", "2026-03-01T08:00:00+07:00:30"],
    *["2026-03-01T08:00:00,5Z", "2026-03-01T08:00:00.Z", "2026-03-01T08:00:00+07:99", "0001-01-01T00:00:00Z"],
    *[[], {}, [None], ["a"], [[]], [{}], {"code": "a", "name": "a"}, [{"code": "a", "name": "a"}]],
    *[[{"code": "a", "name": "a"}] * 2, [{"option": "a", "value": "a"}], [{"item_code": "a", "name": "a"}]],
]
ANYTHING = st.sampled_from(ODD)
KEYS = ["price", "name", "code", "is_active", "end", ""]


def places(value: object) -> list[tuple[Any, Any]]:
    """Each dictionary or list inside a value, with each of its keys."""
    if not isinstance(value, dict | list):
        return []
    inside = list(value.items() if isinstance(value, dict) else enumerate(value))
    return [*((value, key) for key, _ in inside), *(place for _, part in inside for place in places(part))]


@st.composite
def mutants(draw: Callable[..., Any]) -> Any:
    """An item with one thing changed somewhere: another value, a key less, a key more."""
    row = draw(ITEMS)
    holder, key = draw(st.sampled_from(places(row)))
    change = draw(st.sampled_from(["replace", "remove", "add"]))
    if change == "replace":
        holder[key] = draw(ANYTHING)
    elif change == "remove":
        del holder[key]
    elif isinstance(holder, list):
        holder.append(draw(ANYTHING))
    else:
        holder[draw(st.sampled_from(KEYS))] = draw(ANYTHING)
    return row


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


@settings(max_examples=200, deadline=None)
@given(ITEMS)
def test_an_item_as_the_document_describes_it_is_right_for_both(row: dict[str, object]) -> None:
    line = json.dumps(row)
    assert VALIDATOR.is_valid(json.loads(line))
    assert_agreement(line)


@settings(max_examples=1_000, deadline=None)
@given(mutants())
def test_an_item_with_one_thing_changed_is_right_for_both_or_for_none(row: object) -> None:
    assert_agreement(json.dumps(row))


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries(
        {}, optional={"end": st.just(True) | ANYTHING, "items": st.integers(-1, 3) | ANYTHING, "more": st.none()}
    ),
    st.integers(0, 3),
)
@example({"end": True, "items": -0.0}, 1)
@example({"end": True, "items": 1e22}, 1)
def test_an_end_line_is_right_for_both_or_for_none(line: dict[str, object], rows_before: int) -> None:
    assert_agreement(json.dumps(line), rows_before)


@pytest.mark.parametrize("line", BLOCKS["jsonl"].splitlines())
def test_each_line_of_the_documents_example_is_valid(line: str) -> None:
    VALIDATOR.validate(json.loads(line))


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "a\x00b"},
        {"description": "a\x00"},
        {"item_code": "\n"},
        {"item_code": "k" * 1025},
        {"is_active": 1},
        {"price": 1},
        {"updated_at": "2026-03-01"},
        {"updated_at": "2026-03-01T08:00:00"},
        {"updated_at": "20260301T080000Z"},
        {"updated_at": "2026-03-01T08:00:00+07:99"},
        *(
            {"bundle_components": [{"item_code": "A", "name": "A", "quantity": odd}]}
            for odd in ("1_0", " 1", "1e3", -1)
        ),
        *({"bundle_components": [{"item_code": "A", "name": "A", "quantity": odd}]} for odd in ("", "\u0661", 1e10)),
    ],
    ids=repr,
)
def test_what_a_schema_can_refuse_it_refuses(fields: dict[str, object]) -> None:
    line = json.dumps(SMALL | fields)
    assert why_not(line)
    assert not VALIDATOR.is_valid(json.loads(line))


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a\ud800"},
        {"item_code": "\u00e9" * 513},
        {"item_code": 10**1_024},
        {"item_code": 1.0},
        {"modifier_groups": [{"code": "s", "name": "S"}] * 2},
        {"bundle_components": [{"item_code": "K-1", "name": "Kopi"}]},
        {"bundle_components": [{"item_code": "A", "name": "A", "quantity": 1e-12}]},
        {"updated_at": "2026-02-30T08:00:00Z"},
        {"updated_at": "1969-12-31T23:59:59Z"},
    ],
    ids=lambda fields: repr(fields)[:60],
)
def test_what_a_schema_cannot_say_the_reader_refuses_alone(fields: dict[str, object]) -> None:
    line = json.dumps(SMALL | fields)
    assert why_not(line)
    assert VALIDATOR.is_valid(json.loads(line))


@pytest.mark.parametrize(
    "line", [{"end": 1, "items": 0}, {"end": True}, {"end": True, "items": -1}, {"end": True, "items": 0, "name": "a"}]
)
def test_an_end_line_that_is_none_is_refused_by_both(line: object) -> None:
    assert why_not(json.dumps(line))
    assert not VALIDATOR.is_valid(line)


def test_the_patterns_of_the_schema_are_the_readers() -> None:
    item = SCHEMA["$defs"]["item"]["properties"]
    quantity = item["bundle_components"]["items"]["properties"]["quantity"]["pattern"]
    assert quantity == f"^{feed_rows._QUANTITY.pattern}$"
    assert item["updated_at"]["pattern"] == rf"^\s*$|^{feed_rows._MOMENT.pattern}$"
