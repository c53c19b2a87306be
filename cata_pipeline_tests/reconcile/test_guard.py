"""Each guard at, under and over its limit, and what an allowance does."""

from dataclasses import replace
from typing import Any

import pytest

from cata_pipeline.errors import GuardRefusedError, UsageError
from cata_pipeline.reconcile.guard import GUARDS, PlanCounts, check_allowances, enforce, judge

CALM = PlanCounts(
    received=1000,
    rejected=0,
    staged=1000,
    tenant_items=1000,
    tenant_visible=1000,
    known=1000,
    stale=0,
    inserts=0,
    updates=0,
    hides=0,
    renames=0,
    unpictures=0,
    recategorizes=0,
    visible_children=3000,
    child_hides=0,
)


def refusing(counts: PlanCounts, **allow: int) -> set[str]:
    return {finding.guard for finding in judge(counts, allow) if finding.refuses}


def test_a_calm_plan_passes() -> None:
    enforce(judge(CALM, {}))


@pytest.mark.parametrize(
    ("guard", "field", "limit"),
    [
        ("hide", "hides", 100),
        ("hide_children", "child_hides", 300),
        ("show", "shows", 100),
        ("show_children", "child_shows", 300),
        ("rename", "renames", 500),
        ("unpicture", "unpictures", 500),
        ("recategorize", "recategorizes", 500),
        ("reject", "rejected", 50),
    ],
)
def test_a_guard_refuses_only_above_its_limit(guard: str, field: str, limit: int) -> None:
    changes: dict[str, Any]
    for count, expected in ((limit - 1, set()), (limit, set()), (limit + 1, {guard})):
        changes = {field: count}
        assert refusing(replace(CALM, **changes)) == expected


@pytest.mark.parametrize(
    ("guard", "field", "floor"),
    [
        ("hide", "hides", 20),
        ("hide_children", "child_hides", 20),
        ("show", "shows", 20),
        ("show_children", "child_shows", 20),
        ("rename", "renames", 50),
        ("unpicture", "unpictures", 50),
        ("recategorize", "recategorizes", 50),
        ("reject", "rejected", 20),
    ],
)
def test_a_small_tenant_has_a_floor_instead_of_a_share(guard: str, field: str, floor: int) -> None:
    small = replace(CALM, received=60, staged=60, tenant_items=60, tenant_visible=60, known=60, visible_children=60)
    changes: dict[str, Any] = {field: floor}
    assert refusing(replace(small, **changes)) == set()
    changes = {field: floor + 1}
    assert refusing(replace(small, **changes)) == {guard}


@pytest.mark.parametrize(("items", "visible", "limit"), [(5000, 0, 20), (5000, 100, 20), (5000, 2000, 200)])
def test_what_is_shown_is_judged_by_what_is_visible_as_what_is_hidden_is(items: int, visible: int, limit: int) -> None:
    plan = replace(CALM, received=items, staged=items, tenant_items=items, tenant_visible=visible, known=items)
    assert refusing(replace(plan, shows=limit)) == set()
    assert refusing(replace(plan, shows=limit + 1)) == {"show"}
    assert refusing(replace(plan, hides=limit + 1)) == {"hide"}


def test_an_empty_snapshot_is_refused_while_items_are_visible_and_cannot_be_allowed() -> None:
    empty = replace(CALM, received=0, staged=0, known=0, tenant_visible=1)
    assert refusing(empty) == {"empty"}
    with pytest.raises(GuardRefusedError, match="An empty snapshot is never applied"):
        enforce(judge(empty, {}))
    with pytest.raises(UsageError, match="guard empty cannot be allowed"):
        check_allowances({"empty": 5000})
    assert refusing(replace(empty, tenant_visible=0)) == set()


@pytest.mark.parametrize("tenant_items", [0, 1, 1000])
@pytest.mark.parametrize("rejected", [1, 20, 21])
@pytest.mark.parametrize("tenant_visible", [0, 1])
def test_a_snapshot_of_nothing_but_rejected_rows_is_refused_and_no_allowance_is_suggested(
    tenant_items: int, rejected: int, tenant_visible: int
) -> None:
    plan = replace(
        CALM,
        received=rejected,
        rejected=rejected,
        staged=0,
        known=0,
        tenant_items=tenant_items,
        tenant_visible=min(tenant_items, tenant_visible),
    )
    assert refusing(plan) == refusing(plan, reject=rejected) == {"empty"}
    with pytest.raises(GuardRefusedError) as refusal:
        enforce(judge(plan, {}, ["has no SKU; set an option"] * rejected))
    assert str(refusal.value) == (
        f"Nothing was written, because the plan is implausible: empty: none of the {rejected} rows received can be an"
        " item, most frequent reason: has no SKU; set an option (limit 0). An empty snapshot is never applied, whatever"
        " is allowed: correct what is rejected, or check the provider's account, then sync again."
    )


def test_a_first_sync_of_a_store_that_is_empty_passes() -> None:
    nothing = replace(CALM, received=0, staged=0, known=0, tenant_items=0, tenant_visible=0)
    enforce(judge(nothing, {}))


def test_a_refusal_of_many_rejected_rows_names_their_most_frequent_reason() -> None:
    reasons = ["has no name"] * 20 + ["has no SKU; set an option"] * 31
    with pytest.raises(GuardRefusedError) as refusal:
        enforce(judge(replace(CALM, rejected=51), {}, reasons))
    assert (
        "reject: 51 of 1000 rows were rejected, most frequent reason: has no SKU; set an option (limit 50). If this is"
        " right, allow this one run with --allow reject=51 "
    ) in str(refusal.value)


@pytest.mark.parametrize(("items", "known", "expected"), [(20, 199, {"unknown"}), (20, 200, set()), (19, 0, set())])
def test_another_merchants_catalog_is_refused(items: int, known: int, expected: set[str]) -> None:
    assert refusing(replace(CALM, tenant_items=items, tenant_visible=items, known=known)) == expected


def test_a_first_sync_has_no_baseline_but_rejections_still_count() -> None:
    first = replace(CALM, tenant_items=0, tenant_visible=0, known=0, inserts=1000)
    assert refusing(first) == set()
    assert refusing(replace(first, rejected=51)) == {"reject"}


def test_an_allowance_is_a_ceiling() -> None:
    plan = replace(CALM, hides=120)
    assert refusing(plan, hide=119) == {"hide"}
    assert refusing(plan, hide=120) == set()
    assert [finding.guard for finding in judge(plan, {"hide": 120}) if finding.used_allowance] == ["hide"]
    assert [finding for finding in judge(CALM, {"hide": 120}) if finding.used_allowance] == []


def test_a_refusal_names_every_guard_its_counts_and_how_to_allow_it() -> None:
    plan = replace(CALM, hides=120, renames=600)
    with pytest.raises(GuardRefusedError) as refusal:
        enforce(judge(plan, {}))
    message = str(refusal.value)
    assert "it would hide 120 of 1000 items (limit 100)" in message
    assert "the provider changes 600 of 1000 names (limit 500)" in message
    assert "--allow hide=120 --allow rename=600" in message


def test_an_allowance_for_no_guard_or_no_number_is_refused() -> None:
    with pytest.raises(UsageError, match=f"hidden is no guard; the guards are {', '.join(GUARDS)}"):
        check_allowances({"hidden": 5})
    with pytest.raises(UsageError, match="the ceiling of hide is 0"):
        check_allowances({"hide": 0})
