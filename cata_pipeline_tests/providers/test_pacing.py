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
