"""The sensors on a real instance and a real control database."""

import itertools
import time
from collections.abc import Callable, Sequence

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from sqlalchemy.engine import URL

from cata_pipeline.control.database import ControlDatabaseError
from cata_pipeline.definitions import defs
from cata_pipeline.orchestration import sensors
from cata_pipeline.orchestration.metadata import RECONCILED, SNAPSHOT
from cata_pipeline.orchestration.resources import PipelineResource
from cata_pipeline.orchestration.sensors import (
    SETTLE_SECONDS,
    image_copies,
    image_copy_sensor,
    tenant_registry_sensor,
)
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.tenants.model import Tenant

START, END, SINGLE = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end", "dagster/partition"
MUCH_LATER = time.time() + 86_400


def register(pipeline: Pipeline, *tenant_ids: str) -> None:
    pipeline.registry.import_tenants([Tenant(tenant_id, "iseller", "env:NOBODY") for tenant_id in tenant_ids])


def partitions(instance: dg.DagsterInstance) -> list[str]:
    return list(instance.get_dynamic_partitions("tenants"))


def registry_tick(instance: dg.DagsterInstance) -> str:
    """One tick of the registry sensor, its requests carried out as the daemon does; returns why it did nothing."""
    with dg.build_sensor_context(instance=instance, resources={"pipeline": PipelineResource()}) as context:
        result = tenant_registry_sensor(context)
    if isinstance(result, dg.SkipReason):
        return result.skip_message or ""
    assert isinstance(result, dg.SensorResult)
    for request in result.dynamic_partitions_requests or []:
        if isinstance(request, dg.AddDynamicPartitionsRequest):
            instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        else:
            for key in request.partition_keys:
                instance.delete_dynamic_partition(request.partitions_def_name, key)
    return ""


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


def test_a_registered_tenant_gets_its_partition(instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
    register(pipeline, "kopi")
    assert registry_tick(instance) == ""
    assert partitions(instance) == ["kopi"]


def test_new_tenants_are_added_in_the_order_of_the_registry_behind_those_that_are_there(
    instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    register(pipeline, "warung")
    registry_tick(instance)
    register(pipeline, "roti", "ayam", "kopi")
    registry_tick(instance)
    assert pipeline.registry.active_ids() == ["ayam", "kopi", "roti", "warung"]
    assert partitions(instance) == ["warung", "ayam", "kopi", "roti"]


def test_only_what_is_missing_is_asked_for(instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
    register(pipeline, "kopi")
    registry_tick(instance)
    register(pipeline, "kopi", "roti")
    with dg.build_sensor_context(instance=instance, resources={"pipeline": PipelineResource()}) as context:
        result = tenant_registry_sensor(context)
    assert isinstance(result, dg.SensorResult)
    [request] = result.dynamic_partitions_requests or []
    assert request.partition_keys == ["roti"]


def test_an_unchanged_registry_is_said_in_a_sentence(instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
    register(pipeline, "kopi", "roti")
    registry_tick(instance)
    assert registry_tick(instance) == "2 tenants are registered and all have their partition."


def test_a_retired_tenant_loses_its_partition(instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
    register(pipeline, "kopi", "roti")
    registry_tick(instance)
    pipeline.registry.retire(["kopi"])
    registry_tick(instance)
    assert partitions(instance) == ["roti"]


def test_a_revived_tenant_gets_its_partition_back(instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
    register(pipeline, "kopi", "roti")
    registry_tick(instance)
    pipeline.registry.retire(["kopi"])
    registry_tick(instance)
    register(pipeline, "kopi")
    registry_tick(instance)
    assert partitions(instance) == ["roti", "kopi"]


def test_a_retired_tenant_keeps_its_partition_until_no_run_is_unfinished(
    instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    register(pipeline, "kopi", "roti")
    registry_tick(instance)
    pipeline.registry.retire(["kopi"])
    run = instance.create_run_for_job(defs.resolve_job_def("copy_images"), status=dg.DagsterRunStatus.STARTED)
    assert registry_tick(instance).endswith("; 1 retired ones wait until no run is unfinished.")
    assert partitions(instance) == ["kopi", "roti"]
    instance.report_run_canceled(run)
    registry_tick(instance)
    assert partitions(instance) == ["roti"]


def repair(status: BulkActionStatus) -> PartitionBackfill:
    return PartitionBackfill(
        backfill_id="repair",
        status=status,
        from_failure=False,
        tags={},
        backfill_timestamp=time.time(),
        asset_selection=[RECONCILED],
    )


def test_a_retired_tenant_keeps_its_partition_while_a_backfill_has_yet_to_make_its_runs(
    instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    register(pipeline, "kopi", "roti")
    registry_tick(instance)
    instance.add_backfill(repair(BulkActionStatus.REQUESTED))
    pipeline.registry.retire(["kopi"])
    registry_tick(instance)
    assert partitions(instance) == ["kopi", "roti"]
    instance.update_backfill(repair(BulkActionStatus.CANCELED))
    registry_tick(instance)
    assert partitions(instance) == ["roti"]


def test_an_unreachable_control_database_fails_the_tick_and_costs_no_partition(
    instance: dg.DagsterInstance, pipeline: Pipeline, new_pipeline: Callable[..., Pipeline]
) -> None:
    register(pipeline, "kopi", "roti")
    registry_tick(instance)
    new_pipeline(CATA_DATABASE_URL="postgresql+psycopg://nobody:hush-hush@127.0.0.1:1/cata")
    with pytest.raises(ControlDatabaseError, match="cannot be reached") as caught:
        registry_tick(instance)
    assert "hush-hush" not in str(caught.value)
    assert partitions(instance) == ["kopi", "roti"]


def test_another_control_database_costs_no_partition(
    instance: dg.DagsterInstance,
    pipeline: Pipeline,
    new_pipeline: Callable[..., Pipeline],
    new_database: Callable[..., URL],
) -> None:
    register(pipeline, "kopi", "roti")
    registry_tick(instance)
    other = new_pipeline(CATA_DATABASE_URL=new_database().render_as_string(hide_password=False))
    assert other.registry.active_ids() == []
    assert registry_tick(instance) != ""
    assert partitions(instance) == ["kopi", "roti"]


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
    monkeypatch.setattr(sensors, "SETTLE_SECONDS", 0.0)
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
