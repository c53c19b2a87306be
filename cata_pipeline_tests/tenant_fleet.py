"""Tenants with databases of their own on the embedded servers, for tests of whole syncs and image copies."""

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import resources
from ipaddress import ip_address
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from cata_pipeline.control.database import open_control_database
from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.providers.conformance.scripted_server import ScriptedServer, running
from cata_pipeline.providers.pacing import OF_THIS_PROCESS
from cata_pipeline.settings import Endpoint, Settings
from cata_pipeline.tenants.model import Tenant

LOOPBACK = ip_address("127.0.0.1")
PASSWORD = "hunter2"

AnyServer = TypeVar("AnyServer", bound=ScriptedServer)
_numbers = itertools.count(1)


@dataclass
class TenantFleet:
    """Tenants with databases of their own on the embedded servers, and the settings that lead there."""

    servers: EmbeddedServers
    settings: Settings
    closing: ExitStack
    databases: dict[str, URL] = field(default_factory=dict)

    def run(self, server: AnyServer) -> AnyServer:
        """The same server, running until the tests of the module are over."""
        return self.closing.enter_context(running(server))

    def pipeline(self, *servers: ScriptedServer) -> Pipeline:
        """A pipeline that may reach these servers."""
        endpoints = frozenset(Endpoint(LOOPBACK, server.port) for server in servers)
        return Pipeline(self.settings.model_copy(update={"private_endpoints": endpoints}))

    def register(self, tenant: Tenant, *, schema: bool = True, rows: str = "") -> str:
        """Register a tenant; one without database gets one with the reference schema and these rows. Returns its id."""
        tenant_id = tenant.id
        if tenant.database_url is None:
            url = self.settings.tenant_database.url(tenant_id)
            assert url.database
            self.servers.create_database(url.database)
            self.databases[tenant_id] = url
            text = resources.files("cata_pipeline.demo").joinpath("tenant_schema_postgresql.sql").read_text()
            self.sql(tenant_id, f"{text if schema else ''};{rows}")
        self.pipeline().registry.import_tenants([tenant])
        return tenant_id

    def sql(self, tenant_id: str, statement: str) -> None:
        """Execute a statement in a tenant's database."""
        engine = sa.create_engine(self.databases[tenant_id], poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)

    def rows(self, tenant_id: str, statement: str) -> list[Any]:
        """What a statement finds in a tenant's database."""
        engine = sa.create_engine(self.databases[tenant_id], poolclass=sa.NullPool)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement))]

    def everything(self, tenant_id: str) -> dict[str, list[Any]]:
        """Every row of every table of a tenant, with the transaction that wrote it."""
        tables = self.rows(tenant_id, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        return {table: self.rows(tenant_id, f"SELECT xmin::text, * FROM {table} ORDER BY 2") for (table,) in tables}

    def names(self, tenant_id: str) -> dict[str, str]:
        """The name of each of a tenant's items, by its code."""
        return dict(self.rows(tenant_id, "SELECT item_code, name FROM items"))

    def control(self, statement: str, **values: object) -> list[Any]:
        """What a statement finds in the control database."""
        with self.pipeline().control.connect() as connection:
            return list(connection.execute(sa.text(statement), values))


AnyFleet = TypeVar("AnyFleet", bound=TenantFleet)


@contextmanager
def open_fleet(servers: EmbeddedServers, kind: type[AnyFleet]) -> Iterator[AnyFleet]:
    """One control database and two buckets of a module's own; each test adds tenants of its own."""
    number = next(_numbers)
    for name in (f"pipeline-images-{number}", f"pipeline-snapshots-{number}"):
        servers.create_bucket(name)
    servers.create_database(f"pipeline_control_{number}")
    control = servers.postgresql_url(f"pipeline_control_{number}").set(password=PASSWORD)
    template = servers.postgresql_url(f"pipeline_{number}_TENANT").set(password=PASSWORD)
    settings = Settings.from_environment(
        {
            "CATA_DATABASE_URL": control.render_as_string(hide_password=False),
            "CATA_TENANT_DATABASE_URL": template.render_as_string(hide_password=False).replace("TENANT", "{tenant}"),
            "CATA_IMAGE_BUCKET": f"pipeline-images-{number}",
            "CATA_SNAPSHOT_BUCKET": f"pipeline-snapshots-{number}",
            "STORAGE_EMULATOR_HOST": servers.gcs_origin,
        }
    )
    with pytest.MonkeyPatch.context() as patch, ExitStack() as closing:
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            patch.delenv(name)
        # What a POS may be asked in a second is no matter of these tests.
        patch.setattr(OF_THIS_PROCESS, "_interval", 0.0)
        yield kind(servers, settings, closing)
    open_control_database(settings.control_database).dispose()
