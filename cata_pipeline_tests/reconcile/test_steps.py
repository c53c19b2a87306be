"""The order of the steps: what is written when, what is retried, and what a sync leaves behind."""

import io
from typing import Any

import pandas as pd
import pytest

from cata_pipeline.buckets import Bucket
from cata_pipeline.errors import GuardRefusedError
from cata_pipeline_tests.reconcile.conftest import EVERY_ENGINE, SyncedTenant, latte
from cata_pipeline_tests.reconcile.test_ownership import MILK, SUGAR

ENGINES = EVERY_ENGINE


def changes_of(tenant: SyncedTenant, path: str) -> set[tuple[Any, ...]]:
    frame = pd.read_parquet(io.BytesIO(tenant.bucket.read(path)))
    return {tuple(None if pd.isna(cell) else cell for cell in row) for row in frame.itertuples(index=False)}


def test_the_change_file_holds_old_and_new_values_beside_the_snapshot(tenant: SyncedTenant) -> None:
    tenant.sync(latte(modifier_groups=(SUGAR, MILK)))
    snapshot = tenant.snapshot([latte(name="Caffe Latte", modifier_groups=(SUGAR,)), latte(item_code="NEW")])
    report = tenant.apply(snapshot)
    assert report.changes_path is not None
    assert report.changes_path.rpartition("/")[0] == snapshot.record.path.rpartition("/")[0]
    changes = changes_of(tenant, report.changes_path)
    assert {change for change in changes if change[1] != "inserted"} == {
        ("items", "updated", "LAT-L", None, "original_name", "Latte", "Caffe Latte"),
        ("items", "updated", "LAT-L", None, "name", "Latte", "Caffe Latte"),
        ("item_modifiers", "hidden", "LAT-L", '["g-milk"]', "visible", "true", "false"),
    }
    [inserted] = [change for change in changes if change[1] == "inserted"]
    assert inserted[:6] == ("items", "inserted", "NEW", None, None, None)
    assert '"original_name": "Latte"' in inserted[6]


def test_a_dry_run_tells_what_would_happen_and_writes_nothing(tenant: SyncedTenant) -> None:
    tenant.sync(latte(), latte(item_code="EDITED"))
    tenant.edit("UPDATE items SET name = 'Ours' WHERE item_code = 'EDITED'")
    before = tenant.state("items")
    new = [latte(name="New", is_active=False), latte(item_code="EDITED", name="New"), latte(item_code="MORE")]
    report = tenant.sync(*new, dry_run=True)
    assert tenant.state("items") == before
    assert (report.items.inserted, report.items.updated, report.items.renamed) == (1, 2, 1)
    assert (report.items.names_kept, report.items.hidden, report.changes_path) == (1, 1, None)
    assert ("LAT-L", "name", "Latte", "New") in {(c.item_code, c.column, c.old, c.new) for c in report.sample}
    assert tenant.sync(*new).items == report.items


def test_a_dry_run_shows_what_the_guards_would_refuse(tenant: SyncedTenant) -> None:
    tenant.sync(*[latte(item_code=f"I{n}") for n in range(30)])
    report = tenant.sync(*[latte(item_code=f"I{n}", is_active=False) for n in range(30)], dry_run=True)
    assert [finding.guard for finding in report.findings if finding.refuses] == ["hide"]


def test_a_refused_sync_writes_nothing_and_an_allowance_lasts_one_run(tenant: SyncedTenant) -> None:
    items = [latte(item_code=f"I{n:02}") for n in range(30)]
    hidden = [latte(item_code=f"I{n:02}", is_active=False, name="New") for n in range(30)]
    tenant.sync(*items)
    before = tenant.state("items")
    with pytest.raises(GuardRefusedError, match="--allow hide=30"):
        tenant.sync(*hidden)
    assert tenant.state("items") == before
    assert tenant.sync(*hidden, allow={"hide": 30}).items.hidden == 30
    tenant.sync(*items, allow={"show": 30})
    with pytest.raises(GuardRefusedError):
        tenant.sync(*hidden)


def test_an_empty_catalog_for_a_tenant_that_has_items_is_refused(tenant: SyncedTenant) -> None:
    tenant.sync(latte())
    with pytest.raises(GuardRefusedError, match="the snapshot is empty while the tenant has 1 visible items"):
        tenant.sync()


def test_too_many_rejected_rows_are_refused_even_on_a_first_sync(tenant: SyncedTenant) -> None:
    with pytest.raises(GuardRefusedError, match="21 of 22 rows were rejected"):
        tenant.sync(latte(), rejected=21)
    assert tenant.sync(latte(), rejected=20).rejected == 20


def test_a_failure_inside_the_transaction_leaves_nothing_half_written(tenant: SyncedTenant) -> None:
    tenant.sync(latte())
    tenant.edit("ALTER TABLE items ADD CONSTRAINT old_codes CHECK (item_code = 'LAT-L')")
    with pytest.raises(GuardRefusedError, match=r"29 of 30 rows were rejected .*database refuses I00: .*old"):
        tenant.sync(latte(name="New"), *[latte(item_code=f"I{number:02}") for number in range(29)])
    assert [row["name"] for row in tenant.rows("SELECT name FROM items")] == ["Latte"]


def test_a_change_file_that_cannot_be_stored_is_a_warning_because_the_rows_are_right(tenant: SyncedTenant) -> None:
    snapshot = tenant.snapshot([latte()])
    tenant.bucket = Bucket("no-such-bucket", tenant.bucket._emulator)
    report = tenant.apply(snapshot)
    assert (report.items.inserted, report.changes_path) == (1, None)
    assert "no-such-bucket did not store" in report.warnings[0]
    assert tenant.item("LAT-L")["name"] == "Latte"


def test_a_snapshot_can_be_applied_again_and_again(tenant: SyncedTenant) -> None:
    old = tenant.snapshot([latte()])
    tenant.apply(old)
    tenant.sync(latte(name="New"))
    replayed = tenant.store.load(tenant.store.record("kopi-kita", old.record.id))
    assert replayed.table.equals(old.table)
    assert tenant.apply(replayed).items.renamed == 1
    assert tenant.item("LAT-L")["name"] == "Latte"
