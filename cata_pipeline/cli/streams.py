"""Standard output and standard error while this program runs: what a failing write means for the exit status.

What is printed belongs to `printing` and to the commands.
"""

import errno
import sys
from typing import Any, TextIO, cast

from cata_pipeline.errors import CataError


class OutputError(CataError):
    """Standard output cannot be written, so the caller lacks the result."""


def install_streams() -> None:
    """Replace this process's standard output and standard error; done already, or closed, they stay as they are."""
    if sys.stdout and not isinstance(sys.stdout, _Stream):
        sys.stdout = cast("TextIO", _Output(sys.stdout))
    if sys.stderr and not isinstance(sys.stderr, _Stream):
        sys.stderr = cast("TextIO", _Stream(sys.stderr))


class _Stream:
    """A text stream in front of another one; a write that fails is lost.

    So it has to be for standard error: nothing is left to report the failure on, and raising would harm whoever
    happens to flush. Dagster does so before it takes back the redirection of the stream into its compute logs, and
    would leave it there for good; the interpreter does so last of all, and would exit with status 120.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write `text`."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._failed(error)
        return len(text)

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
