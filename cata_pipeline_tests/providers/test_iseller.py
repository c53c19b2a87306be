"""The iSeller adapter against a server that speaks its wire format, well and badly."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.catalog.model import Catalog, Duplicate, Rejection
from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.conformance.scripted_server import (
    Answer,
    Canary,
    ScriptedServer,
    allowing,
    answer,
    closed_port,
    hang_up,
    running,
)
from cata_pipeline.providers.http import Patience
from cata_pipeline.providers.iseller import ISELLER, fetch_catalog
from cata_pipeline.providers.pacing import Pacing

PRODUCTS = "/api/v2/GetProducts"
TOKEN = "/oauth/token"
SECRETS = {"api_key": "client-4711", "api_secret": "sh+h/secret"}
LAST = {"has_next_item": False}
MORE = {"has_next_item": True}


class Store(ScriptedServer):
    """Answers each page from `passes[track_inventory]`; a token request gets the next of `tokens`."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: list[Answer] = []
        self.passes: dict[bool, list[Answer]] = {False: [page(LAST)], True: [page(LAST)]}
        self.rests: list[float] = []
        self.issued = 0

    def next_answer(self, path: str) -> Answer:
        if path == TOKEN and path not in self.answers:
            self.issued += 1
            return answer(
                {"access_token": f"token-{self.issued}", "token_type": "bearer", "resource_url": f"{self.origin}/"}
            )
        if path == PRODUCTS and path not in self.answers:
            asked = self.received[-1].json
            return self.passes[bool(asked["track_inventory"])][int(asked["page"]) - 1]
        return super().next_answer(path)

    def fetch(self, policy: AddressPolicy | None = None, **options: object) -> Catalog:
        async def rest(seconds: float) -> None:
            self.rests.append(seconds)
            await asyncio.sleep(0)

        patience = Patience(pacing=Pacing(interval=0), sleep=rest)
        return fetch_catalog(self.options | options, SECRETS, policy or self.policy, patience)

    @property
    def options(self) -> dict[str, object]:
        return {"store_url": self.origin, "token_url": f"{self.origin}{TOKEN}"}


@pytest.fixture
def store() -> Iterator[Store]:
    with running(Store()) as store:
        yield store


def row(number: int, **fields: object) -> dict[str, object]:
    return {"product_id": f"p{number}", "name": f"Kopi {number}", "sku": f"K{number}"} | fields


def page(flag: Mapping[str, object], *rows: object, **fields: object) -> Answer:
    return answer(
        {"products": list(rows), "status": True, "error_message": None, "time": "00:00:00.35", **flag, **fields}
    )


def codes(catalog: Catalog) -> list[str]:
    return [item.item_code for item in catalog.items]


def test_two_passes_of_several_pages_make_one_catalog(store: Store) -> None:
    store.passes = {
        False: [page(MORE, row(3), row(1)), page(MORE), page(LAST, row(2), row(1))],
        True: [page(MORE, row(4)), page(LAST, row(1), row(5, sku=""))],
    }
    catalog = store.fetch(page_size=2)
    assert codes(catalog) == ["K1", "K2", "K3", "K4", "p5"]
    assert (catalog.rejections, catalog.duplicates, catalog.received) == ((), (), 5)
    asked = [request.json for request in store.asked(PRODUCTS)]
    assert [(body["track_inventory"], body["page"]) for body in asked] == [
        (False, 1), (False, 2), (False, 3), (True, 1), (True, 2),
    ]  # fmt: skip
    assert asked[0] == {
        "page": 1,
        "page_size": 2,
        "track_inventory": False,
        "modified_after": "2000-01-01T00:00:00",
        "includes": "OutletPrice,Tags,ModifierGroups,Modifiers,Bundles",
    }


def test_one_token_serves_the_whole_fetch_and_is_asked_for_as_a_form(store: Store) -> None:
    store.passes[False] = [page(MORE, row(1)), page(LAST, row(2))]
    store.fetch()
    (request,) = store.asked(TOKEN)
    assert request.form == {
        "grant_type": "client_credentials",
        "client_id": "client-4711",
        "client_secret": "sh+h/secret",
    }
    assert "Authorization" not in request.headers
    assert {call.headers["Authorization"] for call in store.asked(PRODUCTS)} == {"Bearer token-1"}


def test_without_the_flag_only_an_empty_page_is_the_end(store: Store) -> None:
    store.passes[False] = [page({}, row(1), row(2)), page({}, row(3)), page({})]
    assert codes(store.fetch(page_size=2)) == ["K1", "K2", "K3"]


def test_fetches_on_several_threads_do_not_disturb_each_other(store: Store) -> None:
    store.script(PRODUCTS, page(LAST, row(1)))
    with ThreadPoolExecutor(4) as threads:
        catalogs = list(threads.map(lambda _: store.fetch(), range(8)))
    assert [codes(catalog) for catalog in catalogs] == [["K1"]] * 8


def test_an_empty_store_is_a_complete_catalog_of_nothing(store: Store) -> None:
    assert store.fetch() == Catalog(())


def test_the_newest_version_of_a_product_wins_and_a_tie_stays_with_the_first(store: Store) -> None:
    old, new = "2025-01-01 00:00:00", "2025-06-01 00:00:00"
    store.passes = {
        False: [
            page(
                LAST,
                row(1, name="A", modified_date=old),
                row(2, name="A", modified_date=new),
                row(3, name="A", modified_date=old),
                row(4, name="A"),
                row(5, name="A", modified_date="unreadable"),
            )
        ],
        True: [
            page(
                LAST,
                row(1, name="B", modified_date=new),
                row(2, name="B", modified_date=old),
                row(3, name="B", modified_date=old),
                row(4, name="B", modified_date=old),
                row(5, name="B"),
            )
        ],
    }
    catalog = store.fetch()
    assert [item.name for item in catalog.items] == ["B", "A", "A", "B", "A"]
    assert catalog.received == 5
    assert catalog.warnings == {"modified_date that cannot be read left out": 1}


def test_products_with_the_same_modifiers_share_them(store: Store) -> None:
    sugar = {"modifier_group_id": "g1", "title": "Sugar", "modifiers": [{"modifier_id": "m1", "title": "Less"}]}
    milk = {"modifier_group_id": "g2", "title": "Milk", "modifiers": []}
    store.passes[False] = [
        page(MORE, row(1, modifier_groups=[sugar]), row(2, modifier_groups=[sugar, milk])),
        page(LAST, row(3, modifier_groups=[sugar])),
    ]
    one, two, three = (item.modifier_groups for item in store.fetch().items)
    assert one is three
    assert [[group.name for group in groups or ()] for groups in (one, two)] == [["Sugar"], ["Sugar", "Milk"]]


def test_two_products_with_one_sku_are_united_and_the_loser_is_reported(store: Store) -> None:
    store.passes[False] = [page(LAST, row(1, sku="A", is_active=False), row(2, sku="A"))]
    catalog = store.fetch()
    assert [(item.item_code, item.provider_id) for item in catalog.items] == [("A", "p2")]
    assert catalog.duplicates == (Duplicate("A", "p1", "p2"),)


def test_a_bad_row_is_reported_and_the_others_are_taken(store: Store) -> None:
    store.passes[False] = [page(LAST, row(1), row(2, name=None), "nonsense", {"name": "Kopi"}, row(3, sku=""), row(4))]
    catalog = store.fetch(empty_sku="reject")
    assert codes(catalog) == ["K1", "K4"]
    assert sorted(rejection.reason for rejection in catalog.rejections) == [
        """has no SKU; give the product one in the POS, or set the tenant's option empty_sku = "product_id\"""",
        "has no name",
        "has no product_id",
        "is a text instead of a product",
    ]
    assert Rejection("p2", "K2", "has no name") in catalog.rejections
    assert catalog.received == 6


def test_identities_survive_the_wire_exactly(store: Store) -> None:
    body = (
        b'{"status": true, "has_next_item": false, "products": ['
        b'{"product_id": "a", "name": "A", "sku": 9007199254740993}, {"product_id": "b", "name": "B", "sku": 0},'
        b'{"product_id": "c", "name": "C", "sku": 1.0}, {"product_id": "d", "name": "D\\u0000", "sku": "D"},'
        b'{"product_id": "e", "name": "E", "sku": "E\\ud800"}, {"product_id": "f", "name": "F", "sku": " f "}]}'
    )
    store.passes[False] = [answer(body)]
    catalog = store.fetch()
    assert codes(catalog) == [" f ", "0", "9007199254740993"]
    assert [rejection.provider_id for rejection in catalog.rejections] == ["c", "d", "e"]


@pytest.mark.parametrize("flag", [MORE, {}, LAST], ids=["more", "no flag", "last"])
def test_a_page_that_comes_back_is_an_error_not_an_end(store: Store, flag: Mapping[str, object]) -> None:
    store.passes[False] = [
        page(MORE, row(1), row(2)),
        page(MORE, row(3)),
        page(flag, row(1, sold_count=7), row(2), time="00:00:01.10"),
    ]
    with pytest.raises(ProviderError, match=r"GetProducts page 3 .* the pager repeats a page that came before"):
        store.fetch()


def test_the_second_pass_may_show_the_pages_of_the_first(store: Store) -> None:
    pages = [page(MORE, row(1)), page(LAST, row(2))]
    store.passes = {False: pages, True: pages}
    assert codes(store.fetch()) == ["K1", "K2"]


def test_fresh_pages_without_end_stop_at_the_cap_and_are_no_catalog(store: Store) -> None:
    store.passes[False] = [page(MORE, row(number)) for number in range(1, 10)]
    with pytest.raises(ProviderError, match=r"no end after 3 pages, so the catalog is not complete\. Raise max_pages"):
        store.fetch(max_pages=3)
    assert len(store.asked(PRODUCTS)) == 3


def test_the_last_allowed_page_may_be_the_end(store: Store) -> None:
    store.passes[False] = [page(MORE, row(1)), page(LAST, row(2))]
    assert codes(store.fetch(max_pages=2)) == ["K1", "K2"]


def test_empty_pages_without_end_are_no_end(store: Store) -> None:
    store.passes[False] = [page(MORE)] * 19 + [page(MORE, row(1))] + [page(MORE)] * 20 + [page(LAST, row(2))]
    with pytest.raises(ProviderError, match="20 empty pages in a row, and no end"):
        store.fetch()
    assert len(store.asked(PRODUCTS)) == 40


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (page(LAST, row(1), status=False, error_message="Store is closed"), "reports a failure: Store is closed"),
        (page(LAST, row(1), status="true"), "reports a failure: no error message"),
        (answer({"products": []}), "reports a failure"),
        (answer({}), "reports a failure"),
        (answer({"error": "maintenance"}), "reports a failure: maintenance"),
        (answer({"status": True, "has_next_item": False}), "no list of products"),
        (answer({"status": True, "products": None, "has_next_item": False}), "no list of products"),
        (answer({"status": True, "products": {}, "has_next_item": False}), "no list of products"),
        (page({"has_next_item": "false"}, row(1)), "has_next_item is neither true nor false"),
        (page({"has_next_item": 0}, row(1)), "has_next_item is neither true nor false"),
        (page({"has_next_item": None}, row(1)), "has_next_item is neither true nor false"),
        (answer("<html>Login</html>", content_type="text/html"), "is text/html instead of JSON"),
        (answer("[]"), "no object"),
        (answer(b"", status=403), "may not read this store"),
        (answer(b"", status=404), "no such address"),
    ],
)
def test_a_page_that_is_no_page_fails_the_fetch_at_once(store: Store, given: Answer, found: str) -> None:
    store.passes[True] = [page(MORE, row(1)), given]
    with pytest.raises(ProviderError) as refusal:
        store.fetch()
    assert found in str(refusal.value)
    assert str(refusal.value).startswith(f"GetProducts page 2 (track_inventory=true) at {store.origin}: ")
    assert len(store.asked(PRODUCTS)) == 3


@pytest.mark.parametrize(
    "stumble",
    [answer('{"products": ['), answer(b"", status=503), answer(b"", status=429, headers={"Retry-After": "3"}), hang_up],
    ids=["cut JSON", "503", "429", "hang-up"],
)
def test_a_passing_fault_is_waited_out(store: Store, stumble: Answer) -> None:
    store.script(PRODUCTS, stumble, page(MORE, row(1)), stumble, page(LAST, row(2)), page(LAST))
    assert codes(store.fetch()) == ["K1", "K2"]
    assert len([rest for rest in store.rests if rest >= 1]) == 2


def test_a_fault_that_stays_fails_the_fetch(store: Store) -> None:
    store.script(PRODUCTS, page(MORE, row(1)), answer('{"products": ['))
    with pytest.raises(ProviderError, match=r"page 2 .* gave up after 5 tries; the last one: .* not valid JSON"):
        store.fetch()
    assert len(store.asked(PRODUCTS)) == 6


def test_a_store_that_nobody_answers_for_is_said_to_be_out_of_reach(store: Store) -> None:
    port = closed_port()
    origin = f"http://127.0.0.1:{port}"
    with pytest.raises(ProviderError, match=f"The token at {origin}: gave up .* cannot be reached"):
        store.fetch(allowing(port, store.port), store_url=origin, token_url=f"{origin}{TOKEN}")


def test_an_expired_token_is_renewed_once_and_the_page_asked_for_again(store: Store) -> None:
    store.script(PRODUCTS, page(MORE, row(1)), answer(b"", status=401), page(LAST, row(2)), page(LAST))
    assert codes(store.fetch()) == ["K1", "K2"]
    assert [(call.json["page"], call.headers["Authorization"]) for call in store.asked(PRODUCTS)] == [
        (1, "Bearer token-1"), (2, "Bearer token-1"), (2, "Bearer token-2"), (1, "Bearer token-2"),
    ]  # fmt: skip


@pytest.mark.parametrize("between", [[], [page(MORE, row(1))]], ids=["at once", "later"])
def test_a_second_refusal_ends_the_fetch(store: Store, between: list[Answer]) -> None:
    refused = answer({"error_message": "expired"}, status=401)
    store.script(PRODUCTS, refused, *between, refused)
    with pytest.raises(ProviderError, match=r"HTTP 401 .*: expired\. .*reconnect"):
        store.fetch()
    assert len(store.asked(TOKEN)) == 2
    assert len(store.asked(PRODUCTS)) == 2 + len(between)


@pytest.mark.parametrize(
    "refusal",
    [
        answer({"error": "invalid_client"}, status=401),
        answer({"error": "invalid_client"}, status=400),
        answer({"error_description": "invalid_client"}, status=403),
    ],
)
def test_wrong_credentials_are_called_wrong_credentials(store: Store, refusal: Answer) -> None:
    store.script(TOKEN, refusal)
    with pytest.raises(ProviderError, match=r"does not accept the credentials: .*invalid_client.*Check api_key"):
        store.fetch()
    assert store.asked(PRODUCTS) == []
    assert len(store.asked(TOKEN)) == 1


def test_a_moved_token_endpoint_is_not_called_wrong_credentials(store: Store) -> None:
    store.script(TOKEN, answer(b"", status=404))
    with pytest.raises(ProviderError, match="no such address") as refusal:
        store.fetch()
    assert "credentials" not in str(refusal.value)


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"access_token": None},
        {"access_token": ""},
        {"access_token": 5},
        {"access_token": "two\r\nX-Header: lines"},
        {"access_token": "tökén"},
        {"error": "invalid_client"},
    ],
)
def test_an_answer_without_usable_token_is_said(store: Store, reply: dict[str, object]) -> None:
    store.script(TOKEN, answer(reply))
    with pytest.raises(ProviderError, match="no usable access_token") as refusal:
        store.fetch()
    assert str(reply.get("error", "no error message")) in str(refusal.value)
    assert store.asked(PRODUCTS) == []


@pytest.mark.parametrize("resource", ["missing", None, "", "same", "same, written otherwise"])
def test_the_token_may_name_the_configured_store_or_none(store: Store, resource: str | None) -> None:
    reply: dict[str, Any] = {"access_token": "t", "resource_url": resource}
    if resource == "missing":
        del reply["resource_url"]
    elif resource:
        reply["resource_url"] = store.origin if resource == "same" else f"HTTP://127.0.0.1:{store.port}/some/path"
    store.script(TOKEN, answer(reply))
    store.passes[False] = [page(LAST, row(1))]
    assert codes(store.fetch()) == ["K1"]


@pytest.mark.parametrize(
    "resource", ["{other}", "{other}/", "https://127.0.0.1:{port}", "http://user@127.0.0.1:{port}", 7]
)
def test_a_token_of_another_store_is_sent_nowhere(store: Store, resource: object) -> None:
    with running(Store()) as other:
        if isinstance(resource, str):
            resource = resource.format(other=other.origin, port=store.port)
        store.script(TOKEN, answer({"access_token": "t", "resource_url": resource}))
        with pytest.raises(ProviderError, match=f"Store mismatch: .* but store_url is {store.origin}"):
            store.fetch(allowing(store.port, other.port))
        assert other.connections == 0
    assert store.asked(PRODUCTS) == []


def test_a_renewed_token_of_another_store_is_refused_too(store: Store) -> None:
    mine = answer({"access_token": "t1", "resource_url": store.origin})
    store.script(TOKEN, mine, answer({"access_token": "t2", "resource_url": "https://other.isellershop.com"}))
    store.script(PRODUCTS, answer(b"", status=401))
    with pytest.raises(ProviderError, match=r"the credentials belong to https://other\.isellershop\.com"):
        store.fetch()
    assert len(store.asked(PRODUCTS)) == 1


def test_a_redirect_takes_neither_token_nor_secret_along(store: Store) -> None:
    with running(Store()) as other:
        both = allowing(store.port, other.port)
        for path in (PRODUCTS, TOKEN):
            store.script(path, answer(b"", status=308, headers={"Location": f"{other.origin}{path}"}))
            with pytest.raises(ProviderError, match="Redirects are not followed"):
                store.fetch(both)
        assert other.connections == 0


def test_a_private_store_that_is_not_allowed_gets_no_connection(store: Store) -> None:
    canary = Canary()
    with canary.listener:
        for scheme in ("http", "https"):
            private = f"{scheme}://127.0.0.1:{canary.port}"
            with pytest.raises(ProviderError, match="nothing was sent"):
                store.fetch(store_url=private, token_url=f"{private}{TOKEN}")
        assert canary.connections() == 0


def test_nothing_secret_gets_into_messages_or_logs(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = []
    for path, status in ((TOKEN, 400), (TOKEN, 500), (PRODUCTS, 401), (PRODUCTS, 500), (PRODUCTS, 200)):
        store.answers.clear()
        store.script(path, _echo(status))
        with pytest.raises(ProviderError) as refusal:
            store.fetch()
        told.append(str(refusal.value))
    text = "\n".join([*told, caplog.text])
    assert "HTTP 401" in text
    for secret in (
        "client-4711",
        "sh+h/secret",
        "sh%2Bh%2Fsecret",
        *(f"token-{n}" for n in range(1, store.issued + 1)),
    ):
        assert secret not in text


def _echo(status: int) -> Answer:
    """Repeats what it was sent, as a careless server would in its error message."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        assert isinstance(handler.server.script, Store)  # type: ignore[attr-defined]
        request = handler.server.script.received[-1]  # type: ignore[attr-defined]
        sent = f"{request.headers.get('Authorization')} {request.body.decode()}"
        answer({"status": False, "error_message": sent}, status=status)(handler)

    return send


def test_wrong_options_fail_a_fetch_before_anything_is_sent(store: Store) -> None:
    with pytest.raises(ProviderError, match="page_size is 0"):
        store.fetch(page_size=0)
    assert store.connections == 0


def test_the_provider_needs_two_credentials_and_a_store_url() -> None:
    assert (ISELLER.slug, ISELLER.credential_keys) == ("iseller", ("api_key", "api_secret"))
    assert ISELLER.option_problems({"store_url": "https://kopi.isellershop.com"}) == []
    (problem,) = ISELLER.option_problems({})
    assert problem.startswith("store_url is missing")


def test_every_option_may_be_given() -> None:
    options = {
        "store_url": "https://kopi.isellershop.com/",
        "token_url": "http://127.0.0.1:8080/oauth/token",
        "page_size": 500,
        "max_pages": 1,
        "empty_sku": "reject",
        "request_budget_seconds": 0.5 + 599.5,
        "fetch_budget_seconds": 14_400,
        "max_bytes": 2**30,
        "max_rows": 1_000_000,
    }
    assert ISELLER.option_problems(options) == []


def test_an_unknown_option_is_named_with_the_known_ones() -> None:
    (problem,) = ISELLER.option_problems({"store_url": "https://kopi.isellershop.com", "pagesize": 5})
    assert problem == (
        "pagesize is no option of iseller; known are"
        " store_url, token_url, page_size, max_pages, empty_sku, request_budget_seconds, fetch_budget_seconds,"
        " max_bytes, max_rows."
    )


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("store_url", "http://kopi.isellershop.com", "is not an https URL"),
        ("store_url", "http://localhost:8080", "is not an https URL"),
        ("store_url", "ftp://kopi.isellershop.com", "is not an https URL"),
        ("store_url", "kopi.isellershop.com", "is not an https URL"),
        ("store_url", "https://", "is not an https URL"),
        ("store_url", "https://user:pw@kopi.isellershop.com", "holds a user name or password"),
        ("store_url", "https://kopi.isellershop.com?x=1", "holds a query or fragment"),
        ("store_url", "https://kopi.isellershop.com/#", "holds a query or fragment"),
        ("store_url", "https://kopi.isellershop.com/api", "holds a path"),
        ("store_url", "https://kopi.isellershop.com:99999", "names port 99999"),
        ("store_url", "https://xn--/", "is not a URL"),
        ("store_url", "https://\udc00/", "is not a URL"),
        ("store_url", "https://kopi\n.isellershop.com", "is not a URL"),
        ("store_url", "", "is not a URL"),
        ("store_url", 5, "is not a URL"),
        ("store_url", "https://" + "a" * 3000, "is not a URL"),
        ("token_url", "http://isellershop.com/oauth/token", "is not an https URL"),
        ("token_url", "https://isellershop.com/oauth/token?x", "holds a query or fragment"),
        ("page_size", 0, "expected a whole number from 1 to 500"),
        ("page_size", 501, "expected a whole number from 1 to 500"),
        ("page_size", "200", "expected a whole number"),
        ("page_size", True, "expected a whole number"),
        ("page_size", 20.0, "expected a whole number"),
        ("max_pages", 0, "expected a whole number from 1"),
        ("empty_sku", "skip", "expected product_id or reject"),
        ("request_budget_seconds", 0.5, "expected a number of seconds from 1 to 600"),
        ("request_budget_seconds", 601, "expected a number of seconds from 1 to 600"),
        ("request_budget_seconds", float("nan"), "expected a number of seconds"),
        ("request_budget_seconds", True, "expected a number of seconds"),
        ("fetch_budget_seconds", 0, "expected a number of seconds from 1 to 14400"),
        ("fetch_budget_seconds", 14_401, "expected a number of seconds from 1 to 14400"),
    ],
)
def test_a_wrong_option_is_named_with_what_was_expected(key: str, value: object, found: str) -> None:
    options = {"store_url": "https://kopi.isellershop.com"} | {key: value}
    (problem,) = ISELLER.option_problems(options)
    assert problem.startswith(f"{key} ")
    assert found in problem
    assert "pw" not in problem


def test_a_tenants_budget_bounds_each_request(store: Store) -> None:
    dripping = store.repeat(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n", b" ")
    store.script(PRODUCTS, dripping)
    with pytest.raises(ProviderError, match="no complete answer within 1 s"):
        store.fetch(request_budget_seconds=1)


def test_a_store_that_answers_each_request_just_in_time_is_left_after_the_budget_of_the_whole_fetch(
    store: Store,
) -> None:
    def late(handler: BaseHTTPRequestHandler) -> None:
        store.ending.wait(0.4)
        page(MORE, row(len(store.received)))(handler)

    store.script(PRODUCTS, late)
    with pytest.raises(ProviderError, match="not complete after 1 s, so nothing was taken"):
        store.fetch(fetch_budget_seconds=1)
    asked = len([received for received in store.received if received.path == PRODUCTS])
    assert asked in {1, 2, 3}


def test_a_longer_rest_than_the_budget_is_an_error_of_its_own(store: Store) -> None:
    store.script(PRODUCTS, answer(b"", status=429, headers={"Retry-After": "120"}))
    with pytest.raises(ProviderError, match="wants 120 s of rest"):
        store.fetch()


def test_the_store_and_the_token_endpoint_are_paced_apart(store: Store) -> None:
    pacing = Pacing(interval=0.5, clock=lambda: 0.0)
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        await asyncio.sleep(0)

    with running(Store()) as tokens:
        tokens.script(TOKEN, answer({"access_token": "t"}))
        options = {"store_url": store.origin, "token_url": f"{tokens.origin}{TOKEN}"}
        patience = replace(Patience(), pacing=pacing, sleep=rest)
        fetch_catalog(options, SECRETS, allowing(store.port, tokens.port), patience)
    assert rests == [0.0, 0.0, 0.5]
