"""The parts of Dagster's packages that have no public interface: the only module that imports or replaces them.

Add a name here with the reason why the public API does not serve, and nothing else: what is built with it belongs to
the module that needs it. `test_dagster_internals.py` names each part that a new version of Dagster lacks, and every
other module that imports a private one. What only some processes need (Celery, the web server) loads on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

# `dg.executor` takes a schema, and the public in-process executor does not return its own as one.
from dagster._core.definitions.executor_definition import IN_PROC_CONFIG

# `all_instigator_state` is public, the type of its argument is not.
from dagster._core.definitions.run_request import InstigatorType

# An interrupt during a run of the command line is found by the reason of a failure, which events carry without a
# public type, or by Dagster's own flag while it defers the interrupt.
from dagster._core.events import RunFailureReason
from dagster._core.execution.plan.objects import ErrorSource

# `RunLauncher` is the documented extension point for launchers; its classes have no other home.
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus

# A run that the code location's own launcher started carries this tag; it is the only difference to one of Celery.
from dagster._core.storage.tags import GRPC_INFO_TAG

# A storage of ours is made from the configuration of Dagster's, whose own method returns Dagster's class.
from dagster._serdes import ConfigurableClassData
from dagster._utils.interrupts import check_captured_interrupt

if TYPE_CHECKING:
    # Backfills in progress keep their runs, and keep the partitions that they may yet request; `get_backfills` is
    # public, its filter is not. Its module takes 0.15 s of CPU to load.
    from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, BulkActionsFilter, BulkActionStatus

    # `dg.Executor` is public; the types of its methods are not.
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan
    from dagster._core.execution.retries import RetryMode
    from dagster._core.execution.step_dependency_config import StepDependencyConfig

    # The launcher is documented by this path; neither it nor what it needs is exported elsewhere.
    from dagster_celery.launcher import CeleryRunLauncher
    from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG
    from dagster_celery.tasks import create_execute_job_task
    from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage
    from dagster_postgres.utils import get_token_provider_from_config, pg_url_from_config

    # Dagster has no option for middleware of its web server.
    from dagster_webserver.webserver import DagsterWebserver
    from sqlalchemy.engine import Engine

__all__ = [
    "BULK_ACTION_TERMINAL_STATUSES",
    "DAGSTER_CELERY_TASK_ID_TAG",
    "GRPC_INFO_TAG",
    "IN_PROC_CONFIG",
    "BulkActionStatus",
    "BulkActionsFilter",
    "CeleryRunLauncher",
    "CheckRunHealthResult",
    "ConfigurableClassData",
    "DagsterWebserver",
    "ErrorSource",
    "ExecutionPlan",
    "InstigatorType",
    "LaunchRunContext",
    "PlanOrchestrationContext",
    "RetryMode",
    "RunFailureReason",
    "RunLauncher",
    "StepDependencyConfig",
    "WorkerStatus",
    "check_captured_interrupt",
    "create_execute_job_task",
    "get_token_provider_from_config",
    "pg_url_from_config",
    "postgresql_engine",
    "run_dev",
    "run_webserver",
]

_ON_FIRST_USE = {
    "BULK_ACTION_TERMINAL_STATUSES": "dagster._core.execution.backfill",
    "BulkActionStatus": "dagster._core.execution.backfill",
    "BulkActionsFilter": "dagster._core.execution.backfill",
    "CeleryRunLauncher": "dagster_celery.launcher",
    "DAGSTER_CELERY_TASK_ID_TAG": "dagster_celery.tags",
    "create_execute_job_task": "dagster_celery.tasks",
    "DagsterWebserver": "dagster_webserver.webserver",
    "get_token_provider_from_config": "dagster_postgres.utils",
    "pg_url_from_config": "dagster_postgres.utils",
}


def __getattr__(name: str) -> Any:
    if name in _ON_FIRST_USE:
        return getattr(import_module(_ON_FIRST_USE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def postgresql_engine(storage: "PostgresEventLogStorage | PostgresRunStorage", **options: Any) -> "Engine":
    """Return a further engine with the URL and credentials of a storage; `options` are those of `create_engine`.

    A storage publishes its URL, but not the provider of short-lived passwords that it may be configured with.
    """
    from dagster_postgres.utils import create_pg_engine

    return create_pg_engine(storage.postgres_url, storage._token_provider, **options)  # noqa: SLF001


def run_webserver(webserver: "type[DagsterWebserver[Any, Any]]") -> None:
    """Run the command `dagster-webserver` with this class: the command has no option for it.

    `patch` fails where a new version no longer has the name.
    """
    from dagster_webserver.cli import dagster_webserver

    with patch("dagster_webserver.app.DagsterWebserver", webserver):
        dagster_webserver(auto_envvar_prefix="DAGSTER_WEBSERVER")


def run_dev(webserver_module: str) -> None:
    """Run the command `dagster dev` with another module as its web server: the command has no option for it."""
    from dagster._cli.dev import dev_command
    from dagster_shared.ipc import open_ipc_subprocess

    def start(command: list[str], **options: Any) -> Any:
        replaced = [webserver_module if word == "dagster_webserver" else word for word in command]
        return open_ipc_subprocess(replaced, **options)

    with patch("dagster._cli.dev.open_ipc_subprocess", start):
        dev_command()
