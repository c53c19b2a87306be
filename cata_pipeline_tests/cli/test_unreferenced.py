"""`cata-pipeline images --unreferenced`: what lies in the bucket that no row refers to."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy.engine import URL

from cata_pipeline.cli import main
from cata_pipeline.images import unreferenced
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.settings import Settings
from cata_pipeline.tenants.model import Tenant

TENANTS = ("kopi-kita", "roti-pagi")


@pytest.fixture
def pipeline(
    settings_environment: dict[str, str],
    settings: Settings,
    new_tenant_database: Callable[[str], URL],
    monkeypatch: pytest.MonkeyPatch,
) -> Pipeline:
    """Two tenants, each with one object that no row shows and that is old enough to be told."""
    monkeypatch.setattr(unreferenced, "SETTLING", timedelta(0))
    monkeypatch.setenv("COLUMNS", "160")
    for name, value in settings_environment.items():
        monkeypatch.setenv(name, value)
    new_tenant_database(TENANTS[1])
    pipeline = Pipeline(settings)
    pipeline.registry.import_tenants([Tenant(tenant, "iseller", "env:X") for tenant in TENANTS])
    for tenant in TENANTS:
        pipeline.image_bucket.create(f"{tenant}/items/orphan.jpg", b"12345", content_type="image/jpeg")
    return pipeline


def report(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(main, ["images", "--unreferenced", *arguments])
    assert result.exit_code == exit_code, result.output
    return result.output


def told(*arguments: str, exit_code: int = 0) -> Any:
    return json.loads(report("--json", *arguments, exit_code=exit_code))


EMPTY = {"objects": 0, "bytes": 0, "sample": []}


def orphan_of(tenant: str) -> dict[str, Any]:
    pile = {"objects": 1, "bytes": 5, "sample": [f"{tenant}/items/orphan.jpg"]}
    return {"ok": True, "unreferenced": pile, "former": EMPTY, "recent": EMPTY}


def test_one_tenant_or_all_are_reported_and_nothing_is_deleted(pipeline: Pipeline) -> None:
    assert told("roti-pagi") == {"run_id": None, "tenants": {"roti-pagi": orphan_of("roti-pagi")}}
    assert told("--all") == {"run_id": None, "tenants": {tenant: orphan_of(tenant) for tenant in TENANTS}}
    assert list(pipeline.image_bucket.names("")) == [f"{tenant}/items/orphan.jpg" for tenant in TENANTS]


def test_people_read_counts_a_sample_and_that_nothing_was_deleted(pipeline: Pipeline) -> None:
    for number in range(30):
        pipeline.image_bucket.create(f"kopi-kita/items/{number:02}.jpg", b"123", content_type="image/jpeg")
    lines = report("kopi-kita").splitlines()
    assert lines[0].split() == ["tenant", "unreferenced", "bytes", "former", "bytes", "recent", "bytes"]
    assert lines[1].split() == ["kopi-kita", "31", "95", "0", "0", "0", "0"]
    assert lines[2:4] == [f"kopi-kita: unreferenced: kopi-kita/items/{number}.jpg" for number in ("00", "01")]
    assert lines[22] == "kopi-kita: and 11 more"
    assert "Nothing was deleted." in lines[23]


def test_a_tenant_that_cannot_be_read_costs_no_other(pipeline: Pipeline) -> None:
    pipeline.registry.import_tenants([Tenant("bare", "iseller", "env:X", "postgresql+psycopg://nobody@127.0.0.1:1/x")])
    pipeline.image_bucket.create("bare/items/orphan.jpg", b"12345", content_type="image/jpeg")
    entry = told("--all", exit_code=1)["tenants"]
    assert (entry["bare"]["ok"], "Check that it can be reached" in entry["bare"]["error"]) == (False, True)
    assert entry["kopi-kita"] == orphan_of("kopi-kita")
    assert "bare: FAILED: " in report("--all", exit_code=1)


def test_it_asks_for_tenants_as_a_copy_does(pipeline: Pipeline) -> None:
    assert "Name the tenants, or say --all" in report(exit_code=2)
    assert "Not registered, or retired: nobody" in report("nobody", exit_code=2)
