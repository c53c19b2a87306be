"""How often one origin is asked: time slots, shared by every thread and event loop of this process.

Change the rate here when a vendor publishes one. Nothing here sleeps or knows HTTP: a caller is told how
long to wait, so that a thread and an event loop can each wait in their own way.
"""

import threading
import time
from collections.abc import Callable

SECONDS_BETWEEN_REQUESTS = 0.5


class Pacing:
    """Hands out time slots at least `interval` seconds apart for each origin, first come, first served."""

    def __init__(self, interval: float = SECONDS_BETWEEN_REQUESTS, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._next_free: dict[str, float] = {}
        self._lock = threading.Lock()

    def seconds_to_wait(self, origin: str) -> float:
        """Take the next free slot of `origin` and say in how many seconds it begins (0.0: now)."""
        with self._lock:
            now = self._clock()
            slot = max(now, self._next_free.get(origin, now))
            self._next_free[origin] = slot + self._interval
            return slot - now


OF_THIS_PROCESS = Pacing()
"""The one that all fetches share; tests bring their own."""
