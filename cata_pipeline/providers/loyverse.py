"""The Loyverse POS: categories and modifiers, then all items, page by page to the end of their cursors.

Change this module when the calls change; what rows mean is in `loyverse_rows`, how they become a catalog in
`loyverse_catalog`, which options there are in `loyverse_options`. Deleted rows are asked for, because a product that is
merely absent stays visible for ever. Categories and modifiers are pulled in full each time: editing one does not touch
the items that refer to it.
"""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.catalog.model import Catalog, ModifierGroup
from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.contract import Provider, Sample
from cata_pipeline.providers.cursors import CursorGuard
from cata_pipeline.providers.http import Call, JsonClient, Patience, RefusedError, completed, token_to_send
from cata_pipeline.providers.loyverse_catalog import Gathered
from cata_pipeline.providers.loyverse_options import LoyverseOptions
from cata_pipeline.providers.loyverse_rows import References, category_of, modifier_group_of
from cata_pipeline.providers.options import Options
from cata_pipeline.providers.pacing import Pacing
from cata_pipeline.providers.row_fields import UnusableRowError
from cata_pipeline.providers.secrets import Secrets
from cata_pipeline.providers.urls import origin_of

# Loyverse answers 300 requests in 300 s for each account. Ten are left for the difference between when a request is
# sent and when it arrives. Two processes that serve one account at a time do not know of each other: 429 tells them.
_OF_EACH_ACCOUNT = Pacing(300.0, requests=290)
_PAYMENT_REQUIRED = 402
_CONFLICTING = "CONFLICTING_PARAMETERS"


def fetch_catalog(
    options: Options, secrets: Secrets, policy: AddressPolicy, patience: Patience | None = None
) -> Catalog:
    """The tenant's complete catalog; blocks, and runs an event loop of its own.

    Raises `ProviderError` when the options are wrong or the catalog is not complete.
    """
    parsed, patience = _parsed(options, patience)
    return completed(_catalog(parsed, secrets, policy, patience, parsed.max_pages))


def sample_catalog(
    options: Options, secrets: Secrets, policy: AddressPolicy, patience: Patience | None = None
) -> Sample:
    """What the first page of items maps to, without components that stand on later ones; raises `ProviderError`."""
    parsed, patience = _parsed(options, patience)
    return Sample.of(completed(_catalog(parsed, secrets, policy, patience, None)))


LOYVERSE = Provider(
    slug="loyverse",
    name="Loyverse",
    credential_keys=("access_token",),
    options=LoyverseOptions,
    fetch=fetch_catalog,
    sample=sample_catalog,
)


def _parsed(options: Options, patience: Patience | None) -> tuple[LoyverseOptions, Patience]:
    parsed = LoyverseOptions.of_tenant(options)
    return parsed, (patience or Patience(pacing=_OF_EACH_ACCOUNT)).within(parsed)


async def _catalog(
    options: LoyverseOptions, secrets: Secrets, policy: AddressPolicy, patience: Patience, max_pages: int | None
) -> Catalog:
    """All items up to the explicit end, or, without `max_pages`, those of the first page."""
    token = token_to_send(secrets, "access_token")
    account = f"loyverse {hashlib.sha256(token.encode()).hexdigest()}"
    warnings: Counter[str] = Counter()
    async with JsonClient(policy, patience, secrets, account) as client:
        lists = _Lists(client, options, token)
        references = await _references(lists, options, warnings)
        gathered = Gathered(options, references, warnings)
        async for rows in lists.pages("items", max_pages):
            gathered.take(rows)
            # Before the next page is read: two parsed pages at a time would double the peak.
            rows.clear()
    return gathered.catalog()


async def _references(lists: "_Lists", options: LoyverseOptions, warnings: Counter[str]) -> References:
    categories: dict[str, str | None] = {}
    modifiers: dict[str, ModifierGroup] = {}

    def warn(sentence: str) -> None:
        warnings[sentence] += 1

    async for rows in lists.pages("categories", options.max_pages):
        for row in rows:
            try:
                identity, name = category_of(row)
            except UnusableRowError:
                warn("category that cannot be read left out")
            else:
                categories[identity] = name
    async for rows in lists.pages("modifiers", options.max_pages):
        for row in rows:
            try:
                identity, group = modifier_group_of(row, options.store_id, warn)
            except UnusableRowError:
                warn("modifier that cannot be read left out")
            else:
                modifiers[identity] = group
    return References(categories, modifiers)


class _Lists:
    """The lists of one account, each a walk from cursor to cursor."""

    def __init__(self, client: JsonClient, options: LoyverseOptions, token: str) -> None:
        self._client = client
        self._options = options
        self._token = token
        self._is_cursor_alone = False

    async def pages(self, name: str, max_pages: int | None) -> AsyncIterator[list[object]]:
        """Each page of a list up to its explicit end, or, without `max_pages`, the first."""
        guard = CursorGuard(f"{name} at {origin_of(self._options.origin)}", max_pages or 1)
        number, cursor = 1, None
        while True:
            reply = await self._page(name, number, cursor)
            rows = reply.get(name)
            if not isinstance(rows, list) or reply.get("errors"):
                said = self._client.error_words(reply) or "no error message"
                raise ProviderError(
                    f"{name} page {number} at {origin_of(self._options.origin)}: the answer has no list of {name}"
                    f" ({said}). The catalog is not complete, so nothing was taken; try again later."
                )
            yield rows
            if max_pages is None or (cursor := guard.next(reply.get("cursor"))) is None:
                return
            number += 1

    async def _page(self, name: str, number: int, cursor: str | None) -> Mapping[str, object]:
        """One page. Whether a cursor keeps the filters is not documented: they go along with it, unless refused."""
        try:
            return await self._answer(name, number, cursor)
        except RefusedError as error:
            if cursor is None or self._is_cursor_alone or _CONFLICTING not in str(error):
                raise
        self._is_cursor_alone = True
        return await self._answer(name, number, cursor)

    async def _answer(self, name: str, number: int, cursor: str | None) -> Mapping[str, object]:
        parameters = {} if cursor is None else {"cursor": cursor}
        if cursor is None or not self._is_cursor_alone:
            parameters |= {"limit": str(self._options.page_size), "show_deleted": "true"}
        url = self._options.origin.copy_with(path=f"/v1.0/{name}", params=parameters)
        try:
            return await self._client.ask(Call(f"{name} page {number}", "GET", url, token=self._token))
        except RefusedError as error:
            if error.status != _PAYMENT_REQUIRED:
                raise
            raise ProviderError(
                f"{error} The account's plan does not include the API: the merchant has to renew or extend it."
            ) from error
