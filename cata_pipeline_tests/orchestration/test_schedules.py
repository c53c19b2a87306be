"""The schedules on a real instance and a real control database."""

import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.workspace.load_target import ModuleTarget
from dagster._scheduler.scheduler import ScheduleIterationTimes, launch_scheduled_runs

from cata_pipeline.orchestration.resources import PipelineResource
from cata_pipeline.orchestration.schedules import daily_image_sweep, nightly_resync
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.tenants.model import Tenant

START, END, SINGLE = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end", "dagster/partition"
BOTH = pytest.mark.parametrize("schedule", [nightly_resync, daily_image_sweep], ids=lambda schedule: schedule.name)


def tick(schedule: dg.ScheduleDefinition, instance: dg.DagsterInstance) -> list[dg.RunRequest] | dg.SkipReason:
    with dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2025, 3, 1, 19, tzinfo=UTC),
        resources={"pipeline": PipelineResource()},
    ) as context:
        result = schedule(context)
    assert isinstance(result, list | dg.SkipReason)
    return result


def register(pipeline: Pipeline, *tenant_ids: str) -> None:
    pipeline.registry.import_tenants([Tenant(tenant_id, "iseller", "env:NOBODY") for tenant_id in tenant_ids])


@BOTH
def test_everybody_is_served_in_ranges_of_a_hundred_in_the_order_they_joined(
    schedule: dg.ScheduleDefinition, instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    keys = [f"tenant-{number}" for number in range(250, 0, -1)]
    register(pipeline, *keys)
    instance.add_dynamic_partitions("tenants", keys)
    requests = tick(schedule, instance)
    assert isinstance(requests, list)
    assert [(request.tags[START], request.tags[END]) for request in requests] == [
        ("tenant-250", "tenant-151"),
        ("tenant-150", "tenant-51"),
        ("tenant-50", "tenant-1"),
    ]
    # Without a key each, Dagster refuses a tick that asks for several runs.
    assert len({request.run_key for request in requests if request.run_key}) == 3


@BOTH
def test_a_retired_tenant_is_not_served_although_its_partition_is_still_there(
    schedule: dg.ScheduleDefinition, instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    register(pipeline, "warung", "kopi", "roti")
    instance.add_dynamic_partitions("tenants", ["warung", "kopi", "roti"])
    pipeline.registry.retire(["kopi"])
    requests = tick(schedule, instance)
    assert isinstance(requests, list)
    assert [request.tags[SINGLE] for request in requests] == ["warung", "roti"]


@BOTH
def test_without_tenants_the_tick_says_how_to_get_some(
    schedule: dg.ScheduleDefinition, instance: dg.DagsterInstance, pipeline: Pipeline
) -> None:
    result = tick(schedule, instance)
    assert isinstance(result, dg.SkipReason)
    assert "cata-pipeline tenants import" in (result.skip_message or "")


def test_the_night_begins_at_two_in_the_time_zone_of_the_merchants(tmp_path: Path) -> None:
    program = (
        "from cata_pipeline.orchestration.schedules import nightly_resync as night;"
        " print(night.cron_schedule, night.execution_timezone)"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PATH": os.defpath, **zone},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for zone in ({}, {"CATA_RESYNC_TIMEZONE": "Asia/Makassar"})
    ]
    assert told == ["0 2 * * * Asia/Jakarta", "0 2 * * * Asia/Makassar"]


def night_times(instance: dg.DagsterInstance) -> list[str]:
    """When the schedule's ticks were due, oldest first."""
    [state] = [state for state in instance.all_instigator_state() if state.name == nightly_resync.name]
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id)
    return [f"{datetime.fromtimestamp(tick.timestamp, UTC):%d %H:%M}" for tick in reversed(ticks)]


def test_another_time_zone_moves_the_next_night_and_repeats_none(
    instance: dg.DagsterInstance, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: dict[str, ScheduleIterationTimes] = {}

    def daemon_lives(zone: str, *moments: datetime) -> None:
        """What the scheduler does at these moments, with a code server of its own."""
        monkeypatch.setenv("CATA_RESYNC_TIMEZONE", zone)
        target = ModuleTarget("cata_pipeline.definitions", None, None, "cata_pipeline")
        with create_test_daemon_workspace_context(target, instance) as workspace:
            for moment in moments:
                with freeze_time(moment):
                    list(launch_scheduled_runs(workspace, logging.getLogger("scheduler"), moment, times))

    # 02:00 in Jakarta is 19:00 UTC the day before, in Chicago 08:00 UTC.
    daemon_lives("Asia/Jakarta", utc(1, 12), utc(1, 19, 1), utc(2, 0))
    daemon_lives("America/Chicago", utc(2, 0, 5), utc(2, 8, 1), utc(2, 19, 1), utc(3, 8, 1))
    assert night_times(instance) == ["01 19:00", "02 08:00", "03 08:00"]


def utc(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 1, day, hour, minute, tzinfo=UTC)
