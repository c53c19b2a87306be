"""The options of a Loyverse tenant: which there are, what each may be, and what holds where it is absent.

Add an option here, with its check. What an option does belongs where it is used.
"""

import re
from dataclasses import dataclass
from typing import Literal

import httpx

from cata_pipeline.providers.fetch_limits import LIMIT_OPTIONS, LimitOptions
from cata_pipeline.providers.option_checks import Option, Options, one_of, parsed_options, seconds, whole_number
from cata_pipeline.providers.urls import origin_of, provider_origin

_PRODUCTION = "https://api.loyverse.com"
_DEFAULT_ORIGIN = httpx.URL(_PRODUCTION)
_STORE_ID = re.compile(r"[A-Za-z0-9-]{1,64}")

Composite = Literal["bundle", "recipe"]
MissingSku = Literal["variant_id", "reject"]


def _origin(value: object) -> httpx.URL:
    """Loyverse's one, or plain http to an ip:port: that is sent nothing unless the settings allow the address."""
    url = provider_origin(value)
    if url.scheme == "https" and origin_of(url) != _PRODUCTION:
        raise ValueError(f"is not Loyverse's; expected {_PRODUCTION}.")
    return url


def _store_id(value: object) -> str:
    if not isinstance(value, str) or not _STORE_ID.fullmatch(value):
        raise ValueError("is no store id; expected the id that GET /stores gives, a UUID.")
    return value


OPTIONS = {
    "store_id": Option(
        _store_id, "the store whose products are active; without it, those for sale in any store of the account"
    ),
    "composite": Option(
        one_of("bundle", "recipe"),
        "what the components of a composite item are: products bought with it, or what it is made of; bundle",
    ),
    "missing_sku": Option(
        one_of("variant_id", "reject"),
        "what a variant without SKU gets: its variant id as item code, or a rejection; variant_id",
    ),
    "origin": Option(_origin, f"where the API is; {_PRODUCTION}"),
    "page_size": Option(whole_number(250), "items a page; 250"),
    "max_pages": Option(whole_number(100_000), "pages of each list, a larger account is an error; 1000"),
    "request_budget_seconds": Option(seconds(600), "the longest that one request may take, its retries included; 60"),
    "fetch_budget_seconds": Option(seconds(14_400), "the longest that the whole fetch may take; 1800"),
    **LIMIT_OPTIONS,
}


@dataclass(frozen=True)
class LoyverseOptions(LimitOptions):
    """The checked options. `request_budget_seconds` bounds each request, `fetch_budget_seconds` all together.

    Loyverse uses composites for both a menu bundle and a recipe, and does not say which one it is: `composite` does.
    """

    store_id: str | None = None
    composite: Composite = "bundle"
    missing_sku: MissingSku = "variant_id"
    origin: httpx.URL = _DEFAULT_ORIGIN
    page_size: int = 250
    max_pages: int = 1_000
    request_budget_seconds: float = 60.0
    fetch_budget_seconds: float = 1_800.0


def parse_options(options: Options) -> LoyverseOptions:
    """The options as they will be used; raises `ValueError` with every problem in one text."""
    return LoyverseOptions(**parsed_options("loyverse", OPTIONS, options))
