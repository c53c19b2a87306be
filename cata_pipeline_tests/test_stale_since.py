"""Since when items are stale, across the syncs of one tenant and whatever its control database is short of."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cata_pipeline import pipeline as composition
from cata_pipeline.catalog.model import Catalog
from cata_pipeline.outcomes import SyncOrder, SyncOutcome
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.reconcile import steps
from cata_pipeline.settings import Settings
from cata_pipeline.tenants.model import Tenant
from cata_pipeline_tests.reconcile.conftest import latte

_runs = itertools.count(1)
Sync = Callable[..., SyncOutcome]


@pytest.fixture
def pipeline(settings: Settings, tenant_id: str) -> Pipeline:
    pipeline = Pipeline(settings)
    pipeline.registry.import_tenants([Tenant(tenant_id, "iseller", "env:SHOP", options={})])
    return pipeline


@pytest.fixture
def sync(pipeline: Pipeline, tenant_id: str) -> Sync:
    """Applies a snapshot of items with these codes."""

    def run(*codes: str, dry_run: bool = False) -> SyncOutcome:
        items = tuple(latte(item_code=code) for code in sorted(codes))
        run_id = f"run-{next(_runs)}"
        pipeline.snapshots.save(tenant_id, "iseller", Catalog(items, ()), run_id=run_id, now=datetime.now(UTC))
        return pipeline.sync(tenant_id, SyncOrder(fetch=False, dry_run=dry_run), run_id)

    return run


def stale(outcome: SyncOutcome) -> dict[str, datetime]:
    assert outcome.error is None
    return {item.item_code: item.since for item in outcome.stale}


def on_record(pipeline: Pipeline, tenant_id: str) -> list[Any]:
    return pipeline.stale_items.longest([tenant_id], 100).get(tenant_id, [])


def test_each_sync_brings_the_stale_items_in_step_and_keeps_their_since(
    sync: Sync, pipeline: Pipeline, tenant_id: str
) -> None:
    assert stale(sync("A", "B", "C", "D")) == {}
    first = stale(sync("C", "D"))
    assert first.keys() == {"A", "B"}
    second = stale(sync("B", "D"))
    assert second == {"A": first["A"], "C": second["C"]}
    assert second["C"] > first["A"]
    assert [item.item_code for item in on_record(pipeline, tenant_id)] == ["A", "C"]
    assert stale(sync("A", "B", "C", "D")) == {}
    assert on_record(pipeline, tenant_id) == []


def test_a_dry_run_and_a_failed_sync_record_nothing(
    sync: Sync, pipeline: Pipeline, tenant_id: str, tenant_engine: Engine
) -> None:
    sync("A", "B")
    outcome = sync("B", dry_run=True)
    assert outcome.report is not None
    assert (outcome.report.stale_codes, outcome.stale) == (("A",), ())
    with tenant_engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE items RENAME COLUMN visible TO seen"))
    assert sync("B").error is not None
    assert on_record(pipeline, tenant_id) == []


def test_more_stale_items_than_are_listed_are_counted_and_said(
    sync: Sync, pipeline: Pipeline, tenant_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(*"ABCDE")
    monkeypatch.setattr(steps, "STALE_LISTED", 3)
    report = sync("E").report
    assert report is not None
    assert (report.stale, report.stale_codes) == (4, ("A", "B", "C"))
    assert report.warnings == ("Only the first 3 of 4 stale items are on record, by item code.",)
    assert len(on_record(pipeline, tenant_id)) == 3


def test_a_control_database_that_does_not_take_the_record_costs_a_warning_and_not_the_sync(
    sync: Sync, pipeline: Pipeline, tenant_id: str
) -> None:
    sync("A", "B")
    with pipeline.control.begin() as connection:
        connection.execute(sa.text("ALTER TABLE stale_items RENAME TO elsewhere"))
    outcome = sync("B", "NEW")
    assert (outcome.error, outcome.counts["inserted"], outcome.counts["stale"], outcome.stale) == (None, 1, 1, ())
    assert outcome.report is not None
    [warning] = outcome.report.warnings
    assert warning.startswith("The rows are written, but which items are stale is not on record: ")
    assert pipeline.history.newest([tenant_id])[tenant_id, "sync"].error is None


def test_an_outcome_names_the_longest_stale_items_only(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "STALE_SHOWN", 2)
    sync(*"ABCD")
    sync("A", "B", "C")
    assert [item.item_code for item in sync("C").stale] == ["D", "A"]
