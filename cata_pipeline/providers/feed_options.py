"""The options of a feed tenant: which there are, what each may be, and what holds where it is absent.

Add an option here, with its check. What an option does belongs where it is used.
"""

from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Literal

import httpx
from pydantic import Field, PlainValidator

from cata_pipeline.providers.fetch_limits import BudgetOptions
from cata_pipeline.providers.options import seconds
from cata_pipeline.providers.urls import provider_url

_LONGEST_PATH = 1_024

Format = Literal["jsonl", "csv"]


def _source(value: object) -> httpx.URL | PurePosixPath:
    if isinstance(value, str) and "://" in value:
        return provider_url(value)
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_PATH or not value.isprintable():
        raise ValueError("is neither a URL nor a path; expected https://host/file or a path such as kopi/items.csv.")
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError("leads out of the folder for feeds; expected a path relative to it, such as kopi/items.csv.")
    return path


class FeedOptions(BudgetOptions):
    """The checked options. A `source` that is a path is relative to the folder for feeds."""

    slug: ClassVar = "feed"

    source: Annotated[httpx.URL | PurePosixPath, PlainValidator(_source)] = Field(
        description="where the feed is: an https URL, or a path relative to the folder that CATA_FEED_FOLDER names"
    )
    format: Format = Field(description="what the feed is: jsonl (JSON Lines) or csv")
    request_budget_seconds: Annotated[float, seconds(3_600)] = Field(
        default=300.0, description="the longest that reading a URL may take, retries included"
    )
