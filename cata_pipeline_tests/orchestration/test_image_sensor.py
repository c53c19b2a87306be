"""The sensor that starts image copies, on a real instance."""

import itertools
import time
from collections.abc import Callable, Sequence

import dagster as dg
import pytest
import sqlalchemy as sa

from cata_pipeline.errors import UsageError
from cata_pipeline.orchestration import image_sensor
from cata_pipeline.orchestration.image_sensor import (
    SETTLE_SECONDS,
    image_copies,
    image_copy_sensor,
)
from cata_pipeline.orchestration.metadata import RECONCILED, SNAPSHOT

START, END, SINGLE = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end", "dagster/partition"
MUCH_LATER = time.time() + 86_400


def synced(instance: dg.DagsterInstance, *tenant_ids: str) -> list[int]:
    """Materialize `reconciled_items` for each; returns the events' storage ids."""
    for tenant_id in tenant_ids:
        instance.report_runless_asset_event(dg.AssetMaterialization(RECONCILED, partition=tenant_id))
    records = instance.fetch_materializations(RECONCILED, limit=len(tenant_ids)).records
    return sorted(record.storage_id for record in records)


def requests(result: dg.SensorResult | dg.SkipReason) -> Sequence[dg.RunRequest]:
    assert isinstance(result, dg.SensorResult)
    return result.run_requests or []


def ticks(instance: dg.DagsterInstance, *, page: int) -> list[dg.RunRequest]:
    """Every run that the image sensor asks for until it has nothing more to do."""
    cursor, asked = 0, list[dg.RunRequest]()
    while isinstance(result := image_copies(instance, cursor, now=MUCH_LATER, page=page), dg.SensorResult):
        assert int(result.cursor or 0) > cursor
        cursor = int(result.cursor or 0)
        asked += requests(result)
    return asked


def test_what_one_batch_synced_is_copied_by_one_run(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("tenants", ["warung", "ayam", "kopi", "roti"])
    ids = synced(instance, "kopi", "warung", "ayam")
    result = image_copies(instance, 0, now=MUCH_LATER)
    [run] = requests(result)
    assert (run.tags[START], run.tags[END]) == ("warung", "kopi")
    assert run.run_key == f"ayam@{ids[-1]}"
    assert isinstance(result, dg.SensorResult)
    assert result.cursor == str(ids[-1])


def test_the_image_sensor_goes_on_behind_its_cursor(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance.add_dynamic_partitions("tenants", ["kopi", "roti"])
    [first] = synced(instance, "kopi")
    [second] = synced(instance, "roti")
    monkeypatch.setattr(image_sensor, "SETTLE_SECONDS", 0.0)
    result = image_copy_sensor(dg.build_sensor_context(instance=instance, cursor=str(first)))
    assert isinstance(result, dg.SensorResult)
    assert [run.run_key for run in requests(result)] == [f"roti@{second}"]
    assert result.cursor == str(second)
    after = image_copy_sensor(dg.build_sensor_context(instance=instance, cursor=result.cursor))
    assert isinstance(after, dg.SkipReason)
    assert after.skip_message == f"No tenant was synced since event {second}."


def test_an_event_that_is_too_young_is_left_for_a_later_tick(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("tenants", ["kopi"])
    synced(instance, "kopi")
    result = image_copy_sensor(dg.build_sensor_context(instance=instance))
    assert isinstance(result, dg.SkipReason)
    assert result.skip_message == "No tenant was synced since event 0; 1 are younger than 10 s."


def test_a_page_ends_before_the_first_event_that_is_too_young(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("tenants", ["kopi", "roti"])
    [old] = synced(instance, "kopi")
    [young] = synced(instance, "roti")
    records = instance.fetch_materializations(RECONCILED, limit=2, ascending=True).records
    in_between = sum(record.timestamp for record in records) / 2
    now = in_between + SETTLE_SECONDS
    result = image_copies(instance, 0, now=now)
    assert [run.run_key for run in requests(result)] == [f"kopi@{old}"]
    assert isinstance(result, dg.SensorResult)
    assert result.cursor == str(old)
    assert [run.run_key for run in requests(image_copies(instance, old, now=MUCH_LATER))] == [f"roti@{young}"]


@pytest.mark.parametrize("page", [1, 2, 3, 7])
def test_no_sync_is_lost_or_told_twice_however_long_a_page_is(page: int, instance: dg.DagsterInstance) -> None:
    tenants = ["warung", "ayam", "kopi", "roti", "bakso"]
    instance.add_dynamic_partitions("tenants", tenants)
    synced(instance, *tenants)
    asked = ticks(instance, page=page)
    assert len({run.run_key for run in asked}) == len(asked) == -(-len(tenants) // page)
    ends = [(run.tags.get(START, run.tags.get(SINGLE, "")), run.tags.get(END)) for run in asked]
    served = [tenants[tenants.index(s) : tenants.index(e or s) + 1] for s, e in ends]
    assert list(itertools.chain.from_iterable(served)) == tenants


def test_a_tenant_synced_again_is_copied_again(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("tenants", ["kopi"])
    first, second = synced(instance, "kopi", "kopi")
    assert [run.run_key for run in ticks(instance, page=1)] == [f"kopi@{first}", f"kopi@{second}"]
    assert [run.run_key for run in ticks(instance, page=10)] == [f"kopi@{second}"]


def test_a_dry_run_starts_no_image_run(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("tenants", ["kopi"])
    instance.report_runless_asset_event(dg.AssetObservation(RECONCILED, partition="kopi"))
    assert isinstance(image_copies(instance, 0, now=MUCH_LATER), dg.SkipReason)


def test_a_snapshot_alone_starts_no_image_run(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("tenants", ["kopi"])
    instance.report_runless_asset_event(dg.AssetMaterialization(SNAPSHOT, partition="kopi"))
    assert isinstance(image_copies(instance, 0, now=MUCH_LATER), dg.SkipReason)


def test_the_syncs_of_a_removed_tenant_are_passed_over_without_standing_still(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("tenants", ["kopi"])
    *_, last = synced(instance, "gone", "gone")
    result = image_copies(instance, 0, now=MUCH_LATER)
    assert isinstance(result, dg.SensorResult)
    assert (list(requests(result)), result.cursor) == ([], str(last))


def test_a_thousand_tenants_that_finish_within_one_tick_share_ten_runs_and_none_is_left_out(
    instance: dg.DagsterInstance,
) -> None:
    fleet = [f"tenant-{number}" for number in range(image_sensor.PAGE)]
    instance.add_dynamic_partitions("tenants", fleet)
    synced(instance, *reversed(fleet))
    result = image_copies(instance, 0, now=MUCH_LATER)
    ranges = [(run.tags[START], run.tags[END]) for run in requests(result)]
    assert ranges == [(fleet[start], fleet[start + 99]) for start in range(0, image_sensor.PAGE, 100)]
    assert isinstance(result, dg.SensorResult)
    assert isinstance(image_copies(instance, int(result.cursor or 0), now=MUCH_LATER), dg.SkipReason)


def test_an_event_that_is_committed_after_a_later_one_is_not_lost(
    instance: dg.DagsterInstance, new_connection: Callable[[], sa.Connection]
) -> None:
    instance.add_dynamic_partitions("tenants", ["kopi", "roti"])
    [first] = synced(instance, "kopi")
    with new_connection() as slow:
        # Its storage id is given here, and seen by nobody until the commit.
        slow.execute(
            sa.text("""
                INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
                SELECT run_id, replace(event, 'kopi', 'roti'), dagster_event_type, timestamp, step_key, asset_key,
                       'roti'
                FROM event_logs
                WHERE id = :first
            """),
            {"first": first},
        )
        [later] = synced(instance, "kopi")
        assert later == first + 2
        newest = instance.fetch_materializations(RECONCILED, limit=1).records[0].timestamp
        at_once = image_copies(instance, first, now=newest + SETTLE_SECONDS - 0.1)
        assert isinstance(at_once, dg.SkipReason)
        slow.commit()
    result = image_copies(instance, first, now=newest + SETTLE_SECONDS + 0.1)
    [run] = requests(result)
    assert (run.tags[START], run.tags[END]) == ("kopi", "roti")


def test_an_event_from_a_clock_that_ran_ahead_does_not_hold_up_those_after_it(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("tenants", ["kopi"])
    [event] = synced(instance, "kopi")
    a_day_ago = time.time() - 86_400
    [run] = requests(image_copies(instance, 0, now=a_day_ago))
    assert run.run_key == f"kopi@{event}"


@pytest.mark.parametrize("cursor", ["newest", "-3", "7.0", "9223372036854775808"])
def test_a_cursor_that_is_no_event_is_said_to_be_wrong(instance: dg.DagsterInstance, cursor: str) -> None:
    with pytest.raises(UsageError, match=f"The cursor is '{cursor}'; expected the storage id"):
        image_copy_sensor(dg.build_sensor_context(instance=instance, cursor=cursor))
