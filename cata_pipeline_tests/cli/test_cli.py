"""The command line on real servers, a demo POS and a Dagster instance on PostgreSQL."""

import contextlib
import itertools
import json
import os
import pty
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from sqlalchemy.engine import URL

import cata_pipeline
from cata_pipeline.cli import main
from cata_pipeline.control.database import open_control_database
from cata_pipeline.demo.menus import MENUS
from cata_pipeline.demo.pos import DemoPos, DemoStore
from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.providers.pacing import OF_THIS_PROCESS
from cata_pipeline.tenants.lock import tenant_lock

PROJECT = Path(cata_pipeline.__path__[0]).parent
PROGRAM = Path(sys.executable).with_name("cata-pipeline")
PRODUCTS = 12
PASSWORD = "hunter2"
COMMANDS = (
    "tenants import",
    "tenants list",
    "tenants retire",
    "providers list",
    "providers check",
    "sync",
    "images",
    "status",
    "demo",
    "dev",
    "history",
)
SYNC_KEYS = {
    "items_in_snapshot", "rejected", "inserted", "updated", "unchanged", "renamed", "names_kept", "hidden", "shown",
    "image_urls_changed", "stale", "seconds_fetch", "seconds_write",
}  # fmt: skip
IMAGE_KEYS = {
    "considered", "not_modified", "downloaded", "bytes_downloaded", "uploaded", "already_stored", "written_back",
    "overridden", "failed", "deferred", "seconds",
}  # fmt: skip
_numbers = itertools.count(1)


@dataclass
class Terminal:
    """A shell whose environment leads to this module's servers."""

    servers: EmbeddedServers
    pos: DemoPos
    folder: Path
    environment: Mapping[str, str]
    patch: pytest.MonkeyPatch

    def run(self, *arguments: object) -> Result:
        """Run a command in this process; fails on any exception that is no exit status."""
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert not self.secrets.search(result.output), "a secret was printed"
        return result

    def told(self, *arguments: object, exit_code: int = 0) -> Any:
        """The JSON that a command prints; fails when anything else is on standard output."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == exit_code, result.output
        return json.loads(result.stdout)

    @property
    def secrets(self) -> re.Pattern[str]:
        secrets = [self.store(number).credentials["api_secret"] for number in range(3)]
        return re.compile("|".join((PASSWORD, *secrets)))

    def store(self, number: int = 0) -> DemoStore:
        return self.pos.store(MENUS[number].tenant_id)

    def tenants_file(self, *tenant_ids: str, **changes: str) -> Path:
        keys = {"provider": "iseller", "credentials": "env:SHOP_0"} | changes
        lines = "\n".join(f'{key} = "{value}"' for key, value in keys.items())
        options = f'[tenants.options]\nstore_url = "{self.store().url}"\ntoken_url = "{self.pos.token_url}"'
        file = self.folder / f"tenants-{next(_numbers)}.toml"
        file.write_text("\n".join(f'[[tenants]]\nid = "{id_}"\n{lines}\n{options}' for id_ in tenant_ids))
        return file

    def register(self, *words: str, **changes: str) -> list[str]:
        """New tenants with empty tables, named after `words`, in that order of partitions."""
        ids = [f"{word}-{next(_numbers)}" for word in words]
        for tenant_id in ids:
            self.servers.create_database(f"cli_{tenant_id}")
            schema = resources.files("cata_pipeline.demo").joinpath("tenant_schema_postgresql.sql").read_text()
            self.sql(tenant_id, schema)
        assert self.run("tenants", "import", self.tenants_file(*ids, **changes)).exit_code == 0
        with dg.DagsterInstance.get() as instance:
            instance.add_dynamic_partitions("tenants", ids)
        return ids

    def sql(self, tenant_id: str, statement: str) -> None:
        engine = sa.create_engine(self.servers.postgresql_url(f"cli_{tenant_id}"), poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)

    def rows(self, tenant_id: str, statement: str) -> list[Any]:
        engine = sa.create_engine(self.servers.postgresql_url(f"cli_{tenant_id}"), poolclass=sa.NullPool)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement))]


@pytest.fixture(scope="module")
def pos() -> Iterator[DemoPos]:
    """The demo's stores with a dozen products each."""
    with DemoPos([replace(menu, products=menu.products[:PRODUCTS]) for menu in MENUS]) as pos:
        yield pos


@pytest.fixture(scope="module")
def environment(
    servers: EmbeddedServers, pos: DemoPos, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    home = tmp_path_factory.mktemp("dagster-home")
    shutil.copy(PROJECT / "dagster.yaml", home)
    for name in ("cli_control", "cli_dagster"):
        servers.create_database(name)
    for name in ("cli-images", "cli-snapshots"):
        servers.create_bucket(name)

    def shown(database: str, driver: str = "postgresql+psycopg") -> str:
        url = servers.postgresql_url(database, driver).set(password=PASSWORD)
        return url.render_as_string(hide_password=False)

    yield {
        "CATA_DATABASE_URL": shown("cli_control"),
        "CATA_TENANT_DATABASE_URL": shown("cli_TENANT").replace("TENANT", "{tenant}"),
        "CATA_IMAGE_BUCKET": "cli-images",
        "CATA_SNAPSHOT_BUCKET": "cli-snapshots",
        "STORAGE_EMULATOR_HOST": servers.gcs_origin,
        "CATA_ALLOW_PRIVATE_ENDPOINTS": pos.endpoints,
        "DAGSTER_HOME": str(home),
        "DAGSTER_PG_URL": shown("cli_dagster", "postgresql+psycopg2"),
        **{f"SHOP_{n}": json.dumps(pos.store(menu.tenant_id).credentials) for n, menu in enumerate(MENUS)},
    }
    open_control_database(servers.postgresql_url("cli_control").set(password=PASSWORD)).dispose()


@pytest.fixture
def terminal(
    servers: EmbeddedServers,
    pos: DemoPos,
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Terminal:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(OF_THIS_PROCESS, "_interval", 0.0)
    return Terminal(servers, pos, tmp_path, environment, monkeypatch)


@pytest.fixture
def empty_registry(control_database_url: URL, terminal: Terminal) -> Terminal:
    """The same terminal with a control database of its own, which no tenant is in."""
    text = control_database_url.set(password=PASSWORD).render_as_string(hide_password=False)
    terminal.patch.setenv("CATA_DATABASE_URL", text)
    return terminal


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_without_any_environment(command: str) -> None:
    result = CliRunner().invoke(main, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: main {command} [OPTIONS]")
    assert len(result.stdout.splitlines()) > 5
    assert CliRunner().invoke(main, [*command.split(), "-h"]).stdout == result.stdout


def test_the_commands_of_the_contract_are_there() -> None:
    listed = CliRunner().invoke(main, ["--help"]).stdout
    assert set(re.findall(r"^  (\w+) ", listed.partition("Commands:")[2], re.MULTILINE)) == {
        command.split()[0] for command in COMMANDS
    }


def test_dev_makes_no_tables_for_what_cannot_be_a_tenants_id(tmp_path: Path) -> None:
    state = tmp_path / "state"
    result = CliRunner().invoke(main, ["dev", "--state", str(state), "--tenant", "fine", "--tenant", "not fine"])
    assert result.exit_code == 2
    assert "not fine: a tenant's id is 1 to 64 letters, digits, _ and -." in result.stderr
    assert not state.exists()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])  # noqa: S104 taken on loopback, too
def test_dev_starts_nothing_when_its_port_is_taken(tmp_path: Path, address: str) -> None:
    state = tmp_path / "state"
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family, dualstack_ipv6=":" in address) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["dev", "--state", str(state), "--port", str(port)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"Error: The Dagster UI cannot have port {port} of 127.0.0.1: Address already in use."
        " End what uses it, or choose another one: --port.\n"
    )
    assert not state.exists()


@pytest.mark.parametrize("port", ["0", "-1", "65536", "http"])
def test_dev_refuses_what_is_not_a_port(tmp_path: Path, port: str) -> None:
    state = tmp_path / "state"
    result = CliRunner().invoke(main, ["dev", "--state", str(state), "--port", port])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Invalid value for '--port'" in result.stderr
    assert not state.exists()


def test_tenants_are_imported_once_and_changed_where_the_file_differs(empty_registry: Terminal) -> None:
    terminal = empty_registry
    file = terminal.tenants_file("b-shop", "a-shop")
    assert terminal.run("tenants", "import", file).stdout == "added: a-shop, b-shop\n"
    nothing: list[str] = []
    assert terminal.told("tenants", "import", file) == {
        "added": nothing,
        "changed": nothing,
        "unchanged": ["a-shop", "b-shop"],
        "revived": nothing,
    }
    changed = terminal.tenants_file("a-shop", credentials="env:SHOP_1")
    assert terminal.told("tenants", "import", changed)["changed"] == ["a-shop"]


def test_an_import_of_ten_thousand_tenants_names_twenty_and_counts_the_others(empty_registry: Terminal) -> None:
    file = empty_registry.tenants_file(*(f"tenant-{number:05}" for number in range(10_000)))
    names = ", ".join(f"tenant-{number:05}" for number in range(20))
    assert empty_registry.run("tenants", "import", file).stdout == f"added: {names} and 9980 more\n"
    assert len(empty_registry.told("tenants", "list")["tenants"]) == 10_000


def test_tenants_are_listed_with_references_but_without_secrets(empty_registry: Terminal) -> None:
    terminal = empty_registry
    assert terminal.told("tenants", "list") == {"tenants": {}}
    own = terminal.tenants_file("b-shop", database_url=f"postgresql+psycopg://cata:{PASSWORD}@host/shop")
    terminal.run("tenants", "import", own)
    terminal.run("tenants", "import", terminal.tenants_file("a-shop"))
    terminal.run("tenants", "retire", "b-shop")
    listed = terminal.told("tenants", "list")["tenants"]
    assert list(listed) == ["a-shop", "b-shop"]
    assert listed["a-shop"].pop("created_at") < listed["b-shop"].pop("retired_at")
    assert listed["a-shop"] == {
        "provider": "iseller",
        "credentials": "env:SHOP_0",
        "own_database": False,
        "options": {"store_url": terminal.store().url, "token_url": terminal.pos.token_url},
        "retired_at": None,
    }
    assert listed["b-shop"]["own_database"] is True
    header, *lines = terminal.run("tenants", "list").stdout.splitlines()
    assert header.split() == ["tenant", "provider", "credentials", "database", "since", "retired"]
    assert [line.split()[0] for line in lines] == ["a-shop", "b-shop"]


def test_a_retired_tenant_is_no_longer_served(empty_registry: Terminal) -> None:
    terminal = empty_registry
    terminal.run("tenants", "import", terminal.tenants_file("a-shop", "b-shop"))
    assert terminal.told("tenants", "retire", "b-shop") == {"retired": ["b-shop"]}
    assert terminal.told("tenants", "retire", "b-shop") == {"retired": []}
    assert terminal.run("tenants", "retire", "b-shop").stdout == "All of these were retired already.\n"
    refused = terminal.run("sync", "b-shop")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "Not registered, or retired: b-shop. `cata-pipeline tenants list` shows all." in refused.stderr
    assert list(terminal.told("status")["tenants"]) == ["a-shop"]
    assert "'b-shop' was retired on" in terminal.run("status", "b-shop").stderr


def test_a_wrong_tenants_file_is_refused_with_every_mistake(empty_registry: Terminal) -> None:
    terminal = empty_registry
    file = terminal.folder / "tenants.toml"
    file.write_text(
        f"""
        [[tenants]]
        id = "fine"
        provider = "iseller"
        credentials = "env:SHOP_0"
        options = {{ store_url = "https://shop.example" }}
        [[tenants]]
        id = "not fine"
        provider = "iseler"
        credentials = "{PASSWORD}"
        [[tenants]]
        id = "other"
        provider = "iseller"
        credentials = "env:SHOP_0"
        options = {{ store_url = "http://shop.example", pages = 3 }}
        """
    )
    refused = terminal.run("tenants", "import", file, "--json")
    assert (refused.exit_code, refused.stdout) == (2, "")
    for mistake in (
        "tenant 2 ('not fine'): id: is 'not fine'; expected 1 to 64",
        "tenant 2 ('not fine'): provider: The provider 'iseler' is unknown",
        "tenant 2 ('not fine'): credentials: is no reference",
        "tenant 3 ('other'): options: pages is no option of iseller",
        "tenant 3 ('other'): options: store_url is not an https URL",
    ):
        assert mistake in refused.stderr
    assert terminal.told("tenants", "list") == {"tenants": {}}


def test_retiring_an_unknown_tenant_retires_nobody(empty_registry: Terminal) -> None:
    empty_registry.run("tenants", "import", empty_registry.tenants_file("a-shop"))
    refused = empty_registry.run("tenants", "retire", "a-shop", "nobody", "--json")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "Not registered: 'nobody'. Nothing was retired." in refused.stderr
    assert empty_registry.told("tenants", "list")["tenants"]["a-shop"]["retired_at"] is None


def test_a_sync_tells_the_counts_of_each_tenant_under_the_names_of_the_contract(terminal: Terminal) -> None:
    first, second = terminal.register("first", "second")
    terminal.sql(second, "INSERT INTO items (item_code, original_name, name) VALUES ('OURS', 'Ours', 'Ours')")
    told = terminal.told("sync", first, second)
    assert (told.keys(), list(told["tenants"])) == ({"run_id", "tenants"}, [first, second])
    for tenant_id, stale in ((first, 0), (second, 1)):
        counts = told["tenants"][tenant_id]
        assert counts["ok"] is True
        assert counts.keys() >= SYNC_KEYS
        assert all(isinstance(counts[key], int) for key in SYNC_KEYS if not key.startswith("seconds"))
        assert (counts["items_in_snapshot"], counts["inserted"], counts["stale"]) == (PRODUCTS, PRODUCTS, stale)
        assert terminal.rows(tenant_id, "SELECT count(*) FROM items") == [(PRODUCTS + stale,)]
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(told["run_id"])
    assert run is not None
    assert (run.job_name, run.status, run.tags["trigger"]) == (
        "sync_tenants",
        dg.DagsterRunStatus.SUCCESS,
        "command line",
    )


def test_an_image_copy_tells_the_counts_of_each_tenant_under_the_names_of_the_contract(terminal: Terminal) -> None:
    [tenant_id] = terminal.register("pictured")
    terminal.told("sync", tenant_id)
    told = terminal.told("images", tenant_id)
    assert told.keys() == {"run_id", "tenants"}
    counts = told["tenants"][tenant_id]
    assert counts["ok"] is True
    assert counts.keys() >= IMAGE_KEYS
    assert counts["considered"] == counts["written_back"] + counts["failed"] > 0
    [(copied,)] = terminal.rows(
        tenant_id, f"SELECT count(*) FROM items WHERE main_image_url LIKE '{tenant_id}/items/%'"
    )
    assert copied == counts["written_back"] > 0
    again = terminal.told("images", tenant_id)["tenants"][tenant_id]
    assert {key: again[key] for key in IMAGE_KEYS - {"seconds"}} == dict.fromkeys(IMAGE_KEYS - {"seconds"}, 0)


def test_one_failed_tenant_costs_only_itself_and_the_exit_status_is_1(terminal: Terminal) -> None:
    [good] = terminal.register("good")
    [bad] = terminal.register("bad", credentials="env:NEVER_SET")
    told = terminal.told("sync", bad, good, exit_code=1)
    error = "env:NEVER_SET names an environment variable that is not set here. Set NEVER_SET."
    assert told["tenants"][bad] == {"ok": False, "error": error, "run_id": told["run_id"]}
    assert told["tenants"][good]["inserted"] == PRODUCTS
    shown = terminal.run("sync", bad, good)
    assert shown.exit_code == 1
    assert f"{bad}: FAILED: {error}" in shown.stdout
    assert f"{good}: items_in_snapshot {PRODUCTS}, unchanged {PRODUCTS}" in shown.stdout
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(told["run_id"])
        materialized = instance.get_materialized_partitions(dg.AssetKey("reconciled_items"))
    assert run is not None
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert (good in materialized, bad in materialized) == (True, False)


def test_a_failed_image_copy_is_told_likewise(terminal: Terminal) -> None:
    good, bare = terminal.register("good", "bare")
    terminal.sql(bare, "DROP TABLE items CASCADE")
    told = terminal.told("images", "--json", good, bare, exit_code=1)
    assert told["tenants"][good]["ok"] is True
    assert told["tenants"][bare].keys() == {"ok", "error", "run_id"}
    assert 'relation "items" does not exist' in told["tenants"][bare]["error"]


def test_a_dry_run_shows_the_plan_and_writes_nothing(terminal: Terminal) -> None:
    [tenant_id] = terminal.register("rehearsed")
    told = terminal.told("sync", tenant_id, "--dry-run")["tenants"][tenant_id]
    assert (told["ok"], told["inserted"]) == (True, PRODUCTS)
    shown = terminal.run("sync", tenant_id, "--dry-run")
    assert shown.exit_code == 0
    assert f"inserted {PRODUCTS}" in shown.stdout
    assert len(re.findall(r"\sinserted\s+items\s*$", shown.stdout, re.MULTILINE)) == PRODUCTS
    more = told["plan_rows"] - len(told["changes"])
    assert f"and {more} more rows: gs://cli-snapshots/{tenant_id}/snapshots/" in shown.stdout
    assert more > 0
    assert "The guards would let this plan through." in shown.stdout
    planned = [change["item_code"] for change in told["changes"] if change["table"] == "items"]
    assert planned == sorted(planned)
    assert (len(planned), {change["action"] for change in told["changes"]}) == (PRODUCTS, {"inserted"})
    assert terminal.rows(tenant_id, "SELECT * FROM items") == []
    assert terminal.told("status", tenant_id)["tenants"][tenant_id]["sync"] is None
    with dg.DagsterInstance.get() as instance:
        assert tenant_id not in instance.get_materialized_partitions(dg.AssetKey("reconciled_items"))


def test_a_dry_run_says_which_guards_would_refuse(terminal: Terminal) -> None:
    [tenant_id] = terminal.register("other-merchant")
    rows = ", ".join(f"('X{number}', 'X', 'X')" for number in range(30))
    terminal.sql(tenant_id, f"INSERT INTO items (item_code, original_name, name) VALUES {rows}")
    shown = terminal.run("sync", tenant_id, "--dry-run")
    assert shown.exit_code == 0
    assert "The guards would refuse this plan:\n- `only 0 of 12 item codes are known here" in shown.stdout
    assert re.search(r"^unknown +12 +0 +refuses *$", shown.stdout, re.MULTILINE)
    assert re.search(r"^hide +0 +20 +lets through *$", shown.stdout, re.MULTILINE)
    refused = terminal.told("sync", tenant_id, exit_code=1)["tenants"][tenant_id]["error"]
    assert "--allow unknown=12" in refused
    allowed = terminal.told("sync", tenant_id, "--allow", "unknown=12")["tenants"][tenant_id]
    assert (allowed["ok"], allowed["inserted"], allowed["allowed"]) == (True, PRODUCTS, {"unknown": 12})


def test_a_stored_snapshot_is_applied_again(terminal: Terminal) -> None:
    [tenant_id] = terminal.register("replayed")
    snapshot = terminal.told("sync", tenant_id)["tenants"][tenant_id]["snapshot"]
    terminal.sql(tenant_id, "UPDATE items SET category = 'changed by hand'")
    pages = terminal.store().requests_served["products"]
    again = terminal.told("sync", tenant_id, "--from-snapshot", snapshot)["tenants"][tenant_id]
    assert (again["snapshot"], again["updated"]) == (snapshot, PRODUCTS)
    assert terminal.store().requests_served["products"] == pages
    wrong = terminal.told("sync", tenant_id, "--from-snapshot", "nonsense", exit_code=1)
    assert "has no snapshot nonsense" in wrong["tenants"][tenant_id]["error"]


def test_status_tells_the_last_sync_and_image_copy_of_each_tenant(terminal: Terminal) -> None:
    served, never = terminal.register("served", "never")
    [failing] = terminal.register("failing", credentials="env:NEVER_SET")
    run_id = terminal.told("sync", served)["run_id"]
    terminal.told("sync", failing, exit_code=1)
    terminal.told("images", served)
    tenants = terminal.told("status", served, never, failing)["tenants"]
    assert list(tenants) == [served, never, failing]
    nothing: list[Any] = []
    assert tenants[never] == {
        "running": {"sync": None, "images": None},
        "failing_images": 0,
        "failing_pictures": nothing,
        "stale_items": nothing,
        "sync": None,
        "images": None,
    }
    assert tenants[served]["sync"].keys() >= {"finished_at", "snapshot"} | SYNC_KEYS
    assert (tenants[served]["sync"]["run_id"], tenants[served]["sync"]["error"]) == (run_id, None)
    assert tenants[served]["images"].keys() >= IMAGE_KEYS
    assert "NEVER_SET" in tenants[failing]["sync"]["error"]
    shown = terminal.run("status", served, never, failing).stdout
    assert re.search(rf"{served}\s+\d{{4}}-\d\d-\d\d \d\d:\d\d ok\s+{PRODUCTS}\s+0\s", shown)
    assert re.search(rf"{never}\s+never\s+never\s+0", shown)
    assert {served, never, failing} <= terminal.told("status")["tenants"].keys()


def test_status_says_which_run_holds_a_tenant_at_this_moment(terminal: Terminal) -> None:
    held, idle = terminal.register("held", "idle")
    run_id = "3f2a77d0-5c1e-4a43-9d2b-8f7b6c5d4e3f"
    control = open_control_database(sa.make_url(terminal.environment["CATA_DATABASE_URL"]))
    with tenant_lock(control, held, "images", run_id):
        told = terminal.told("status", held, idle)["tenants"]
        shown = terminal.run("status", held).stdout
    assert told[held]["running"] == {"sync": None, "images": run_id}
    assert told[idle]["running"] == {"sync": None, "images": None}
    assert re.search(rf"^{held} +images 3f2a77d0 +never", shown, re.MULTILINE)


def test_status_lists_what_is_stale_and_which_pictures_keep_failing(terminal: Terminal) -> None:
    tenant_id, other = terminal.register("listed", "spotless")
    url = f"{terminal.store().url}/no-such-picture-"
    values = ", ".join(f"('OURS-{number:02}', 'Ours', '{url}{number}')" for number in range(12))
    terminal.sql(tenant_id, f"INSERT INTO items (item_code, name, external_image_url) VALUES {values}")
    terminal.sql(tenant_id, f"UPDATE items SET external_image_url = '{url}11' WHERE item_code = 'OURS-10'")
    terminal.told("sync", tenant_id, "--allow", "unknown=12")
    copied = terminal.told("images", tenant_id)["tenants"][tenant_id]
    told = terminal.told("status", tenant_id, other)["tenants"]
    assert (told[other]["stale_items"], told[other]["failing_pictures"]) == ([], [])
    assert [item["item_code"] for item in told[tenant_id]["stale_items"]] == [f"OURS-{n:02}" for n in range(10)]
    assert (told[tenant_id]["sync"]["stale"], told[tenant_id]["failing_images"] >= 11) == (12, True)
    pictures = told[tenant_id]["failing_pictures"]
    assert len(pictures) == 10
    for picture in pictures:
        assert picture["host"] == "127.0.0.1"
        assert "no picture at this address any more" in picture["reason"] or picture["item_code"][:4] != "OURS"
        assert picture["since"] < picture["next_try"]
        assert (picture["tries"], picture["items"]) == (1, 1)
    assert copied["failed"] > 10
    shown = terminal.run("status", tenant_id, other).stdout
    assert re.search(rf"{tenant_id}: stale items, the longest first\nitem code +since +\nOURS-00 +\d{{4}}-", shown)
    assert "OURS-09" in shown
    assert "OURS-10" not in shown.partition("pictures that keep failing")[0]
    assert "and 2 more" in shown
    assert re.search(rf"{tenant_id}: pictures that keep failing, the longest first\nitem code +host +reason", shown)
    assert f"and {told[tenant_id]['failing_images'] - 10} more" in shown
    assert f"{other}: " not in shown


def test_an_item_code_is_printed_as_it_is_whatever_the_terminal_might_take_it_for(terminal: Terminal) -> None:
    [tenant_id] = terminal.register("marked")
    terminal.sql(tenant_id, "INSERT INTO items (item_code) VALUES ('[red]LAT[/red]')")
    terminal.told("sync", tenant_id)
    assert "\n[red]LAT[/red] " in terminal.run("status", tenant_id).stdout


def test_status_names_one_item_of_a_failing_picture_and_counts_the_others(terminal: Terminal) -> None:
    [tenant_id] = terminal.register("mended")
    url = f"{terminal.store().url}/no-such-picture"
    terminal.sql(tenant_id, f"INSERT INTO items (item_code, external_image_url) VALUES ('A', '{url}'), ('B', '{url}')")
    terminal.told("images", tenant_id)
    shown = terminal.run("status", tenant_id).stdout
    assert re.search(r"^A and 1 more +127\.0\.0\.1 +there is no picture", shown, re.MULTILINE)


def test_status_of_an_unknown_tenant_is_wrong_use(terminal: Terminal) -> None:
    refused = terminal.run("status", "nobody", "--json")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "Tenant 'nobody' is not registered." in refused.stderr


def test_tenants_that_are_no_neighbours_take_several_runs(terminal: Terminal) -> None:
    first, between, third = terminal.register("first", "between", "third")
    told = terminal.told("sync", third, first)
    runs = {tenant_id: counts["run_id"] for tenant_id, counts in told["tenants"].items()}
    assert list(runs) == [third, first]
    assert told["run_id"] == f"{runs[third]},{runs[first]}"
    assert runs[first] != runs[third]
    assert terminal.told("status", between)["tenants"][between]["sync"] is None


def test_naming_a_tenant_twice_serves_it_once(terminal: Terminal) -> None:
    [tenant_id] = terminal.register("twice")
    told = terminal.told("sync", tenant_id, tenant_id)
    assert list(told["tenants"]) == [tenant_id]
    assert told["tenants"][tenant_id]["inserted"] == PRODUCTS


def test_all_serves_every_registered_tenant_in_one_run(empty_registry: Terminal) -> None:
    tenant_ids = empty_registry.register("a", "b")
    told = empty_registry.told("sync", "--all")
    assert list(told["tenants"]) == tenant_ids
    assert "," not in told["run_id"]


def test_failed_serves_exactly_those_whose_newest_sync_failed(empty_registry: Terminal) -> None:
    first, well, third = empty_registry.register("first", "well", "third", credentials="env:SHOP_LATER")
    empty_registry.told("sync", "--all", exit_code=1)
    empty_registry.patch.setenv("SHOP_LATER", empty_registry.environment["SHOP_0"])
    assert empty_registry.run("sync", well).exit_code == 0
    told = empty_registry.told("sync", "--failed")
    assert {tenant_id: counts["inserted"] for tenant_id, counts in told["tenants"].items()} == {
        first: PRODUCTS,
        third: PRODUCTS,
    }
    assert empty_registry.told("sync", "--failed") == {"run_id": None, "tenants": {}}
    nothing = empty_registry.run("sync", "--failed")
    assert nothing.stdout == "Nothing failed: no tenant's newest sync ended with an error.\n"
    assert nothing.exit_code == 0


def test_failed_copies_exactly_those_whose_newest_image_copy_failed(empty_registry: Terminal) -> None:
    bare, _ = empty_registry.register("bare", "well")
    empty_registry.sql(bare, "ALTER TABLE items RENAME TO elsewhere")
    empty_registry.told("sync", "--all", exit_code=1)
    empty_registry.told("images", "--all", exit_code=1)
    empty_registry.sql(bare, "ALTER TABLE elsewhere RENAME TO items")
    assert list(empty_registry.told("images", "--failed")["tenants"]) == [bare]
    nothing = empty_registry.run("images", "--failed")
    assert nothing.stdout == "Nothing failed: no tenant's newest image copy ended with an error.\n"
    # The sync has failed all the same, and the copy has not mended it.
    assert list(empty_registry.told("sync", "--failed")["tenants"]) == [bare]


def test_all_of_nobody_is_wrong_use(empty_registry: Terminal) -> None:
    for command in ("sync", "images"):
        refused = empty_registry.run(command, "--all", "--json")
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert (
            "No tenant is registered yet. Import some with `cata-pipeline tenants import FILE.toml`." in refused.stderr
        )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["sync"], "Name the tenants, or say --all"),
        (["images"], "Name the tenants, or say --all"),
        (["sync", "a", "--all"], "Name the tenants, or say --all"),
        (["sync", "a", "--failed"], "Name the tenants, or say --all"),
        (["images", "--all", "--failed"], "Name the tenants, or say --all"),
        (["images", "--failed", "--unreferenced"], "--unreferenced copies nothing"),
        (["sync", "nobody", "no-one"], "Not registered, or retired: nobody, no-one."),
        (["images", "nobody"], "Not registered, or retired: nobody."),
        (["sync", "a", "b", "--from-snapshot", "x"], "name exactly one tenant"),
        (["sync", "--all", "--from-snapshot", "x"], "name exactly one tenant"),
        (["sync", "--failed", "--from-snapshot", "x"], "name exactly one tenant"),
        (["sync", "a", "--allow", "hide"], "'hide'; expected GUARD=N, such as hide=120."),
        (["sync", "a", "--allow", "hide="], "'hide='; expected GUARD=N"),
        (["sync", "a", "--allow", "hide=many"], "'hide=many'; expected GUARD=N"),
        (["sync", "a", "--allow", "hide=-1"], "'hide=-1'; expected GUARD=N"),
        (["sync", "a", "--allow", "hide=²"], "'hide=²'; expected GUARD=N"),
        (["sync", "a", "--allow", "hide=0"], "the ceiling of hide is 0; expected 1 or more"),
        (["sync", "a", "--allow", "hidden=5"], "hidden is no guard; the guards are hide, "),
        (["sync", "a", "--allow", "empty=5"], "guard empty cannot be allowed"),
        (["tenants", "import", "absent.toml"], "cannot be read"),
        (["tenants", "retire"], "Missing argument 'ID...'"),
        (["sink"], "No such command 'sink'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_told_in_a_sentence_with_exit_status_2(
    terminal: Terminal, arguments: list[str], problem: str
) -> None:
    result = terminal.run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert problem in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("CATA_DATABASE_URL", "CATA_DATABASE_URL is not set."),
        ("CATA_TENANT_DATABASE_URL", "CATA_TENANT_DATABASE_URL is not set."),
        ("CATA_IMAGE_BUCKET", "CATA_IMAGE_BUCKET is not set."),
        ("CATA_SNAPSHOT_BUCKET", "CATA_SNAPSHOT_BUCKET is not set."),
        ("DAGSTER_HOME", "DAGSTER_HOME is not set; expected the folder that holds dagster.yaml."),
        ("DAGSTER_PG_URL", "DAGSTER_PG_URL is not set to a URL that begins with postgresql+psycopg2://."),
    ],
)
def test_a_missing_variable_is_told_in_one_sentence_with_exit_status_2(
    terminal: Terminal, missing: str, sentence: str
) -> None:
    [tenant_id] = terminal.register("unserved")
    terminal.patch.delenv(missing)
    result = terminal.run("sync", tenant_id, "--json")
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {sentence}\n")


def test_every_missing_variable_is_told_at_once(terminal: Terminal) -> None:
    for name in terminal.environment:
        terminal.patch.delenv(name)
    result = terminal.run("status")
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 4)
    assert re.findall(r"(\w+) is not set\.", result.stderr) == [
        "CATA_DATABASE_URL",
        "CATA_TENANT_DATABASE_URL",
        "CATA_IMAGE_BUCKET",
        "CATA_SNAPSHOT_BUCKET",
    ]


def test_a_dagster_folder_without_configuration_is_told(terminal: Terminal) -> None:
    [tenant_id] = terminal.register("unserved")
    terminal.patch.setenv("DAGSTER_HOME", str(terminal.folder))
    result = terminal.run("sync", tenant_id)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: DAGSTER_HOME holds no dagster.yaml; copy the project's own there.\n"


@pytest.mark.parametrize(
    ("variable", "driver", "sentence"),
    [
        (
            "CATA_DATABASE_URL",
            "postgresql+psycopg",
            r"The control database \S+ cannot be reached: .* CATA_DATABASE_URL",
        ),
        ("DAGSTER_PG_URL", "postgresql+psycopg2", r"Dagster's storage cannot be reached: .* DAGSTER_PG_URL"),
    ],
)
def test_a_database_that_does_not_answer_is_told_without_its_password(
    terminal: Terminal, variable: str, driver: str, sentence: str
) -> None:
    [tenant_id] = terminal.register("unserved")
    url = terminal.servers.postgresql_url("cli_no_such_database", driver).set(password=PASSWORD)
    terminal.patch.setenv(variable, url.render_as_string(hide_password=False))
    result = terminal.run("sync", tenant_id, "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(sentence, result.stderr)


@pytest.fixture
def shell(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the installed program in a process of its own."""

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments], env=environment | changes, capture_output=True, text=True, check=False
        )

    return run


def test_the_program_prints_its_json_and_nothing_else_on_standard_output(
    terminal: Terminal, shell: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    [good] = terminal.register("good")
    [bad] = terminal.register("bad", credentials="env:NEVER_SET")
    synced, copied = shell("sync", good, bad, "--json"), shell("images", good, "--json")
    assert (synced.returncode, copied.returncode) == (1, 0)
    told = json.loads(synced.stdout)["tenants"]
    assert (told[good]["ok"], told[bad]["ok"]) == (True, False)
    assert json.loads(copied.stdout)["tenants"][good]["written_back"] > 0
    for done, count in ((synced, 2), (copied, 1)):
        assert len(re.findall(f"({good}|{bad}): ", done.stderr)) == count, "one line a tenant"
        assert "Traceback" not in done.stderr
        assert not terminal.secrets.search(done.stdout + done.stderr)


def test_the_program_ends_with_status_2_where_settings_are_wrong(
    shell: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = shell("status", "--json", CATA_DATABASE_URL="nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: CATA_DATABASE_URL is not a database URL; expected postgresql+psycopg://")


def on_a_full_disk(*arguments: str, buffered: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the program where each file, however small, is one byte too large; pipes and sockets are not files."""
    command = f"ulimit -f 0 && exec {shlex.join([str(PROGRAM), *arguments])}"
    unset = "PYTHONUNBUFFERED"
    environment = {name: value for name, value in os.environ.items() if name != unset}
    if not buffered:
        environment[unset] = "1"
    return subprocess.run(["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("buffered", [True, False])
def test_a_disk_that_is_full_under_the_compute_logs_costs_no_tenant(terminal: Terminal, buffered: bool) -> None:  # noqa: FBT001
    [good] = terminal.register("full-disk")
    [bad] = terminal.register("full-disk-bad", credentials="env:NEVER_SET")
    done = on_a_full_disk("sync", good, bad, "--json", buffered=buffered)
    assert done.returncode == 1, done.stdout
    told = json.loads(done.stdout)
    assert told["tenants"][good]["inserted"] == PRODUCTS
    assert not told["tenants"][bad]["ok"]
    logs = Path(terminal.environment["DAGSTER_HOME"]).glob(f"storage/{told['run_id']}/**/*.err")
    assert [file.stat().st_size for file in logs] == [0]
    assert on_a_full_disk("sync", good, "--json", buffered=buffered).returncode == 0


def test_a_disk_that_is_full_under_the_temporary_files_is_named_by_the_tenants_outcome(
    terminal: Terminal, new_mariadb_database: Callable[[], URL]
) -> None:
    url = new_mariadb_database().render_as_string(hide_password=False)
    [tenant_id] = terminal.register("full-disk", database_url=url)
    done = on_a_full_disk("sync", tenant_id, "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)["tenants"][tenant_id]
    assert told["error"].startswith("This machine cannot write a file: No usable temporary directory found in [")
    assert told["error"].endswith("]. Make room on its disk, then start again.")


@pytest.mark.parametrize("command", [["--help"], ["tenants", "list"], ["tenants", "list", "--json"]])
def test_output_that_cannot_be_written_is_reported_and_ends_with_status_2(
    terminal: Terminal, command: Sequence[str]
) -> None:
    terminal.register("listed")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([PROGRAM, *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: Standard output cannot be written: No space left on device. ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("command", "status"), [(["tenants", "list", "--json"], 0), (["sync", "nobody"], 2)])
def test_messages_that_cannot_be_written_leave_result_and_status_as_they_are(
    terminal: Terminal, command: Sequence[str], status: int
) -> None:
    terminal.register("listed")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([PROGRAM, *command], stdout=subprocess.PIPE, stderr=full, text=True, check=False)
    assert done.returncode == status
    assert status or json.loads(done.stdout)["tenants"]


@pytest.mark.parametrize("command", [["tenants", "list"], ["tenants", "list", "--json"]])
def test_a_reader_that_goes_away_gets_no_complaint(terminal: Terminal, command: Sequence[str]) -> None:
    terminal.register("listed")
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as gone:  # noqa: PTH123 a descriptor, not a path
        done = subprocess.run([PROGRAM, *command], stdout=gone, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


HOSTILE = (
    "\u202e\u2066\u2069\u200b\u200d\u200e\u00ad\u061c\u2060\ufeff\ufff9\U000e0041\U0001d173"  # format characters
    "\u2028\u2029\x07\x1b[31m\x7f\x9b2J"  # separators and controls
    "\u034f\u115f\u1160\u17b4\u180b\u3164\ufe0f\uffa0\U000e0100"  # draw nothing, of other categories
)
RAW = re.compile(f"[{''.join(set(HOSTILE) - set('[31m2J'))}]")


@pytest.fixture
def hostile_tenant(terminal: Terminal) -> str:
    """A tenant whose POS delivers texts that an operator's terminal must not get."""

    def line(**fields: object) -> str:
        return json.dumps({"name": f"Kopi{HOSTILE}Susu"} | fields)

    url = f"https://cdn.example/{HOSTILE}.png"
    lines = [
        line(item_code=f"K{HOSTILE}1", category=HOSTILE, item_type=HOSTILE, image_url=url),
        line(item_code="K-2", image_url="https://127.0.0.1/private.png"),
        line(item_code=f"rejected{HOSTILE}", name=None),
    ]
    folder = terminal.folder / "feeds"
    folder.mkdir()
    (folder / "items.jsonl").write_text("\n".join([*lines, json.dumps({"end": True, "items": len(lines)})]))
    terminal.patch.setenv("CATA_FEED_FOLDER", str(folder))
    terminal.patch.setenv("FEED", "{}")
    [tenant_id] = terminal.register("hostile", credentials="env:FEED")
    file = terminal.folder / "feed.toml"
    file.write_text(
        f'[[tenants]]\nid = "{tenant_id}"\nprovider = "feed"\ncredentials = "env:FEED"\n'
        '[tenants.options]\nsource = "items.jsonl"\nformat = "jsonl"\n'
    )
    assert terminal.run("tenants", "import", file).exit_code == 0
    return tenant_id


def test_no_command_sends_raw_what_would_deceive_a_terminal(terminal: Terminal, hostile_tenant: str) -> None:
    stale = f"S{HOSTILE}".replace("\x1b", "").replace("\x07", "")
    terminal.sql(hostile_tenant, f"INSERT INTO items (item_code, name, original_name) VALUES ('{stale}', 'S', 'S')")
    commands = {
        ("providers", "check", hostile_tenant): True,
        ("sync", hostile_tenant, "--dry-run"): True,
        ("sync", hostile_tenant): True,
        ("images", hostile_tenant): True,
        ("status", hostile_tenant): True,
        ("history", hostile_tenant): True,
        ("images", hostile_tenant, "--unreferenced"): False,
        ("tenants", "list"): False,
        ("history", f"nobody{HOSTILE}"): True,
        (f"no-command{HOSTILE}",): True,
        ("sync", f"nobody{HOSTILE}"): True,
        ("sync", hostile_tenant, "--from-snapshot", f"none{HOSTILE}"): True,
        ("sync", hostile_tenant, "--allow", f"none{HOSTILE}=1"): True,
        ("tenants", "import", f"/nowhere/{HOSTILE}"): True,
    }
    for command, shows_them in commands.items():
        tables, objects = terminal.run(*command), terminal.run(*command, "--json")
        assert ("\\u202e" in tables.output) == shows_them, (command, tables.output)
        for result in (tables, objects):
            assert not RAW.search(result.output), (command, result.output)
        assert not objects.stdout or json.loads(objects.stdout)


def test_a_terminal_gets_colours_and_bars_of_ours_and_nothing_raw_of_a_merchants(
    terminal: Terminal, hostile_tenant: str
) -> None:
    ours, theirs = pty.openpty()
    command = [str(PROGRAM), "sync", hostile_tenant]
    environment = os.environ | {"TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    # Linux reports an error, not an end, once nobody has the terminal open any more.
    with contextlib.suppress(OSError):
        while read := os.read(ours, 65536):
            written += read
    os.close(ours)
    assert process.wait() == 0
    text = written.decode()
    assert "\x1b[1m" in text, "a bold heading"
    assert "tenants \x1b[" in text, "a bar"
    assert "\\u202e" in text
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", text)
    assert not RAW.search(drawn)


def test_json_says_the_same_with_its_own_escapes(terminal: Terminal, hostile_tenant: str) -> None:
    items = terminal.told("providers", "check", hostile_tenant)["items"]
    assert {item["item_code"]: item["name"] for item in items}[f"K{HOSTILE}1"] == f"Kopi{HOSTILE}Susu"
