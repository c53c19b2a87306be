"""Everything around the pipeline that the demo and `cata-pipeline dev` need: servers, databases, buckets, a POS.

All of it lives in one state folder; the environment variables that lead there are set for this process, and written to
`STATE/environment` for a second terminal. What is done with it belongs to `story` and `development`.
"""

import fcntl
import json
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL

import cata_pipeline
from cata_pipeline.demo.menus import MENUS
from cata_pipeline.demo.pos import DemoPos
from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.errors import UsageError

PROJECT = Path(cata_pipeline.__file__).parents[1]
IMAGE_BUCKET = "cata-images"
SNAPSHOT_BUCKET = "cata-snapshots"
_ID_MARK = "TENANT-ID"
_ENDPOINTS = "CATA_ALLOW_PRIVATE_ENDPOINTS"


@dataclass(frozen=True)
class Surroundings:
    """What runs, and the file that registers the demo's tenants."""

    state: Path
    servers: EmbeddedServers
    pos: DemoPos
    environment: Mapping[str, str]
    tenants_file: Path

    def tenant_database(self, tenant_id: str) -> URL:
        """Where the reference tables of a demo tenant are."""
        return self.servers.postgresql_url(f"tenant{tenant_id}")


@contextmanager
def surroundings(state: Path, *, afresh: bool, tenant_ids: Sequence[str] = ()) -> Iterator[Surroundings]:
    """Start everything and set the environment; `afresh` empties the state folder first.

    Beside the demo's tenants, `tenant_ids` get the reference tables. Private endpoints that the environment allows stay
    allowed: a POS of the user's own may be among them.

    Raises `UsageError` when another demo or `dev` uses the folder.
    """
    if not (PROJECT / "dagster.yaml").is_file():
        raise UsageError(
            "The demo and dev need the project's dagster.yaml and workspace.yaml: run them from a checkout."
        )
    state = state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    with _sole_use(state):
        if afresh:
            for left in ("servers", "dagster"):
                shutil.rmtree(state / left, ignore_errors=True)
        with EmbeddedServers(state / "servers") as servers, DemoPos(ports=_ports(state)) as pos:
            (state / "ports.json").write_text(json.dumps(pos.ports))
            environment = _environment(state, servers, pos)
            _write_private(state / "environment", _exports(environment))
            _make_databases(servers, [*(menu.tenant_id for menu in MENUS), *tenant_ids])
            with environment_set(environment):
                yield Surroundings(state, servers, pos, environment, _tenants_file(state, pos))


@contextmanager
def _sole_use(state: Path) -> Iterator[None]:
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"Another demo or `cata-pipeline dev` uses {state}. End it first, or choose another folder: --state."
            ) from None
        yield


def _ports(state: Path) -> list[int]:
    """The ports of last time, so that the picture URLs in the tenants' tables stay true."""
    try:
        return [int(port) for port in json.loads((state / "ports.json").read_text())]
    except (OSError, ValueError, TypeError):
        return []


def _environment(state: Path, servers: EmbeddedServers, pos: DemoPos) -> dict[str, str]:
    for bucket in (IMAGE_BUCKET, SNAPSHOT_BUCKET):
        servers.create_bucket(bucket)
    home = state / "dagster"
    home.mkdir(exist_ok=True)
    shutil.copy(PROJECT / "dagster.yaml", home)
    dagster_storage = servers.postgresql_url("dagster", "postgresql+psycopg2")
    template = servers.postgresql_url(f"tenant{_ID_MARK}").render_as_string(hide_password=False)
    endpoints = f"{os.environ.get(_ENDPOINTS, '')},{pos.endpoints}"
    return {
        "CATA_DATABASE_URL": servers.postgresql_url("cata").render_as_string(hide_password=False),
        "CATA_TENANT_DATABASE_URL": template.replace(_ID_MARK, "{tenant}"),
        "CATA_IMAGE_BUCKET": IMAGE_BUCKET,
        "CATA_SNAPSHOT_BUCKET": SNAPSHOT_BUCKET,
        "CATA_IMAGE_BASE_URL": f"{servers.gcs_origin}/{IMAGE_BUCKET}/",
        "STORAGE_EMULATOR_HOST": servers.gcs_origin,
        _ENDPOINTS: ",".join(dict.fromkeys(endpoint.strip() for endpoint in endpoints.split(",") if endpoint.strip())),
        "DAGSTER_HOME": str(home),
        "DAGSTER_PG_URL": dagster_storage.render_as_string(hide_password=False),
        **{_credentials_variable(menu.tenant_id): json.dumps(pos.store(menu.tenant_id).credentials) for menu in MENUS},
    }


def _credentials_variable(tenant_id: str) -> str:
    return f"{tenant_id.upper().replace('-', '_')}_ISELLER"


def _write_private(file: Path, text: str) -> None:
    """Write a file that holds secrets: it is this user's alone before its first byte is there."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    new.replace(file)


def _exports(environment: Mapping[str, str]) -> str:
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "# Leads a second terminal to the running servers:  . FOLDER/environment\n" + "\n".join(lines) + "\n"


@contextmanager
def environment_set(environment: Mapping[str, str]) -> Iterator[None]:
    """These environment variables in this process until the block ends; those of before come back."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _make_databases(servers: EmbeddedServers, tenant_ids: Sequence[str]) -> None:
    for name in ("cata", "dagster"):
        servers.create_database(name)
    schema = resources.files("cata_pipeline.demo").joinpath("tenant_schema_postgresql.sql").read_text()
    for tenant_id in tenant_ids:
        if servers.create_database(f"tenant{tenant_id}"):
            engine = sa.create_engine(servers.postgresql_url(f"tenant{tenant_id}"), poolclass=sa.NullPool)
            with engine.begin() as connection:
                connection.exec_driver_sql(schema)


def _tenants_file(state: Path, pos: DemoPos) -> Path:
    """A tenants file such as an operator would write, for the demo's three tenants."""
    sections = [
        "\n".join(
            (
                "[[tenants]]",
                f'id = "{menu.tenant_id}"',
                'provider = "iseller"',
                f'credentials = "env:{_credentials_variable(menu.tenant_id)}"',
                "[tenants.options]",
                f'store_url = "{pos.store(menu.tenant_id).url}"',
                f'token_url = "{pos.token_url}"',
                "page_size = 50",
            )
        )
        for menu in MENUS
    ]
    file = state / "tenants.toml"
    file.write_text("\n\n".join(sections) + "\n")
    return file
