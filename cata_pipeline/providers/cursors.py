"""Follows a provider's cursors from page to page, to the one end that counts: an answer without a cursor.

For every POS that pages by cursor. Where the cursor stands in an answer, and how it is sent back, is each provider's
own business. A page without rows ends nothing here.
"""

import hashlib

from cata_pipeline.catalog.model import text_problem
from cata_pipeline.errors import ProviderError

# In UTF-8: percent-encoded, three times as much, it still fits the 64 kB that the HTTP client takes as a query.
_MOST_BYTES = 16 * 1024
_TELL_THE_VENDOR = "The catalog is not complete, so nothing was taken. Try again; if it stays, tell the vendor."


class CursorGuard:
    """The cursors of one walk of at most `max_pages` pages; `what` begins each message."""

    def __init__(self, what: str, max_pages: int) -> None:
        self._what = what
        self._max_pages = max_pages
        self._pages = 0
        self._seen: set[bytes] = set()

    def next(self, cursor: object) -> str | None:
        """What to ask the next page with, once for each page that came; None at the provider's explicit end.

        Raises `ProviderError` for a cursor that came before (the walk would never end), one that is no text that can be
        sent back, and one that leads beyond the last page allowed.
        """
        self._pages += 1
        if cursor is None or cursor == "":
            return None
        if not isinstance(cursor, str) or text_problem(cursor) or len(cursor.encode()) > _MOST_BYTES:
            raise ProviderError(f"{self._what}: page {self._pages} has a cursor that is none. {_TELL_THE_VENDOR}")
        # Digests: a cursor can be longer than the page it leads to.
        digest = hashlib.sha256(cursor.encode()).digest()
        if digest in self._seen:
            raise ProviderError(
                f"{self._what}: the cursor of page {self._pages} came before, so paging has no end. {_TELL_THE_VENDOR}"
            )
        self._seen.add(digest)
        if self._pages >= self._max_pages:
            raise ProviderError(
                f"{self._what}: no end after {self._max_pages} pages, so the catalog is not complete."
                " Raise max_pages if the store is that large; otherwise tell the vendor that paging does not end."
            )
        return cursor
