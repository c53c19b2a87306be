"""`cata-pipeline history`: what changed, when, by which run, from what to what."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

from cata_pipeline.cli import main
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.reconcile.changes import SCHEMA, changes_parquet
from cata_pipeline.reconcile.report import Change
from cata_pipeline.settings import Settings
from cata_pipeline.tenants.history import TenantRun
from cata_pipeline.tenants.model import Tenant
from cata_pipeline_tests.tenant_runs import put_on_record

NOW = datetime(2026, 5, 1, 2, 0, tzinfo=UTC)


@pytest.fixture
def pipeline(settings_environment: dict[str, str], settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    for name, value in settings_environment.items():
        monkeypatch.setenv(name, value)
    pipeline = Pipeline(settings)
    pipeline.registry.import_tenants([Tenant("kopi-kita", "iseller", "env:X")])
    return pipeline


def record_sync(pipeline: Pipeline, run_id: str, at: datetime, *changes: Change) -> None:
    path = f"kopi-kita/snapshots/s/changes-{run_id}.parquet" if changes else None
    if path:
        rows = pa.Table.from_pylist([asdict(change) for change in changes], schema=SCHEMA)
        content = changes_parquet([rows])
        pipeline.snapshot_bucket.create(path, content, content_type="application/vnd.apache.parquet")
    put_on_record(pipeline.control, TenantRun("kopi-kita", "sync", run_id, at, at, "s", path, None, {}))


def history(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["history", *arguments])
    return result.exit_code, result.output


def changes(*arguments: str) -> list[dict[str, Any]]:
    code, output = history("kopi-kita", "--json", *arguments)
    assert code == 0
    told: list[dict[str, Any]] = json.loads(output)["changes"]
    return told


RENAME = Change("items", "updated", "LAT", None, "name", "Latte", "Caffè Latte")
INSERT = Change("items", "inserted", "TEA", None, None, None, '{"name": "Tea"}')
HIDE = Change("item_modifiers", "hidden", "LAT", '["g-milk"]', "visible", "true", "false")


def test_changes_come_newest_sync_first_with_their_run_and_time(pipeline: Pipeline) -> None:
    record_sync(pipeline, "first", NOW, INSERT)
    record_sync(pipeline, "quiet", NOW + timedelta(days=1))
    record_sync(pipeline, "second", NOW + timedelta(days=2), RENAME, HIDE)
    told = changes()
    assert [(row["run_id"], row["item_code"], row["column"]) for row in told] == [
        ("second", "LAT", "name"),
        ("second", "LAT", "visible"),
        ("first", "TEA", None),
    ]
    assert told[0] == {"at": "2026-05-03T02:00:00+00:00", "run_id": "second", **RENAME.__dict__}


def test_one_item_and_a_limit_narrow_it(pipeline: Pipeline) -> None:
    record_sync(pipeline, "first", NOW, INSERT, RENAME)
    record_sync(pipeline, "second", NOW + timedelta(days=1), HIDE)
    assert [row["table"] for row in changes("--item", "LAT")] == ["item_modifiers", "items"]
    assert [row["run_id"] for row in changes("--limit", "1")] == ["second"]
    assert changes("--item", "lat") == []


def test_people_read_a_table_or_a_sentence(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert history("kopi-kita") == (0, "No sync has changed anything here.\n")
    record_sync(pipeline, "abcdefgh-more", NOW, RENAME)
    code, output = history("kopi-kita")
    assert (code, "abcdefgh" in output, "abcdefgh-more" in output) == (0, True, False)
    assert "2026-05-01 02:00" in output


def test_an_unknown_tenant_is_wrong_use_and_a_retired_one_is_not(pipeline: Pipeline) -> None:
    assert history("nobody")[0] == 2
    pipeline.registry.retire(["kopi-kita"])
    assert history("kopi-kita")[0] == 0
