"""What a reconcile found and did, as plain values."""

from dataclasses import dataclass

from cata_pipeline.catalog.model import Rejection
from cata_pipeline.reconcile.guard import Finding

SAMPLE = 10
"""Rows named in a report; everything is counted, and the change file holds all of it."""

PLAN_SAMPLE = 20
"""Rows named in the report of a dry run; a longer plan is in its file."""

STALE_LISTED = 10_000
"""Stale item codes listed in a report, the first in byte order; all are counted."""


@dataclass(frozen=True)
class Change:
    """One value that changed (or would): `column` is None for an inserted row, whose `new` is the row as JSON.

    `key` names a child row within its item, as a JSON list, and is None for items.
    """

    table: str
    action: str
    item_code: str
    key: str | None
    column: str | None
    old: str | None
    new: str | None


@dataclass(frozen=True)
class ItemCounts:
    """What happened to rows of `items`; the words are those of the metadata contract."""

    inserted: int = 0
    updated: int = 0
    renamed: int = 0
    names_kept: int = 0
    hidden: int = 0
    shown: int = 0
    image_urls_changed: int = 0


@dataclass(frozen=True)
class ChildCounts:
    """What happened to rows of the structure tables, all together."""

    inserted: int = 0
    updated: int = 0
    hidden: int = 0


@dataclass(frozen=True)
class ReconcileReport:
    """One tenant's reconcile, applied or (in a dry run) only planned.

    `rejected` counts provider rows refused by the adapter and rows the tenant's columns cannot hold; `inserted`,
    `updated` and `unchanged` add up to `items_in_snapshot`. `sample` holds the first of `change_rows` changes, and
    `changes_path` is the object name in the snapshot bucket where all of them are: None when there are none, when the
    run was dry and the sample is all, or when the file could not be stored, which is then among the `warnings`; these
    begin with what the adapter left out of the rows it accepted.
    `stale_codes` are the first `STALE_LISTED` of the `stale` ones. `seconds_write` runs from connecting to the tenant
    database to the end of the commit.
    """

    items_in_snapshot: int
    rejected: int
    items: ItemCounts
    children: ChildCounts
    children_rejected: int
    stale: int
    findings: tuple[Finding, ...]
    skipped: tuple[str, ...]
    sample: tuple[Change, ...]
    change_rows: int
    stale_codes: tuple[str, ...]
    rejections: tuple[Rejection, ...]
    changes_path: str | None
    warnings: tuple[str, ...]
    dry_run: bool
    seconds_write: float

    @property
    def unchanged(self) -> int:
        """Rows of the snapshot that were (or would be) neither inserted nor updated."""
        return self.items_in_snapshot - self.items.inserted - self.items.updated
