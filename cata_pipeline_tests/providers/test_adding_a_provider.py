"""docs/adding-a-provider.md, as written: its code becomes a package, which is installed and passes conformance."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cata_pipeline.providers.conformance.suite import ProviderConformance

DOCUMENT = Path(__file__).parents[2] / "docs" / "adding-a-provider.md"
BLOCK = re.compile(r"^```\w+\n# ([\w.]+\.(?:py|toml))(, continued)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the document, in a folder of their own."""
    folder = tmp_path_factory.mktemp("warung")
    for name, is_continued, code in BLOCK.findall(DOCUMENT.read_text()):
        assert (folder / name).exists() == bool(is_continued), name
        with (folder / name).open("a") as file:
            file.write(f"\n\n{code}" if is_continued else code)
    return folder


@pytest.fixture(scope="module")
def installed(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip put the package."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--target", str(target), str(written)], check=True)
    return target


def run(folder: Path, installed: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_it_has_all_files_of_a_package(written: Path) -> None:
    assert {path.name for path in written.iterdir()} >= {"pyproject.toml", "warung.py", "test_warung.py"}


def test_its_provider_passes_the_whole_conformance_suite(written: Path, installed: Path, tmp_path: Path) -> None:
    shutil.copy(written / "test_warung.py", tmp_path)  # alone, so that it tests what pip installed
    done = run(tmp_path, installed, "-m", "pytest", "-q", "-W", "error", "test_warung.py")
    assert done.returncode == 0, done.stdout
    assert " skipped" not in done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    tests = [name for name in dir(ProviderConformance) if name.startswith("test_")]
    assert passed is not None
    assert int(passed[1]) > len(tests)


def test_its_provider_is_known_once_it_is_installed(installed: Path, tmp_path: Path) -> None:
    done = run(tmp_path, installed, "-c", "from cata_pipeline.cli import main; main()", "providers", "list")
    assert "warung (Warung); credentials: token" in done.stdout, done.stderr
    assert "shop_url" in done.stdout
