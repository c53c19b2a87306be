"""How requests to one origin are spread over time."""

from concurrent.futures import ThreadPoolExecutor

from cata_pipeline.providers.pacing import Pacing


def test_slots_of_one_origin_are_half_a_second_apart_and_other_origins_do_not_wait() -> None:
    pacing = Pacing(clock=lambda: 10.0)
    assert [pacing.seconds_to_wait("https://a.example") for _ in range(3)] == [0.0, 0.5, 1.0]
    assert pacing.seconds_to_wait("https://b.example") == 0.0


def test_a_slot_that_nobody_took_is_not_saved_up() -> None:
    times = iter([0.0, 60.0, 60.0])
    pacing = Pacing(clock=lambda: next(times))
    assert [pacing.seconds_to_wait("https://a.example") for _ in range(3)] == [0.0, 0.0, 0.5]


def test_threads_never_share_a_slot() -> None:
    pacing = Pacing(clock=lambda: 0.0)
    with ThreadPoolExecutor(8) as threads:
        waits = list(threads.map(lambda _: pacing.seconds_to_wait("https://a.example"), range(200)))
    assert sorted(waits) == [slot / 2 for slot in range(200)]


def test_a_window_lets_a_burst_through_and_then_only_what_leaves_it() -> None:
    now = [100.0]
    pacing = Pacing(300, clock=lambda: now[0], requests=3)
    assert [pacing.seconds_to_wait("account") for _ in range(3)] == [0.0, 0.0, 0.0]
    now[0] = 150.0
    assert [pacing.seconds_to_wait("account") for _ in range(4)] == [250.0, 250.0, 250.0, 550.0]


def test_no_window_ever_holds_more_than_its_requests() -> None:
    now = [0.0]
    pacing = Pacing(10, clock=lambda: now[0], requests=5)
    slots = []
    for step in range(200):
        now[0] += (step * 7 % 5) / 2
        slots.append(now[0] + pacing.seconds_to_wait("account"))
    assert all(later - earlier >= 10 for earlier, later in zip(slots, slots[5:], strict=False))


def test_threads_never_share_a_place_in_a_window() -> None:
    pacing = Pacing(300, clock=lambda: 0.0, requests=10)
    with ThreadPoolExecutor(8) as threads:
        waits = list(threads.map(lambda _: pacing.seconds_to_wait("account"), range(40)))
    assert sorted(waits) == [300.0 * (number // 10) for number in range(40)]


def test_a_key_that_waits_is_remembered_however_many_others_there_are() -> None:
    pacing = Pacing(clock=lambda: 5.0)
    assert pacing.seconds_to_wait("busy") == 0.0
    for number in range(5_000):
        pacing.seconds_to_wait(f"other {number}")
    assert pacing.seconds_to_wait("busy") == 0.5


def test_keys_that_wait_no_longer_are_forgotten() -> None:
    now = [0.0]
    pacing = Pacing(clock=lambda: now[0])
    for number in range(5_000):
        now[0] += 1.0
        pacing.seconds_to_wait(f"account {number}")
    assert len(pacing._taken) <= 1_001
