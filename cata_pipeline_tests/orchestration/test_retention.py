"""Pruning on a real instance with real runs: what people see of partitions stays, no sensor loses or doubles."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.scheduler.instigation import SensorInstigatorData
from dagster._core.storage.runs.schema import RunsTable
from pydantic import Field

from cata_pipeline.definitions import defs as real
from cata_pipeline.orchestration import retention
from cata_pipeline.orchestration.metadata import RECONCILED, raise_failures
from cata_pipeline.orchestration.partitions import TENANTS, range_tags
from cata_pipeline.orchestration.retention import ATTEMPT, BACKFILL, CHECK, MATERIALIZATION, PruneConfig, Pruned, prune

FLEET = dg.AssetKey("fleet")
FRESH = dg.AssetCheckKey(FLEET, "fresh")
OLD = timedelta(days=40)
READ = retention._unread


class Batch(dg.Config):
    fails: list[str] = Field(default=[])


@dg.multi_asset(
    name="batch",
    specs=[dg.AssetSpec(RECONCILED, skippable=True)],
    partitions_def=TENANTS,
    backfill_policy=dg.BackfillPolicy.multi_run(100),
)
def batch(context: dg.AssetExecutionContext, config: Batch) -> Iterator[dg.MaterializeResult[None]]:
    """As `catalog_sync` serves a batch, without the work."""
    keys = list(context.partition_keys)
    for key in keys:
        if key not in config.fails:
            metadata, version = {"items": 7, "run": context.run.run_id}, {"dagster/data_version": "1"}
            told = dg.AssetMaterialization(RECONCILED, partition=key, metadata=metadata, tags=version)  # type: ignore[arg-type]
            context.log_event(told)
    raise_failures(dict.fromkeys(config.fails, "refused"), len(keys))
    yield from ()


@dg.asset(key=FLEET, check_specs=[dg.AssetCheckSpec("fresh", asset=FLEET)])
def fleet(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    yield dg.MaterializeResult(
        metadata={"run": context.run.run_id}, check_results=[dg.AssetCheckResult(passed=True, check_name="fresh")]
    )


jobs = dg.Definitions(
    assets=[batch, fleet],
    jobs=[
        dg.define_asset_job("sync", selection=dg.AssetSelection.assets(RECONCILED)),
        dg.define_asset_job("look", selection=dg.AssetSelection.assets(FLEET)),
    ],
    executor=dg.in_process_executor,
)


@pytest.fixture(autouse=True)
def tenants(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("tenants", ["ayam", "kopi", "roti"])


@pytest.fixture(autouse=True)
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every sensor had read everything; the tests that tick sensors say otherwise."""
    monkeypatch.setattr(retention, "_unread", lambda _: iter(()))


def sync(
    instance: dg.DagsterInstance, *keys: str, fails: tuple[str, ...] = (), tags: dict[str, str] | None = None
) -> str:
    job = jobs.resolve_job_def("sync")
    config = {"ops": {"batch": {"config": {"fails": list(fails)}}}}
    tags = {**range_tags(keys), **(tags or {})}
    return job.execute_in_process(run_config=config, instance=instance, tags=tags, raise_on_error=False).run_id


def cancel(instance: dg.DagsterInstance, *keys: str) -> str:
    """A run that was cancelled before it served any of its partitions."""
    run = instance.create_run_for_job(jobs.resolve_job_def("sync"), tags=range_tags(keys), asset_selection={RECONCILED})
    instance.report_run_canceled(run)
    return run.run_id


def look(instance: dg.DagsterInstance) -> str:
    return jobs.resolve_job_def("look").execute_in_process(instance=instance).run_id


def age(instance: dg.DagsterInstance, *run_ids: str, by: timedelta = OLD) -> None:
    """As if these runs had ended that long ago."""
    ended = (datetime.now(UTC) - by).replace(tzinfo=None)
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        connection.execute(RunsTable.update().where(RunsTable.c.run_id.in_(run_ids)).values(update_timestamp=ended))


def pruned(instance: dg.DagsterInstance, *, dry_run: bool = False, most_runs: int = 1_000) -> Pruned:
    config = PruneConfig(dry_run=dry_run, most_runs=most_runs)
    return prune(instance, config, datetime.now(UTC), pause=lambda _: None)


def run_ids(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def rows(instance: dg.DagsterInstance, statement: str) -> int:
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        return int(connection.execute(sa.text(statement)).scalar_one())


def mentions(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """The tables, of all that Dagster has, that know this run."""
    statement = "SELECT table_name FROM information_schema.columns WHERE column_name = 'run_id' ORDER BY 1"
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        tables = connection.execute(sa.text(statement)).scalars().all()
    return [table for table in tables if rows(instance, f"SELECT count(*) FROM {table} WHERE run_id = '{run_id}'")]


def orphans(instance: dg.DagsterInstance) -> int:
    """Events of runs that are gone."""
    return rows(
        instance, "SELECT count(*) FROM event_logs WHERE run_id <> '' AND run_id NOT IN (SELECT run_id FROM runs)"
    )


def seen(instance: dg.DagsterInstance) -> dict[str, Any]:
    """What the UI shows of assets, partitions and checks, read afresh from the events."""
    instance.wipe_asset_cached_status([RECONCILED, FLEET])
    keys = list(instance.get_dynamic_partitions("tenants"))
    newest = {
        key: instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=RECONCILED, asset_partitions=[key]), limit=1
        ).records
        for key in keys
    }
    return {
        "statuses": instance.get_status_by_partition(RECONCILED, keys, TENANTS),
        "newest": newest,
        "plots": {key: records[0].asset_materialization.metadata for key, records in newest.items() if records},  # type: ignore[union-attr]
        "assets": [instance.get_latest_materialization_event(key) for key in (RECONCILED, FLEET)],
        "checks": instance.event_log_storage.get_asset_check_summary_records([FRESH]),
        "last runs": {
            record.asset_entry.asset_key: record.asset_entry.last_run_id for record in instance.get_asset_records()
        },
    }


def test_a_run_that_nothing_refers_to_any_more_goes_with_everything_it_left(instance: dg.DagsterInstance) -> None:
    old = sync(instance, "kopi", tags={"trigger": "schedule"})
    new = sync(instance, "kopi")
    printed = Path(instance.storage_directory()) / old / "compute_logs"
    assert list(printed.iterdir())
    age(instance, old)
    tags = rows(instance, "SELECT count(*) FROM asset_event_tags")
    assert set(mentions(instance, old)) >= {"event_logs", "run_tags", "runs"}
    done = pruned(instance)
    assert (done.runs, done.old) == (1, 1)
    assert done.events > 10
    assert done.bytes > 1_000
    assert run_ids(instance) == {new}
    assert mentions(instance, old) == []
    assert rows(instance, "SELECT count(*) FROM asset_event_tags") == tags - 1
    assert not printed.parent.exists()


def test_pruning_changes_nothing_that_people_see(instance: dg.DagsterInstance) -> None:
    superseded = sync(instance, "ayam", "kopi", "roti")
    last_of_roti = sync(instance, "ayam", "kopi", "roti")
    failed_once = sync(instance, "kopi", fails=("kopi",))
    served_since = sync(instance, "ayam", "kopi")
    failed = sync(instance, "roti", fails=("roti",))
    first_look, last_look = look(instance), look(instance)
    young = sync(instance, "ayam")
    age(instance, superseded, last_of_roti, failed_once, served_since, failed, first_look, last_look)
    before = seen(instance)
    assert {str(status) for status in (before["statuses"] or {}).values()} == {
        "AssetPartitionStatus.MATERIALIZED",
        "AssetPartitionStatus.FAILED",
    }
    done = pruned(instance)
    assert seen(instance) == before
    assert run_ids(instance) == {last_of_roti, served_since, failed, last_look, young}
    assert done.kept == {MATERIALIZATION: 3, ATTEMPT: 1}
    assert orphans(instance) == 0


def test_a_batch_stays_whole_for_the_one_partition_that_has_nothing_newer(instance: dg.DagsterInstance) -> None:
    old = sync(instance, "ayam", "kopi", "roti")
    sync(instance, "ayam", "kopi")
    age(instance, old)
    events = rows(instance, "SELECT count(*) FROM event_logs")
    assert pruned(instance).runs == 0
    assert rows(instance, "SELECT count(*) FROM event_logs") == events


def test_a_partition_that_failed_before_it_was_ever_served_stays_failed(instance: dg.DagsterInstance) -> None:
    age(instance, sync(instance, "kopi", fails=("kopi",)))
    before = seen(instance)
    assert pruned(instance).kept == {ATTEMPT: 1}
    assert seen(instance) == before


def test_a_cancelled_attempt_stays_because_the_failure_before_it_would_speak_in_its_place(
    instance: dg.DagsterInstance,
) -> None:
    failed = sync(instance, "ayam", "kopi", fails=("ayam", "kopi"))
    cancelled = cancel(instance, "kopi")
    age(instance, failed, cancelled)
    before = seen(instance)
    assert str(before["statuses"]["kopi"]) == "None"
    pruned(instance)
    assert seen(instance) == before
    assert str(before["statuses"]["ayam"]) == "AssetPartitionStatus.FAILED"


def test_the_newest_evaluation_of_a_check_stays_readable(instance: dg.DagsterInstance) -> None:
    evaluated = look(instance)
    instance.report_runless_asset_event(dg.AssetMaterialization(FLEET))
    planned = instance.create_run_for_job(jobs.resolve_job_def("look"), asset_selection={FLEET})
    age(instance, evaluated)
    assert pruned(instance).kept == {CHECK: 1}
    assert run_ids(instance) == {evaluated, planned.run_id}


def test_a_retired_tenant_keeps_its_newest_materialization(instance: dg.DagsterInstance) -> None:
    older, old = sync(instance, "kopi"), sync(instance, "kopi")
    instance.delete_dynamic_partition("tenants", "kopi")
    age(instance, older, old)
    pruned(instance)
    assert run_ids(instance) == {old}


def test_unfinished_and_young_runs_are_not_looked_at(instance: dg.DagsterInstance) -> None:
    young = sync(instance, "kopi")
    running = instance.create_run_for_job(real.resolve_job_def("prune_runs"), status=dg.DagsterRunStatus.STARTED)
    sync(instance, "kopi")
    age(instance, running.run_id)
    age(instance, young, by=timedelta(days=29))
    assert pruned(instance).old == 0
    assert len(run_ids(instance)) == 3


def backfill(status: BulkActionStatus) -> PartitionBackfill:
    return PartitionBackfill(
        backfill_id="repair", status=status, from_failure=False, tags={}, backfill_timestamp=0.0,
        asset_selection=[RECONCILED],
    )  # fmt: skip


def test_runs_of_a_backfill_stay_until_it_is_over(instance: dg.DagsterInstance) -> None:
    old = sync(instance, "kopi", tags={"dagster/backfill": "repair"})
    sync(instance, "kopi")
    age(instance, old)
    instance.add_backfill(backfill(BulkActionStatus.REQUESTED))
    assert pruned(instance).kept == {BACKFILL: 1}
    instance.update_backfill(backfill(BulkActionStatus.COMPLETED_SUCCESS))
    assert pruned(instance).runs == 1


def test_a_dry_run_removes_nothing_and_counts_what_a_real_one_removes(instance: dg.DagsterInstance) -> None:
    runs = [sync(instance, "ayam", "kopi") for _ in range(3)]
    sync(instance, "ayam")
    age(instance, *runs)
    before, events = seen(instance), rows(instance, "SELECT count(*) FROM event_logs")
    counted = pruned(instance, dry_run=True)
    assert (seen(instance), rows(instance, "SELECT count(*) FROM event_logs")) == (before, events)
    assert len(run_ids(instance)) == 4
    removed = pruned(instance)
    assert counted.events == removed.events == events - rows(instance, "SELECT count(*) FROM event_logs")
    assert (counted.runs, counted.bytes, counted.kept) == (removed.runs, removed.bytes, removed.kept)
    assert (counted.runs, dict(counted.kept)) == (2, {MATERIALIZATION: 1})


def test_an_execution_removes_the_oldest_and_no_more_than_it_may(instance: dg.DagsterInstance) -> None:
    runs = [sync(instance, "kopi") for _ in range(4)]
    for day, run_id in enumerate(runs):
        age(instance, run_id, by=timedelta(days=90 - day))
    done = pruned(instance, most_runs=2)
    assert (run_ids(instance), done.stopped_by) == (set(runs[2:]), "most_runs (2)")
    assert done.oldest is not None
    assert done.newest is not None
    assert done.newest - done.oldest > timedelta(hours=23)
    assert pruned(instance, most_runs=2).runs == 1
    assert run_ids(instance) == {runs[3]}


@pytest.mark.parametrize("chunk", [1, 3])
def test_runs_that_stay_do_not_hide_those_behind_them(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(retention, "CHUNK", chunk)
    stay = [sync(instance, key, fails=(key,)) for key in ("ayam", "kopi")]
    go = [sync(instance, "roti") for _ in range(3)]
    stay.append(sync(instance, "roti"))
    age(instance, *stay, *go)
    assert pruned(instance, dry_run=True).runs == 3
    assert pruned(instance).runs == 3
    assert run_ids(instance) == set(stay)


def test_a_prune_that_was_killed_anywhere_is_finished_by_the_next(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK", 1)
    runs = [sync(instance, "kopi") for _ in range(4)]
    age(instance, *runs)
    before = seen(instance)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    steps = (
        (instance.compute_log_manager, "delete_logs"),
        (instance.event_log_storage, "delete_events"),
        (instance, "delete_run"),
    )
    for owner, step in steps:
        with monkeypatch.context() as patch:
            patch.setattr(owner, step, killed)
            with pytest.raises(KeyboardInterrupt):
                pruned(instance)
        assert (run_ids(instance), orphans(instance), seen(instance)) == (set(runs), 0, before)
    with pytest.raises(KeyboardInterrupt):
        prune(instance, PruneConfig(dry_run=False), datetime.now(UTC), pause=killed)
    pruned(instance)
    assert run_ids(instance) == {runs[3]}
    assert orphans(instance) == 0
    assert seen(instance) == before


def test_an_execution_begins_no_chunk_after_its_time_and_says_that_the_next_goes_on(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK", 1)
    runs = [sync(instance, "kopi") for _ in range(4)]
    age(instance, *runs)
    seconds = iter((0.0, 10.0, 20.0, 30.0))
    config = PruneConfig(dry_run=False, most_seconds=25)
    done = prune(instance, config, datetime.now(UTC), pause=lambda _: None, clock=lambda: next(seconds))
    assert (done.runs, done.stopped_by) == (2, "most_seconds (25)")
    assert "The limit most_seconds (25) was reached; the next execution goes on." in retention.summary(
        done, dry_run=False
    )
    again = pruned(instance)
    assert (again.runs, again.stopped_by) == (1, "")
    assert run_ids(instance) == {runs[3]}


def test_two_prunes_at_once_do_not_disturb_each_other(instance: dg.DagsterInstance) -> None:
    runs = [sync(instance, "kopi") for _ in range(3)]
    age(instance, *runs)

    def other(_: float) -> None:
        pruned(instance)

    prune(instance, PruneConfig(dry_run=False), datetime.now(UTC), pause=other)
    assert run_ids(instance) == {runs[2]}


def test_a_chunk_costs_as_many_questions_for_many_runs_as_for_one(instance: dg.DagsterInstance) -> None:
    asked: list[str] = []

    def note(*call: object) -> None:
        asked.append(str(call[2]))

    counts = []
    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        for number in (2, 4):
            runs = [sync(instance, "ayam", "kopi", "roti") for _ in range(number)]
            age(instance, *runs)
            asked.clear()
            pruned(instance, dry_run=True)
            counts.append(len(asked))
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert counts[0] == counts[1] < 40


def test_less_than_a_week_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 7"):
        PruneConfig(keep_days=6)


def test_no_run_goes_before_the_image_sensor_has_read_its_events(
    instance: dg.DagsterInstance, tick_sensors: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_unread", READ)
    monkeypatch.setattr("cata_pipeline.orchestration.image_sensor.SETTLE_SECONDS", 0.0)
    sync(instance, "ayam", "kopi")
    last = sync(instance, "ayam", "kopi")
    later = datetime.now(UTC) + OLD
    held = prune(instance, PruneConfig(dry_run=False), later)
    assert (held.old, held.runs) == (0, 0)
    assert held.border.held_by.startswith("image_copy_sensor has yet to read an event of ")
    assert "is that sensor running?" in retention.summary(held, dry_run=False)
    tick_sensors()
    asked = {run.run_id for run in instance.get_runs() if run.tags.get("dagster/sensor_name") == "image_copy_sensor"}
    assert len(asked) == 1
    assert prune(instance, PruneConfig(dry_run=False), later).runs == 1
    assert run_ids(instance) == {last} | asked
    tick_sensors()
    assert run_ids(instance) == {last} | asked


def test_no_run_goes_before_the_alert_sensor_has_told_its_failure(
    instance: dg.DagsterInstance, tick_sensors: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_unread", READ)
    monkeypatch.setattr("cata_pipeline.orchestration.image_sensor.SETTLE_SECONDS", 0.0)
    tick_sensors()
    failed = sync(instance, "kopi", fails=("kopi",))
    cancel(instance, "kopi")
    later = datetime.now(UTC) + OLD
    held = prune(instance, PruneConfig(dry_run=False), later)
    assert held.border.held_by.startswith("run_failure_alert has yet to read an event of ")
    assert failed in run_ids(instance)
    tick_sensors()
    assert prune(instance, PruneConfig(dry_run=False), later).runs == 1
    assert failed not in run_ids(instance)


def test_no_run_goes_while_the_image_sensor_has_a_cursor_that_cannot_be_read(
    instance: dg.DagsterInstance, tick_sensors: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_unread", READ)
    monkeypatch.setattr("cata_pipeline.orchestration.image_sensor.SETTLE_SECONDS", 0.0)
    for _ in range(2):
        sync(instance, "ayam")
    tick_sensors()
    [state] = [each for each in instance.all_instigator_state() if each.instigator_name == "image_copy_sensor"]
    assert isinstance(state.instigator_data, SensorInstigatorData)
    instance.update_instigator_state(state.with_data(state.instigator_data._replace(cursor="newest")))
    held = prune(instance, PruneConfig(dry_run=False), datetime.now(UTC) + OLD)
    assert held.runs == 0
    assert held.border.held_by.startswith("image_copy_sensor has yet to read an event of ")


def prune_in_dagster(instance: dg.DagsterInstance, config: dict[str, object]) -> dict[str, Any]:
    """The job as people launch it; returns what the UI shows of it."""
    result = real.resolve_job_def("prune_runs").execute_in_process(
        instance=instance, run_config={"ops": {"prune": {"config": config}}}
    )
    [output] = [event for event in result.all_events if event.is_successful_output]
    return {key: value.value for key, value in output.step_output_data.metadata.items()}


def test_the_job_is_a_dry_run_unless_it_is_told_otherwise_and_shows_what_it_did(instance: dg.DagsterInstance) -> None:
    old, failed = sync(instance, "kopi"), sync(instance, "roti", fails=("roti",))
    sync(instance, "kopi")
    age(instance, old, failed)
    shown = prune_in_dagster(instance, {})
    assert shown["summary"].startswith("Would remove 1 of 2 runs that ended before ")
    assert "Kept among those looked at: 1 (newest attempt of a partition)." in shown["summary"]
    assert (shown["dry_run"], shown["old_runs"], shown["runs"], shown["kept_attempt"]) == (True, 2, 1, 1)
    assert shown["kept_materialization"] == shown["kept_check"] == shown["kept_backfill"] == 0
    assert failed in str(shown["kept_sample"])
    assert old in run_ids(instance)
    again = prune_in_dagster(instance, {"dry_run": False})
    assert again["summary"].startswith("Removed 1 of 2 runs")
    assert old not in run_ids(instance)


def test_the_schedule_removes_once_somebody_starts_it(instance: dg.DagsterInstance) -> None:
    with dg.build_schedule_context(instance=instance) as context:
        tick = retention.weekly_pruning.evaluate_tick(context)
    [request] = tick.run_requests or []
    old = sync(instance, "kopi")
    sync(instance, "kopi")
    age(instance, old)
    real.resolve_job_def("prune_runs").execute_in_process(instance=instance, run_config=dict(request.run_config))
    assert old not in run_ids(instance)
