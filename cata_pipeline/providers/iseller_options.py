"""The options of an iSeller tenant: which there are, what each may be, and what holds where it is absent.

Add an option here, with its check. What an option does belongs where it is used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from cata_pipeline.providers.contract import Options
from cata_pipeline.providers.urls import provider_origin, provider_url

_DEFAULT_TOKEN_URL = httpx.URL("https://isellershop.com/oauth/token")
_LARGEST_PAGE = 500
_MOST_PAGES = 100_000
_LONGEST_REQUEST = 600
_LONGEST_FETCH = 14_400

EmptySku = Literal["product_id", "reject"]


@dataclass(frozen=True)
class ISellerOptions:
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


def option_problems(options: Options) -> list[str]:
    """One sentence for each option that is missing, unknown or wrong."""
    return _checked(options)[1]


def parse_options(options: Options) -> ISellerOptions:
    """The options as they will be used; raises `ValueError` with every problem in one text."""
    values, problems = _checked(options)
    if problems:
        raise ValueError(" ".join(problems))
    return ISellerOptions(**values)


def _checked(options: Options) -> tuple[dict[str, Any], list[str]]:
    known = ", ".join(_CHECKS)
    problems = [f"{key} is no option of iseller; known are {known}." for key in options if key not in _CHECKS]
    values: dict[str, Any] = {}
    if "store_url" not in options:
        problems.append("store_url is missing; expected the store's address, such as https://name.isellershop.com.")
    for key, check in _CHECKS.items():
        if key in options:
            try:
                values[key] = check(options[key])
            except ValueError as error:
                problems.append(f"{key} {error}")
    return values, problems


def _whole_number(most: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ValueError(f"is {value!r}; expected a whole number from 1 to {most}.")
        return value

    return check


def _budget(most: int) -> Callable[[object], float]:
    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= most:
            raise ValueError(f"is {value!r}; expected a number of seconds from 1 to {most}.")
        return float(value)

    return check


def _empty_sku(value: object) -> EmptySku:
    if value == "product_id":
        return "product_id"
    if value == "reject":
        return "reject"
    raise ValueError(f"is {value!r}; expected product_id or reject.")


_CHECKS: dict[str, Callable[[object], object]] = {
    "store_url": provider_origin,
    "token_url": provider_url,
    "page_size": _whole_number(_LARGEST_PAGE),
    "max_pages": _whole_number(_MOST_PAGES),
    "empty_sku": _empty_sku,
    "request_budget_seconds": _budget(_LONGEST_REQUEST),
    "fetch_budget_seconds": _budget(_LONGEST_FETCH),
}
