"""Since when items are stale, on a real control database."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cata_pipeline.tenants.stale import StaleItem, StaleItems

MONDAY = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
TUESDAY, WEDNESDAY = MONDAY + timedelta(days=1), MONDAY + timedelta(days=2)


@pytest.fixture
def stale(control: Engine) -> StaleItems:
    return StaleItems(control)


def test_an_item_stays_stale_since_the_first_sync_that_found_it(stale: StaleItems) -> None:
    stale.keep("kopi", ["A", "B"], MONDAY)
    stale.keep("kopi", ["A", "B", "C"], TUESDAY)
    assert stale.longest(["kopi"], 10) == {
        "kopi": [StaleItem("A", MONDAY), StaleItem("B", MONDAY), StaleItem("C", TUESDAY)]
    }


def test_an_item_that_is_back_is_forgotten_and_stale_anew_when_it_goes_again(stale: StaleItems) -> None:
    stale.keep("kopi", ["A", "B"], MONDAY)
    stale.keep("kopi", ["B"], TUESDAY)
    stale.keep("kopi", ["A", "B"], WEDNESDAY)
    assert stale.longest(["kopi"], 10) == {"kopi": [StaleItem("B", MONDAY), StaleItem("A", WEDNESDAY)]}
    stale.keep("kopi", [], WEDNESDAY)
    assert stale.longest(["kopi"], 10) == {}


def test_each_tenant_is_told_on_its_own_and_no_further_than_asked(stale: StaleItems) -> None:
    stale.keep("kopi", ["C", "A", "B"], MONDAY)
    stale.keep("roti", ["A"], TUESDAY)
    stale.keep("not-asked-for", ["A"], MONDAY)
    stale.keep("kopi", ["C", "A", "B", "0"], TUESDAY)
    asked = ["kopi", "roti", "never-synced"]
    assert stale.longest(asked, 2) == {
        "kopi": [StaleItem("A", MONDAY), StaleItem("B", MONDAY)],
        "roti": [StaleItem("A", TUESDAY)],
    }
    assert stale.count(asked) == {"kopi": 4, "roti": 1}


def test_nothing_is_written_where_nothing_differs(stale: StaleItems, control: Engine) -> None:
    def versions() -> list[object]:
        with control.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text("SELECT item_code, xmin::text FROM stale_items"))]

    stale.keep("kopi", ["A", "B"], MONDAY)
    before = versions()
    stale.keep("kopi", ["B", "A"], TUESDAY)
    stale.keep("roti", [], TUESDAY)
    assert versions() == before


@pytest.mark.parametrize("code", ["kopi-☕", 'a"b\\c', "a'; DROP TABLE stale_items", "zero\x00byte"])
def test_any_item_code_a_tenants_table_can_hold_is_kept(stale: StaleItems, code: str) -> None:
    stale.keep("kopi", [code], MONDAY)
    stale.keep("kopi", [code], TUESDAY)
    assert stale.longest(["kopi"], 10) == {"kopi": [StaleItem(code.replace("\x00", "\\x00"), MONDAY)]}
