"""The bars of a terminal, fed by the records of the work itself."""

import io
import logging
import re

import pytest
from rich.console import Console

from cata_pipeline.cli.progress_bars import progress_bars
from cata_pipeline.images.progress import EACH, Progress

WORK = logging.getLogger("cata_pipeline.work")


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def last_bar(console: Console, name: str) -> str:
    """The count that a bar showed last."""
    shown: list[str] = re.findall(rf"{name} .*?(\d+/\s*[\d?]+)", written(console))
    return shown[-1].replace(" ", "")


def copy(progress: Progress, count: int) -> None:
    for _ in range(count):
        progress.add(failed=False)


def test_tenants_and_the_pictures_of_all_begun_tenants_are_counted() -> None:
    console = terminal()
    with progress_bars(console, 3, pictures=True, tell_each=False):
        kopi, roti = Progress("kopi", 30), Progress("roti", 12)
        copy(kopi, 30)
        copy(roti, 5)
        WORK.info("Copied the pictures of kopi", extra={"tenant_id": "kopi"})
    assert last_bar(console, "pictures") == "35/42"
    assert last_bar(console, "tenants") == "1/3"


def test_a_sync_has_no_bar_of_pictures() -> None:
    console = terminal()
    with progress_bars(console, 1, pictures=False, tell_each=False):
        copy(Progress("kopi", 3), 3)
    assert "tenants" in written(console)
    assert "pictures" not in written(console)


def test_records_of_single_pictures_reach_no_log_and_all_is_as_before_afterwards(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = (EACH.level, EACH.propagate, list(EACH.handlers), logging.getLogger("cata_pipeline").level)
    with progress_bars(terminal(), 1, pictures=True, tell_each=False):
        assert EACH.isEnabledFor(logging.DEBUG)
        copy(Progress("kopi", 600), 600)
    assert [record.getMessage() for record in caplog.records] == ["Pictures of kopi: 500 of 600 URLs done, 0 failed"]
    assert before == (EACH.level, EACH.propagate, list(EACH.handlers), logging.getLogger("cata_pipeline").level)


@pytest.mark.parametrize("tell_each", [True, False])
def test_without_a_terminal_there_are_lines_or_nothing(tell_each: bool) -> None:  # noqa: FBT001
    console = Console(file=io.StringIO(), width=100)
    with progress_bars(console, 1, pictures=True, tell_each=tell_each):
        copy(Progress("kopi", 3), 3)
        WORK.info("Copied [the] pictures of kopi", extra={"tenant_id": "kopi"})
        WORK.info("Something else")
    assert written(console) == ("Copied [the] pictures of kopi\n" if tell_each else "")
