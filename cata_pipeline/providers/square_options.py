"""The options of a Square tenant: which there are, what each may be, and what holds where it is absent.

Add an option here, with its check. What an option does belongs where it is used.
"""

import re
from typing import Annotated, ClassVar, Literal

import httpx
from pydantic import Field, PlainValidator, ValidationInfo, field_validator

from cata_pipeline.providers.fetch_limits import BudgetOptions
from cata_pipeline.providers.options import whole_number
from cata_pipeline.providers.urls import origin_of, provider_origin

_PRODUCTION = "https://connect.squareup.com"
_SANDBOX = "https://connect.squareupsandbox.com"
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


class SquareOptions(BudgetOptions):
    """The checked options."""

    slug: ClassVar = "square"

    location_id: Annotated[str | None, PlainValidator(_location_id)] = Field(
        default=None,
        description="the location whose products are active; without it, those of any location of the account",
    )
    origin: Annotated[httpx.URL, PlainValidator(_origin)] = Field(
        default=httpx.URL(_PRODUCTION), description=f"where the API is, {_SANDBOX} for a test account"
    )
    page_size: Annotated[int, whole_number(1_000)] = Field(default=500, description="objects a page")
    max_pages: Annotated[int, whole_number(100_000)] = Field(
        default=2_000, description="pages, a larger catalog is an error"
    )
    missing_sku: MissingSku = Field(
        default="variation_id",
        description="what a variation without SKU gets: its variation id as item code, or a rejection",
    )
    not_sellable: NotSellable = Field(
        default="hide", description="what a variation that is not sold by itself (sellable = false) becomes"
    )
    sold_out: SoldOut = Field(
        default="show",
        description=(
            "what becomes of a variation or modifier that is sold out at location_id when the catalog is fetched"
        ),
    )

    @field_validator("sold_out")
    @classmethod
    def _at_a_location(cls, value: SoldOut, given: ValidationInfo) -> SoldOut:
        # A location that is wrong is absent from `given.data`.
        if value == "hide" and given.data.get("location_id", "") is None:
            raise ValueError("= 'hide' needs location_id, which is missing; give it too.")
        return value
