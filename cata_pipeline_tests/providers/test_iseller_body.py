"""A store that reads forms alone: when the adapter falls back to a form, how often, and what it never does so for."""

import asyncio
from collections.abc import Iterator

import pytest

from cata_pipeline.catalog.model import Catalog
from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.conformance.pos_server import Sold
from cata_pipeline.providers.conformance.scripted_server import Answer, Received, answer, running
from cata_pipeline.providers.http import Patience
from cata_pipeline.providers.iseller import ISELLER
from cata_pipeline.providers.pacing import Pacing
from cata_pipeline_tests.providers.iseller_pos import PRODUCTS, TOKEN, FormISellerPos, ISellerPos, is_form


@pytest.fixture
def store() -> Iterator[FormISellerPos]:
    with running(FormISellerPos()) as store:
        store.sell([Sold("K-1")], [Sold("K-2")], [Sold("K-3")])
        yield store


async def no_rest(_: float) -> None:
    await asyncio.sleep(0)


PATIENCE = Patience(pacing=Pacing(interval=0), sleep=no_rest)


def fetch(store: ISellerPos) -> Catalog:
    return ISELLER.fetch(store.options(), store.tenant_secrets(), store.policy, PATIENCE)


def codes(catalog: Catalog) -> list[str]:
    return [item.item_code for item in catalog.items]


def bodies(store: ISellerPos) -> list[str]:
    """Which kind of body each request for products had, in order."""
    return ["form" if is_form(received) else "json" for received in store.asked(PRODUCTS)]


def failure(message: object, **fields: object) -> Answer:
    return answer({"products": [], "status": False, "error_message": message, "time": "00:00:00.01", **fields})


UNREAD = {
    "415": answer(b"", status=415),
    "415 of ASP.NET": answer(
        {"Message": "The request entity's media type 'application/json' is not supported"}, status=415
    ),
    "400 without a body": answer(b"", status=400),
    "400 as HTML": answer("<h1>Bad Request</h1>", status=400, content_type="text/html"),
    "400 as text": answer("Bad Request", status=400, content_type="text/plain; charset=utf-8"),
    "400 without content type": answer(b"", status=400, content_type=None),
    "400 that misses a parameter": answer({"message": "page is required"}, status=400),
    "400 bad request": answer({"error": "Bad Request"}, status=400),
    "400 validation": answer({"error": "Validation failed"}, status=400),
    "400 of ASP.NET": answer(
        {"title": "One or more validation errors occurred.", "errors": {"page": ["?"]}}, status=400
    ),
    "422": answer({"message": "The given data was invalid.", "errors": {"page": ["required"]}}, status=422),
    "page required": failure("page is required"),
    "field required": failure("The page_size field is required."),
    "missing parameter": failure("Missing required parameter: track_inventory"),
    "invalid parameter": failure("Invalid parameters"),
    "spelled otherwise": failure("PageSize cannot be less than 1"),
    "in another language": failure("modified_after wajib diisi"),
    "in the detail": failure("Error", error_detail="track_inventory must be true or false"),
    "empty body": failure("Request body is empty"),
    "content type": answer({"error": "Unsupported content type"}),
    "400 in the body": failure("Bad request"),
    "parser of .NET": failure("Unexpected character encountered while parsing value: {. Path '', line 0, position 0."),
    "parser of JavaScript": failure("Unexpected token { in JSON at position 0"),
    "nothing bound": failure("Object reference not set to an instance of an object."),
    "no number": failure("Input string was not in a correct format."),
    "400 of a parser": answer({"error": "Unexpected token {"}, status=400),
}
OTHER = {
    "token": failure("Invalid request: the access token is missing"),
    "unauthorized": failure("Unauthorized: missing parameter signature"),
    "401": answer({"error": "invalid_token"}, status=401),
    "403": answer({"message": "not yours"}, status=403),
    "400 about the token": answer({"error": "invalid_token"}, status=400),
    "415 about the token": answer({"message": "token type is not supported"}, status=415),
    "400 that repeats a secret": answer({"error": "Bad request of client-of-kopi-4711"}, status=400),
    "400 without a reason": answer({}, status=400),
    "400 of an odd type": answer({}, status=400, content_type="text/client-of-kopi-4711"),
    "404": answer({"message": "page not found"}, status=404),
    "400 with other words": answer({"message": "The store is closed"}, status=400),
    "429": answer({"message": "page is required"}, status=429),
    "500": answer({"message": "page is required"}, status=500),
    "503 as HTML": answer("<h1>Bad Gateway</h1>", status=503, content_type="text/html"),
    "too often": failure("Too many requests"),
    "store": failure("The store is not active"),
    "error": failure("An error has occurred"),
    "no message": failure(None),
    "login page": answer("<form>page is required</form>", content_type="text/html"),
    "no products": answer({"status": True, "error_message": "page is required"}),
}


@pytest.mark.parametrize("refusal", UNREAD.values(), ids=UNREAD)
def test_a_body_that_was_not_understood_is_sent_as_a_form_once_and_so_are_all_that_follow(
    store: FormISellerPos, refusal: Answer
) -> None:
    store.refusal = refusal
    assert codes(fetch(store)) == ["K-1", "K-2", "K-3"]
    assert bodies(store) == ["json", "form", "form", "form", "form"]
    assert store.asked(PRODUCTS)[1].form == {
        "page": "1",
        "page_size": "200",
        "track_inventory": "false",
        "modified_after": "2000-01-01T00:00:00",
        "includes": "OutletPrice,Tags,ModifierGroups,Modifiers,Bundles",
    }
    assert store.asked(PRODUCTS)[-1].form["track_inventory"] == "true"
    assert len(store.asked(TOKEN)) == 1
    assert {received.headers["Authorization"] for received in store.asked(PRODUCTS)} == {"Bearer issued-token"}


@pytest.mark.parametrize("refusal", OTHER.values(), ids=OTHER)
def test_no_form_is_sent_after_any_other_failure(store: FormISellerPos, refusal: Answer) -> None:
    store.refusal = refusal
    with pytest.raises(ProviderError):
        fetch(store)
    assert set(bodies(store)) == {"json"}


@pytest.mark.parametrize("refusal", UNREAD.values(), ids=UNREAD)
def test_a_store_that_understands_neither_gets_one_request_of_each_kind(store: FormISellerPos, refusal: Answer) -> None:
    store.refusal = refusal
    store.misbehave_for_ever(1, refusal)
    with pytest.raises(ProviderError, match="GetProducts page 1"):
        fetch(store)
    assert bodies(store) == ["json", "form"]


@pytest.mark.parametrize("refusal", UNREAD.values(), ids=UNREAD)
def test_a_store_that_understood_json_gets_no_form_later(refusal: Answer) -> None:
    with running(ISellerPos()) as store:
        store.sell([Sold("K-1")], [Sold("K-2")])
        store.misbehave_for_ever(2, refusal)
        with pytest.raises(ProviderError, match="GetProducts page 2"):
            fetch(store)
        assert bodies(store) == ["json", "json"]


class ClosedToEverybody(ISellerPos):
    def answer_to(self, received: Received) -> Answer:
        return answer(b"", status=415)


def test_a_token_request_that_is_refused_is_not_repeated() -> None:
    with running(ClosedToEverybody()) as store:
        with pytest.raises(ProviderError, match="The token at"):
            fetch(store)
        assert len(store.received) == 1


def test_a_token_that_expired_is_renewed_in_either_way(store: FormISellerPos) -> None:
    store.misbehave(2, answer({"error": "invalid_token"}, status=401))
    assert codes(fetch(store)) == ["K-1", "K-2", "K-3"]
    assert bodies(store) == ["json", "form", "form", "form", "form", "form"]
    assert len(store.asked(TOKEN)) == 2


def test_each_fetch_begins_with_json(store: FormISellerPos) -> None:
    for _ in range(2):
        fetch(store)
    assert bodies(store).count("json") == 2


def test_a_sample_falls_back_as_well(store: FormISellerPos) -> None:
    sample = ISELLER.sample(store.options(), store.tenant_secrets(), store.policy, PATIENCE)
    assert [item.item_code for item in sample.items] == ["K-1"]
    assert bodies(store) == ["json", "form"]
