"""A Dagster instance on PostgreSQL, and a pipeline that leads to this test's databases, buckets and demo POS."""

import itertools
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml
from dagster._core.remote_origin import CodeLocationOrigin, InProcessCodeLocationOrigin
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import WorkspaceLoadTarget
from dagster._daemon.sensor import execute_sensor_iteration
from sqlalchemy.engine import URL

from cata_pipeline.demo.menus import MENUS, Menu
from cata_pipeline.demo.pos import DemoPos
from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.demo.surroundings import PROJECT
from cata_pipeline.orchestration.resources import PipelineResource
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.providers.conformance.scripted_server import ScriptedServer, answer, running
from cata_pipeline_tests.orchestration.alert_daemon import HOOK

_DAGSTER_TEMPLATE = "template_dagster"


@pytest.fixture(scope="session")
def _dagster_template(servers: EmbeddedServers) -> str:
    """A database with Dagster's tables in it: copying them is quicker than making them."""
    servers.create_database(_DAGSTER_TEMPLATE)
    with dg.instance_for_test(overrides=overrides(servers.postgresql_url(_DAGSTER_TEMPLATE))) as instance:
        assert list(instance.get_dynamic_partitions("tenants")) == []
    return _DAGSTER_TEMPLATE


@pytest.fixture
def dagster_database(new_database: Callable[..., URL], _dagster_template: str) -> URL:
    """The database of `instance`."""
    return new_database(template=_dagster_template)


@pytest.fixture
def instance(dagster_database: URL) -> Iterator[dg.DagsterInstance]:
    """An instance with the storage of production, which keeps the pipeline's log lines as dagster.yaml asks."""
    with dg.instance_for_test(overrides=overrides(dagster_database)) as instance:
        yield instance


@pytest.fixture
def new_connection(dagster_database: URL) -> Callable[[], sa.Connection]:
    """Opens a connection to the instance's database, beside Dagster's own."""
    return sa.create_engine(dagster_database, poolclass=sa.NullPool).connect


def overrides(database: URL) -> dict[str, object]:
    """What an instance of these tests has otherwise than Dagster's defaults."""
    return {
        **storage_at(database),
        "python_logs": {"managed_python_loggers": ["cata_pipeline"], "python_log_level": "INFO"},
    }


def storage_at(database: URL) -> dict[str, Any]:
    """The storage of the project's dagster.yaml, with this database."""
    url = database.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    configuration = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    names = ("run_storage", "event_log_storage", "schedule_storage")
    return {name: configuration[name] | {"config": {"postgres_url": url}} for name in names}


@pytest.fixture
def pos() -> Iterator[DemoPos]:
    """The demo's three stores, each with its planned cases and 25 more products."""
    with DemoPos([shortened(menu) for menu in MENUS]) as pos:
        yield pos


def shortened(menu: Menu) -> Menu:
    cases = str(menu.cases)
    planned = [product for product in menu.products if repr(product.item_code) in cases or not product.name]
    others = [product for product in menu.products if product not in planned]
    return replace(menu, products=(*planned, *others[:25]))


@pytest.fixture
def new_pipeline(
    monkeypatch: pytest.MonkeyPatch, settings_environment: dict[str, str], pos: DemoPos
) -> Iterator[Callable[..., Pipeline]]:
    """Sets the environment, with changes if wanted, and makes the pipeline that it describes."""
    made: list[Pipeline] = []

    def make(**changes: str) -> Pipeline:
        for name, value in {
            **settings_environment,
            "CATA_ALLOW_PRIVATE_ENDPOINTS": pos.endpoints,
            **changes,
        }.items():
            monkeypatch.setenv(name, value)
        made.append(PipelineResource().get())
        return made[-1]

    yield make
    for pipeline in made:
        if "control" in vars(pipeline):
            pipeline.control.dispose()


@pytest.fixture
def pipeline(new_pipeline: Callable[..., Pipeline]) -> Pipeline:
    """What every run, sensor and schedule of this test gets."""
    return new_pipeline()


@pytest.fixture
def webhook() -> Iterator[ScriptedServer]:
    """Where alerts are posted to."""
    server = ScriptedServer()
    with running(server):
        server.script(HOOK, answer("ok", content_type="text/plain"))
        yield server


class _ThisProcess(WorkspaceLoadTarget):
    """The real definitions, loaded here, so that a daemon's tick needs no code server."""

    def create_origins(self) -> Sequence[CodeLocationOrigin]:
        target = LoadableTargetOrigin(
            module_name="cata_pipeline_tests.orchestration.fresh_definitions", attribute="fresh_defs"
        )
        return [InProcessCodeLocationOrigin(target, location_name="cata_pipeline")]


@pytest.fixture
def tick_sensors(instance: dg.DagsterInstance, pipeline: Pipeline) -> Callable[[], None]:
    """Has the daemon's own code tick every sensor once, on the real definitions; each time a minute later."""
    minutes = itertools.count(1)

    def tick() -> None:
        with warnings.catch_warnings():
            # Dagster's own call while it describes a schedule.
            warnings.filterwarnings("ignore", "Property `ScheduleDefinition.environment_vars`", DeprecationWarning)
            with (
                create_test_daemon_workspace_context(_ThisProcess(), instance) as workspace,
                freeze_time(datetime.now(UTC) + timedelta(minutes=next(minutes))),
            ):
                list(execute_sensor_iteration(workspace, logging.getLogger("sensors"), None, None))

    return tick
