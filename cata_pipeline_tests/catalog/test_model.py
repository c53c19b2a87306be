"""The canonical catalog: which of several rows with one code wins, and which texts can be stored."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cata_pipeline.catalog.model import Catalog, Duplicate, Item, Rejection, text_problem, unite

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def item(provider_id: str, code: str = "A", *, is_active: bool = True, updated_at: datetime | None = None) -> Item:
    return Item(code, provider_id, f"name {provider_id}", is_active=is_active, updated_at=updated_at)


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        pytest.param(item("2"), item("1", is_active=False, updated_at=NOON), id="active before inactive"),
        pytest.param(
            item("2", updated_at=NOON), item("1", updated_at=NOON - timedelta(seconds=1)), id="then the newest"
        ),
        pytest.param(item("2", updated_at=NOON), item("1"), id="a time before none"),
        pytest.param(item("1", updated_at=NOON), item("2", updated_at=NOON), id="then the smallest provider id"),
        pytest.param(item("10"), item("9"), id="ids compare as texts"),
    ],
)
def test_one_item_wins_each_code(winner: Item, loser: Item) -> None:
    expected = ((winner,), (Duplicate("A", loser.provider_id, winner.provider_id),))
    assert unite([winner, loser]) == expected
    assert unite([loser, winner]) == expected


def test_codes_that_differ_in_any_byte_are_different_items() -> None:
    codes = ["a", "A", "a ", "\u00e9", "e\u0301", "\uff21"]
    items, duplicates = unite([item(str(number), code) for number, code in enumerate(codes)])
    assert {one.item_code for one in items} == set(codes)
    assert duplicates == ()


def test_items_come_sorted_by_the_bytes_of_their_code() -> None:
    codes = ["\U0001f600", "\uffee", "z", "a", "B"]
    items, _ = unite([item(code, code) for code in codes])
    assert [one.item_code for one in items] == ["B", "a", "z", "\uffee", "\U0001f600"]


items_of_few_codes = st.builds(
    item,
    st.sampled_from("1234567"),
    st.sampled_from("ABC"),
    is_active=st.booleans(),
    updated_at=st.none() | st.sampled_from([NOON, NOON + timedelta(days=1)]),
)


@settings(deadline=None)
@given(st.lists(items_of_few_codes, max_size=12, unique_by=lambda one: one.provider_id), st.randoms())
def test_the_order_in_which_items_arrive_never_matters(items: list[Item], chance: random.Random) -> None:
    shuffled = chance.sample(items, len(items))
    assert unite(shuffled) == unite(items)


@settings(deadline=None)
@given(st.lists(items_of_few_codes, max_size=12))
def test_every_item_wins_or_loses(items: list[Item]) -> None:
    winners, losers = unite(items)
    assert len(winners) + len(losers) == len(items)
    assert {one.item_code for one in winners} == {one.item_code for one in items}
    assert all(one in items for one in winners)


def test_what_was_deleted_stands_for_its_code_only_where_nothing_else_does() -> None:
    living, old, older = item("1", is_active=False), item("2", updated_at=NOON), item("3")
    assert unite([living], [old, older]) == ((living,), ())
    assert unite([item("4", "B")], [older, old]) == unite([item("4", "B")], [old, older]) == ((old, item("4", "B")), ())


def test_a_catalog_counts_every_row_that_was_received() -> None:
    items, duplicates = unite([item("1"), item("2"), item("3", "B")])
    assert Catalog(items, (Rejection("4", None, "has no code"),), duplicates).received == 4


@pytest.mark.parametrize("text", ["", "Kopi Kita", "\u00e9\U0001f600", "\x01\x7f\ufffe"])
def test_a_text_that_can_be_encoded_has_no_problem(text: str) -> None:
    assert text_problem(text) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a\x00b", "holds a NUL character"),
        ("a\ud800", "holds half of a surrogate pair, which is no character"),
        ("\udfff", "holds half of a surrogate pair, which is no character"),
    ],
)
def test_a_text_that_no_database_takes_is_told(text: str, problem: str) -> None:
    assert text_problem(text) == problem
