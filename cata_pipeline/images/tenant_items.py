"""What the picture copy reads from and writes to a tenant's `items`: types, and the rule of whose picture a row shows.

SQL belongs in `tenant_images.py`; nothing about hosts or objects may live here.
"""

from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class PicturedItem:
    """A row of `items` with a provider's picture: its URL, and the `main_image_url` it shows (None or "": nothing)."""

    item_code: str
    url: str
    shown: str | None


@dataclass(frozen=True, slots=True)
class WriteBack:
    """The request that an item whose URL is still `url` show `path`; `managed` are the paths that may be replaced.

    These are the path that a copy wrote last and those whose write-back has an unknown outcome.
    """

    item_code: str
    url: str
    path: str
    managed: frozenset[str]


class Verdict(Enum):
    """What became of a wish."""

    WRITTEN = auto()
    ADOPTED = auto()  # showed the path already; managed only if it was before
    OVERRIDDEN = auto()  # shows a picture of the tenant's own people
    MOVED = auto()  # the provider names another picture by now, or the item is gone: the next run's work
    BUSY = auto()  # another session holds the row: the next run's work


def judge(wish: WriteBack, url: str | None, shown: str | None) -> Verdict:
    """What to do about a row whose columns are `url` and `shown`; WRITTEN means "write".

    It reads the row and the managed paths only. Where a picture lies proves nothing: the tenant's people upload to the
    same bucket, and may choose a former copy.
    """
    if url != wish.url:
        return Verdict.MOVED
    if shown == wish.path:
        return Verdict.ADOPTED
    if not shown or shown in wish.managed:
        return Verdict.WRITTEN
    return Verdict.OVERRIDDEN
