"""The sensor that turns the registry into partitions, on a real instance and a real control database."""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from sqlalchemy.engine import URL

from cata_pipeline.definitions import build_defs, defs
from cata_pipeline.orchestration import registry_sensor
from cata_pipeline.orchestration.metadata import RECONCILED
from cata_pipeline.orchestration.partitions import range_tags
from cata_pipeline.orchestration.registry_sensor import tenant_registry_sensor
from cata_pipeline.orchestration.resources import PipelineResource
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.tenants.model import Tenant

START, END, SINGLE = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end", "dagster/partition"


def register(pipeline: Pipeline, *tenant_ids: str) -> None:
    pipeline.registry.import_tenants([Tenant(tenant_id, "iseller", "env:NOBODY") for tenant_id in tenant_ids])


def partitions(instance: dg.DagsterInstance) -> list[str]:
    return list(instance.get_dynamic_partitions("tenants"))


def evaluated(instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"pipeline": PipelineResource()}
    ) as context:
        result = tenant_registry_sensor(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def registry_tick(instance: dg.DagsterInstance, cursor: str | None = None, *, killed: bool = False) -> str:
    """One tick of the registry sensor, its requests carried out as the daemon does; returns why it did nothing.

    A daemon that is `killed` has added partitions and submitted nothing. Runs that are submitted end at once.
    """
    result = evaluated(instance, cursor)
    if isinstance(result, dg.SkipReason):
        return result.skip_message or ""
    if result.skip_reason:
        return result.skip_reason.skip_message or ""
    for request in result.dynamic_partitions_requests or []:
        if isinstance(request, dg.AddDynamicPartitionsRequest):
            instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        else:
            for key in request.partition_keys:
                instance.delete_dynamic_partition(request.partitions_def_name, key)
    for asked in [] if killed else first_runs(result):
        instance.report_run_canceled(queued(instance, asked.tags))
    return ""


def queued(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> dg.DagsterRun:
    """A sync that waits for its turn."""
    return instance.create_run_for_job(defs.resolve_job_def("sync_tenants"), tags=tags, asset_selection={RECONCILED})


def first_runs(result: dg.SensorResult | dg.SkipReason) -> list[dg.RunRequest]:
    assert isinstance(result, dg.SensorResult)
    return list(result.run_requests or [])


def sync(instance: dg.DagsterInstance, *tenant_ids: str) -> None:
    """A sync of these tenants, which fails for all of them: nobody has their credentials."""
    job = build_defs().resolve_job_def("sync_tenants")
    assert not job.execute_in_process(instance=instance, tags=range_tags(tenant_ids), raise_on_error=False).success


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
    result = evaluated(instance)
    assert isinstance(result, dg.SensorResult)
    [request] = result.dynamic_partitions_requests or []
    assert request.partition_keys == ["roti"]


def test_the_first_sync_of_new_tenants_starts_by_itself_in_one_run_for_neighbours(
    instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    register(pipeline, "warung")
    [alone] = first_runs(evaluated(instance))
    registry_tick(instance)
    register(pipeline, "roti", "ayam", "kopi")
    [together] = first_runs(evaluated(instance))
    assert (alone.tags[SINGLE], together.tags[START], together.tags[END]) == ("warung", "ayam", "roti")
    assert {alone.tags["trigger"], together.tags["trigger"]} == {"first sync"}


def test_a_revived_tenant_has_another_first_sync(instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
    register(pipeline, "kopi")
    [first] = first_runs(evaluated(instance))
    registry_tick(instance)
    pipeline.registry.retire(["kopi"])
    registry_tick(instance)
    register(pipeline, "kopi")
    [second] = first_runs(evaluated(instance))
    assert second.tags[SINGLE] == "kopi"
    assert second.run_key != first.run_key


def test_a_tenant_that_was_given_its_partition_by_a_command_has_had_its_first_sync(
    instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    register(pipeline, "kopi")
    instance.add_dynamic_partitions("tenants", ["kopi"])
    sync(instance, "kopi")
    assert isinstance(evaluated(instance), dg.SkipReason)


def test_a_first_sync_that_a_killed_tick_never_asked_for_is_asked_for_by_the_next_one_as_the_same_run(
    instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    register(pipeline, "warung")
    registry_tick(instance)
    register(pipeline, "roti", "ayam", "kopi")
    [never_submitted] = first_runs(evaluated(instance))
    registry_tick(instance, killed=True)
    [again] = first_runs(evaluated(instance))
    assert (again.run_key, again.tags) == (never_submitted.run_key, never_submitted.tags)
    register(pipeline, "bakso")
    [together] = first_runs(evaluated(instance))
    assert (together.run_key, together.tags[END]) == (again.run_key, "bakso")


def test_a_first_sync_that_waits_or_was_cancelled_is_not_asked_for_again(
    instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    register(pipeline, "kopi", "roti")
    registry_tick(instance, killed=True)
    run = queued(instance, range_tags(["kopi", "roti"]))
    assert isinstance(evaluated(instance), dg.SkipReason)
    instance.report_run_canceled(run)
    assert isinstance(evaluated(instance), dg.SkipReason)


def test_a_first_sync_that_failed_is_not_asked_for_again(
    instance: dg.DagsterInstance, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(pipeline, "kopi", "roti")
    registry_tick(instance, killed=True)
    sync(instance, "kopi")
    with monkeypatch.context() as deployment:
        deployment.setenv("CATA_SCHEMA_MAPPING", "/nowhere.toml")
        sync(instance, "roti")  # ends before it serves, or records, anybody
    assert pipeline.history.newest(["kopi", "roti"]).keys() == {("kopi", "sync")}
    assert isinstance(evaluated(instance), dg.SkipReason)


def test_the_first_sync_of_a_tenant_that_comes_back_can_be_lost_and_found_too(
    instance: dg.DagsterInstance, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cata_pipeline.orchestration.first_syncs._SKEW", timedelta(0))
    register(pipeline, "kopi")
    registry_tick(instance)
    sync(instance, "kopi")
    pipeline.registry.retire(["kopi"])
    registry_tick(instance)
    register(pipeline, "kopi")
    [never_submitted] = first_runs(evaluated(instance))
    registry_tick(instance, killed=True)
    assert [run.run_key for run in first_runs(evaluated(instance))] == [never_submitted.run_key]
    registry_tick(instance)
    assert isinstance(evaluated(instance), dg.SkipReason)


def test_a_lost_first_sync_is_found_among_tenants_whose_first_sync_was_asked_for(
    instance: dg.DagsterInstance, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cata_pipeline.orchestration.first_syncs._SKEW", timedelta(0))
    register(pipeline, "ayam", "kopi", "roti")
    registry_tick(instance)
    pipeline.registry.retire(["kopi"])
    registry_tick(instance)
    register(pipeline, "kopi")
    registry_tick(instance, killed=True)
    assert [run.tags[SINGLE] for run in first_runs(evaluated(instance))] == ["kopi"]


def test_only_registered_tenants_get_a_first_sync(instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
    register(pipeline, "gone", *(f"tenant-{number}" for number in range(25)))
    pipeline.registry.retire(["gone"])
    instance.add_dynamic_partitions("tenants", ["unknown", "gone", "tenant-7"])
    run_of(instance, {SINGLE: "gone"})
    asked = {tag for run in first_runs(evaluated(instance)) for tag in run.tags.values()}
    assert "tenant-7" in asked
    assert asked.isdisjoint({"unknown", "gone"})


def test_lost_first_syncs_of_many_are_asked_for_over_several_ticks(
    instance: dg.DagsterInstance, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(pipeline, "ayam", "bakso", "kopi", "roti", "warung")
    registry_tick(instance, killed=True)
    monkeypatch.setattr(registry_sensor, "NEW_TENANTS", 2)
    served = []
    while isinstance(result := evaluated(instance), dg.SensorResult):
        served += [run.tags.get(START, run.tags.get(SINGLE)) for run in first_runs(result)]
        registry_tick(instance)
    assert served == ["ayam", "kopi", "warung"]


def test_a_tick_asks_as_much_for_many_tenants_that_wait_for_their_first_sync_as_for_one(
    instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    asked: list[str] = []

    def note(*call: object) -> None:
        asked.append(str(call[2]))

    counts = []
    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        for tenants in (["kopi"], [f"tenant-{number:02}" for number in range(30)]):
            register(pipeline, *tenants)
            registry_tick(instance)
            asked.clear()
            assert isinstance(evaluated(instance), dg.SkipReason)
            counts.append(len(asked))
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert counts[0] == counts[1] <= 16


def test_a_large_import_is_taken_in_over_several_ticks(
    instance: dg.DagsterInstance, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_sensor, "NEW_TENANTS", 2)
    register(pipeline, "ayam", "bakso", "kopi", "roti", "warung")
    served = []
    while isinstance(result := evaluated(instance), dg.SensorResult):
        served += [run.tags.get(START, run.tags.get(SINGLE)) for run in first_runs(result)]
        registry_tick(instance)
    assert partitions(instance) == ["ayam", "bakso", "kopi", "roti", "warung"]
    assert served == ["ayam", "kopi", "warung"]


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


def run_of(instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.DagsterRun:
    job = defs.resolve_job_def("copy_images")
    return instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)


@pytest.mark.parametrize("tags", [{SINGLE: "kopi"}, {START: "ayam", END: "roti"}])
def test_a_retired_tenant_keeps_its_partition_while_an_unfinished_run_may_touch_it(
    tags: dict[str, str], instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    register(pipeline, "ayam", "kopi", "roti")
    registry_tick(instance)
    pipeline.registry.retire(["kopi"])
    run = run_of(instance, tags)
    assert registry_tick(instance) == "1 retired ones wait until no unfinished run touches them."
    assert partitions(instance) == ["ayam", "kopi", "roti"]
    instance.report_run_canceled(run)
    registry_tick(instance)
    assert partitions(instance) == ["ayam", "roti"]


@pytest.mark.parametrize("tags", [{SINGLE: "roti"}, {START: "roti", END: "warung"}, {}])
def test_a_retired_tenant_does_not_wait_for_runs_of_others(
    tags: dict[str, str], instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    register(pipeline, "kopi", "roti", "warung")
    registry_tick(instance)
    pipeline.registry.retire(["kopi"])
    run_of(instance, tags)
    registry_tick(instance)
    assert partitions(instance) == ["roti", "warung"]


def test_with_more_runs_unfinished_than_are_looked_at_nobody_loses_a_partition(
    instance: dg.DagsterInstance, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_sensor, "UNFINISHED_RUNS", 1)
    register(pipeline, "kopi", "roti")
    registry_tick(instance)
    pipeline.registry.retire(["kopi"])
    for _ in range(2):
        run_of(instance, {SINGLE: "roti"})
    registry_tick(instance)
    assert partitions(instance) == ["kopi", "roti"]


def test_retiring_nearly_everybody_at_once_is_refused_until_an_operator_sets_a_ceiling_for_one_tick(
    instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    fleet = [f"tenant-{number}" for number in range(30)]
    register(pipeline, *fleet)
    registry_tick(instance)
    pipeline.registry.retire(fleet[:21])
    refusal = registry_tick(instance)
    assert refusal.startswith("21 tenants are retired at once, which looks like a mistake")
    assert refusal.endswith("set this sensor's cursor to retire=21.")
    assert registry_tick(instance, "retire=20") == refusal
    assert len(partitions(instance)) == 30
    allowed = evaluated(instance, "retire=21")
    assert isinstance(allowed, dg.SensorResult)
    assert allowed.cursor == ""
    registry_tick(instance, "retire=21")
    assert sorted(partitions(instance)) == sorted(fleet[21:])


def test_a_ceiling_stays_while_a_run_still_touches_one_of_the_tenants_it_was_given_for(
    instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    fleet = [f"tenant-{number:02}" for number in range(30)]
    register(pipeline, *fleet)
    registry_tick(instance)
    pipeline.registry.retire(fleet[:21])
    run = run_of(instance, {SINGLE: fleet[0]})
    before = evaluated(instance, "retire=21")
    assert isinstance(before, dg.SensorResult)
    assert before.cursor == "retire=21"
    registry_tick(instance, before.cursor)
    assert partitions(instance) == [fleet[0], *fleet[21:]]
    instance.report_run_canceled(run)
    registry_tick(instance, before.cursor)
    assert partitions(instance) == fleet[21:]


@pytest.mark.parametrize("retired", [0, 25])
def test_a_ceiling_that_is_not_used_at_once_is_not_kept_for_a_later_mistake(
    retired: int, instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    fleet = [f"tenant-{number}" for number in range(30)]
    register(pipeline, *fleet)
    registry_tick(instance)
    if retired:
        pipeline.registry.retire(fleet[:retired])
    result = evaluated(instance, "retire=24")
    assert isinstance(result, dg.SensorResult)
    assert result.skip_reason
    assert result.cursor == ""
    assert len(partitions(instance)) == 30


def test_a_cursor_that_is_no_ceiling_allows_nothing_is_dropped_and_said(
    instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    fleet = [f"tenant-{number}" for number in range(30)]
    register(pipeline, *fleet)
    registry_tick(instance)
    pipeline.registry.retire(fleet)
    result = evaluated(instance, '{"retire": 30}')
    assert isinstance(result, dg.SensorResult)
    assert result.skip_reason
    assert str(result.skip_reason.skip_message).startswith(
        "The cursor '{\"retire\": 30}' was dropped; expected retire=N. 30 tenants are retired at once"
    )
    assert (result.cursor, len(partitions(instance))) == ("", 30)


def test_a_row_edited_by_hand_to_nonsense_costs_nobody_else_a_partition(
    instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    register(pipeline, "kopi", "roti")
    with pipeline.control.begin() as connection:
        connection.execute(sa.text("UPDATE tenants SET id = 'ko...pi' WHERE id = 'kopi'"))
    registry_tick(instance)
    assert partitions(instance) == ["roti"]
    assert registry_tick(instance).endswith("such as 'ko...pi'; correct the table tenants.")


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


def test_a_registry_that_cannot_be_read_is_not_taken_for_an_empty_one(
    instance: dg.DagsterInstance, pipeline: Pipeline, new_pipeline: Callable[..., Pipeline]
) -> None:
    register(pipeline, "kopi", "roti")
    registry_tick(instance)
    new_pipeline(CATA_DATABASE_URL="postgresql+psycopg://nobody:hush-hush@127.0.0.1:1/cata")
    told = registry_tick(instance)
    assert told.startswith("The registry cannot be read, so no partition was touched. The control database")
    assert "hush-hush" not in told
    assert partitions(instance) == ["kopi", "roti"]


def test_a_registry_whose_table_is_gone_is_not_taken_for_an_empty_one(
    instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    register(pipeline, "kopi")
    registry_tick(instance)
    with pipeline.control.begin() as connection:
        connection.execute(sa.text("ALTER TABLE tenants RENAME TO elsewhere"))
    assert registry_tick(instance).startswith("The registry cannot be read, so no partition was touched.")
    assert partitions(instance) == ["kopi"]


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
