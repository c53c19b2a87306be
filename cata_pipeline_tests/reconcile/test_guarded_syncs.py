"""Each guard on a real database: what it counts, where it refuses, and what an allowance admits."""

import pytest

from cata_pipeline.catalog.model import Item
from cata_pipeline.errors import GuardRefusedError
from cata_pipeline.reconcile.guard import GUARDS
from cata_pipeline.reconcile.report import ReconcileReport
from cata_pipeline_tests.reconcile.conftest import EVERY_ENGINE, SyncedTenant, latte
from cata_pipeline_tests.reconcile.test_ownership import MILK

ENGINES = EVERY_ENGINE

SHELF = tuple(latte(item_code=f"I{number:02}", modifier_groups=(MILK,)) for number in range(60))
LIMITS = {
    "hide": 20,
    "hide_children": 20,
    "rename": 50,
    "unpicture": 50,
    "recategorize": 50,
    "unknown": 48,  # of 60 items fewer than a fifth must be strangers
    "reject": 20,
}


def changed(guard: str, item: Item) -> Item:
    """The item as the guard does not like to see many."""
    changes = {
        "hide": item._replace(is_active=False),
        "hide_children": item._replace(modifier_groups=()),
        "rename": item._replace(name="New"),
        "unpicture": item._replace(external_image_url=None),
        "recategorize": item._replace(category="Tea"),
        "unknown": item._replace(item_code=f"NEW-{item.item_code}"),
        "reject": item,
    }
    return changes[guard]


def sync(tenant: SyncedTenant, guard: str, count: int, allowed: int = 0, *, dry_run: bool = False) -> ReconcileReport:
    items = [changed(guard, item) for item in SHELF[:count]] + list(SHELF[count:])
    allow = {guard: allowed} if allowed else {}
    return tenant.sync(*items, allow=allow, dry_run=dry_run, rejected=count if guard == "reject" else 0)


def test_a_first_sync_that_accepts_nothing_fails_with_the_reason_and_no_allowance(tenant: SyncedTenant) -> None:
    for count in (1, 20, 21):
        for allow in ({}, {"reject": count}):
            with pytest.raises(GuardRefusedError) as refusal:
                tenant.sync(rejected=count, allow=allow)
            assert "most frequent reason: no name" in str(refusal.value)
            assert "--allow" not in str(refusal.value)
    report = tenant.sync(rejected=1, dry_run=True)
    assert [(finding.guard, finding.refuses, finding.meaning) for finding in report.findings] == [
        ("empty", True, "none of the 1 rows received can be an item, most frequent reason: no name")
    ]


def test_a_first_sync_of_rows_that_the_tenants_columns_cannot_hold_fails_as_well(tenant: SyncedTenant) -> None:
    with pytest.raises(GuardRefusedError, match="none of the 1 rows received can be an item"):
        tenant.sync(latte(item_code="K" * 1_000))


def test_a_first_sync_of_an_empty_store_succeeds(tenant: SyncedTenant) -> None:
    """There is nothing to lose, and the next sync brings what the merchant enters."""
    report = tenant.sync()
    assert (report.items_in_snapshot, report.rejected, report.items.inserted) == (0, 0, 0)


def test_every_guard_is_tried_here() -> None:
    assert set(LIMITS) == set(GUARDS)


@pytest.mark.parametrize("guard", LIMITS)
def test_a_guard_refuses_above_its_limit_and_an_allowance_is_a_ceiling_for_one_run(
    tenant: SyncedTenant, guard: str
) -> None:
    over = LIMITS[guard] + 1
    tenant.sync(*SHELF)
    before = tenant.state("items"), tenant.state("item_modifiers")
    with pytest.raises(GuardRefusedError, match=f"^Nothing was written.* --allow {guard}={over} "):
        sync(tenant, guard, over, over - 1)
    assert (tenant.state("items"), tenant.state("item_modifiers")) == before
    report = sync(tenant, guard, over, over, dry_run=True)
    assert [(f.guard, f.count, f.allowed) for f in report.findings if f.used_allowance] == [(guard, over, over)]
    with pytest.raises(GuardRefusedError):
        sync(tenant, guard, over)
    sync(tenant, guard, over - 1)
