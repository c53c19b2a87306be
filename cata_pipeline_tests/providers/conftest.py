"""What several tests of providers need."""

from pathlib import Path

import pytest


@pytest.fixture
def feed_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that feeds may be read from."""
    folder = tmp_path / "feeds"
    folder.mkdir()
    monkeypatch.setenv("CATA_FEED_FOLDER", str(folder))
    return folder
