"""The private parts of Dagster that are used exist, and one module alone uses them."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage import tags

import cata_pipeline
from cata_pipeline.orchestration import partitions

PACKAGE = Path(cata_pipeline.__file__).parent
INTERNALS = PACKAGE / "orchestration" / "dagster_internals.py"

USED = {
    "dagster._core.execution.backfill.BulkActionStatus": ("REQUESTED", "CANCELING"),
    "dagster._core.execution.plan.objects.ErrorSource": ("INTERRUPT",),
    "dagster._core.events.RunFailureReason": ("UNEXPECTED_TERMINATION",),
    "dagster._core.launcher.WorkerStatus": ("RUNNING", "FAILED"),
    "dagster._core.launcher.RunLauncher": ("check_run_worker_health", "launch_run", "terminate"),
    "dagster._core.definitions.run_request.InstigatorType": ("SENSOR",),
    "dagster._cli.dev": ("open_ipc_subprocess",),
    "dagster_webserver.app": ("DagsterWebserver",),
    "dagster_webserver.webserver.DagsterWebserver": ("build_middleware",),
}
"""What is used of a private class or module."""

PUBLIC_HOMES = {"dagster_celery", "dagster_gcp", "dagster_k8s", "dagster_postgres", "dagster_webserver"}


def imported(source: Path) -> Iterator[str]:
    """The names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def is_private(name: str) -> bool:
    """Whether a dotted name is a part of Dagster's packages that its top level does not export."""
    package, *parts = name.split(".")
    if package == "dagster" and parts:
        return parts[0].startswith("_")
    return package.startswith("dagster_") and (package not in PUBLIC_HOMES or len(parts) > 1)


def lacks(name: str) -> bool:
    module, _, last = name.rpartition(".")
    try:
        return not hasattr(import_module(module), last)
    except ModuleNotFoundError:
        return True


@pytest.mark.parametrize("name", sorted(filter(is_private, imported(INTERNALS))))
def test_a_private_part_of_dagster_exists(name: str) -> None:
    if lacks(name):
        pytest.fail(
            f"Dagster {dg.__version__} has no {name}. dagster_internals.py says what needs it: replace it there."
        )


@pytest.mark.parametrize(("name", "parts"), USED.items())
def test_a_private_part_of_dagster_has_what_is_used_of_it(name: str, parts: tuple[str, ...]) -> None:
    if missing := [part for part in parts if lacks_part(name, part)]:
        pytest.fail(f"In Dagster {dg.__version__}, {name} has no {', '.join(missing)}; see dagster_internals.py.")


def lacks_part(name: str, part: str) -> bool:
    module, _, last = name.rpartition(".")
    owner = import_module(name) if lacks(name) else getattr(import_module(module), last)
    return not hasattr(owner, part)


def test_no_other_module_imports_a_private_part_of_dagster() -> None:
    others = {
        f"{source.relative_to(PACKAGE)} imports {name}"
        for source in PACKAGE.rglob("*.py")
        if source != INTERNALS
        for name in imported(source)
        if is_private(name)
    }
    assert sorted(others) == [], "Import it in dagster_internals.py, with the reason, and from there here."


def test_the_documented_tags_are_those_of_this_version() -> None:
    assert partitions.PARTITION_NAME_TAG == tags.PARTITION_NAME_TAG
    assert partitions.ASSET_PARTITION_RANGE_START_TAG == tags.ASSET_PARTITION_RANGE_START_TAG
    assert partitions.ASSET_PARTITION_RANGE_END_TAG == tags.ASSET_PARTITION_RANGE_END_TAG
    assert tags.BACKFILL_ID_TAG == "dagster/backfill"


def test_the_parts_for_other_processes_are_imported_on_first_use() -> None:
    program = (
        "import sys; from cata_pipeline.orchestration import dagster_internals;"
        " print([m for m in ('celery', 'dagster_webserver', 'dagster_postgres') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
