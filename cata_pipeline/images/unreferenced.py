"""Which objects of a tenant no row refers to: a report for whoever cleans a bucket up. Deletes nothing.

Three streams in the same order are walked side by side: the bucket's names, the paths that rows show, and the paths
that the ledger knows. So memory holds a page of each, however many pictures there are. Rules about what may be deleted
must not live here: that is a person's decision.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

from cata_pipeline.buckets import Bucket, StoredObject
from cata_pipeline.errors import TenantError
from cata_pipeline.images.image_paths import ImagePaths
from cata_pipeline.images.objects import folder_of
from cata_pipeline.images.tenant_images import TenantImages

MAX_SAMPLE = 20
SETTLING = timedelta(days=1)
"""Age from which no copy is about to write an object's path to a row: longer than any copy runs."""
_PAGE_ITEMS = 2_000


@dataclass(frozen=True)
class Pile:
    """Some objects: how many, how many bytes they hold, and the first few names."""

    objects: int = 0
    bytes: int = 0
    sample: tuple[str, ...] = ()

    def plus(self, stored: StoredObject) -> "Pile":
        """The same pile with one more object on it."""
        sample = self.sample if len(self.sample) == MAX_SAMPLE else (*self.sample, stored.name)
        return Pile(self.objects + 1, self.bytes + stored.size, sample)


@dataclass(frozen=True)
class UnreferencedImages:
    """A tenant's objects that no row refers to, in three piles.

    `former` are copies that an item had before (or of an item that shows a picture of its own): the ledger knows
    them, and a picture that comes back is shown from there. `recent` are younger than `SETTLING`: a copy may be
    about to write their paths back. `unreferenced` are all others.
    """

    unreferenced: Pile = Pile()
    former: Pile = Pile()
    recent: Pile = Pile()


def find_unreferenced(
    tenant_id: str, tenant: TenantImages, paths: ImagePaths, bucket: Bucket, now: datetime
) -> UnreferencedImages:
    """Compare the bucket with the rows and the ledger; raises `TenantError` when one of them cannot be read."""
    folder = folder_of(tenant_id)
    with closing(tenant.shown_paths(folder, _PAGE_ITEMS)) as shown, closing(paths.all(_PAGE_ITEMS)) as known:
        return sort_out(bucket.objects(folder), shown, known, settled_before=now - SETTLING)


def sort_out(
    objects: Iterable[StoredObject], shown: Iterable[str], known: Iterable[str], settled_before: datetime
) -> UnreferencedImages:
    """Put each object that is not in `shown` on its pile; all three come in the order of their bytes."""
    unreferenced, former, recent = Pile(), Pile(), Pile()
    shown_paths, known_paths = _Walk(shown, "the tenant database"), _Walk(known, "the ledger")
    last = ""
    for stored in objects:
        last = _in_order(last, stored.name, "the bucket")
        if shown_paths.reaches(stored.name):
            continue
        if known_paths.reaches(stored.name):
            former = former.plus(stored)
        elif stored.created_at >= settled_before:
            recent = recent.plus(stored)
        else:
            unreferenced = unreferenced.plus(stored)
    return UnreferencedImages(unreferenced, former, recent)


class _Walk:
    """Goes along sorted names, never back."""

    def __init__(self, names: Iterable[str], source: str) -> None:
        self._names: Iterator[str] = iter(names)
        self._source = source
        self._at: str | None = ""

    def reaches(self, name: str) -> bool:
        """Whether `name` is among the names; to be asked in their order."""
        while self._at is not None and self._at < name:
            following = next(self._names, None)
            self._at = following if following is None else _in_order(self._at, following, self._source)
        return self._at == name


def _in_order(last: str, name: str, source: str) -> str:
    if name < last:
        raise TenantError(
            f"Which pictures are unreferenced cannot be told: {source} named {name} after {last}, and the order of"
            " bytes was expected."
        )
    return name
