"""Where one fleet lives: private servers, a registered tenant with a schema of its own for each store, and the stores.

Add here what has to be there before the daemon starts; none of it is measured. Tenants are schemas of one database,
reached by a search path in the URL, because a thousand databases take minutes to make and 8 MB each.
"""

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from benchmarks.fleet import stores
from benchmarks.server import Server, free_port, tree_cpu_seconds
from cata_pipeline.control.database import open_control_database
from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.demo.surroundings import environment_set
from cata_pipeline.settings import CONTROL_DRIVER
from cata_pipeline.tenants.model import Tenant
from cata_pipeline.tenants.registry import Registry

PROJECT = Path(__file__).resolve().parents[2]
CONTROL, DAGSTER, TENANTS = "cata", "dagster", "tenants"
_IMAGES, _SNAPSHOTS = "fleet-images", "fleet-snapshots"


@dataclass(frozen=True)
class Site:
    """The running servers of a fleet of `tenants` tenants with `items` items each."""

    tenants: int
    items: int
    folder: Path
    servers: EmbeddedServers
    pos: Server
    environment: Mapping[str, str]

    def connect(self, database: str) -> "psycopg.Connection[tuple[Any, ...]]":
        """A connection of the benchmark's own."""
        url = self.servers.postgresql_url(database, "postgresql").render_as_string(hide_password=False)
        return psycopg.connect(url, autocommit=True)

    def postgresql_cpu_seconds(self) -> float:
        """CPU seconds of all of the server's processes so far."""
        pid = int((self.folder / "servers/postgresql/postmaster.pid").read_text().split("\n", 1)[0])
        return tree_cpu_seconds(psutil.Process(pid))

    def storage_cpu_seconds(self) -> float:
        """CPU seconds of the fake GCS so far."""
        objects = str(self.folder / "servers/objects")
        return sum(tree_cpu_seconds(p) for p in psutil.process_iter() if _arguments(p)[-8:].count(objects))

    def let_pictures_age(self) -> None:
        """Make every picture's last check a day older, so that the next copy asks for all of them again."""
        with self.connect(CONTROL) as connection:
            connection.execute("UPDATE image_urls SET checked_at = checked_at - interval '1 day'")

    def settle(self) -> None:
        """Do now what PostgreSQL would do in the background, during the next measurement."""
        for database in (CONTROL, DAGSTER, TENANTS):
            with self.connect(database) as connection:
                connection.execute("VACUUM (ANALYZE)")
                connection.execute("CHECKPOINT")

    def check(self) -> None:
        """Raise `AssertionError` unless every tenant has all of its items."""
        with self.connect(TENANTS) as connection:
            for tenant_id in (stores.tenant_ids(self.tenants)[0], stores.tenant_ids(self.tenants)[-1]):
                table = sql.Identifier(tenant_id, "items")
                row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table)).fetchone()
                assert row == (self.items,), f"{tenant_id} has {row} items; expected {self.items}"


@contextmanager
def fresh_site(tenants: int, items: int) -> Iterator[Site]:
    """Servers without a past; all of it is gone afterwards. Sets this process's environment meanwhile."""
    folder = Path(tempfile.mkdtemp(prefix="cata-bench-fleet-")).resolve()
    folder.chmod(0o711)  # PostgreSQL runs as another user where this is root
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        servers = stack.enter_context(EmbeddedServers(folder / "servers", durable=False))
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.fleet.pos", str(tenants), str(items), str(port)]
        pos = Server(command, port, folder / "pos.log")
        stack.callback(pos.stop, signal.SIGTERM)
        environment = _environment(folder, servers, tenants, port)
        site = Site(tenants, items, folder, servers, pos, environment)
        for name in (CONTROL, DAGSTER, TENANTS):
            servers.create_database(name)
        _make_schemas(site)
        _register(site, port)
        stack.enter_context(environment_set(environment))
        yield site


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _environment(folder: Path, servers: EmbeddedServers, tenants: int, port: int) -> dict[str, str]:
    for bucket in (_IMAGES, _SNAPSHOTS):
        servers.create_bucket(bucket)
    home = folder / "dagster"
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home)
    template = servers.postgresql_url(TENANTS).render_as_string(hide_password=False)
    return {
        "CATA_DATABASE_URL": servers.postgresql_url(CONTROL, CONTROL_DRIVER).render_as_string(hide_password=False),
        "CATA_TENANT_DATABASE_URL": f"{template}&options=-csearch_path%3D{{tenant}}",
        "CATA_IMAGE_BUCKET": _IMAGES,
        "CATA_SNAPSHOT_BUCKET": _SNAPSHOTS,
        "CATA_IMAGE_BASE_URL": f"{servers.gcs_origin}/{_IMAGES}/",
        "STORAGE_EMULATOR_HOST": servers.gcs_origin,
        "CATA_ALLOW_PRIVATE_ENDPOINTS": ",".join(f"{stores.address(number)}:{port}" for number in range(tenants)),
        "DAGSTER_HOME": str(home),
        "DAGSTER_PG_URL": servers.postgresql_url(DAGSTER, "postgresql+psycopg2").render_as_string(hide_password=False),
        stores.CREDENTIALS_VARIABLE: stores.CREDENTIALS,
    }


def _make_schemas(site: Site) -> None:
    tables = resources.files("cata_pipeline.demo").joinpath("tenant_schema_postgresql.sql").read_text().encode()
    with site.connect(TENANTS) as connection:
        for tenant_id in stores.tenant_ids(site.tenants):
            schema = sql.Identifier(tenant_id)
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
            connection.execute(sql.SQL("SET search_path = {}").format(schema))
            connection.execute(tables)


def _register(site: Site, port: int) -> None:
    control = open_control_database(site.servers.postgresql_url(CONTROL, CONTROL_DRIVER))
    Registry(control).import_tenants(
        Tenant(
            tenant_id,
            "iseller",
            f"env:{stores.CREDENTIALS_VARIABLE}",
            options={
                "store_url": (url := f"http://{stores.address(number)}:{port}"),
                "token_url": f"{url}/oauth/token",
            },
        )
        for number, tenant_id in enumerate(stores.tenant_ids(site.tenants))
    )
    control.dispose()
