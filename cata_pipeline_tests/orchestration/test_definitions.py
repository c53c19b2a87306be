"""The definitions load anywhere, quickly, and hold the names that other programs call."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from cata_pipeline.definitions import build_defs, defs
from cata_pipeline.orchestration.executor import locked_in_process_executor
from cata_pipeline.orchestration.metadata import RECONCILED
from cata_pipeline.orchestration.owners import OWNERS
from cata_pipeline.orchestration.resources import PipelineResource
from cata_pipeline.reconcile.policy import ITEMS, TABLES, policy_version

HEAVY = ("aiohttp", "dagster_gcp", "google.cloud.storage", "httpx", "pandas", "psycopg", "pyarrow", "PIL")


def test_the_definitions_load_in_a_fresh_interpreter_without_environment(tmp_path: Path) -> None:
    program = (
        f"import sys; from cata_pipeline.definitions import defs; print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.defpath},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


def test_the_names_of_the_contract_are_there() -> None:
    repository = defs.get_repository_def()
    keys = {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    assert keys == {"provider_catalog_snapshot", "reconciled_items", "image_objects", "fleet_health"}
    assert {"sync_tenants", "copy_images"} <= set(repository.job_names)
    assert "nightly_resync" in [schedule.name for schedule in repository.schedule_defs]
    assert {"tenant_registry_sensor", "image_copy_sensor", "run_failure_alert"} <= {
        sensor.name for sensor in repository.sensor_defs
    }
    assert defs.resolve_job_def("sync_tenants").partitions_def == dg.DynamicPartitionsDefinition(name="tenants")


def test_every_run_holds_its_lock_whatever_its_job() -> None:
    executors = {job.name: job.executor_def for job in defs.get_repository_def().get_all_jobs()}
    assert "__ASSET_JOB" in executors
    assert set(executors.values()) == {locked_in_process_executor}


def test_everything_that_triggers_runs_by_default_but_what_removes_runs() -> None:
    repository = defs.get_repository_def()
    stopped = [s.name for s in repository.schedule_defs if s.default_status is dg.DefaultScheduleStatus.STOPPED]
    assert stopped == ["weekly_pruning"]
    assert {s.default_status for s in repository.sensor_defs} == {dg.DefaultSensorStatus.RUNNING}


def test_every_job_and_whatever_starts_one_says_in_the_ui_what_it_does() -> None:
    repository = defs.get_repository_def()
    said = {job.name: job.description for job in repository.get_all_jobs() if not job.name.startswith("__")}
    said |= {schedule.name: schedule.description for schedule in repository.schedule_defs}
    said |= {sensor.name: sensor.description for sensor in repository.sensor_defs}
    assert [name for name, description in said.items() if not description] == []


@pytest.mark.parametrize("key", ["provider_catalog_snapshot", "reconciled_items", "image_objects", "fleet_health"])
def test_an_asset_says_what_it_is_whose_it_is_and_what_to_do_when_it_fails(key: str) -> None:
    spec = next(spec for spec in defs.resolve_all_asset_specs() if spec.key == dg.AssetKey(key))
    assert spec.owners
    assert spec.kinds
    assert spec.group_name in {"catalog", "images", "fleet"}
    first, rest = (spec.description or "").split("\n", 1)
    assert "`" not in first, "The catalog shows the first line as it is written."
    assert "If it fails" in rest


def test_the_tenant_tables_are_described_by_the_policy() -> None:
    spec = next(spec for spec in defs.resolve_all_asset_specs() if spec.key == RECONCILED)
    assert spec.code_version == policy_version()
    schemas = {ITEMS.name: spec.metadata["dagster/column_schema"]}
    schemas |= {table.name: spec.metadata[table.name] for table in TABLES if table is not ITEMS}
    for table in TABLES:
        columns = schemas[table.name].columns
        assert [column.name for column in columns] == [column.name for column in table.columns]
        assert all(column.description for column in columns)


def test_the_code_version_is_the_same_in_every_process() -> None:
    program = "from cata_pipeline.reconcile.policy import policy_version; print(policy_version())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == policy_version()


def test_everything_has_an_owner() -> None:
    repository = defs.get_repository_def()
    owners = {job.name: job.owners for job in repository.get_all_jobs() if not job.name.startswith("__")}
    owners |= {schedule.name: schedule.owners for schedule in repository.schedule_defs}
    owners |= {sensor.name: sensor.owners for sensor in repository.sensor_defs}
    assert {name: found for name, found in owners.items() if found != OWNERS} == {}


def test_runs_and_ticks_of_one_process_share_a_pipeline_and_other_definitions_have_their_own() -> None:
    used = []

    @dg.op
    def use(pipeline: PipelineResource) -> None:
        used.append(pipeline)

    @dg.job
    def once() -> None:
        use()

    for definitions in (build_defs(), build_defs()):
        resources = definitions.get_repository_def().get_top_level_resources()
        for _ in range(2):
            assert dg.Definitions(jobs=[once], resources=resources).resolve_job_def("once").execute_in_process().success
    assert used[0] is used[1]
    assert used[1] is not used[2]
    assert used[2] is used[3]


def test_an_override_takes_the_place_of_a_resource() -> None:
    mine = dg.ResourceDefinition.hardcoded_resource("mine")
    assert build_defs(pipeline=mine).get_repository_def().get_top_level_resources()["pipeline"] is mine
