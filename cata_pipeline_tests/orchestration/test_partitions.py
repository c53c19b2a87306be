"""How tenants are cut into runs, and what the registry and the syncs ask for: the pure decisions."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cata_pipeline.orchestration.first_syncs import first_syncs
from cata_pipeline.orchestration.image_sensor import SyncEvent, image_runs, settled
from cata_pipeline.orchestration.partitions import BATCH_TENANTS, contiguous_ranges, range_tags
from cata_pipeline.orchestration.registry_sensor import (
    NEW_TENANTS,
    RegistryChanges,
    registry_changes,
    removal_limit,
    touched_tenants,
)
from cata_pipeline.orchestration.schedules import nightly_batches

START, END, SINGLE = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end", "dagster/partition"
NIGHT = datetime(2025, 3, 1, 19, tzinfo=UTC)
UNSORTED = ["warung", "bakso", "kopi", "ayam", "roti"]
"""Tenants in the order they joined, which is nobody's alphabet."""


def fleet(size: int) -> list[str]:
    return [f"tenant-{number}" for number in range(size)]


def test_neighbours_are_cut_in_the_order_they_joined_and_never_sorted() -> None:
    assert list(contiguous_ranges(UNSORTED, UNSORTED)) == [UNSORTED]


def test_the_order_of_the_wanted_tenants_does_not_matter() -> None:
    assert list(contiguous_ranges(UNSORTED, sorted(UNSORTED))) == [UNSORTED]


def test_a_tenant_that_is_not_wanted_splits_its_neighbours() -> None:
    assert list(contiguous_ranges(UNSORTED, {"warung", "bakso", "ayam", "roti"})) == [
        ["warung", "bakso"],
        ["ayam", "roti"],
    ]


def test_wanting_a_tenant_twice_serves_it_once() -> None:
    assert list(contiguous_ranges(UNSORTED, ["kopi", "kopi"])) == [["kopi"]]


def test_a_wanted_tenant_without_partition_is_left_out() -> None:
    assert list(contiguous_ranges(UNSORTED, ["kopi", "stranger"])) == [["kopi"]]


def test_a_range_ends_at_a_hundred_tenants() -> None:
    assert BATCH_TENANTS == 100
    keys = fleet(201)
    assert [len(chunk) for chunk in contiguous_ranges(keys, keys)] == [100, 100, 1]


@pytest.mark.parametrize("wanted", [[], ["stranger"]])
def test_nobody_wanted_makes_no_range(wanted: list[str]) -> None:
    assert list(contiguous_ranges(UNSORTED, wanted)) == []


@settings(deadline=None)
@given(st.data())
def test_ranges_hold_every_wanted_tenant_once_and_nobody_else(data: st.DataObject) -> None:
    keys = data.draw(st.permutations(fleet(12)))
    wanted = data.draw(st.sets(st.sampled_from([*keys, "stranger"])))
    longest = data.draw(st.integers(1, 5))
    ranges = list(contiguous_ranges(keys, wanted, longest))
    assert [key for chunk in ranges for key in chunk] == [key for key in keys if key in wanted]
    for chunk in ranges:
        # What Dagster will make of the two ends.
        assert keys[keys.index(chunk[0]) : keys.index(chunk[-1]) + 1] == chunk
        assert 1 <= len(chunk) <= longest


def test_one_tenant_is_a_plain_partition_and_several_are_a_range() -> None:
    assert range_tags(["kopi"]) == {SINGLE: "kopi"}
    assert range_tags(["warung", "bakso", "kopi"]) == {START: "warung", END: "kopi"}


def test_new_tenants_get_partitions_in_the_order_of_the_registry() -> None:
    changes = registry_changes(["kopi"], ["warung", "kopi", "bakso"], [], set())
    assert changes == RegistryChanges(add=("warung", "bakso"))


def test_retired_tenants_lose_their_partitions_when_nothing_touches_them() -> None:
    changes = registry_changes(["kopi", "roti"], ["kopi"], ["roti", "long-gone"], {"kopi"})
    assert changes == RegistryChanges(remove=("roti",))


@pytest.mark.parametrize("touched", [{"roti"}, None])
def test_no_partition_is_removed_while_a_run_may_touch_it_but_new_ones_are_added(touched: set[str] | None) -> None:
    changes = registry_changes(["kopi", "roti"], ["kopi", "bakso"], ["roti"], touched)
    assert changes == RegistryChanges(add=("bakso",), waiting=1)


@pytest.mark.parametrize("touched", [set(), None])
def test_a_partition_that_the_registry_does_not_know_stays(touched: set[str] | None) -> None:
    assert registry_changes(UNSORTED, [], [], touched) == RegistryChanges()


@pytest.mark.parametrize(("partitions", "limit"), [(3, 20), (200, 20), (209, 20), (210, 21), (10_000, 1_000)])
def test_a_tenth_may_be_removed_at_once_and_always_twenty(partitions: int, limit: int) -> None:
    assert removal_limit(partitions) == limit


@pytest.mark.parametrize(("allowed", "removed", "refused"), [(0, 0, 31), (30, 0, 31), (31, 31, 0), (400, 31, 0)])
def test_more_than_that_is_refused_whole_unless_a_ceiling_admits_it(allowed: int, removed: int, refused: int) -> None:
    keys = fleet(300)
    changes = registry_changes(keys, keys[31:], keys[:31], set(), allowed)
    assert (len(changes.remove), changes.refused, changes.waiting) == (removed, refused, 0)


def test_a_refusal_does_not_keep_new_tenants_out() -> None:
    keys = fleet(300)
    assert registry_changes(keys, ["new", *keys[31:]], keys[:31], set()).add == ("new",)


def test_exactly_the_limit_is_removed() -> None:
    keys = fleet(300)
    assert len(registry_changes(keys, keys[30:], keys[:30], set()).remove) == 30


def test_ten_thousand_new_tenants_are_added_a_thousand_at_a_time() -> None:
    changes = registry_changes([], fleet(10_000), [], set())
    assert (len(changes.add), changes.later) == (NEW_TENANTS, 9_000)


@pytest.mark.parametrize("nonsense", ["a...b", "", "a b", "kopi\n", "x" * 65, "ko\u0000pi"])
def test_an_id_that_no_import_lets_through_gets_no_partition_and_is_named(nonsense: str) -> None:
    changes = registry_changes([], [nonsense, "kopi"], [], set())
    assert changes == RegistryChanges(add=("kopi",), unusable=(nonsense,))
    assert repr(nonsense) in changes.left_as_they_are()


def test_runs_touch_their_partition_or_range_whatever_order_its_tenants_joined_in() -> None:
    runs = [{SINGLE: "roti"}, {START: "bakso", END: "ayam"}, {}]
    assert touched_tenants(UNSORTED, runs) == {"roti", "bakso", "kopi", "ayam"}


@pytest.mark.parametrize("tags", [{START: "gone", END: "kopi"}, {START: "kopi", END: "gone"}, {START: "kopi"}])
def test_a_range_without_its_ends_may_touch_anybody(tags: dict[str, str]) -> None:
    assert touched_tenants(UNSORTED, [{SINGLE: "roti"}, tags]) is None


def test_new_tenants_that_are_neighbours_share_their_first_sync() -> None:
    runs = list(first_syncs(["old", *fleet(101)], fleet(101), dict.fromkeys(fleet(101), NIGHT)))
    since = f"{NIGHT.timestamp():.6f}"
    assert [run.run_key for run in runs] == [f"first-sync:tenant-0@{since}", f"first-sync:tenant-100@{since}"]
    assert (runs[0].tags[START], runs[0].tags[END], runs[1].tags[SINGLE]) == ("tenant-0", "tenant-99", "tenant-100")


@pytest.mark.parametrize(("age", "trusted"), [(10.0, True), (9.9, False), (0.0, False), (-59.0, False), (-61.0, True)])
def test_an_event_is_trusted_once_it_is_settled_or_when_its_clock_was_wrong(age: float, trusted: bool) -> None:  # noqa: FBT001
    assert settled(1_000_000.0 - age, 1_000_000.0) is trusted


def test_neighbours_that_were_synced_share_an_image_run() -> None:
    events = [SyncEvent(11, "bakso"), SyncEvent(12, "warung"), SyncEvent(13, "kopi")]
    [run] = image_runs(events, UNSORTED)
    assert (run.tags[START], run.tags[END]) == ("warung", "kopi")


def test_tenants_that_are_no_neighbours_get_image_runs_of_their_own() -> None:
    runs = list(image_runs([SyncEvent(11, "warung"), SyncEvent(12, "kopi")], UNSORTED))
    assert [run.tags[SINGLE] for run in runs] == ["warung", "kopi"]


def test_an_image_run_is_named_after_its_newest_sync_so_that_no_sync_is_taken_for_an_older_one() -> None:
    events = [SyncEvent(11, "bakso"), SyncEvent(15, "warung"), SyncEvent(13, "kopi")]
    [before] = image_runs(events[:1], UNSORTED)
    [after] = image_runs(events, UNSORTED)
    assert (before.run_key, after.run_key) == ("bakso@11", "warung@15")


def test_repeated_syncs_of_a_tenant_ask_for_one_image_run_named_after_the_newest() -> None:
    [run] = image_runs([SyncEvent(11, "kopi"), SyncEvent(19, "kopi")], UNSORTED)
    assert (run.tags[SINGLE], run.run_key) == ("kopi", "kopi@19")


def test_a_synced_tenant_without_partition_gets_no_image_run() -> None:
    assert list(image_runs([SyncEvent(11, "gone")], UNSORTED)) == []


def test_a_large_batch_gets_image_runs_of_at_most_a_hundred_tenants_with_a_key_each() -> None:
    keys = fleet(250)
    runs = list(image_runs([SyncEvent(number, key) for number, key in enumerate(keys, 1)], keys))
    assert [run.run_key for run in runs] == ["tenant-99@100", "tenant-199@200", "tenant-249@250"]


def test_the_night_serves_everybody_in_batches_of_at_most_a_hundred_with_a_key_each() -> None:
    requests = list(nightly_batches(fleet(201), [], NIGHT))
    assert [(r.tags.get(START) or r.tags[SINGLE], r.tags.get(END)) for r in requests] == [
        ("tenant-0", "tenant-99"),
        ("tenant-100", "tenant-199"),
        ("tenant-200", None),
    ]
    assert [request.run_key for request in requests] == ["2025-03-01-0", "2025-03-01-1", "2025-03-01-2"]


def test_the_night_leaves_out_retired_tenants_and_so_splits_their_neighbours() -> None:
    requests = list(nightly_batches(UNSORTED, ["kopi"], NIGHT))
    assert [(request.tags[START], request.tags[END]) for request in requests] == [("warung", "bakso"), ("ayam", "roti")]


def test_a_night_without_tenants_asks_for_nothing() -> None:
    assert list(nightly_batches(["kopi"], ["kopi"], NIGHT)) == []
