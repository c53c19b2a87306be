"""`providers list` and `providers check`, at the demo's POS."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cata_pipeline.cli import main
from cata_pipeline.demo.menus import MENUS
from cata_pipeline.demo.pos import DemoPos
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.providers.conformance.pos_server import Sold
from cata_pipeline.providers.conformance.scripted_server import running
from cata_pipeline.providers.registry import _installed
from cata_pipeline.settings import Settings
from cata_pipeline.tenants.model import Tenant
from cata_pipeline_tests.providers.square_pos import SquarePos
from cata_pipeline_tests.providers.test_registry import installed

Run = Callable[..., Result]
MENU = MENUS[0]


@pytest.fixture
def run(settings_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def command(*words: str) -> Result:
        for name, value in settings_environment.items():
            monkeypatch.setenv(name, value)
        return CliRunner().invoke(main, ["providers", *words])

    return command


@pytest.fixture
def tenant(settings_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A tenant at one of the demo's stores, registered and never synced."""
    with DemoPos([MENU]) as pos:
        settings_environment["CATA_ALLOW_PRIVATE_ENDPOINTS"] = pos.endpoints
        store = pos.store(MENU.tenant_id)
        monkeypatch.setenv("SHOP", json.dumps(store.credentials))
        options = {"store_url": store.url, "token_url": pos.token_url, "page_size": 50}
        pipeline = Pipeline(Settings.from_environment(settings_environment))
        pipeline.registry.import_tenants([Tenant(MENU.tenant_id, "iseller", "env:SHOP", options=options)])
        yield MENU.tenant_id


def test_every_option_of_every_provider_is_listed_with_its_meaning(run: Run) -> None:
    told = json.loads(run("list", "--json").stdout)["providers"]
    assert told["iseller"]["credentials"] == ["api_key", "api_secret"]
    assert [name for name, option in told["iseller"]["options"].items() if option["required"]] == ["store_url"]
    assert told["iseller"]["rotating_credential"] == "refresh_token"
    shown = run("list").stdout
    assert "credentials: api_key, api_secret, refresh_token (where one is given: changes with each use)" in shown
    for provider in told.values():
        for name, option in provider["options"].items():
            assert option["meaning"]
            assert name in shown


def test_a_package_that_cannot_be_used_hides_no_other(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(tmp_path, "moka_pos", "moka = moka_pos:MOKA", "import nowhere")
    monkeypatch.syspath_prepend(tmp_path)
    _installed.cache_clear()
    try:
        listed, as_json = run("list"), run("list", "--json")
    finally:
        _installed.cache_clear()
    assert (listed.exit_code, as_json.exit_code) == (2, 2)
    assert "square (Square); credentials: access_token" in listed.stdout
    assert "The provider 'moka' of moka_pos 1.0 cannot be loaded" in listed.stderr
    told = json.loads(as_json.stdout)
    assert "square" in told["providers"]
    assert list(told["unusable"]) == ["moka"]


def test_one_page_is_shown_as_it_would_be_mapped(run: Run, tenant: str) -> None:
    told = json.loads(run("check", tenant, "--json").stdout)
    assert (told["tenant"], told["ok"]) == (tenant, True)
    assert 0 < told["counts"]["items"] <= 50
    first = told["items"][0]
    assert first["item_code"] in {product.item_code for product in MENU.products}
    shown = run("check", tenant).stdout
    assert f"{tenant}: the first page maps to {told['counts']['items']} items" in shown
    assert shown.endswith("Nothing was written.\n")


def test_what_stands_on_later_pages_is_said_to_be_missing(
    run: Run, settings_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(SquarePos()) as seller:
        seller.sell([Sold("K-1", category="Coffee")], [Sold("K-2")])
        settings_environment["CATA_ALLOW_PRIVATE_ENDPOINTS"] = seller.origin.removeprefix("http://")
        monkeypatch.setenv("SHOP", json.dumps(seller.secrets()))
        pipeline = Pipeline(Settings.from_environment(settings_environment))
        pipeline.registry.import_tenants([Tenant("kopi", "square", "env:SHOP", options=seller.options())])
        shown = run("check", "kopi").stdout
    assert "1 x category that is not in the catalog left out\nOnly one page was asked for" in shown


def test_a_pos_that_refuses_the_credentials_is_told_with_exit_status_1(
    run: Run, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP", json.dumps({"api_key": "nobody", "api_secret": "s3cret-of-nobody"}))
    result = run("check", tenant)
    assert result.exit_code == 1
    assert f"{tenant}: FAILED: The POS does not accept the credentials" in result.stdout
    assert "s3cret-of-nobody" not in result.output
    assert json.loads(run("check", tenant, "--json").stdout)["ok"] is False


def test_a_check_leaves_neither_snapshot_nor_record_nor_row(
    run: Run, tenant: str, settings_environment: dict[str, str]
) -> None:
    assert run("check", tenant).exit_code == 0
    pipeline = Pipeline(Settings.from_environment(settings_environment))
    assert list(pipeline.snapshot_bucket.names("")) == []
    assert pipeline.history.newest([tenant]) == {}
