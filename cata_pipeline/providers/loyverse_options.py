"""The options of a Loyverse tenant: which there are, what each may be, and what holds where it is absent.

Add an option here, with its check. What an option does belongs where it is used.
"""

import re
from typing import Annotated, ClassVar, Literal

import httpx
from pydantic import Field, PlainValidator

from cata_pipeline.providers.fetch_limits import BudgetOptions
from cata_pipeline.providers.options import whole_number
from cata_pipeline.providers.urls import origin_of, provider_origin

_PRODUCTION = "https://api.loyverse.com"
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


class LoyverseOptions(BudgetOptions):
    """The checked options.

    Loyverse uses composites for both a menu bundle and a recipe, and does not say which one it is: `composite` does.
    """

    slug: ClassVar = "loyverse"

    store_id: Annotated[str | None, PlainValidator(_store_id)] = Field(
        default=None,
        description="the store whose products are active; without it, those for sale in any store of the account",
    )
    composite: Composite = Field(
        default="bundle",
        description="what the components of a composite item are: products bought with it, or what it is made of",
    )
    missing_sku: MissingSku = Field(
        default="variant_id",
        description="what a variant without SKU gets: its variant id as item code, or a rejection",
    )
    origin: Annotated[httpx.URL, PlainValidator(_origin)] = Field(
        default=httpx.URL(_PRODUCTION), description="where the API is"
    )
    page_size: Annotated[int, whole_number(250)] = Field(default=250, description="items a page")
    max_pages: Annotated[int, whole_number(100_000)] = Field(
        default=1_000, description="pages of each list, a larger account is an error"
    )
