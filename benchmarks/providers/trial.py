"""One provider: this project and the floor take turns on the same pages, each time in a fresh process."""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.measure import run_measured
from benchmarks.providers.stores import OpenStore, open_store

_PROJECT = Path(__file__).parents[2]
OURS, FLOOR = "ours", "floor"


@dataclass(frozen=True)
class Result:
    """Seconds and CPU seconds of the work; the peak of resident memory of its process."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Figures:
    """What one provider took. `base_bytes` is the peak of a process that fetched a store without products."""

    provider: str
    size: int
    requests: int
    bytes_served: int
    ours: Sequence[Result]
    floor: Sequence[Result]
    base_bytes: int

    @property
    def ratio(self) -> float:
        """How often the floor's median goes into ours."""
        return median_seconds(self.ours) / median_seconds(self.floor)

    @property
    def bytes_an_item(self) -> float:
        """Peak resident memory over the base, for each item, of the hungriest fetch."""
        return (max(result.peak_bytes for result in self.ours) - self.base_bytes) / self.size


def median_seconds(results: Sequence[Result]) -> float:
    """The one that counts."""
    return median(result.seconds for result in results)


def median_cpu_seconds(results: Sequence[Result]) -> float:
    """The same of CPU seconds, which a busy machine hardly stretches."""
    return median(result.cpu_seconds for result in results)


def run_trial(provider: str, size: int, rounds: int, tell: Callable[[str], None]) -> Figures:
    """Measure one provider; raises `BenchmarkError` when an item is missing."""
    tell(f"{provider}: no products at all")
    with open_store(provider, 0) as store:
        base = _measure(OURS, 0, store).peak_bytes
    results: dict[str, list[Result]] = {OURS: [], FLOOR: []}
    with open_store(provider, size) as store:
        for number in range(1, rounds + 1):
            for who, found in results.items():
                tell(f"{provider}: {who}, {number} of {rounds}")
                found.append(_measure(who, size, store))
        return Figures(provider, size, len(store.requests), store.bytes_served, results[OURS], results[FLOOR], base)


def _measure(who: str, size: int, store: OpenStore) -> Result:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as task:
        json.dump({"who": who, "size": size, **_needs(who, store)}, task)
        task.flush()
        cost = run_measured([sys.executable, "-m", "benchmarks.providers.work", task.name], cwd=_PROJECT)
    return Result(**json.loads(cost.output.splitlines()[-1]))


def _needs(who: str, store: OpenStore) -> dict[str, object]:
    if who == FLOOR:
        return {"form": store.form, "requests": [asdict(request) for request in store.requests]}
    return {"slug": store.slug, "options": store.options, "secrets": store.secrets, "port": store.port}
