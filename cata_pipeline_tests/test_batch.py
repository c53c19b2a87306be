"""Many tenants at once: one that takes long goes on beside the others."""

import threading
from collections import Counter

from cata_pipeline.batch import each_served, left_behind
from cata_pipeline.stopping import Stop

PATIENCE_SECONDS = 60.0


class Work:
    """Serves tenants; those named `slow-…` take until they are released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, tenant_id: str) -> str:
        kind = tenant_id.partition("-")[0]
        with self._lock:
            self.running[kind] += 1
            self.most[kind] = max(self.most[kind], self.running[kind])
        if kind == "slow":
            assert self.released.wait(PATIENCE_SECONDS)
        with self._lock:
            self.running[kind] -= 1
        return tenant_id


def names(kind: str, count: int) -> list[str]:
    return [f"{kind}-{number}" for number in range(count)]


def test_slow_tenants_hold_up_no_other_tenant_of_the_batch() -> None:
    work, quick, slow = Work(), names("quick", 30), names("slow", 2)
    batch = each_served([*slow, *quick], 2, work, Stop(), place_seconds=0.01)
    assert sorted(next(batch) for _ in quick) == sorted(quick)
    work.released.set()
    assert sorted(batch) == slow
    assert left_behind() == 0


def test_no_more_tenants_are_served_at_once_than_there_are_places_and_as_many_beside() -> None:
    work, slow = Work(), names("slow", 12)
    batch = each_served(slow, 2, work, Stop(), place_seconds=0.001)
    threading.Timer(0.2, work.released.set).start()
    assert sorted(batch) == sorted(slow)
    assert work.most["slow"] <= 4


def test_a_place_beside_that_becomes_free_goes_to_one_that_is_overdue() -> None:
    gates = {name: threading.Event() for name in names("slow", 3)}

    def serve(tenant_id: str) -> str:
        if tenant_id in gates:
            assert gates[tenant_id].wait(PATIENCE_SECONDS)
        return tenant_id

    batch = each_served([*gates, "quick"], 1, serve, Stop(), place_seconds=0.01)
    # One is beside, and the second holds the only place; nothing else can begin.
    gates["slow-0"].set()
    assert next(batch) == "slow-0"
    gates["slow-1"].set()
    assert next(batch) == "slow-1"
    assert next(batch) == "quick"
    gates["slow-2"].set()
    assert list(batch) == ["slow-2"]
    assert left_behind() == 0


def test_without_a_limit_on_places_a_tenant_keeps_its_own() -> None:
    work = Work()
    batch = each_served([*names("slow", 1), *names("quick", 3)], 1, work, Stop())
    threading.Timer(0.05, work.released.set).start()
    assert list(batch) == ["slow-0", *names("quick", 3)]


def test_a_batch_that_is_closed_leaves_nobody_beside() -> None:
    work = Work()
    batch = each_served([*names("slow", 1), *names("quick", 3)], 1, work, Stop(), place_seconds=0.01)
    assert next(batch).startswith("quick")
    work.released.set()
    batch.close()
    assert left_behind() == 0
