"""What a terminal shows while a run is under way: a bar of tenants and, for image copies, one of pictures.

Fed by the log records of the work itself, so the work knows nothing of terminals. What is printed at the end belongs to
`runs.py`.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cata_pipeline.foreign_text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


@contextmanager
def progress_bars(console: "Console", tenants: int, *, pictures: bool, tell_each: bool) -> Iterator[None]:
    """Bars while `console` is a terminal, and one line a tenant if `tell_each`."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(
            *columns,
            console=console,
            transient=True,
            disable=not console.is_terminal,
            # Otherwise rich would print what others write meanwhile, as if its control characters were rich's own.
            redirect_stdout=False,
            redirect_stderr=False,
        ) as progress,
        _listening("cata_pipeline", _TenantBar(progress, tenants, console if tell_each else None), logging.INFO),
    ):
        if not pictures or not console.is_terminal:
            yield
            return
        from cata_pipeline.images.progress import EACH

        with _listening(EACH.name, _PictureBar(progress), logging.DEBUG), _kept_from_logs(EACH):
            yield


@contextmanager
def _listening(name: str, handler: logging.Handler, level: int) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@contextmanager
def _kept_from_logs(logger: logging.Logger) -> Iterator[None]:
    """Keep a record for each picture out of the run's log, which would take them all."""
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = True


class _Bar(logging.Handler):
    """Does something with every record that has a certain attribute."""

    def __init__(self, attribute: str, take: Callable[[logging.LogRecord, Any], None]) -> None:
        super().__init__()
        self._attribute, self._take = attribute, take

    def emit(self, record: logging.LogRecord) -> None:
        found = getattr(record, self._attribute, None)
        if found is not None:
            self._take(record, found)


class _TenantBar(_Bar):
    """Counts tenants that are done, and shows what is said of each where there is a console for it."""

    def __init__(self, progress: "Progress", total: int, console: "Console | None") -> None:
        task = progress.add_task("tenants", total=total)

        def take(record: logging.LogRecord, _: object) -> None:
            progress.advance(task)
            if console:
                console.print(printable(record.getMessage()), markup=False, highlight=False)

        super().__init__("tenant_id", take)


class _PictureBar(_Bar):
    """Counts the picture URLs of all tenants that were begun."""

    def __init__(self, progress: "Progress") -> None:
        task = progress.add_task("pictures", total=None)
        begun: dict[str, Any] = {}

        def take(_: logging.LogRecord, pictures: Any) -> None:
            begun[pictures.tenant_id] = pictures
            progress.update(
                task,
                completed=sum(told.done for told in begun.values()),
                total=sum(told.total for told in begun.values()),
            )

        super().__init__("pictures", take)
