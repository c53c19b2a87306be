"""The options of an iSeller tenant: which there are, what each may be, and what holds where it is absent.

Add an option here, with its check. What an option does belongs where it is used.
"""

from typing import Annotated, ClassVar, Literal

import httpx
from pydantic import Field, PlainValidator

from cata_pipeline.providers.fetch_limits import BudgetOptions
from cata_pipeline.providers.options import whole_number
from cata_pipeline.providers.urls import provider_origin, provider_url

EmptySku = Literal["product_id", "reject"]


class ISellerOptions(BudgetOptions):
    """The checked options. 200 rows a page is the smallest size that integrators report from production."""

    slug: ClassVar = "iseller"

    store_url: Annotated[httpx.URL, PlainValidator(provider_origin)] = Field(
        description="the store's address, such as https://name.isellershop.com"
    )
    token_url: Annotated[httpx.URL, PlainValidator(provider_url)] = Field(
        default=httpx.URL("https://isellershop.com/oauth/token"), description="where tokens are issued"
    )
    page_size: Annotated[int, whole_number(500)] = Field(default=200, description="products a page")
    max_pages: Annotated[int, whole_number(100_000)] = Field(
        default=1_000, description="pages of each of the two passes, a larger store is an error"
    )
    empty_sku: EmptySku = Field(
        default="product_id",
        description="what a product without SKU gets: its product_id as item code, or a rejection",
    )
