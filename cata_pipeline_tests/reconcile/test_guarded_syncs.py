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
    "show": 20,
    "show_children": 20,
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
        "show": item,
        "show_children": item,
        "rename": item._replace(name="New"),
        "unpicture": item._replace(external_image_url=None),
        "recategorize": item._replace(category="Tea"),
        "unknown": item._replace(item_code=f"NEW-{item.item_code}"),
        "reject": item,
    }
    return changes[guard]


def unsaid(item: Item) -> Item:
    """The item without a word on whether it and its modifiers are active."""
    return item._replace(is_active=None, modifier_groups=(MILK._replace(is_active=None),))


def hide_before(tenant: SyncedTenant, guard: str, count: int) -> None:
    """Hide the rows that the guards of the other direction are to find."""
    if guard == "show":
        tenant.edit(f"UPDATE items SET visible = false WHERE item_code < 'I{count:02}'")
    elif guard == "show_children":
        owners = f"SELECT id FROM items WHERE item_code < 'I{count:02}'"
        tenant.edit(f"UPDATE item_modifiers SET visible = false WHERE item_id IN ({owners})")


def sync(tenant: SyncedTenant, guard: str, count: int, allowed: int = 0, *, dry_run: bool = False) -> ReconcileReport:
    others = map(unsaid, SHELF[count:]) if guard.startswith("show") else SHELF[count:]
    items = [*(changed(guard, item) for item in SHELF[:count]), *others]
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
    hide_before(tenant, guard, over)
    before = tenant.state("items"), tenant.state("item_modifiers")
    with pytest.raises(GuardRefusedError, match=f"^Nothing was written.* --allow {guard}={over} "):
        sync(tenant, guard, over, over - 1)
    assert (tenant.state("items"), tenant.state("item_modifiers")) == before
    report = sync(tenant, guard, over, over, dry_run=True)
    assert [(f.guard, f.count, f.allowed) for f in report.findings if f.used_allowance] == [(guard, over, over)]
    with pytest.raises(GuardRefusedError):
        sync(tenant, guard, over)
    sync(tenant, guard, over - 1)


def test_a_catalog_that_omits_is_active_shows_nothing_that_was_hidden(tenant: SyncedTenant) -> None:
    """As iSeller's did: 100 hidden items came back at once."""
    tenant.sync(*SHELF)
    tenant.sync(*(item._replace(is_active=False) for item in SHELF), allow={"hide": 60})
    report = tenant.sync(*map(unsaid, SHELF))
    assert (report.items.shown, report.items.updated, report.unchanged) == (0, 0, 60)
    with pytest.raises(GuardRefusedError, match="it would show 60 of 60 hidden items beside 0 visible ones"):
        tenant.sync(*SHELF)
    assert tenant.sync(*SHELF, allow={"show": 60}).items.shown == 60


def test_a_first_sync_into_an_empty_table_shows_what_it_inserts(tenant: SyncedTenant) -> None:
    assert tenant.sync(*map(unsaid, SHELF)).items.inserted == 60
    assert len(tenant.rows("SELECT 1 AS one FROM items WHERE visible")) == 60
