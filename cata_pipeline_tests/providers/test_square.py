"""The Square adapter against a server that speaks its wire format: calls, cursors, failures and options."""

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from cata_pipeline.catalog.model import Catalog
from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.conformance.pos_server import Sold
from cata_pipeline.providers.conformance.scripted_server import Answer, answer, running
from cata_pipeline.providers.http import Patience
from cata_pipeline.providers.pacing import Pacing
from cata_pipeline.providers.square import SQUARE, fetch_catalog
from cata_pipeline_tests.providers.square_pos import RATE_LIMITED, SquarePos, catalog_object, search_page

THREE_PAGES: tuple[list[Sold], ...] = ([Sold("K-1", category="Coffee")], [], [Sold("K-2", image="https://x/2.jpg")])


@pytest.fixture
def seller() -> Iterator[SquarePos]:
    with running(SquarePos()) as seller:
        yield seller


def fetch(seller: SquarePos, secrets: dict[str, str] | None = None, **options: object) -> Catalog:
    async def rest(_: float) -> None:
        await asyncio.sleep(0)

    patience = Patience(pacing=Pacing(interval=0), sleep=rest)
    return fetch_catalog(seller.options() | options, secrets or seller.secrets(), seller.policy, patience)


def codes(catalog: Catalog) -> list[str]:
    return [item.item_code for item in catalog.items]


def test_the_same_search_goes_to_the_end_of_its_cursors(seller: SquarePos) -> None:
    seller.sell(*THREE_PAGES)
    catalog = fetch(seller, page_size=300)
    assert [(item.item_code, item.category, item.external_image_url) for item in catalog.items] == [
        ("K-1", "Coffee", None),
        ("K-2", None, "https://x/2.jpg"),
    ]
    asked = [received.json for received in seller.received]
    assert asked[0] == {
        "object_types": ["ITEM", "ITEM_VARIATION", "CATEGORY", "IMAGE", "MODIFIER_LIST", "ITEM_OPTION"],
        "include_deleted_objects": True,
        "limit": 300,
    }
    assert asked[1:] == [asked[0] | {"cursor": f"cursor-to-page-{number}"} for number in (2, 3)]


def test_each_request_pins_the_version_and_carries_the_token(seller: SquarePos) -> None:
    seller.sell(*THREE_PAGES)
    fetch(seller)
    assert {received.method for received in seller.received} == {"POST"}
    assert {received.headers["Square-Version"] for received in seller.received} == {"2026-09-16"}
    assert {received.headers["Authorization"] for received in seller.received} == {"Bearer EAAAl-token-of-kopi-4711"}


def test_an_empty_catalog_is_an_empty_object_and_no_error(seller: SquarePos) -> None:
    assert fetch(seller) == Catalog(())


def test_an_empty_object_after_a_cursor_is_no_end(seller: SquarePos) -> None:
    seller.sell(*THREE_PAGES)
    seller.misbehave_for_ever(2, answer({}))
    with pytest.raises(ProviderError, match=r"search page 2 at .*: the answer is no page of a catalog"):
        fetch(seller)


def test_objects_may_be_null_on_a_page_with_and_without_a_cursor(seller: SquarePos) -> None:
    seller.sell([Sold("K-1")], [], [])
    seller.misbehave(2, answer({"objects": None, "cursor": "cursor-to-page-3"}))
    seller.misbehave(3, answer({"objects": None, "cursor": None, "latest_time": "2026-03-02T00:00:00Z"}))
    assert codes(fetch(seller)) == ["K-1"]
    assert seller.pages_asked_for() == [1, 2, 3]


def test_a_product_that_was_deleted_is_told_as_inactive(seller: SquarePos) -> None:
    seller.sell(())
    variation = catalog_object("ITEM_VARIATION", "v1", {"name": "Regular", "sku": "K-1"}, is_deleted=True)
    gone = catalog_object("ITEM", "i1", {"name": "Kopi", "variations": [variation]}, is_deleted=True)
    seller.misbehave(1, search_page([gone]))
    assert [(item.item_code, item.is_active) for item in fetch(seller).items] == [("K-1", False)]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"objects": [], "errors": [{"category": "API_ERROR", "code": "INTERNAL_SERVER_ERROR", "detail": "Oops"}]},
         "Square reports a failure beside what it could answer: INTERNAL_SERVER_ERROR: Oops. "),
        ({"latest_time": "2026-03-02T00:00:00Z", "errors": ["odd"]}, "what it could answer: no error message. "),
        ({"error": "maintenance"}, "the answer is no page of a catalog: maintenance. "),
        ({"objects": {}}, "its objects are no list. "),
        ({"objects": "none"}, "its objects are no list. "),
        ({"objects": [], "cursor": 5}, "has a cursor that is none"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_page_fails_the_fetch_at_once(
    seller: SquarePos, given: dict[str, object], found: str
) -> None:
    seller.sell(*THREE_PAGES)
    seller.misbehave_for_ever(2, answer(given))
    with pytest.raises(ProviderError) as refusal:
        fetch(seller)
    assert found in str(refusal.value)
    assert "page 2" in str(refusal.value)
    assert seller.pages_asked_for() == [1, 2]


def test_an_empty_list_of_errors_is_no_error(seller: SquarePos) -> None:
    seller.misbehave(1, answer({"objects": [], "errors": []}))
    assert fetch(seller) == Catalog(())


def test_cursors_that_lead_in_a_circle_are_an_error(seller: SquarePos) -> None:
    seller.sell([], [], [])
    seller.misbehave_for_ever(3, answer({"cursor": "cursor-to-page-2"}))
    with pytest.raises(ProviderError, match=f"Catalog search at {seller.origin}: the cursor of page 3 came before"):
        fetch(seller)
    assert seller.pages_asked_for() == [1, 2, 3]


def test_a_catalog_larger_than_allowed_is_an_error_and_not_cut(seller: SquarePos) -> None:
    seller.sell([Sold("K-1")], [Sold("K-2")], [Sold("K-3")])
    with pytest.raises(ProviderError, match=r"no end after 2 pages.* Raise max_pages"):
        fetch(seller, max_pages=2)
    assert seller.pages_asked_for() == [1, 2]
    assert codes(fetch(seller, max_pages=3)) == ["K-1", "K-2", "K-3"]


@pytest.mark.parametrize(("seconds", "is_active"), [(0, False), (1, True)])
def test_what_is_sold_out_is_judged_by_the_time_of_the_fetch(
    seller: SquarePos,
    seconds: int,
    is_active: bool,  # noqa: FBT001 a parametrized value
) -> None:
    until = datetime(2026, 9, 1, 12, tzinfo=UTC)
    override = {"location_id": "L-KOPI", "sold_out": True, "sold_out_valid_until": until.isoformat()}
    data = {"name": "Regular", "sku": "K-1", "location_overrides": [override]}
    variation = catalog_object("ITEM_VARIATION", "v1", data)
    seller.misbehave(1, search_page([catalog_object("ITEM", "i1", {"name": "Kopi", "variations": [variation]})]))
    patience = Patience(pacing=Pacing(interval=0), now=lambda: until + timedelta(seconds=seconds))
    catalog = fetch_catalog(seller.options() | {"sold_out": "hide"}, seller.secrets(), seller.policy, patience)
    assert [item.is_active for item in catalog.items] == [is_active]


def test_a_rate_limit_is_waited_out(seller: SquarePos) -> None:
    seller.sell(*THREE_PAGES)
    seller.misbehave(2, RATE_LIMITED, RATE_LIMITED)
    assert codes(fetch(seller)) == ["K-1", "K-2"]
    assert seller.pages_asked_for() == [1, 2, 2, 2, 3]


def test_a_rate_limit_that_stays_is_said_as_one(seller: SquarePos) -> None:
    seller.misbehave_for_ever(1, RATE_LIMITED)
    with pytest.raises(ProviderError, match=r"gave up after 5 tries; the last one: HTTP 429 .*: RATE_LIMITED"):
        fetch(seller)


def test_a_token_that_is_not_accepted_asks_for_a_reconnection(seller: SquarePos) -> None:
    with pytest.raises(ProviderError, match=r"HTTP 401 .*: UNAUTHORIZED: .*reconnect the tenant's POS account") as said:
        fetch(seller, {"access_token": "EAAAl-of-somebody-else"})
    assert "EAAAl" not in str(said.value)
    assert seller.pages_asked_for() == [1]


@pytest.mark.parametrize("token", ["", "two\r\nX-Header: lines", "tökén"])
def test_a_token_that_cannot_be_sent_is_said_without_repeating_it(seller: SquarePos, token: str) -> None:
    with pytest.raises(ProviderError, match="access_token is not one that can be sent") as refusal:
        fetch(seller, {"access_token": token})
    assert not token or token not in str(refusal.value)
    assert seller.connections == 0


def test_no_secret_gets_into_messages_or_logs(seller: SquarePos, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = seller.secrets()["access_token"]
    echoes: list[Answer] = [
        answer({"errors": [{"code": "BAD_REQUEST", "detail": f"You sent Bearer {token}"}]}, status=status)
        for status in (200, 400, 500)
    ]
    for echo in echoes:
        seller.misbehave_for_ever(1, echo)
        with pytest.raises(ProviderError) as refusal:
            fetch(seller)
        assert token not in str(refusal.value)
    assert token not in caplog.text


def test_square_needs_one_credential_and_no_option() -> None:
    assert (SQUARE.slug, SQUARE.credential_keys) == ("square", ("access_token",))
    assert SQUARE.option_problems({}) == []


def test_every_option_may_be_given() -> None:
    options = {
        "location_id": "L88917AVBK2S5",
        "origin": "https://connect.squareupsandbox.com/",
        "page_size": 1000,
        "max_pages": 1,
        "missing_sku": "reject",
        "not_sellable": "show",
        "sold_out": "hide",
        "request_budget_seconds": 600,
        "fetch_budget_seconds": 14_400,
    }
    assert SQUARE.option_problems(options) == []
    assert SQUARE.option_problems({"origin": "http://127.0.0.1:8080"}) == []


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("origin", "https://connect.squareup.com.evil.example", "is not Square's"),
        ("origin", "https://connect.squareup.com:8443", "is not Square's"),
        ("origin", "https://127.0.0.1:8080", "is not Square's"),
        ("origin", "http://connect.squareup.com", "is not an https URL"),
        ("origin", "https://connect.squareup.com/v2", "holds a path"),
        ("origin", "https://u:pw@connect.squareup.com", "holds a user name or password"),
        ("origin", 5, "is not a URL"),
        ("location_id", "", "is no location id"),
        ("location_id", "L 1", "is no location id"),
        ("location_id", ["L1"], "is no location id"),
        ("page_size", 0, "expected a whole number from 1 to 1000"),
        ("page_size", 1001, "expected a whole number from 1 to 1000"),
        ("max_pages", 0, "expected a whole number from 1"),
        ("missing_sku", "product_id", "expected variation_id or reject"),
        ("not_sellable", True, "expected hide or show"),
        ("sold_out", True, "expected hide or show"),
        ("sold_out", "hide", "needs location_id, which is missing"),
        ("request_budget_seconds", 601, "expected a number of seconds from 1 to 600"),
        ("fetch_budget_seconds", 14_401, "expected a number of seconds from 1 to 14400"),
    ],
)
def test_a_wrong_option_is_named_with_what_was_expected(key: str, value: object, found: str) -> None:
    [problem] = SQUARE.option_problems({key: value})
    assert problem.startswith(f"{key} ")
    assert found in problem
    assert "pw" not in problem
