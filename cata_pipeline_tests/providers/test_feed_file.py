"""Which files a feed may be: none outside the folder for feeds, whatever is put there, and none that changes."""

import os
import stat
from pathlib import Path, PurePosixPath

import pytest

from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.feed import FEED
from cata_pipeline.providers.feed_bytes import BrokenFeedError
from cata_pipeline.providers.feed_file import chunks_of_file, open_inside
from cata_pipeline_tests.providers.test_feed import WHOLE, codes, from_file


def test_without_a_folder_no_file_is_read(feed_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CATA_FEED_FOLDER")
    with pytest.raises(ProviderError, match=r"no folder for feeds is named here. Set CATA_FEED_FOLDER, or use a URL"):
        from_file("items")


def test_a_wrong_folder_is_told(feed_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATA_FEED_FOLDER", "relative")
    with pytest.raises(ProviderError, match="CATA_FEED_FOLDER is 'relative', and there is no such folder"):
        from_file("items")


@pytest.mark.parametrize("path", ["../secret", "a/../../secret", "/etc/passwd", "", "a\x00b", "a\nb", 5, "/"])
def test_a_path_out_of_the_folder_is_no_option(path: object) -> None:
    [problem] = FEED.option_problems({"source": path, "format": "jsonl"})
    assert problem.startswith("source ")


def test_links_lead_nowhere_but_inside(feed_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(WHOLE)
    (feed_folder / "real").write_text(WHOLE)
    (feed_folder / "within").symlink_to(feed_folder / "real")
    (feed_folder / "out").symlink_to(tmp_path / "secret")
    (feed_folder / "up").symlink_to(tmp_path)
    assert codes(from_file("within")) == ["A", "B"]
    for path in ("out", "up/secret"):
        with pytest.raises(ProviderError, match="leads out of the folder"):
            from_file(path)


def test_the_folder_itself_may_be_a_link(feed_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (feed_folder / "items").write_text(WHOLE)
    (tmp_path / "link").symlink_to(feed_folder)
    monkeypatch.setenv("CATA_FEED_FOLDER", str(tmp_path / "link"))
    assert codes(from_file("items")) == ["A", "B"]


def test_what_is_no_file_is_told_and_never_waited_for(feed_folder: Path) -> None:
    os.mkfifo(feed_folder / "pipe")
    (feed_folder / "loop").symlink_to(feed_folder / "loop")
    with pytest.raises(ProviderError, match="is no regular file"):
        from_file("pipe")
    os.mknod(feed_folder / "socket", stat.S_IFSOCK | 0o600)
    (feed_folder / "folder").mkdir()
    with pytest.raises(ProviderError, match="is no regular file"):
        from_file("folder")
    for path in ("gone", "loop", "pipe/x", "socket"):
        with pytest.raises(ProviderError, match="cannot be read"):
            from_file(path)


def test_a_link_that_is_put_in_after_the_path_was_judged_is_not_followed(feed_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(WHOLE)
    (feed_folder / "up").symlink_to(tmp_path)
    (feed_folder / "out").symlink_to(tmp_path / "secret")
    (feed_folder / "real").mkdir()
    (feed_folder / "real" / "items").write_text(WHOLE)
    os.close(open_inside(feed_folder, ("real", "items")))
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    for parts in (("up", "secret"), ("out",), ("real", "items", "x"), ("gone", "items")):
        with pytest.raises(OSError, match=r"Not a directory|Too many levels of symbolic links|No such file"):
            open_inside(feed_folder, parts)
    assert len(list(descriptors.iterdir())) == before


@pytest.mark.parametrize("change", ["overwritten", "extended", "shortened"])
def test_a_file_that_changes_while_it_is_read_is_no_catalog(feed_folder: Path, change: str) -> None:
    file = feed_folder / "items"
    file.write_bytes(b"a" * 600_000)
    os.utime(file, (1, 1))
    chunks = chunks_of_file(PurePosixPath("items"))
    next(chunks)
    with file.open("r+b") as written:
        if change == "shortened":
            written.truncate(300_000)
        else:
            written.seek(0 if change == "overwritten" else 600_000)
            written.write(b"b" * 600_000)
    with pytest.raises(BrokenFeedError, match="was changed while it was read; write it under another name"):
        list(chunks)


def test_a_file_that_is_replaced_while_it_is_read_is_read_as_it_was(feed_folder: Path) -> None:
    (feed_folder / "items").write_bytes(b"a" * 600_000)
    (feed_folder / "new").write_bytes(b"b" * 600_000)
    chunks = chunks_of_file(PurePosixPath("items"))
    first = next(chunks)
    (feed_folder / "new").rename(feed_folder / "items")
    assert b"".join([first, *chunks]) == b"a" * 600_000
