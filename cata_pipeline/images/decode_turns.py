"""Decide which tenant decodes next, so that one tenant's images do not hold up another's. Pure: no threads, no clock.

Tenants take turns by decode time: the next free worker goes to the tenant that used least since it began to wait. An
image that turns out slow gives its worker up and goes on beside the others; its tenant starts no further image
meanwhile. So no tenant waits for another one's image longer than it takes to call an image slow. How long that is, and
what "beside" costs, is in `inspection.py`.
"""

from dataclasses import dataclass

_EACH_IMAGE = 0.001
"""Seconds charged when an image starts: several workers that are free at once go to several tenants."""


@dataclass(eq=False, slots=True)
class Lane:
    """One tenant's images: how many wait, hold a worker, or go on beside the workers, and the seconds used so far."""

    waiting: int = 0
    running: int = 0
    slow: int = 0
    seconds: float = 0.0
    turn: float = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether no image of the tenant waits or is decoded."""
        return not (self.waiting or self.running or self.slow)


class DecodeTurns:
    """The turns of all lanes at `workers` decoding workers; the caller holds a lock."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._taken = 0
        self._reached = 0.0
        self._waiting: list[Lane] = []

    def wait(self, lane: Lane) -> None:
        """An image of the lane waits."""
        if lane.is_idle:
            # What others used while this tenant had nothing to decode is no credit.
            lane.turn = max(lane.turn, self._reached)
        if not lane.waiting:
            self._waiting.append(lane)
        lane.waiting += 1

    def may_start(self, lane: Lane) -> bool:
        """Whether a worker is free and it is the turn of this lane, which waits."""
        if self._taken >= self._workers or lane.slow:
            return False
        return lane is min((other for other in self._waiting if not other.slow), key=lambda other: other.turn)

    def leave(self, lane: Lane) -> None:
        """An image of the lane waits no longer."""
        lane.waiting -= 1
        if not lane.waiting:
            self._waiting.remove(lane)

    def start(self, lane: Lane) -> None:
        """An image of the lane, which waits no longer, takes a worker."""
        lane.running += 1
        self._taken += 1
        self._reached = lane.turn
        lane.turn += _EACH_IMAGE

    def slow_down(self, lane: Lane) -> None:
        """A running image of the lane is slow: its worker is free."""
        lane.running -= 1
        lane.slow += 1
        self._taken -= 1

    def finish(self, lane: Lane, seconds: float, *, slow: bool) -> None:
        """An image of the lane is done after so many seconds."""
        if slow:
            lane.slow -= 1
        else:
            lane.running -= 1
            self._taken -= 1
        lane.seconds += seconds
        lane.turn += seconds
