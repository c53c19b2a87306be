"""The options of a feed tenant: which there are, what each may be, and what holds where it is absent.

Add an option here, with its check. What an option does belongs where it is used.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

import httpx

from cata_pipeline.providers.fetch_limits import LIMIT_OPTIONS, LimitOptions
from cata_pipeline.providers.option_checks import Option, Options, one_of, parsed_options, seconds
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


OPTIONS = {
    "source": Option(
        _source,
        "where the feed is: an https URL, or a path relative to the folder that CATA_FEED_FOLDER names",
        required=True,
    ),
    "format": Option(one_of("jsonl", "csv"), "what the feed is: jsonl (JSON Lines) or csv", required=True),
    "request_budget_seconds": Option(seconds(3_600), "the longest that reading a URL may take, retries included; 300"),
    "fetch_budget_seconds": Option(seconds(14_400), "the longest that the whole fetch may take; 1800"),
    **LIMIT_OPTIONS,
}


@dataclass(frozen=True)
class FeedOptions(LimitOptions):
    """The checked options. A `source` that is a path is relative to the folder for feeds."""

    source: httpx.URL | PurePosixPath
    format: Format
    request_budget_seconds: float = 300.0
    fetch_budget_seconds: float = 1_800.0


def parse_options(options: Options) -> FeedOptions:
    """The options as they will be used; raises `ValueError` with every problem in one text."""
    return FeedOptions(**parsed_options("feed", OPTIONS, options))
