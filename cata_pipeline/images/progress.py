"""How far a copy is, told to the log: a line every 500 URLs for people, a record a URL for whoever draws a bar.

A record carries `pictures`, a `PicturesDone`. Counts of what was done live in `result.py`.
"""

import logging
from dataclasses import dataclass

EACH = logging.getLogger(f"{__name__}.each")
"""Gets a record of every URL, at DEBUG: too many for any log, so whoever lets them through keeps them to himself."""

LINE_URLS = 500
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PicturesDone:
    """How many of a tenant's due URLs are done by now, and how many of those failed."""

    tenant_id: str
    done: int
    total: int
    failed: int


class Progress:
    """Counts one tenant's URLs."""

    def __init__(self, tenant_id: str, total: int) -> None:
        self._tenant_id = tenant_id
        self._total = total
        self._failed = 0
        self.done = 0

    def add(self, *, failed: bool) -> None:
        """One more URL is done."""
        self.done += 1
        self._failed += failed
        arguments = (self._tenant_id, self.done, self._total, self._failed)
        if EACH.isEnabledFor(logging.DEBUG):
            told = PicturesDone(*arguments)
            EACH.debug("Pictures of %s: %d of %d, %d failed", *arguments, extra={"pictures": told})
        if self.done % LINE_URLS == 0:
            _logger.info("Pictures of %s: %d of %d URLs done, %d failed", *arguments)
