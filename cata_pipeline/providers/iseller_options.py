"""The options of an iSeller tenant: which there are, what each may be, and what holds where it is absent.

Add an option here, with its check. What an option does belongs where it is used.
"""

from dataclasses import dataclass
from typing import Literal

import httpx

from cata_pipeline.providers.fetch_limits import LIMIT_OPTIONS, LimitOptions
from cata_pipeline.providers.option_checks import (
    Option,
    Options,
    one_of,
    parsed_options,
    seconds,
    whole_number,
)
from cata_pipeline.providers.urls import provider_origin, provider_url

_DEFAULT_TOKEN_URL = httpx.URL("https://isellershop.com/oauth/token")

EmptySku = Literal["product_id", "reject"]

OPTIONS = {
    "store_url": Option(provider_origin, "the store's address, such as https://name.isellershop.com", required=True),
    "token_url": Option(provider_url, f"where tokens are issued; {_DEFAULT_TOKEN_URL}"),
    "page_size": Option(whole_number(500), "products a page; 200"),
    "max_pages": Option(whole_number(100_000), "pages of each of the two passes, a larger store is an error; 1000"),
    "empty_sku": Option(
        one_of("product_id", "reject"),
        "what a product without SKU gets: its product_id as item code, or a rejection; product_id",
    ),
    "request_budget_seconds": Option(seconds(600), "the longest that one request may take, its retries included; 60"),
    "fetch_budget_seconds": Option(seconds(14_400), "the longest that the whole fetch may take; 1800"),
    **LIMIT_OPTIONS,
}


@dataclass(frozen=True)
class ISellerOptions(LimitOptions):
    """The checked options. `max_pages` bounds each of the two passes, `request_budget_seconds` each request,
    `fetch_budget_seconds` all of them together.

    `empty_sku` says what a product without SKU gets: its product_id as item code, or a rejection. 200 rows a
    page is the smallest size that integrators report from production.
    """

    store_url: httpx.URL
    token_url: httpx.URL = _DEFAULT_TOKEN_URL
    page_size: int = 200
    max_pages: int = 1000
    empty_sku: EmptySku = "product_id"
    request_budget_seconds: float = 60.0
    fetch_budget_seconds: float = 1_800.0


def parse_options(options: Options) -> ISellerOptions:
    """The options as they will be used; raises `ValueError` with every problem in one text."""
    return ISellerOptions(**parsed_options("iseller", OPTIONS, options))
