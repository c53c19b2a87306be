"""The work of one copy: what the tenant's rows and the ledger say is due, read once at the start.

Rules about when something is due belong in `due.py`. Only due rows are kept, and they are handed out one URL at a
time, so that memory falls while the copy goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cata_pipeline.images.due import NEVER_SEEN, LedgerEntry, due_since, fetch_is_due, is_behind
from cata_pipeline.images.image_paths import NOT_MANAGED, ImagePaths
from cata_pipeline.images.ledger import Ledger
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.tenant_images import TenantImages
from cata_pipeline.images.tenant_items import PicturedItem


@dataclass(slots=True)
class DueUrl:
    """A URL that is to be asked, what the ledger knows of it, and the items that share it (by item code)."""

    url: str
    entry: LedgerEntry
    items: list[PicturedItem] = field(default_factory=list)


@dataclass(frozen=True)
class DueItem:
    """An item that lacks the copy which the ledger has of its URL: no request is needed."""

    item: PicturedItem
    path: str


@dataclass(frozen=True)
class WorkList:
    """All that is due; no item is in both."""

    urls: list[DueUrl]
    items: list[DueItem]

    @property
    def item_count(self) -> int:
        """Items with an external URL that are due."""
        return len(self.items) + sum(len(due.items) for due in self.urls)


def work_list(tenant: TenantImages, ledger: Ledger, paths: ImagePaths, now: datetime, limits: CopyLimits) -> WorkList:
    """Everything that is due at `now`: URLs that wait longest first, then by item code."""
    urls: dict[str, DueUrl] = {}
    items: list[DueItem] = []
    # One more character than is allowed is enough to see that a URL is too long.
    for page in tenant.pictured(limits.url_characters + 1, limits.page_items):
        entries = ledger.entries({item.url for item in page})
        behind = []
        for item in page:
            entry = entries.get(item.url, NEVER_SEEN)
            if item.url in urls or fetch_is_due(entry, now, limits):
                urls.setdefault(item.url, DueUrl(item.url, entry)).items.append(item)
            elif entry.path is not None and is_behind(item.shown, entry):
                behind.append(DueItem(item, entry.path))
        items += _replaceable(behind, paths)
    return WorkList(sorted(urls.values(), key=lambda due: due_since(due.entry)), items)


def _replaceable(behind: Sequence[DueItem], paths: ImagePaths) -> list[DueItem]:
    """Those that show nothing or a managed path; the tenant's own pictures are no work."""
    managed = paths.managed({due.item.item_code for due in behind if due.item.shown})
    return [
        due
        for due in behind
        if not due.item.shown or due.item.shown in managed.get(due.item.item_code, NOT_MANAGED).paths
    ]
