"""What the demo and `cata-pipeline dev` run in: one state folder, used by one at a time, and its environment."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from cata_pipeline.demo.menus import MENUS
from cata_pipeline.demo.surroundings import PROJECT, Surroundings, surroundings
from cata_pipeline.errors import UsageError
from cata_pipeline.settings import Settings
from cata_pipeline.tenants.file import read_tenants

MARK = "left_from_last_time"


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """A state folder that PostgreSQL's user may pass through, also where root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="cata-surroundings-") as path:
        Path(path).chmod(0o711)
        yield Path(path) / "it's the state"


@dataclass(frozen=True)
class FirstUse:
    """What was seen while the surroundings ran, and the environment before, within and after."""

    around: Surroundings
    ports: tuple[int, ...]
    before: dict[str, str]
    within: dict[str, str]
    after: dict[str, str]
    sourced: dict[str, str]
    settings: Settings
    refusal: str


@pytest.fixture(scope="module")
def first(state: Path) -> FirstUse:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("CATA_", "DAGSTER_", "STORAGE_EMULATOR"))]:
            patch.delenv(name)
        patch.setenv("CATA_IMAGE_BUCKET", "whatever-was-there")
        before = dict(os.environ)
        with surroundings(state, afresh=True) as around:
            within = dict(os.environ)
            with pytest.raises(UsageError) as refusal, surroundings(state, afresh=True):
                pytest.fail("Two use one folder.")
            around.servers.create_database(MARK)
            first = FirstUse(
                around=around,
                ports=tuple(around.pos.ports),
                before=before,
                within=within,
                after={},
                sourced=_sourced(state),
                settings=Settings.from_environment(),
                refusal=str(refusal.value),
            )
        first.after.update(os.environ)
    return first


def _sourced(state: Path) -> dict[str, str]:
    """What a second terminal has after it sourced the environment file."""
    done = subprocess.run(
        ["/bin/sh", "-euc", '. "$1/environment"; env -0', "sh", str(state)],
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)


def test_a_second_use_of_the_folder_is_refused_and_disturbs_nothing(first: FirstUse, state: Path) -> None:
    assert first.refusal == (
        f"Another demo or `cata-pipeline dev` uses {state}. End it first, or choose another folder: --state."
    )
    assert first.sourced, "the first one's servers and files are as they were"


def test_the_environment_leads_there_while_it_runs_and_is_as_before_afterwards(first: FirstUse) -> None:
    assert first.within == first.before | dict(first.around.environment)
    assert first.around.environment["CATA_IMAGE_BUCKET"] != first.before["CATA_IMAGE_BUCKET"]
    assert first.after == first.before


def test_the_environment_file_leads_a_shell_to_the_same_values(first: FirstUse) -> None:
    assert {name: first.sourced.get(name) for name in first.around.environment} == first.around.environment
    assert Settings.from_environment(first.sourced) == first.settings


def test_the_environment_file_is_its_users_alone_and_the_parent_folder_keeps_its_mode(
    first: FirstUse, state: Path
) -> None:
    assert (first.around.state / "environment").stat().st_mode & 0o777 == 0o600
    assert state.parent.stat().st_mode & 0o777 == 0o711


def test_the_environment_names_everything_a_run_needs(first: FirstUse, state: Path) -> None:
    home = Path(first.around.environment["DAGSTER_HOME"])
    assert home.is_relative_to(state)
    assert (home / "dagster.yaml").read_text() == (PROJECT / "dagster.yaml").read_text()
    assert first.around.environment["DAGSTER_PG_URL"].startswith("postgresql+psycopg2://")
    assert {endpoint.port for endpoint in first.settings.private_endpoints} == set(first.ports)


def test_the_tenants_file_registers_the_tenants_of_every_menu(first: FirstUse) -> None:
    tenants = read_tenants(first.around.tenants_file)
    assert [tenant.id for tenant in tenants] == [menu.tenant_id for menu in MENUS]
    for tenant, port in zip(tenants, first.ports[1:], strict=True):
        assert tenant.credentials.removeprefix("env:") in first.around.environment
        assert tenant.options["store_url"] == f"http://127.0.0.1:{port}"


def test_a_tenant_of_the_users_own_gets_tables_and_keeps_the_endpoints_it_was_allowed(
    first: FirstUse, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATA_ALLOW_PRIVATE_ENDPOINTS", f"127.0.0.1:9999, 127.0.0.1:{first.ports[0]}")
    for _ in range(2):
        with surroundings(state, afresh=False, tenant_ids=["kopi-senja"]) as around:
            engine = sa.create_engine(around.tenant_database("kopi-senja"), poolclass=sa.NullPool)
            assert sa.inspect(engine).has_table("items")
            allowed = around.environment["CATA_ALLOW_PRIVATE_ENDPOINTS"].split(",")
            assert sorted(allowed) == sorted({"127.0.0.1:9999", *(f"127.0.0.1:{port}" for port in first.ports)})


def test_the_next_use_finds_the_data_and_the_ports_of_the_last_one(first: FirstUse, state: Path) -> None:
    with surroundings(state, afresh=False) as around:
        assert around.pos.ports == first.ports
        assert around.servers.create_database(MARK) is False
    with surroundings(state, afresh=True) as around:
        assert around.pos.ports == first.ports, "picture URLs that were handed out stay true"
        assert around.servers.create_database(MARK) is True
