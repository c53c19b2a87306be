"""Two invented POS whose APIs are as unlike the documents' example as a vendor's can be; both pass conformance.

Kiosk answers one list with everything, wants user and password, and has few fields. Depot's pages are lists that end
with an empty one, and its access tokens are bought with a refresh token that changes with each use.
"""

from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, ClassVar
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import Field, PlainValidator

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.catalog.model import Catalog, Item, Rejection, unite
from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.access import TokenAccess
from cata_pipeline.providers.conformance.pos_server import Paging, PosServer, Sold, TokenOnRecord
from cata_pipeline.providers.conformance.scripted_server import Answer, Received, answer, running
from cata_pipeline.providers.conformance.suite import ApiConformance, ProviderConformance
from cata_pipeline.providers.contract import Provider, Sample
from cata_pipeline.providers.cursors import CursorGuard
from cata_pipeline.providers.fetch_limits import BudgetOptions
from cata_pipeline.providers.http import Call, JsonClient, Patience, completed
from cata_pipeline.providers.options import Options
from cata_pipeline.providers.pacing import Pacing
from cata_pipeline.providers.row_fields import UnusableRowError, code_of, flag, kind_of, optional_text, shown
from cata_pipeline.providers.secrets import Secrets
from cata_pipeline.providers.urls import provider_origin

OF_EACH_KIOSK = Pacing(1.0, requests=3)


class ApiOptions(BudgetOptions):
    origin: Annotated[httpx.URL, PlainValidator(provider_origin)] = Field(description="the API's address")


class KioskOptions(ApiOptions):
    slug: ClassVar = "kiosk"


class DepotOptions(ApiOptions):
    slug: ClassVar = "depot"


def outcome_of(row: object) -> Item | Rejection:
    if not isinstance(row, dict):
        return Rejection(None, None, f"is {kind_of(row)} instead of a product")
    try:
        identity, code, name = code_of(row.get("id"), "id"), code_of(row.get("sku"), "SKU"), optional_text(row, "name")
        if identity is None or code is None or name is None:
            raise UnusableRowError("has no id, SKU or name")
        return Item(
            code, identity, name, not flag(row, "deleted", absent=False), category=optional_text(row, "category")
        )
    except UnusableRowError as problem:
        return Rejection(shown(row.get("id")), shown(row.get("sku")), str(problem))


def catalog_of(rows: Iterable[object]) -> Catalog:
    outcomes = [outcome_of(row) for row in rows]
    items, duplicates = unite({item.provider_id: item for item in outcomes if isinstance(item, Item)}.values())
    return Catalog(items, tuple(outcome for outcome in outcomes if isinstance(outcome, Rejection)), duplicates)


def row_of(sold: Sold) -> dict[str, object]:
    return {"id": sold.provider_id, "sku": sold.code, "name": sold.name, "category": sold.category, **sold.more}


async def _kiosk(options: ApiOptions, secrets: Secrets, policy: AddressPolicy, patience: Patience) -> Catalog:
    async with JsonClient(policy, patience, secrets, f"kiosk {secrets['user']}") as client:
        url, pair = options.origin.copy_with(path="/products"), (secrets["user"], secrets["password"])
        return catalog_of(await client.ask_list(Call("products", "GET", url, basic=pair)))


def fetch_kiosk(options: Options, secrets: Secrets, policy: AddressPolicy, patience: Patience | None = None) -> Catalog:
    found = KioskOptions.of_tenant(options)
    return completed(_kiosk(found, secrets, policy, (patience or Patience(pacing=OF_EACH_KIOSK)).within(found)))


def sample_kiosk(options: Options, secrets: Secrets, policy: AddressPolicy, patience: Patience | None = None) -> Sample:
    return Sample.of(fetch_kiosk(options, secrets, policy, patience))


class KioskPos(PosServer):
    provider: ClassVar[Provider] = Provider(
        "kiosk", "Kiosk", ("user", "password"), KioskOptions, fetch_kiosk, sample_kiosk
    )
    paging: ClassVar[Paging] = Paging.NONE
    takes_empty_list: ClassVar[bool] = True
    lacks: ClassVar[frozenset[str]] = frozenset({"active", "description", "image", "updated_at"})

    def options(self) -> dict[str, object]:
        return {"origin": self.origin}

    def secrets(self) -> dict[str, str]:
        return {"user": "kopi-kiosk-4711", "password": "pass:word-4711"}

    def page_asked_for(self, received: Received) -> int | None:
        return 1 if received.path == "/products" else None

    def page(self, number: int, products: Sequence[Sold], *, is_last: bool) -> Answer:
        scheme, _, pair = self.received[-1].headers.get("Authorization", "").partition(" ")
        if scheme != "Basic" or b64decode(pair) != b"kopi-kiosk-4711:pass:word-4711":
            return answer({"message": "who are you"}, status=401)
        return answer([row_of(sold) for sold in products])

    def other(self, received: Received) -> Answer:
        return answer({"message": "nothing here"}, status=404)


class TestKiosk(ApiConformance):
    server_class = KioskPos


async def _depot(
    options: ApiOptions, secrets: Secrets, policy: AddressPolicy, patience: Patience, *, first_page_only: bool
) -> Catalog:
    def exchange(refresh_token: str) -> Call:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "client_secret": secrets["client_secret"],
        }
        return Call("The token", "POST", options.origin.copy_with(path="/token"), form=form)

    rows: list[object] = []
    guard = CursorGuard("products", max_pages=1_000)
    after: str | None = "0"
    async with JsonClient(policy, patience, secrets) as client:
        access = TokenAccess(client, secrets, exchange)
        while after is not None:
            url = options.origin.copy_with(path="/products", params={"after": after, "deleted": "true"})
            page = await access.ask(client.ask_list, Call("products", "GET", url))
            rows += page
            after = guard.next(_version(page)) if page and not first_page_only else None
    return catalog_of(rows)


def _version(page: list[object]) -> str:
    versions = [row.get("version") if isinstance(row, dict) else None for row in page]
    if not all(isinstance(version, int) for version in versions):
        raise ProviderError("products: a row without version, so that the next page cannot be asked for.")
    return str(versions[-1])


def fetch_depot(options: Options, secrets: Secrets, policy: AddressPolicy, patience: Patience | None = None) -> Catalog:
    found = DepotOptions.of_tenant(options)
    return completed(_depot(found, secrets, policy, (patience or Patience()).within(found), first_page_only=False))


def sample_depot(options: Options, secrets: Secrets, policy: AddressPolicy, patience: Patience | None = None) -> Sample:
    found = DepotOptions.of_tenant(options)
    page = completed(_depot(found, secrets, policy, (patience or Patience()).within(found), first_page_only=True))
    return Sample.of(page)


class DepotPos(PosServer):
    """Takes each refresh token once; the rows of page N have versions that begin with N."""

    provider: ClassVar[Provider] = Provider(
        "depot", "Depot", ("client_secret",), DepotOptions, fetch_depot, sample_depot, rotating_key="refresh_token"
    )
    paging: ClassVar[Paging] = Paging.EMPTY_PAGE
    takes_empty_list: ClassVar[bool] = True
    lacks: ClassVar[frozenset[str]] = frozenset({"description", "image", "updated_at"})

    def __init__(self) -> None:
        super().__init__()
        self.refresh_token: TokenOnRecord = TokenOnRecord("refresh-token-0")
        self.valid = "refresh-token-0"
        self.accepted: list[str] = []
        self.on_record: list[str] = []

    def options(self) -> dict[str, object]:
        return {"origin": self.origin}

    def secrets(self) -> dict[str, str]:
        return {"client_secret": "depot-client-4711"}

    def page_asked_for(self, received: Received) -> int | None:
        target = urlsplit(received.path)
        if target.path != "/products":
            return None
        return int(parse_qs(target.query)["after"][0]) // 1_000 + 1

    def page(self, number: int, products: Sequence[Sold], *, is_last: bool) -> Answer:
        self.on_record.append(self.refresh_token.current)
        if self.received[-1].headers.get("Authorization") not in [f"Bearer {token}" for token in self.accepted]:
            return answer({"message": "who are you"}, status=401)
        rows = [{**row_of(sold), "deleted": not sold.active, "version": number * 1_000} for sold in products]
        return answer(rows)

    def other(self, received: Received) -> Answer:
        if received.path != "/token" or received.form.get("refresh_token") != self.valid:
            said = f"{received.form.get('refresh_token')} is worthless"
            return answer({"error": "invalid_grant", "error_description": said}, status=400)
        self.valid = f"refresh-token-{len(self.accepted) + 1}"
        self.accepted.append(f"access-token-{len(self.accepted) + 1}")
        return answer({"access_token": self.accepted[-1], "refresh_token": self.valid})


class TestDepot(ProviderConformance):
    server_class = DepotPos


@pytest.fixture
def depot() -> Iterator[DepotPos]:
    with running(DepotPos()) as pos:
        pos.sell([Sold("K-1")], [Sold("K-2")])
        yield pos


def fetched(pos: DepotPos, secrets: Secrets | None = None) -> list[str]:
    catalog = fetch_depot(pos.options(), secrets or pos.tenant_secrets(), pos.policy, Patience(pacing=Pacing(0)))
    return [item.item_code for item in catalog.items]


def test_a_refresh_token_is_exchanged_once_a_fetch_and_the_next_one_on_record_before_the_token_is_used(
    depot: DepotPos,
) -> None:
    assert [fetched(depot), fetched(depot)] == [["K-1", "K-2"]] * 2
    assert len(depot.accepted) == 2
    assert depot.on_record == ["refresh-token-1"] * 3 + ["refresh-token-2"] * 3


def test_an_access_token_that_ends_on_the_way_is_renewed_once_a_fetch(depot: DepotPos) -> None:
    expired = answer({"message": "expired"}, status=401)
    depot.misbehave(2, expired)
    assert fetched(depot) == ["K-1", "K-2"]
    assert len(depot.accepted) == 2
    depot.misbehave(1, expired)
    depot.misbehave(2, expired)
    with pytest.raises(ProviderError, match="HTTP 401"):
        fetched(depot)
    assert len(depot.accepted) == 4


def test_a_refresh_token_that_is_refused_says_to_connect_again_and_tells_no_secret(depot: DepotPos) -> None:
    depot.valid = "exchanged-by-somebody-else"
    with pytest.raises(ProviderError, match="Connect the tenant's POS account again") as refusal:
        fetched(depot)
    assert "refresh-token-0" not in f"{refusal.value} {refusal.value.__cause__}"


def test_credentials_without_refresh_token_are_told_before_anything_is_sent(depot: DepotPos) -> None:
    with pytest.raises(ProviderError, match="hold no refresh token"):
        fetched(depot, Secrets(depot.secrets()))
    assert depot.connections == 0


@pytest.mark.parametrize("token", [None, "", 7, "two\nlines"], ids=repr)
def test_an_exchange_without_usable_access_token_is_an_error_and_keeps_the_refresh_token(
    depot: DepotPos, token: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = {"access_token": token, "refresh_token": "refresh-token-1", "message": "out of order"}
    monkeypatch.setattr(depot, "other", lambda _: answer(reply))
    with pytest.raises(ProviderError, match=r"holds no usable access_token \(out of order\)"):
        fetched(depot)
    assert depot.refresh_token.all == ["refresh-token-0", "refresh-token-1"]


def test_a_refresh_token_that_stays_the_same_is_not_written_again(
    depot: DepotPos, monkeypatch: pytest.MonkeyPatch
) -> None:
    depot.accepted.append("access-token-1")
    reply = {"access_token": "access-token-1", "refresh_token": "refresh-token-0"}
    monkeypatch.setattr(depot, "other", lambda _: answer(reply))
    assert fetched(depot) == ["K-1", "K-2"]
    assert depot.refresh_token.all == ["refresh-token-0"]
