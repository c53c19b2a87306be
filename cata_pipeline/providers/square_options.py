"""The options of a Square tenant: which there are, what each may be, and what holds where it is absent.

Add an option here, with its check. What an option does belongs where it is used.
"""

import re
from dataclasses import dataclass
from typing import Literal

import httpx

from cata_pipeline.providers.fetch_limits import LIMIT_OPTIONS, LimitOptions
from cata_pipeline.providers.option_checks import Option, Options, one_of, parsed_options, seconds, whole_number
from cata_pipeline.providers.urls import origin_of, provider_origin

_PRODUCTION = "https://connect.squareup.com"
_SANDBOX = "https://connect.squareupsandbox.com"
_DEFAULT_ORIGIN = httpx.URL(_PRODUCTION)
_LOCATION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

MissingSku = Literal["variation_id", "reject"]
NotSellable = Literal["hide", "show"]
SoldOut = Literal["hide", "show"]


def _origin(value: object) -> httpx.URL:
    """One of Square's two, or plain http to an ip:port: that is sent nothing unless the settings allow the address."""
    url = provider_origin(value)
    if url.scheme == "https" and origin_of(url) not in {_PRODUCTION, _SANDBOX}:
        raise ValueError(f"is not Square's; expected {_PRODUCTION} or {_SANDBOX}.")
    return url


def _location_id(value: object) -> str:
    if not isinstance(value, str) or not _LOCATION_ID.fullmatch(value):
        raise ValueError("is no location id; expected one as the Square dashboard shows it, such as L88917AVBK2S5.")
    return value


OPTIONS = {
    "location_id": Option(
        _location_id,
        "the location whose products are active; without it, those of any location of the account",
    ),
    "origin": Option(_origin, f"{_PRODUCTION}, or {_SANDBOX} for a test account; the first"),
    "page_size": Option(whole_number(1_000), "objects a page; 500"),
    "max_pages": Option(whole_number(100_000), "pages, a larger catalog is an error; 2000"),
    "missing_sku": Option(
        one_of("variation_id", "reject"),
        "what a variation without SKU gets: its variation id as item code, or a rejection; variation_id",
    ),
    "not_sellable": Option(
        one_of("hide", "show"), "what a variation that is not sold by itself (sellable = false) becomes; hide"
    ),
    "sold_out": Option(
        one_of("hide", "show"),
        "what becomes of a variation or modifier that is sold out at location_id when the catalog is fetched; show",
        needs={"hide": "location_id"},
    ),
    "request_budget_seconds": Option(seconds(600), "the longest that one request may take, its retries included; 60"),
    "fetch_budget_seconds": Option(seconds(14_400), "the longest that the whole fetch may take; 1800"),
    **LIMIT_OPTIONS,
}


@dataclass(frozen=True)
class SquareOptions(LimitOptions):
    """The checked options. `request_budget_seconds` bounds each request, `fetch_budget_seconds` all together."""

    location_id: str | None = None
    origin: httpx.URL = _DEFAULT_ORIGIN
    page_size: int = 500
    max_pages: int = 2_000
    missing_sku: MissingSku = "variation_id"
    not_sellable: NotSellable = "hide"
    sold_out: SoldOut = "show"
    request_budget_seconds: float = 60.0
    fetch_budget_seconds: float = 1_800.0


def parse_options(options: Options) -> SquareOptions:
    """The options as they will be used; raises `ValueError` with every problem in one text."""
    return SquareOptions(**parsed_options("square", OPTIONS, options))
