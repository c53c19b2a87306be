"""Serves many tenants at once in threads of their own, and hands over each answer as it is there.

What is done for a tenant is the caller's; how the end of a run reaches those who work is `cata_pipeline.stopping`.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

from cata_pipeline.stopping import Stop

Answer = TypeVar("Answer")
GRACE_SECONDS = 5.0
"""What tenants under way have to finish once the batch is to end."""
_THREAD = "tenant-"


def left_behind() -> int:
    """How many threads of batches that ended are still waiting here, and hold their tenants' locks."""
    return sum(thread.name.startswith(_THREAD) for thread in threading.enumerate())


def each_served(
    tenant_ids: Sequence[str],
    concurrency: int,
    serve: Callable[[str], Answer],
    stop: Stop,
    *,
    place_seconds: float | None = None,
) -> Generator[Answer, None, None]:
    """What `serve` answers for each tenant, as it is there; whoever closes this early stops those being served.

    A tenant that takes longer than `place_seconds` gives its place to the next one and goes on beside it, so that slow
    tenants do not hold up the others; at most `concurrency` tenants go on like that.

    Threads of our own, because the interpreter waits for a pool's at its end: a cancelled run must not outlive a POS
    that answers slowly. One that is left behind writes nothing more: it looks at `stop` before it does.
    """
    waiting, answers = deque(tenant_ids), SimpleQueue[Future[Answer]]()
    threads: list[threading.Thread] = []

    def start() -> None:
        threads.append(threading.Thread(target=work, name=f"{_THREAD}{len(threads)}", daemon=True))
        threads[-1].start()

    def work() -> None:
        has_place = True
        while has_place and not stop.requested:
            try:
                tenant_id = waiting.popleft()
            except IndexError:
                return
            answer = Future[Answer]()
            with places.held(place_seconds) as place:
                try:
                    answer.set_result(serve(tenant_id))
                except BaseException as error:  # noqa: BLE001 raised where the answer is read
                    answer.set_exception(error)
            has_place = place.is_held
            answers.put(answer)

    places = _Places(concurrency, start)
    try:
        for _ in range(min(concurrency, len(tenant_ids))):
            start()
        for _ in tenant_ids:
            yield answers.get().result()
    finally:
        stop.request()
        deadline = time.monotonic() + GRACE_SECONDS
        for thread in [*threads]:
            thread.join(max(0.0, deadline - time.monotonic()))


@dataclass(eq=False)
class _Place:
    """The place of a tenant being served; not held any more: another thread has it."""

    is_held: bool = True


class _Places:
    """Lets another thread start where a tenant takes long, for at most `beside` tenants at a time."""

    def __init__(self, beside: int, start: Callable[[], None]) -> None:
        self._free = beside
        self._start = start
        self._lock = threading.Lock()
        self._overdue: list[_Place] = []

    @contextmanager
    def held(self, seconds: float | None) -> Iterator[_Place]:
        """A place for one tenant, which is given to another thread after so many seconds."""
        place = _Place()
        if seconds is None:
            yield place
            return
        timer = threading.Timer(seconds, self._give_up, [place])
        timer.daemon = True
        timer.start()
        try:
            yield place
        finally:
            timer.cancel()
            timer.join()
            self._leave(place)

    def _give_up(self, place: _Place) -> None:
        with self._lock:
            if not self._free:
                self._overdue.append(place)
                return
            self._free -= 1
            place.is_held = False
        self._start()

    def _leave(self, place: _Place) -> None:
        with self._lock:
            if place in self._overdue:
                self._overdue.remove(place)
            elif not place.is_held and self._overdue:
                # This thread goes on in the place of one that waits to give its own up.
                self._overdue.pop(0).is_held = False
                place.is_held = True
            elif not place.is_held:
                self._free += 1
