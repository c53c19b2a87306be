"""How the end of a run reaches everyone who works for it: one request, heard on every thread.

Whoever starts work passes a `Stop` down; whoever works looks at it between two steps, or asks to be called while it
waits. What "stopping well" means for a piece of work belongs to that piece.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cata_pipeline.errors import StoppedError


class Stop:
    """The request to end, made at most once and never taken back; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requested = False
        self._calls: list[Callable[[], object]] = []

    @property
    def requested(self) -> bool:
        """Whether the work is to end."""
        return self._requested

    def request(self) -> None:
        """End the work; a second request does nothing."""
        # Under the lock, so that nobody is called who is no longer `calling`.
        with self._lock:
            self._requested = True
            while self._calls:
                self._calls.pop()()

    def check(self) -> None:
        """Raise `StoppedError` where the work is to end; for places at which nothing is half done."""
        if self._requested:
            raise StoppedError("The run was ended before this tenant was served. Start again.")

    @contextmanager
    def calling(self, call: Callable[[], object]) -> Iterator[None]:
        """Have `call` made on the requesting thread, or now if the request was made already; it must not block."""
        with self._lock:
            late = self._requested
            if not late:
                self._calls.append(call)
        if late:
            call()
        try:
            yield
        finally:
            with self._lock:
                if call in self._calls:
                    self._calls.remove(call)
