"""What a copy of one tenant's pictures did, in the counts that the UI and the command line show.

Add a count here only together with its line in the contract (`image_objects`); lists that grow with the number of
pictures must not live here.
"""

from dataclasses import dataclass
from datetime import datetime

MAX_FAILURES = 10
"""Samples kept of what failed; the ledger has all of them."""

MAX_NEWEST = 6
"""Pictures kept for the gallery; the bucket has all of them."""


@dataclass(frozen=True)
class ImageFailure:
    """A URL that gave no fresh copy: one of its items, its host ("" when the URL names none), why, and when next."""

    item_code: str
    host: str
    reason: str
    next_try_at: datetime


@dataclass(frozen=True)
class CopiedPicture:
    """A picture in the bucket: one of the items that have it, and the name of its object."""

    item_code: str
    path: str


@dataclass(frozen=True)
class ImageResult:
    """The counts of one copy; zeros included.

    Items: `considered` (were due), `written_back`, `overridden` (own picture kept), `failed` (no fresh copy, with a
    reason; such an item may still be served from the last good copy, and then counts there too), `deferred` (left to
    the next run, as `deferred_reason` says). Distinct URLs:
    `not_modified`, `downloaded`, `bytes_downloaded` (bodies only). Objects: `uploaded`, `already_stored`. `seconds` is
    wall time. `newest` are the tenant's newest pictures, those that this copy brought first.
    """

    considered: int
    not_modified: int
    downloaded: int
    bytes_downloaded: int
    uploaded: int
    already_stored: int
    written_back: int
    overridden: int
    failed: int
    seconds: float
    failures: tuple[ImageFailure, ...] = ()
    newest: tuple[CopiedPicture, ...] = ()
    deferred: int = 0
    deferred_reason: str = ""
