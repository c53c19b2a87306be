"""The fleet at a glance, through the real framework: one run of the job, its figures and checks as the UI has them."""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from cata_pipeline.control.schema import tenants
from cata_pipeline.definitions import build_defs, defs
from cata_pipeline.orchestration.fleet import fleet_check
from cata_pipeline.orchestration.fleet_checks import CHECKS, FLEET
from cata_pipeline.orchestration.metadata import INLINE_CHARACTERS
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.providers.conformance.scripted_server import closed_port
from cata_pipeline.tenants.history import TenantRun
from cata_pipeline_tests.tenant_runs import put_on_record

HOUR = timedelta(hours=1)
WELL = {"inserted": 0, "image_urls_changed": 0}
FIGURES = {
    "tenants", "retired", "failed", "stale", "images_behind", "failing_pictures", "contract_drift", "runs_under_way",
    "runs_queued",
}  # fmt: skip


def register(pipeline: Pipeline, *tenant_ids: str, retired: bool = False) -> None:
    now = datetime.now(UTC)
    with pipeline.control.begin() as connection:
        for tenant_id in tenant_ids:
            row = {"id": tenant_id, "provider": "iseller", "credentials": "env:X", "created_at": now - 100 * HOUR}
            connection.execute(tenants.insert().values(**row, retired_at=now if retired else None))


def ran(
    pipeline: Pipeline,
    tenant_id: str,
    kind: str = "sync",
    *,
    ago: timedelta = HOUR,
    error_kind: str | None = None,
    counts: Mapping[str, int] = WELL,
    skipped: Sequence[str] = (),
) -> None:
    at = datetime.now(UTC) - ago
    error = f"Told as {error_kind}." if error_kind else None
    told = {} if error else counts
    run = TenantRun(tenant_id, kind, "r", at, at, None, None, error, told, error_kind, skipped)
    put_on_record(pipeline.control, run)


def failing_picture(pipeline: Pipeline, tenant_id: str, since: timedelta) -> None:
    insert = sa.text(
        "INSERT INTO image_urls (tenant_id, url_sha256, url, failures, failure, failing_since)"
        " VALUES (:tenant, 'x', 'https://x/', 3, 'the file ends early', now() - :since)"
    )
    with pipeline.control.begin() as connection:
        connection.execute(insert, {"tenant": tenant_id, "since": since})


class Look:
    """What one run of the job left in the event log."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        result = build_defs().resolve_job_def("check_fleet").execute_in_process(instance=instance)
        assert result.success
        event = instance.get_latest_materialization_event(FLEET)
        assert event
        assert event.asset_materialization
        self.metadata: dict[str, Any] = {
            key: value.value for key, value in event.asset_materialization.metadata.items()
        }
        keys = [dg.AssetCheckKey(FLEET, check.name) for check in CHECKS]
        records = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
        events = [record.event.get_dagster_event() for record in records.values() if record.event]
        evaluations = [event.asset_check_evaluation_data for event in events]
        self.checks = {each.check_name: each for each in evaluations}

    @property
    def failing(self) -> dict[str, str]:
        return {name: each.severity.value for name, each in self.checks.items() if not each.passed}

    def of(self, check: str, key: str) -> Any:
        value: Any = self.checks[check].metadata[key].value
        return [record.data for record in value.records] if hasattr(value, "records") else value


def test_without_tenants_every_figure_is_zero_and_the_first_step_is_told(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    look = Look(instance)
    assert {key: value for key, value in look.metadata.items() if key in FIGURES} == dict.fromkeys(FIGURES, 0)
    assert "cata-pipeline tenants import" in look.metadata["summary"]
    assert look.failing == {}
    assert set(look.checks) == {check.name for check in CHECKS}


def test_one_run_tells_everything_that_is_wrong_and_what_to_do(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    register(pipeline, "well", "fails", "stale", "behind", "pictures", "refused")
    register(pipeline, "gone", retired=True)
    for tenant_id in ("well", "behind", "pictures"):
        ran(pipeline, tenant_id)
    ran(pipeline, "fails", ago=2 * HOUR)
    ran(pipeline, "fails", error_kind="provider")
    ran(pipeline, "stale", ago=27 * HOUR)
    ran(pipeline, "behind", ago=3 * HOUR, counts=WELL | {"image_urls_changed": 2})
    ran(pipeline, "refused", ago=2 * HOUR)
    ran(pipeline, "refused", error_kind="contract")
    failing_picture(pipeline, "pictures", since=25 * HOUR)
    look = Look(instance)
    assert {key: look.metadata[key] for key in FIGURES} == {
        "tenants": 6,
        "retired": 1,
        "failed": 2,
        "stale": 1,
        "images_behind": 1,
        "failing_pictures": 1,
        "contract_drift": 1,
        "runs_under_way": 0,
        "runs_queued": 0,
    }
    assert look.metadata["summary"].startswith("5 of 5 questions found something among 6 tenants")
    assert [record.data["check"] for record in look.metadata["found"].records] == [check.name for check in CHECKS]
    assert look.failing == {check.name: "WARN" if check.quiet else "ERROR" for check in CHECKS}
    assert {name: look.of(name, "sample")[0]["tenant"] for name in look.checks} == {
        "no_tenant_failed": "fails",
        "no_tenant_stale": "stale",
        "images_not_behind": "behind",
        "no_picture_keeps_failing": "pictures",
        "no_contract_drift": "refused",
    }
    assert (look.of("no_tenant_failed", "tenants"), look.of("no_tenant_failed", "cases")) == (2, 2)
    assert look.of("no_tenant_failed", "sample")[0]["why"] == "Told as provider."
    reasons = [(each["reason"], each["tenants"]) for each in look.of("no_tenant_failed", "reasons")]
    assert reasons == [("sync: contract", "1"), ("sync: provider", "1")]
    description = look.checks["no_tenant_failed"].description
    assert description
    assert re.match(
        r"2 of 6 tenants failed, the first since \d{4}-\d\d-\d\d \d\d:\d\d UTC\. Once .*`cata-pipeline sync --failed`",
        description,
    )
    for name in ("no_tenant_failed", "no_contract_drift"):
        assert "`cata-pipeline sync --failed`" in look.of(name, "recovery")
    assert "*Failed*" in look.of("no_tenant_failed", "recovery")


def test_what_is_repaired_is_well_at_the_next_look(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    register(pipeline, "kopi")
    ran(pipeline, "kopi", error_kind="provider")
    assert Look(instance).failing == {"no_tenant_failed": "ERROR", "no_tenant_stale": "ERROR"}
    ran(pipeline, "kopi", ago=timedelta(0))
    look = Look(instance)
    assert look.failing == {}
    assert (look.metadata["failed"], look.metadata["summary"]) == (0, "All is well; tenants looked at: 1.")
    assert look.of("no_tenant_failed", "recovery") == "Nothing to do."
    assert look.checks["no_tenant_failed"].metadata.keys() == {"tenants", "cases", "recovery"}


@pytest.mark.parametrize(("failed", "severity"), [(1, "WARN"), (2, "ERROR")])
def test_single_merchants_warn_and_one_in_a_hundred_is_an_error(
    pipeline: Pipeline, instance: dg.DagsterInstance, failed: int, severity: str
) -> None:
    ids = [f"tenant-{number}" for number in range(101)]
    register(pipeline, *ids)
    for tenant_id in ids:
        ran(pipeline, tenant_id, ago=2 * HOUR)
    for tenant_id in ids[:failed]:
        ran(pipeline, tenant_id, error_kind="provider")
    assert Look(instance).failing == {"no_tenant_failed": severity}


def test_a_picture_has_a_day_to_mend_itself(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    register(pipeline, "kopi")
    ran(pipeline, "kopi")
    failing_picture(pipeline, "kopi", since=23 * HOUR)
    look = Look(instance)
    assert look.failing == {}
    assert (look.metadata["failing_pictures"], look.of("no_picture_keeps_failing", "cases")) == (1, 1)


def test_runs_that_wait_or_are_under_way_are_counted_without_the_one_that_looks(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("anywhere"), "__repository__")
    origin = RemoteJobOrigin(repository, "check_fleet")
    for status in (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED):
        instance.create_run_for_job(defs.resolve_job_def("check_fleet"), status=status, remote_job_origin=origin)
    look = Look(instance)
    assert (look.metadata["runs_under_way"], look.metadata["runs_queued"]) == (1, 2)


def test_a_fleet_that_cannot_be_looked_at_is_not_all_well(new_pipeline: Any, instance: dg.DagsterInstance) -> None:
    new_pipeline(CATA_DATABASE_URL=f"postgresql+psycopg://cata@127.0.0.1:{closed_port()}/cata")
    result = build_defs().resolve_job_def("check_fleet").execute_in_process(instance=instance, raise_on_error=False)
    [failure] = [event for event in result.all_events if event.is_step_failure]
    error = failure.step_failure_data.error
    assert error
    assert error.cause
    assert "The control database postgresql+psycopg://cata@127.0.0.1" in error.cause.message
    assert "Check CATA_DATABASE_URL and that the server runs." in error.cause.message
    assert instance.get_latest_materialization_event(FLEET) is None


def test_the_definitions_hold_the_checks_the_job_and_the_schedule() -> None:
    repository = defs.get_repository_def()
    assert repository.asset_graph.asset_check_keys == {dg.AssetCheckKey(FLEET, check.name) for check in CHECKS}
    job = defs.resolve_job_def("check_fleet")
    assert job.asset_layer.selected_asset_keys == {FLEET}
    assert len(job.asset_layer.asset_graph.asset_check_keys) == len(CHECKS)
    assert job.tags["dagster/priority"] == "10"
    schedule = repository.get_schedule_def("fleet_check")
    assert (schedule.job_name, schedule.default_status) == ("check_fleet", dg.DefaultScheduleStatus.RUNNING)


def test_a_tick_asks_for_one_run(instance: dg.DagsterInstance) -> None:
    with dg.build_schedule_context(instance=instance, scheduled_execution_time=datetime.now(UTC)) as context:
        ticked = fleet_check.evaluate_tick(context)
    assert [request.tags["trigger"] for request in ticked.run_requests or []] == ["schedule"]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_recovery_line_is_shown_inline_and_names_a_command(check: Any) -> None:
    assert "`cata-pipeline " in check.recovery
    assert len(check.recovery) < INLINE_CHARACTERS


def test_looking_at_the_fleet_imports_nothing_that_serves_tenants(
    pipeline: Pipeline, settings_environment: dict[str, str]
) -> None:
    heavy = ("aiohttp", "alembic", "cata_pipeline.pipeline", "google.cloud.storage", "pandas", "pyarrow", "PIL")
    program = (
        "import sys; from datetime import UTC, datetime; import cata_pipeline.definitions;"
        "from cata_pipeline.orchestration.resources import PipelineResource;"
        "from cata_pipeline.tenants.fleet import fleet_health;"
        "health = fleet_health(PipelineResource().control(), datetime.now(UTC));"
        f"print(health.tenants, [m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=settings_environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("0 []", "")
