"""Points a tenant's items at their copies: record the paths, write them back, settle what the write-back proved.

The order is what keeps ownership right over a crash: a path is recorded as unsettled before any row can show it. Which
row may be written is decided by `tenant_items.judge`; the SQL is in `image_paths.py` and `tenant_images.py`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from cata_pipeline.images.image_paths import NOT_MANAGED, ComputedPath, ImagePaths, PathOutcome
from cata_pipeline.images.tenant_images import TenantImages
from cata_pipeline.images.tenant_items import PicturedItem, Verdict, WriteBack


@dataclass(frozen=True, slots=True)
class Copy:
    """An item, and the path of the copy that it is to show; the object is stored already."""

    item: PicturedItem
    path: str


@dataclass(frozen=True, slots=True)
class Written:
    """How many items met each verdict, and the write-backs that found their row locked."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    busy: list[WriteBack] = field(default_factory=list)


class PathWriter:
    """Writes one tenant's paths, at most `at_once` in a transaction; used by one thread at a time."""

    def __init__(self, tenant: TenantImages, paths: ImagePaths, at_once: int) -> None:
        self._tenant = tenant
        self._paths = paths
        self._at_once = at_once

    def write(self, copies: Iterable[Copy]) -> Written:
        """Point the items at their copies where the ownership rule allows it; raises `DatabaseError`."""
        written = Written()
        for chunk in _chunks(copies, self._at_once):
            managed = self._paths.record(
                [
                    ComputedPath(copy.item.item_code, copy.path, is_written=copy.item.shown != copy.path)
                    for copy in chunk
                ]
            )
            requests, outcomes = [], []
            for copy in chunk:
                code, path = copy.item.item_code, copy.path
                known = managed.get(code, NOT_MANAGED)
                if copy.item.shown != path:
                    requests.append(WriteBack(code, copy.item.url, path, known.paths))
                elif path in known.unsettled:
                    # A former copy ended after this path was written and before it was settled.
                    outcomes.append(PathOutcome(code, current=path))
            verdicts = self._tenant.write_back(requests) if requests else {}
            for request in requests:
                verdict = verdicts[request.item_code]
                written.verdicts[verdict] += 1
                if verdict is Verdict.BUSY:
                    written.busy.append(request)
                if outcome := _proved(request, verdict):
                    outcomes.append(outcome)
            self._paths.settle(outcomes)
        return written


def _proved(request: WriteBack, verdict: Verdict) -> PathOutcome | None:
    """What a verdict proves about the item's paths; None when the ledger knows as much already."""
    was_managed = request.path in request.managed
    if verdict is Verdict.WRITTEN or (verdict is Verdict.ADOPTED and was_managed):
        return PathOutcome(request.item_code, current=request.path)
    if verdict in {Verdict.ADOPTED, Verdict.OVERRIDDEN}:
        return PathOutcome(request.item_code)
    return None if was_managed else PathOutcome(request.item_code, discarded=request.path)


def _chunks(copies: Iterable[Copy], size: int) -> Iterator[list[Copy]]:
    remaining = iter(copies)
    while chunk := list(islice(remaining, size)):
        yield chunk
