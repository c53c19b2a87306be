"""What a dry run leaves: a plan that is longer than what is shown, as a file of the change file's form."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from cata_pipeline.buckets import Bucket
from cata_pipeline.reconcile.changes import read_changes
from cata_pipeline.reconcile.report import PLAN_SAMPLE
from cata_pipeline_tests.reconcile.conftest import EVERY_ENGINE, SyncedTenant, latte

ENGINES = EVERY_ENGINE


def lattes(count: int, **changes: Any) -> list[Any]:
    return [latte(item_code=f"I{number:03}", **changes) for number in range(count)]


def test_a_long_plan_is_stored_whole_beside_its_snapshot(tenant: SyncedTenant) -> None:
    tenant.sync(*lattes(30))
    snapshot = tenant.snapshot([*lattes(30, category="Tea"), latte(item_code="NEW")])
    report = tenant.apply(snapshot, dry_run=True)
    assert report.changes_path is not None
    folder, _, name = report.changes_path.rpartition("/")
    assert folder == snapshot.record.path.rpartition("/")[0]
    assert name.startswith("plan-")
    plan = list(read_changes(tenant.bucket.read(report.changes_path)))
    assert (len(plan), report.change_rows, len(report.sample)) == (31, 31, PLAN_SAMPLE)
    assert tuple(plan[:PLAN_SAMPLE]) == report.sample
    real = tenant.apply(snapshot)
    assert real.changes_path is not None
    assert list(read_changes(tenant.bucket.read(real.changes_path))) == plan


@pytest.mark.parametrize(("rows", "stored"), [(PLAN_SAMPLE, False), (PLAN_SAMPLE + 1, True), (0, False)])
def test_a_plan_that_is_shown_whole_leaves_no_file(
    tenant: SyncedTenant,
    rows: int,
    stored: bool,  # noqa: FBT001
) -> None:
    tenant.sync(*lattes(30))
    report = tenant.sync(*lattes(rows, category="Tea"), *lattes(30)[rows:], dry_run=True)
    assert (report.change_rows, len(report.sample)) == (rows, min(rows, PLAN_SAMPLE))
    assert (report.changes_path is not None) is stored


def test_a_plan_file_that_cannot_be_stored_is_a_warning(tenant: SyncedTenant) -> None:
    snapshot = tenant.snapshot(lattes(30))
    tenant.bucket = Bucket("no-such-bucket", tenant.bucket._emulator)
    report = tenant.apply(snapshot, dry_run=True)
    assert (report.changes_path, report.change_rows) == (None, 30)
    assert "there is no file of it: Bucket no-such-bucket did not store" in report.warnings[0]


class WatchedBucket(Bucket):
    """The same bucket, which calls somebody whenever it stores."""

    watch: Callable[[], None]

    def create(self, *arguments: Any, **options: Any) -> Any:
        self.watch()
        return super().create(*arguments, **options)


def test_no_row_of_a_merchant_is_locked_while_a_plan_is_stored(tenant: SyncedTenant) -> None:
    tenant.sync(*lattes(30))
    snapshot = tenant.snapshot(lattes(30, name="New"))
    saved: list[str] = []

    def save() -> None:
        with tenant.engine.begin() as merchant:
            impatient = "SET innodb_lock_wait_timeout = 1" if tenant.on_mysql else "SET LOCAL lock_timeout = '100ms'"
            merchant.execute(sa.text(impatient))
            merchant.execute(sa.text("UPDATE items SET name = 'Ours'"))
        saved.append("Ours")

    tenant.bucket = WatchedBucket(tenant.bucket.name, tenant.bucket._emulator)
    tenant.bucket.watch = save
    assert tenant.apply(snapshot, dry_run=True).changes_path is not None
    assert saved == ["Ours"]
