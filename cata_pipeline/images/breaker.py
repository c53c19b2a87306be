"""Which picture hosts are left alone for a while: a circuit breaker for each, so that a dead one costs seconds.

What counts as a host's own fault is decided in `fetch.py`; when a picture that was not asked for is due again, in
`due.py`. Nothing here waits or connects.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cata_pipeline.images.failure import PostponedError
from cata_pipeline.images.limits import CopyLimits


@dataclass(slots=True)
class _Trouble:
    """A host's failures in a row, and until when (by the clock) it is left alone because of them."""

    failures: int = 0
    rests_until: float = 0.0


class HostBreakers:
    """What all tenants of a process have met at each host; safe to share between threads.

    After `host_failures` in a row a host rests for `host_rest_seconds`: whoever would ask it gets `PostponedError`
    at once. Then one picture at a time is let through, one a rest, until the host answers anything at all. Hosts that
    answer are not kept. `clock` returns seconds and never goes back.
    """

    def __init__(self, limits: CopyLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or CopyLimits()
        self._clock = clock
        self._lock = threading.Lock()
        self._troubles: dict[str, _Trouble] = {}

    def admit(self, host: str) -> None:
        """Return if `host` may be asked now; its outcome, if it had one, must be told by `answered` or `failed`.

        Raises `PostponedError` while it rests. One that is admitted and never told (a cancelled copy, or a host that
        was left no time to answer) counts for nothing, and at most makes a resting host rest once more.
        """
        with self._lock:
            trouble = self._troubles.get(host)
            if trouble is None or trouble.failures < self._limits.host_failures:
                return
            now = self._clock()
            if now < trouble.rests_until:
                raise PostponedError(
                    f"the picture's host did not answer {trouble.failures} times in a row, so it is asked again later"
                )
            trouble.rests_until = now + self._limits.host_rest_seconds

    def answered(self, host: str) -> None:
        """The host answered something, be it a refusal."""
        with self._lock:
            self._troubles.pop(host, None)

    def failed(self, host: str) -> None:
        """The host could not be reached, fell silent, or said that it cannot serve now."""
        with self._lock:
            trouble = self._troubles.setdefault(host, _Trouble())
            trouble.failures += 1
            if trouble.failures >= self._limits.host_failures:
                trouble.rests_until = self._clock() + self._limits.host_rest_seconds
