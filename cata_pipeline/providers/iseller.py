"""The iSeller POS: token, paging and the two passes that make one complete catalog.

Change this module when the calls change; how their bodies are written is in `iseller_body`, what a row means in
`iseller_rows`, which options there are in `iseller_options`. iSeller publishes no rate limit, sandbox or product
webhook, so the adapter pulls in full and accepts missing and unknown fields, but takes only the provider's explicit end
for the end.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.catalog.model import Catalog, Item, ModifierGroup, Rejection, unite
from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.access import TokenAccess
from cata_pipeline.providers.contract import Provider, Sample
from cata_pipeline.providers.http import Call, JsonClient, Patience, completed
from cata_pipeline.providers.iseller_body import BodyFormat, failure_reason
from cata_pipeline.providers.iseller_options import EmptySku, ISellerOptions
from cata_pipeline.providers.iseller_rows import product_id, project
from cata_pipeline.providers.options import Options
from cata_pipeline.providers.row_fields import moment_of
from cata_pipeline.providers.urls import origin_of, provider_url

_PRODUCTS_PATH = "/api/v2/GetProducts"
_INCLUDES = "OutletPrice,Tags,ModifierGroups,Modifiers,Bundles"
_SINCE_EVER = "2000-01-01T00:00:00"
_EMPTY_PAGES_IN_A_ROW = 20
_TELL_THE_VENDOR = "The catalog is not complete, so nothing was taken. Try again; if it stays, tell the vendor."


def fetch_catalog(
    options: Options, secrets: Mapping[str, str], policy: AddressPolicy, patience: Patience | None = None
) -> Catalog:
    """The tenant's complete catalog; blocks, and runs an event loop of its own.

    Raises `ProviderError` when the options are wrong or the catalog is not complete.
    """
    parsed, patience = _parsed(options, patience)
    return completed(_catalog(parsed, secrets, policy, patience))


def sample_catalog(
    options: Options, secrets: Mapping[str, str], policy: AddressPolicy, patience: Patience | None = None
) -> Sample:
    """What the first page of products maps to; raises `ProviderError` as `fetch_catalog` does."""
    parsed, patience = _parsed(options, patience)
    return completed(_sample(parsed, secrets, policy, patience))


ISELLER = Provider(
    slug="iseller",
    name="iSeller",
    credential_keys=("api_key", "api_secret"),
    options=ISellerOptions,
    fetch=fetch_catalog,
    sample=sample_catalog,
    rotating_key="refresh_token",
)


def _parsed(options: Options, patience: Patience | None) -> tuple[ISellerOptions, Patience]:
    parsed = ISellerOptions.of_tenant(options)
    return parsed, (patience or Patience()).within(parsed)


async def _sample(
    options: ISellerOptions, secrets: Mapping[str, str], policy: AddressPolicy, patience: Patience
) -> Sample:
    gathered = _Gathered(options.empty_sku)
    async with JsonClient(policy, patience, secrets) as client:
        page = await _Store(client, options, secrets).page(1, track_inventory=False)
    gathered.take(page.rows)
    return Sample.of(gathered.catalog())


async def _catalog(
    options: ISellerOptions, secrets: Mapping[str, str], policy: AddressPolicy, patience: Patience
) -> Catalog:
    """The catalog of both passes."""
    gathered = _Gathered(options.empty_sku)
    async with JsonClient(policy, patience, secrets) as client:
        store = _Store(client, options, secrets)
        # `track_inventory` filters: with true, a store that tracks no stock answers with no product at all.
        for track_inventory in (False, True):
            await _gather_pass(store, options, gathered, track_inventory=track_inventory)
    return gathered.catalog()


async def _gather_pass(
    store: "_Store", options: ISellerOptions, gathered: "_Gathered", *, track_inventory: bool
) -> None:
    """Every page up to the provider's explicit end; a pass that does not get there raises `ProviderError`."""
    seen: set[bytes] = set()
    empty_in_a_row = 0
    for number in range(1, options.max_pages + 1):
        page = await store.page(number, track_inventory=track_inventory)
        # Before the end is believed: a pager that ignores the page number still counts to its last page.
        fingerprint = _fingerprint(page.rows)
        if page.rows and fingerprint in seen:
            raise ProviderError(f"{page.what}: the pager repeats a page that came before. {_TELL_THE_VENDOR}")
        seen.add(fingerprint)
        gathered.take(page.rows)
        if page.is_last:
            return
        empty_in_a_row = 0 if page.rows else empty_in_a_row + 1
        if empty_in_a_row >= _EMPTY_PAGES_IN_A_ROW:
            raise ProviderError(f"{page.what}: {empty_in_a_row} empty pages in a row, and no end. {_TELL_THE_VENDOR}")
    raise ProviderError(
        f"GetProducts at {origin_of(options.store_url)}: no end after {options.max_pages} pages, so the catalog is not"
        " complete. Raise max_pages if the store is that large; otherwise tell the vendor that paging does not end."
    )


def _fingerprint(rows: list[object]) -> bytes:
    """What two pages with the same products share; a digest, because a row without product_id can be megabytes."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{product_id(row) or row!r}\0".encode(errors="backslashreplace"))
    return digest.digest()


@dataclass(frozen=True)
class _Page:
    what: str
    rows: list[object]
    is_last: bool


class _Store:
    """One store's API during one fetch."""

    def __init__(self, client: JsonClient, options: ISellerOptions, secrets: Mapping[str, str]) -> None:
        self._client = client
        self._body_format = BodyFormat(client)
        self._options = options
        self._secrets = secrets
        self._access = TokenAccess(
            client,
            secrets,
            lambda token: self._token_request({"grant_type": "refresh_token", "refresh_token": token}),
            alone=self._token_request({"grant_type": "client_credentials"}),
            check=self._refuse_other_store,
            advice="Check api_key, api_secret and token_url, or connect the tenant's store again.",
        )

    async def page(self, number: int, *, track_inventory: bool) -> _Page:
        """One page of products; raises `ProviderError` when it is not one, although it may say HTTP 200."""
        name = f"GetProducts page {number} (track_inventory={str(track_inventory).lower()})"
        what = f"{name} at {origin_of(self._options.store_url)}"
        body: Mapping[str, object] = {
            "page": number,
            "page_size": self._options.page_size,
            "track_inventory": track_inventory,
            "modified_after": _SINCE_EVER,
            "includes": _INCLUDES,
        }
        url = self._options.store_url.copy_with(path=_PRODUCTS_PATH)
        reply = await self._access.ask(self._body_format.ask, Call(name, "POST", url, json=body))
        rows = reply.get("products")
        if reply.get("status") is not True:
            reason = failure_reason(self._client, reply) or "no error message"
            raise ProviderError(f"{what}: iSeller reports a failure: {reason}. Expected status true; try again later.")
        if not isinstance(rows, list):
            raise ProviderError(f"{what}: the answer has no list of products. Check that store_url is the API's.")
        # Older answers lack the flag; then only an empty page is the end. A short page never is.
        more = reply.get("has_next_item", bool(rows))
        if not isinstance(more, bool):
            raise ProviderError(f"{what}: has_next_item is neither true nor false. {_TELL_THE_VENDOR}")
        return _Page(what, rows, is_last=not more)

    def _token_request(self, grant: Mapping[str, str]) -> Call:
        form = {"client_id": self._secrets["api_key"], "client_secret": self._secrets["api_secret"], **grant}
        return Call("The token", "POST", self._options.token_url, form=form)

    def _refuse_other_store(self, reply: Mapping[str, object]) -> None:
        """The token belongs to the store that `resource_url` names; it is sent to no other."""
        resource_url = reply.get("resource_url")
        if resource_url is None or resource_url == "":
            return
        expected = origin_of(self._options.store_url)
        try:
            found = origin_of(provider_url(resource_url))
        except ValueError:
            found = "a store without usable URL"
        if found != expected:
            raise ProviderError(
                f"Store mismatch: the credentials belong to {self._client.quoted(found) or 'another store'}, but"
                f" store_url is {expected}. Nothing was fetched; correct store_url or the credentials."
            )


@dataclass(frozen=True, slots=True)
class _Held:
    modified: datetime | None
    outcome: Item | Rejection
    warnings: tuple[str, ...]


class _Gathered:
    """The rows of both passes, one for each product: the one that was modified last, else the first seen.

    Rows are projected as they come, because a raw row is many times larger than its item.
    """

    def __init__(self, empty_sku: EmptySku) -> None:
        self._empty_sku = empty_sku
        self._held: dict[str, _Held] = {}
        self._without_id: list[Item | Rejection] = []
        self._groups: dict[tuple[ModifierGroup, ...], tuple[ModifierGroup, ...]] = {}

    def take(self, rows: list[object]) -> None:
        for row in rows:
            self._take(row)

    def catalog(self) -> Catalog:
        outcomes = [held.outcome for held in self._held.values()] + self._without_id
        items, duplicates = unite(outcome for outcome in outcomes if isinstance(outcome, Item))
        return Catalog(
            items=items,
            rejections=tuple(outcome for outcome in outcomes if isinstance(outcome, Rejection)),
            duplicates=duplicates,
            warnings=Counter(warning for held in self._held.values() for warning in held.warnings),
        )

    def _take(self, row: object) -> None:
        identity = product_id(row)
        held = self._held.get(identity) if identity is not None else None
        if held is not None and not _is_newer(_modified_or_none(row), held.modified):
            return
        warnings: list[str] = []
        outcome = self._sharing_groups(project(row, empty_sku=self._empty_sku, warn=warnings.append))
        if identity is None:
            self._without_id.append(outcome)
        else:
            modified = outcome.updated_at if isinstance(outcome, Item) else _modified_or_none(row)
            self._held[identity] = _Held(modified, outcome, tuple(warnings))

    def _sharing_groups(self, outcome: Item | Rejection) -> Item | Rejection:
        """The same outcome; equal modifier groups, which iSeller repeats with each product, are kept once."""
        if isinstance(outcome, Rejection) or not outcome.modifier_groups:
            return outcome
        groups = outcome.modifier_groups
        return outcome._replace(modifier_groups=self._groups.setdefault(groups, groups))


def _modified_or_none(row: object) -> datetime | None:
    try:
        return moment_of(row.get("modified_date")) if isinstance(row, dict) else None
    except ValueError:
        return None


def _is_newer(modified: datetime | None, than: datetime | None) -> bool:
    return modified is not None and (than is None or modified > than)
