"""How often one origin, or one account at it, is asked: time slots, shared by every thread and loop of this process.

Change a rate where its vendor publishes one. Nothing here sleeps or knows HTTP: a caller is told how long to wait, so
that a thread and an event loop can each wait in their own way. Several processes do not share slots: what they ask
beyond the vendor's limit is answered with 429, and asked again after a rest.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

SECONDS_BETWEEN_REQUESTS = 0.5
_KEYS_BETWEEN_SWEEPS = 1_000


class Pacing:
    """Hands out time slots, at most `requests` in any `interval` seconds for each key, first come, first served.

    A key is what the vendor counts by: an origin, an account.
    """

    def __init__(
        self,
        interval: float = SECONDS_BETWEEN_REQUESTS,
        clock: Callable[[], float] = time.monotonic,
        *,
        requests: int = 1,
    ) -> None:
        self._interval = interval
        self._clock = clock
        self._requests = requests
        self._taken: dict[str, deque[float]] = {}
        self._sweep_at = _KEYS_BETWEEN_SWEEPS
        self._lock = threading.Lock()

    def seconds_to_wait(self, key: str) -> float:
        """Take the next free slot of `key` and say in how many seconds it begins (0.0: now)."""
        with self._lock:
            now = self._clock()
            taken = self._taken.get(key)
            if taken is None:
                self._sweep(now)
                taken = self._taken[key] = deque(maxlen=self._requests)
            slot = max(now, taken[0] + self._interval) if len(taken) == self._requests else now
            taken.append(slot)
            return slot - now

    def _sweep(self, now: float) -> None:
        """Forget keys that would not wait: a process that runs for months meets many accounts."""
        if len(self._taken) < self._sweep_at:
            return
        self._taken = {key: taken for key, taken in self._taken.items() if taken[-1] + self._interval > now}
        self._sweep_at = len(self._taken) + _KEYS_BETWEEN_SWEEPS


OF_THIS_PROCESS = Pacing()
"""The one that all fetches share whose vendor publishes no limit; tests bring their own."""
