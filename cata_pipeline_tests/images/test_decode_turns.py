"""Whose image is decoded next: time used, not images waiting, decides."""

from cata_pipeline.images.decode_turns import DecodeTurns, Lane


class Workers:
    """Runs the turns of named tenants, and notes who started."""

    def __init__(self, workers: int, *tenants: str) -> None:
        self.turns = DecodeTurns(workers)
        self.lanes = {tenant: Lane() for tenant in tenants}
        self.started: list[str] = []

    def wait(self, tenant: str, images: int = 1) -> None:
        for _ in range(images):
            self.turns.wait(self.lanes[tenant])

    def start(self) -> list[str]:
        """Start all that may start now; returns who did."""
        began = len(self.started)
        while ready := [name for name, lane in self.lanes.items() if lane.waiting and self.turns.may_start(lane)]:
            [name] = ready
            self.turns.leave(self.lanes[name])
            self.turns.start(self.lanes[name])
            self.started.append(name)
        return self.started[began:]

    def finish(self, tenant: str, seconds: float, *, slow: bool = False) -> list[str]:
        self.turns.finish(self.lanes[tenant], seconds, slow=slow)
        return self.start()

    def slow_down(self, tenant: str) -> list[str]:
        self.turns.slow_down(self.lanes[tenant])
        return self.start()


def test_workers_that_are_free_at_once_go_to_several_tenants() -> None:
    workers = Workers(2, "a", "b")
    workers.wait("a", 5)
    workers.wait("b", 5)
    assert sorted(workers.start()) == ["a", "b"]


def test_a_tenant_alone_has_all_workers() -> None:
    workers = Workers(2, "a", "b")
    workers.wait("a", 5)
    assert workers.start() == ["a", "a"]
    assert workers.finish("a", 0.1) == ["a"]


def test_a_tenant_with_a_thousand_images_leaves_every_other_turn_to_a_tenant_with_few() -> None:
    workers = Workers(1, "many", "few")
    workers.wait("many", 1_000)
    workers.start()
    workers.wait("few", 20)
    for _ in range(60):
        workers.finish(workers.started[-1], 0.01)
    assert workers.started[:42].count("few") == 20


def test_a_tenant_whose_images_take_long_waits_for_all_quick_ones() -> None:
    workers = Workers(1, "long", "quick")
    workers.wait("long", 100)
    workers.start()
    workers.wait("quick", 20)
    assert workers.finish("long", 0.2) == ["quick"]
    for _ in range(20):
        workers.finish("quick", 0.005)
    assert workers.started == ["long", *["quick"] * 20, "long"]


def test_a_slow_image_gives_its_worker_up_and_its_tenant_starts_no_other_meanwhile() -> None:
    workers = Workers(2, "slow", "other")
    workers.wait("slow", 10)
    assert workers.start() == ["slow", "slow"]
    workers.wait("other", 4)
    assert workers.slow_down("slow") == ["other"]
    assert workers.slow_down("slow") == ["other"]
    assert workers.finish("other", 0.01) == ["other"]
    assert workers.finish("slow", 20.0, slow=True) == []
    assert workers.finish("other", 0.01) == ["other"]
    assert workers.finish("slow", 20.0, slow=True) == []
    assert workers.finish("other", 0.01) == ["slow"]
    assert workers.lanes["slow"].seconds == 40.0


def test_time_in_which_a_tenant_had_nothing_to_decode_is_no_credit() -> None:
    workers = Workers(1, "steady", "idle")
    workers.wait("idle")
    workers.start()
    workers.finish("idle", 0.01)
    workers.wait("steady", 1_000)
    workers.start()
    for _ in range(100):
        workers.finish("steady", 0.1)
    workers.wait("idle", 100)
    began = len(workers.started)
    for _ in range(20):
        workers.finish(workers.started[-1], 0.1)
    assert 9 <= workers.started[began:].count("steady") <= 11


def test_a_tenant_that_begins_later_neither_waits_for_nor_overtakes_what_others_used_before() -> None:
    workers = Workers(1, "old", "new")
    workers.wait("old", 1_000)
    workers.start()
    for _ in range(100):
        workers.finish("old", 0.1)
    workers.wait("new", 1_000)
    began = len(workers.started)
    for _ in range(20):
        workers.finish(workers.started[-1], 0.1)
    assert 9 <= workers.started[began:].count("new") <= 11
