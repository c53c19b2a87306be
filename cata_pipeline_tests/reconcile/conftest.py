"""A tenant whose database can be synced with any list of items, and read back."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine

from cata_pipeline.buckets import Bucket
from cata_pipeline.catalog.model import Catalog, Item, Rejection
from cata_pipeline.catalog.snapshot import Snapshot, SnapshotStore
from cata_pipeline.reconcile.report import ReconcileReport
from cata_pipeline.reconcile.steps import reconcile

_runs = itertools.count(1)


@dataclass
class SyncedTenant:
    """One tenant database with the steps and look-ups that tests need."""

    engine: Engine
    url: URL
    bucket: Bucket
    store: SnapshotStore
    before_write: Callable[[], None] = field(default=lambda: None)

    def snapshot(self, items: Sequence[Item], rejections: Sequence[Rejection] = ()) -> Snapshot:
        catalog = Catalog(tuple(sorted(items, key=lambda item: item.item_code.encode())), tuple(rejections))
        return self.store.save("kopi-kita", "iseller", catalog, run_id=f"fetch-{next(_runs)}", now=datetime.now(UTC))

    def sync(
        self, *items: Item, allow: Mapping[str, int] | None = None, dry_run: bool = False, rejected: int = 0
    ) -> ReconcileReport:
        rejections = [Rejection(None, None, "no name")] * rejected
        return self.apply(self.snapshot(items, rejections), allow=allow, dry_run=dry_run)

    def apply(
        self, snapshot: Snapshot, *, allow: Mapping[str, int] | None = None, dry_run: bool = False
    ) -> ReconcileReport:
        return reconcile(
            snapshot,
            self.url,
            run_id=f"run-{next(_runs)}",
            bucket=self.bucket,
            allow=allow or {},
            dry_run=dry_run,
            before_write=self.before_write,
            sleep=lambda seconds: time.sleep(seconds / 20),
        )

    def rows(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.text(statement), parameters).mappings()]

    def item(self, code: str) -> dict[str, Any]:
        [row] = self.rows("SELECT * FROM items WHERE item_code = :code", code=code)
        return row

    def edit(self, statement: str, **parameters: Any) -> None:
        """What a Cata user does through the app."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), parameters)


@pytest.fixture
def tenant(tenant_engine: Engine, tenant_database_url: URL, snapshot_bucket: Bucket, control: Engine) -> SyncedTenant:
    store = SnapshotStore(snapshot_bucket, control)
    return SyncedTenant(tenant_engine, tenant_database_url, snapshot_bucket, store)


def latte(**changes: Any) -> Item:
    """An ordinary item; `changes` are fields of `Item`."""
    fields: dict[str, Any] = {
        "item_code": "LAT-L",
        "provider_id": "p-1",
        "name": "Latte",
        "is_active": True,
        "description": "Espresso with milk",
        "category": "Coffee",
        "item_type": "standard",
        "external_image_url": "https://cdn.example/latte.jpg",
    }
    return Item(**(fields | changes))
