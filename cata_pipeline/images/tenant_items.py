"""What the picture copy reads from and writes to a tenant's `items`: types, the rule of whose picture a row shows, and
the protocol that an engine implements.

Add an engine as a module beside `postgresql.py`. SQL must not live here, nor anything about hosts or objects.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PicturedItem:
    """A row of `items` with a provider's picture: its URL, and the `main_image_url` it shows (None or "": nothing)."""

    item_code: str
    url: str
    shown: str | None


@dataclass(frozen=True, slots=True)
class WriteBack:
    """The wish that an item whose URL is still `url` show `path`; `ours` are all paths ever recorded for the item."""

    item_code: str
    url: str
    path: str
    ours: frozenset[str]


class Verdict(Enum):
    """What became of a wish."""

    WRITTEN = auto()
    ADOPTED = auto()  # showed the path already
    OVERRIDDEN = auto()  # shows a picture of the tenant's own people
    MOVED = auto()  # the provider names another picture by now, or the item is gone: the next run's work


def judge(wish: WriteBack, url: str | None, shown: str | None) -> Verdict:
    """What to do about a row whose columns are `url` and `shown`; WRITTEN means "write".

    It reads the row and the ledger's list only. Where a picture lies proves nothing: the tenant's people upload to
    the same bucket.
    """
    if url != wish.url:
        return Verdict.MOVED
    if shown == wish.path:
        return Verdict.ADOPTED
    if not shown or shown in wish.ours:
        return Verdict.WRITTEN
    return Verdict.OVERRIDDEN


class TenantImages(Protocol):
    """A tenant's `items`, as far as pictures go; every method may raise `DatabaseError`."""

    def pictured(self, url_characters: int, page_items: int) -> Iterator[Sequence[PicturedItem]]:
        """All items with a non-empty `external_image_url`, by item code, in pages.

        Of a longer URL only the first `url_characters` come: it is refused anyway, and pictures written out as
        `data:` URLs would fill the memory.
        """

    def write_back(self, wishes: Sequence[WriteBack]) -> Mapping[str, Verdict]:
        """Point `main_image_url` at our copies, in one transaction, where `judge` says so; one verdict an item code.

        Rows that need no change are neither locked nor written.
        """
