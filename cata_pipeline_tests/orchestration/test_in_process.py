"""Interrupts of a run at the command line that come at moments of Dagster's own choosing, not only amid the work."""

import json
import os
import signal
from collections.abc import Callable

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from cata_pipeline.demo.menus import MENUS
from cata_pipeline.demo.pos import DemoPos
from cata_pipeline.orchestration.in_process import JobAnswer, run_in_process
from cata_pipeline.orchestration.metadata import RECONCILED, SNAPSHOT
from cata_pipeline.orchestration.resources import PipelineResource
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.tenants.model import Tenant

FIRST, BETWEEN, LAST = "first", "between", "last"
TOLD = "The run was cancelled before this tenant was served. What it had finished stays; start it again."


@pytest.fixture
def run_two(
    instance: dg.DagsterInstance,
    pos: DemoPos,
    pipeline: Pipeline,
    new_tenant_database: Callable[[str], URL],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str, str], JobAnswer]:
    """Runs a job for two tenants that are no neighbours, with a run for each."""
    store = pos.store(MENUS[0].tenant_id)
    monkeypatch.setenv("STORE", json.dumps(store.credentials))
    for tenant_id in (FIRST, LAST):
        new_tenant_database(tenant_id)
    everybody = [FIRST, BETWEEN, LAST]
    options = {"store_url": store.url, "token_url": pos.token_url}
    pipeline.registry.import_tenants([Tenant(name, "iseller", "env:STORE", options=options) for name in everybody])
    instance.add_dynamic_partitions("tenants", everybody)
    return lambda job, op: run_in_process(job, op, [FIRST, LAST], {}, instance)


@pytest.fixture
def copy_two(run_two: Callable[[str, str], JobAnswer]) -> Callable[[], JobAnswer]:
    """Copies the pictures, of which there are none yet, of the two."""
    return lambda: run_two("copy_images", "image_objects")


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def interrupt_after(event_type: dg.DagsterEventType, patch: pytest.MonkeyPatch) -> None:
    """Interrupt this process once, right after the first event of that kind was stored."""
    store, due = dg.DagsterInstance.handle_new_event, [event_type]

    def store_and_interrupt(instance: dg.DagsterInstance, event: dg.EventLogEntry, **options: object) -> None:
        store(instance, event, **options)  # type: ignore[arg-type]
        if event.dagster_event and event.dagster_event.event_type in due:
            due.clear()
            interrupt()

    patch.setattr(dg.DagsterInstance, "handle_new_event", store_and_interrupt)


def statuses(instance: dg.DagsterInstance) -> list[dg.DagsterRunStatus]:
    return [run.status for run in instance.get_runs()]


def test_without_an_interrupt_both_runs_serve_their_tenant(
    instance: dg.DagsterInstance, copy_two: Callable[[], JobAnswer]
) -> None:
    assert copy_two().ok
    assert statuses(instance) == [dg.DagsterRunStatus.SUCCESS] * 2


def test_an_interrupt_before_the_first_tenant_cancels_the_run_and_no_other_begins(
    instance: dg.DagsterInstance, copy_two: Callable[[], JobAnswer], monkeypatch: pytest.MonkeyPatch
) -> None:
    get, due = PipelineResource.get, [True]

    def interrupted(resource: PipelineResource) -> Pipeline:
        if due:
            due.clear()
            interrupt()
        return get(resource)

    monkeypatch.setattr(PipelineResource, "get", interrupted)
    answer = copy_two()
    assert statuses(instance) == [dg.DagsterRunStatus.CANCELED]
    assert [tenant.error for tenant in answer.tenants.values()] == [TOLD, TOLD]


@pytest.mark.parametrize(
    "moment",
    [
        dg.DagsterEventType.RUN_START,
        dg.DagsterEventType.STEP_START,
        dg.DagsterEventType.RESOURCE_INIT_SUCCESS,
    ],
)
def test_an_interrupt_while_dagster_prepares_the_asset_cancels_the_run_and_no_other_begins(
    instance: dg.DagsterInstance,
    copy_two: Callable[[], JobAnswer],
    monkeypatch: pytest.MonkeyPatch,
    moment: dg.DagsterEventType,
) -> None:
    interrupt_after(moment, monkeypatch)
    answer = copy_two()
    assert statuses(instance) == [dg.DagsterRunStatus.CANCELED]
    assert [tenant.error for tenant in answer.tenants.values()] == [TOLD, TOLD]


def test_an_interrupt_after_the_asset_leaves_its_tenant_served_and_no_other_run_begins(
    instance: dg.DagsterInstance, copy_two: Callable[[], JobAnswer], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(dg.DagsterEventType.STEP_SUCCESS, monkeypatch)
    answer = copy_two()
    assert len(statuses(instance)) == 1
    assert [answer.tenants[tenant_id].error for tenant_id in (FIRST, LAST)] == [None, TOLD]


def test_a_tenant_of_which_a_cancelled_run_tells_only_the_snapshot_was_not_served(
    instance: dg.DagsterInstance, run_two: Callable[[str, str], JobAnswer], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(dg.DagsterEventType.ASSET_MATERIALIZATION, monkeypatch)
    answer = run_two("sync_tenants", "catalog_sync")
    assert instance.get_materialized_partitions(SNAPSHOT) == {FIRST}
    assert statuses(instance) == [dg.DagsterRunStatus.CANCELED]
    assert [tenant.error for tenant in answer.tenants.values()] == [TOLD, TOLD]


def fail_at(wanted: Callable[[dg.DagsterEvent], bool], times: float, patch: pytest.MonkeyPatch) -> None:
    """Dagster's storage does not take the event that is wanted, nor what comes then, for so many events."""
    store, left = dg.DagsterInstance.handle_new_event, [0.0]

    def store_or_fail(instance: dg.DagsterInstance, event: dg.EventLogEntry, **options: object) -> None:
        if event.dagster_event and wanted(event.dagster_event) and not left[0]:
            left[0] = times
        if left[0] > 1:
            left[0] -= 1
            raise sa.exc.OperationalError("INSERT", {}, Exception("the storage is away"))
        store(instance, event, **options)  # type: ignore[arg-type]

    patch.setattr(dg.DagsterInstance, "handle_new_event", store_or_fail)


def is_materialized(event: dg.DagsterEvent) -> bool:
    return event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key == RECONCILED


def is_end_of_step(event: dg.DagsterEvent) -> bool:
    return event.event_type is dg.DagsterEventType.STEP_SUCCESS


def test_a_storage_that_is_away_for_a_moment_costs_nothing(
    run_two: Callable[[str, str], JobAnswer], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(is_materialized, 2, monkeypatch)
    answer = run_two("sync_tenants", "catalog_sync")
    assert (answer.ok, answer.incomplete) == (True, None)


def test_a_storage_that_fails_after_rows_were_written_leaves_an_answer_for_every_tenant(
    run_two: Callable[[str, str], JobAnswer], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(is_end_of_step, float("inf"), monkeypatch)
    answer = run_two("sync_tenants", "catalog_sync")
    assert list(answer.tenants) == [FIRST, LAST]
    assert answer.tenants[FIRST].error is None
    assert answer.tenants[FIRST].metadata["inserted"] > 0
    assert answer.tenants[LAST].error
    assert not answer.ok
    assert "the storage is away" in str(answer.incomplete)
