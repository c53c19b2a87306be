"""How a provider is found by its name: ours, and one that a package of its own adds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cata_pipeline.errors import UsageError
from cata_pipeline.providers.registry import provider_named, provider_names

FOREIGN = """
from cata_pipeline.catalog.model import Catalog
from cata_pipeline.providers.contract import Provider, Sample

MOKA = Provider("moka", "Moka", ("token",), {}, lambda *_: Catalog(()), lambda *_: Sample(()))
"""
ASK = """
import sys
from cata_pipeline.errors import UsageError
from cata_pipeline.providers.registry import provider_named, provider_names
try:
    print(provider_names(), provider_named(sys.argv[1]).name)
except UsageError as error:
    print(error)
"""


def installed(folder: Path, name: str, entry: str, code: str = FOREIGN) -> Path:
    """A package of somebody else's with one entry point, as pip would lay it out."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[cata_pipeline.providers]\n{entry}\n")
    (folder / f"{name}.py").write_text(code)
    return folder


def told(slug: str, *folders: Path) -> str:
    """What a fresh interpreter that sees these packages says of a provider."""
    path = os.pathsep.join([*map(str, folders), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", ASK, slug], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_ours_are_found_by_name() -> None:
    provider = provider_named("iseller")
    assert (provider.slug, provider.name) == ("iseller", "iSeller")
    assert provider.credential_keys == ("api_key", "api_secret")
    assert "iseller" in provider_names()


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"The provider 'nobody' is unknown; expected one of: .*iseller"):
        provider_named("nobody")


def test_a_package_of_its_own_adds_a_provider_without_a_change_here(tmp_path: Path) -> None:
    assert told("moka", installed(tmp_path, "moka_pos", "moka = moka_pos:MOKA")).endswith(" Moka")


def test_two_packages_with_one_name_are_both_named(tmp_path: Path) -> None:
    one = installed(tmp_path / "one", "moka_pos", "moka = moka_pos:MOKA")
    other = installed(tmp_path / "other", "other_pos", "moka = other_pos:MOKA")
    assert told("moka", one, other) == (
        "The provider 'moka' is defined by moka_pos 1.0 and other_pos 1.0; uninstall all but one of them."
    )


@pytest.mark.parametrize(
    ("entry", "code", "found"),
    [
        ("moka = moka_pos:MOKA", "import nowhere", "cannot be loaded (ModuleNotFoundError: No module named 'nowhere')"),
        ("moka = moka_pos:MOKA", "import sys; sys.exit('no licence')", "cannot be loaded (SystemExit: no licence)"),
        ("moka = moka_pos:NAME", FOREIGN, "cannot be loaded (AttributeError"),
        ("other = moka_pos:MOKA", FOREIGN, "is not what its name says"),
        ("moka = moka_pos:Catalog", FOREIGN, "is not what its name says"),
    ],
)
def test_a_broken_package_is_named_with_its_mistake(tmp_path: Path, entry: str, code: str, found: str) -> None:
    said = told(entry.partition(" ")[0], installed(tmp_path, "moka_pos", entry, code))
    assert "of moka_pos 1.0" in said
    assert found in said


def test_asking_for_the_names_loads_no_http_client() -> None:
    program = (
        "import sys; from cata_pipeline.providers.registry import provider_names; provider_names(); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "httpx" not in loaded
