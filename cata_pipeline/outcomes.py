"""What a run is asked to do for one tenant, and what became of it: plain values between the pipeline and its callers.

Add a count of the metadata contract here. How a count comes about belongs to the package that counts it; how it is
shown belongs to `cata_pipeline.orchestration.metadata`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cata_pipeline.catalog.snapshot import Notes, SnapshotRecord
from cata_pipeline.errors import UsageError
from cata_pipeline.images.result import ImageResult
from cata_pipeline.reconcile.guard import check_allowances
from cata_pipeline.reconcile.report import ReconcileReport
from cata_pipeline.tenants.stale import StaleItem

Counts = dict[str, int | float]


@dataclass(frozen=True)
class SyncOrder:
    """What a sync is asked to do.

    `fetch` without `reconcile` only takes a snapshot; `reconcile` without `fetch` applies the newest one, or
    `from_snapshot`. `allow` holds ceilings for guards, for this run only.
    """

    fetch: bool = True
    reconcile: bool = True
    dry_run: bool = False
    from_snapshot: str | None = None
    allow: Mapping[str, int] = field(default_factory=dict)

    def check(self) -> None:
        """Raise `UsageError` when the parts contradict each other."""
        check_allowances(self.allow)
        if self.dry_run and not self.reconcile:
            raise UsageError("A dry run shows what reconciling would do, so it needs reconciled_items to be selected.")
        if self.from_snapshot is not None and not self.reconcile:
            raise UsageError("A stored snapshot is there to be applied, so it needs reconciled_items to be selected.")


@dataclass(frozen=True)
class SyncOutcome:
    """What a sync did for one tenant; `error` says why it stopped, None when it did not, and `error_kind` in a word.

    `snapshot` is the one that was taken (`fetched`) or replayed, `notes` the first of what it says besides. `stale`
    names the longest stale items; it is empty where that is not on record.
    """

    tenant_id: str
    snapshot: SnapshotRecord | None = None
    notes: Notes = Notes()  # noqa: RUF009 it is frozen
    fetched: bool = False
    report: ReconcileReport | None = None
    stale: tuple[StaleItem, ...] = ()
    seconds_fetch: float = 0.0
    error: str | None = None
    error_kind: str | None = None

    @property
    def counts(self) -> Counts:
        """The counts of the metadata contract, zeros included; empty when nothing was reconciled."""
        if self.report is None:
            return {}
        report = self.report
        return {
            "items_in_snapshot": report.items_in_snapshot,
            "rejected": report.rejected,
            "inserted": report.items.inserted,
            "updated": report.items.updated,
            "unchanged": report.unchanged,
            "renamed": report.items.renamed,
            "names_kept": report.items.names_kept,
            "hidden": report.items.hidden,
            "shown": report.items.shown,
            "image_urls_changed": report.items.image_urls_changed,
            "stale": report.stale,
            "duplicates": self.snapshot.duplicates if self.snapshot else 0,
            "children_inserted": report.children.inserted,
            "children_updated": report.children.updated,
            "children_hidden": report.children.hidden,
            "children_rejected": report.children_rejected,
            "seconds_fetch": round(self.seconds_fetch, 3),
            "seconds_write": round(report.seconds_write, 3),
        }


@dataclass(frozen=True)
class ImageOutcome:
    """What an image copy did for one tenant; `error` and `error_kind` are as of a sync."""

    tenant_id: str
    result: ImageResult | None = None
    error: str | None = None
    error_kind: str | None = None

    @property
    def counts(self) -> Counts:
        """The counts of the metadata contract, zeros included; empty when the copy stopped."""
        if self.result is None:
            return {}
        counts: Counts = {name: getattr(self.result, name) for name in IMAGE_COUNTS}
        return counts | {"seconds": round(self.result.seconds, 3)}


IMAGE_COUNTS = (
    "considered",
    "not_modified",
    "downloaded",
    "bytes_downloaded",
    "uploaded",
    "already_stored",
    "written_back",
    "overridden",
    "failed",
    "deferred",
)
