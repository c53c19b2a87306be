"""The Square POS: one search through the whole catalog, page by page to the end of its cursors.

Change this module when the calls change; what objects mean is in `square_objects` and `square_references`, how they
become a catalog in `square_catalog`, which options there are in `square_options`. The search and not the list, because
only the search tells what was deleted (a product that is merely absent stays visible for ever), and because it gives up
to 1,000 objects a page instead of 100.
"""

from collections.abc import AsyncIterator, Mapping

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.catalog.model import Catalog
from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.contract import Provider, Sample
from cata_pipeline.providers.cursors import CursorGuard
from cata_pipeline.providers.http import Call, JsonClient, Patience, completed, token_to_send
from cata_pipeline.providers.options import Options
from cata_pipeline.providers.square_catalog import Gathered
from cata_pipeline.providers.square_options import SquareOptions
from cata_pipeline.providers.urls import origin_of

_SEARCH_PATH = "/v2/catalog/search"
# Pinned: Square changes answers with the version. Without types, new ones would appear with a newer version.
_HEADERS = {"Square-Version": "2026-09-16"}
# Variations come nested in their items; beside them only because one that was deleted alone may come nowhere else.
_TYPES = ["ITEM", "ITEM_VARIATION", "CATEGORY", "IMAGE", "MODIFIER_LIST", "ITEM_OPTION"]
_WORDS_OF_AN_ANSWER = frozenset({"objects", "cursor", "latest_time", "related_objects"})


def fetch_catalog(
    options: Options, secrets: Mapping[str, str], policy: AddressPolicy, patience: Patience | None = None
) -> Catalog:
    """The tenant's complete catalog; blocks, and runs an event loop of its own.

    Raises `ProviderError` when the options are wrong or the catalog is not complete.
    """
    parsed, patience = _parsed(options, patience)
    return completed(_catalog(parsed, secrets, policy, patience, parsed.max_pages))


def sample_catalog(
    options: Options, secrets: Mapping[str, str], policy: AddressPolicy, patience: Patience | None = None
) -> Sample:
    """What the first page maps to, without what stands on later ones; raises `ProviderError` as `fetch_catalog`."""
    parsed, patience = _parsed(options, patience)
    return Sample.of(completed(_catalog(parsed, secrets, policy, patience, None)))


SQUARE = Provider(
    slug="square",
    name="Square",
    credential_keys=("access_token",),
    options=SquareOptions,
    fetch=fetch_catalog,
    sample=sample_catalog,
)


def _parsed(options: Options, patience: Patience | None) -> tuple[SquareOptions, Patience]:
    parsed = SquareOptions.of_tenant(options)
    return parsed, (patience or Patience()).within(parsed)


async def _catalog(
    options: SquareOptions,
    secrets: Mapping[str, str],
    policy: AddressPolicy,
    patience: Patience,
    max_pages: int | None,
) -> Catalog:
    """All objects up to the explicit end, or, without `max_pages`, those of the first page."""
    token = token_to_send(secrets, "access_token")
    gathered = Gathered(options, patience.now())
    async with JsonClient(policy, patience, secrets) as client:
        async for objects in _pages(client, options, token, max_pages):
            gathered.take(objects)
            # Before the next page is read: two parsed pages at a time would double the peak.
            objects.clear()
    return gathered.catalog()


async def _pages(
    client: JsonClient, options: SquareOptions, token: str, max_pages: int | None
) -> AsyncIterator[list[object]]:
    guard = CursorGuard(f"Catalog search at {origin_of(options.origin)}", max_pages or 1)
    url = options.origin.copy_with(path=_SEARCH_PATH)
    number, cursor = 1, None
    while True:
        body: dict[str, object] = {
            "object_types": _TYPES,
            "include_deleted_objects": True,
            "limit": options.page_size,
        }
        if cursor is not None:
            body["cursor"] = cursor
        call = Call(f"Catalog search page {number}", "POST", url, json=body, token=token, headers=_HEADERS)
        reply = await client.ask(call)
        objects = _objects(client, reply, f"{call.what} at {origin_of(url)}", is_first=number == 1)
        yield objects
        if max_pages is None or (cursor := guard.next(reply.get("cursor"))) is None:
            return
        number += 1


def _objects(client: JsonClient, reply: Mapping[str, object], what: str, *, is_first: bool) -> list[object]:
    """The objects of an answer, which may have none; raises `ProviderError` when it is no page, although HTTP 200."""
    if errors := reply.get("errors"):
        said = client.error_words({"errors": errors}) or "no error message"
        raise ProviderError(
            f"{what}: Square reports a failure beside what it could answer: {said}. The catalog is not complete, so"
            " nothing was taken; try again later."
        )
    # A first answer without a word is what an empty catalog looks like; a later one would be an end that nobody said.
    if not _WORDS_OF_AN_ANSWER & reply.keys() and (reply or not is_first):
        said = client.error_words(reply)
        raise ProviderError(
            f"{what}: the answer is no page of a catalog{f': {said}' if said else ''}. Nothing was taken; try again"
            " later, and check the tenant's origin if it stays."
        )
    objects = reply.get("objects")
    if objects is None:
        return []
    if not isinstance(objects, list):
        raise ProviderError(f"{what}: its objects are no list. Nothing was taken; try again later.")
    return objects
