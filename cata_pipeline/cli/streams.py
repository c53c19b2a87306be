"""Standard output and standard error while this program runs: what reaches a terminal, what a failing write means.

Names, item codes and reasons come from merchants and from POS providers. Both streams escape their invisible
characters (`foreign_text`), so that no command, log line or trace has to remember. What is printed belongs to
`printing` and to the commands.
"""

import errno
import io
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

from cata_pipeline.errors import CataError
from cata_pipeline.foreign_text import drawable, printable

if TYPE_CHECKING:
    from rich.console import Console


class OutputError(CataError):
    """Standard output cannot be written, so the caller lacks the result."""


def install_streams() -> None:
    """Replace this process's standard output and standard error; done already, or closed, they stay as they are."""
    if sys.stdout and not isinstance(sys.stdout, _Stream):
        sys.stdout = cast("TextIO", _Output(sys.stdout))
    if sys.stderr and not isinstance(sys.stderr, _Stream):
        sys.stderr = cast("TextIO", _Stream(sys.stderr))


def drawing_console(*, stderr: bool = False) -> "Console":
    """Return a console of rich. Its own control characters (colours, bars) pass: text for it has to be `printable`."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=cast("TextIO", _Drawing(stream)) if isinstance(stream, _Stream) else stream, stderr=stderr)


class _Stream:
    """A text stream in front of another one; a write that fails is lost.

    Standard error needs that: no stream is left to report the failure on, and an exception would reach the code that
    happens to flush. Dagster flushes before it takes back the redirection of the stream into its compute logs, and
    would leave it there for good; the interpreter flushes last of all, and would exit with status 120.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that knows few letters is no reason to fail

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)  # click would write to it, past this class, where the encoding is ASCII
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write `text` as it is printable."""
        self.pass_on(printable(text))
        return len(text)

    def pass_on(self, text: str) -> None:
        """Write `text` as it is."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._failed(error)

    def flush(self) -> None:
        """Hand over what is buffered."""
        try:
            self._stream.flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        """Do nothing: see the class."""


class _Output(_Stream):
    """Standard output: a failure is raised, as `OutputError` where the reader has not gone away by itself."""

    _broken = False

    def flush(self) -> None:
        """Hand over what is buffered; nothing after a failure: the interpreter flushes last of all."""
        if not self._broken:
            super().flush()

    def _failed(self, error: OSError) -> None:
        self._broken = True
        if error.errno == errno.EPIPE:
            raise error
        raise OutputError(
            f"Standard output cannot be written: {error.strerror}. What the command did stays done, but its output is"
            " incomplete. Make room, or send the output elsewhere."
        ) from error


class _Drawing:
    """The same stream for a program that draws: escapes what is not ASCII, and passes ASCII's control characters."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write `text`, its format and invisible characters escaped."""
        self._stream.pass_on(drawable(text))
        return len(text)
