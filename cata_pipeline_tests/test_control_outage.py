"""A control database that is short of something for a while costs a record or a wait, never a batch."""

from contextlib import ExitStack

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cata_pipeline import pipeline as composition
from cata_pipeline.outcomes import SyncOrder
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.settings import Settings
from cata_pipeline.tenants.lock import tenant_lock

TENANTS_AT_ONCE = 40


def test_outcomes_that_cannot_be_recorded_are_told_all_the_same(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(composition, "_RECORD_SECONDS", 0.1)
    pipeline = Pipeline(settings)
    with pipeline.control.begin() as connection:
        connection.execute(sa.text("ALTER TABLE tenant_runs RENAME TO elsewhere"))
    outcomes = list(pipeline.sync_batch(["one", "two"], SyncOrder(), "run", concurrency=1))
    assert [outcome.tenant_id for outcome in outcomes] == ["one", "two"]
    assert all("is not registered" in (outcome.error or "") for outcome in outcomes)
    assert caplog.text.count("cannot be recorded") == 2


def test_many_tenants_at_once_still_get_a_second_connection(control: Engine) -> None:
    with ExitStack() as held:
        for number in range(TENANTS_AT_ONCE):
            held.enter_context(tenant_lock(control, f"tenant-{number}", "sync", "run"))
        with control.connect() as connection:
            assert connection.execute(sa.text("SELECT 1")).scalar_one() == 1
