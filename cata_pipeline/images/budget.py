"""What a tenant may use in one run; a copy that has used it up defers the rest of its URLs to the next run.

Otherwise images that a host delivers after 29 seconds each would fill a batch's four hours. How the time for decoding
is measured is in `inspection.py`.
"""

from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.work_list import DueUrl


class Budget:
    """One copy's fetch time, and the URLs it defers; belongs to one event loop."""

    def __init__(self, limits: CopyLimits) -> None:
        self._limits = limits
        self._fetch_seconds = 0.0
        self.deferred: list[DueUrl] = []
        self.reason = ""

    @property
    def items(self) -> int:
        """How many items wait for the next run."""
        return sum(len(due.items) for due in self.deferred)

    def fetched(self, seconds: float) -> bool:
        """Charge one URL's fetch; return whether the fetch time is used up."""
        self._fetch_seconds += seconds
        return self._fetch_seconds >= self._limits.fetch_budget_seconds

    def defer_unfetched(self, left: list[DueUrl]) -> None:
        """Defer URLs because the fetch time is used up."""
        self._defer(left, f"hosts took {self._limits.fetch_budget_seconds:,g} seconds to deliver images")

    def defer_undecoded(self, left: list[DueUrl]) -> None:
        """Defer URLs because the decode time is used up."""
        self._defer(left, f"images took {self._limits.decode_budget_seconds:,g} seconds to decode")

    def _defer(self, left: list[DueUrl], used: str) -> None:
        self.deferred += left
        if left:
            self.reason = f"{used}, which is all that a tenant gets in one run; the rest is due in the next one"
