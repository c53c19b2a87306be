"""What a tenant may use in one run, and what becomes of the rest."""

import asyncio

import pytest
from aiohttp import web

from cata_pipeline.images.inspection import Inspector
from cata_pipeline.tenants.history import History
from cata_pipeline_tests.images.conftest import Shop
from cata_pipeline_tests.images.hosts import picture, status
from cata_pipeline_tests.images.pictures import draw
from cata_pipeline_tests.images.test_copy import path_of

ITEMS = 6


@pytest.fixture
def stocked(shop: Shop) -> Shop:
    """A shop with an image for each item, requested one after the other."""
    for number in range(ITEMS):
        shop.host.answers[f"/{number}"] = picture(draw(number))
        shop.add(f"ITEM-{number}", shop.host.url(f"/{number}"))
    shop.limit(concurrency=1)
    return shop


def shown(shop: Shop) -> list[bool]:
    return [shop.shown(f"ITEM-{number}") == path_of(draw(number)) for number in range(ITEMS)]


def test_a_copy_within_its_budgets_defers_nothing(stocked: Shop) -> None:
    result = stocked.copy()
    assert (result.written_back, result.deferred, result.deferred_reason) == (ITEMS, 0, "")


def test_what_a_used_up_fetch_time_leaves_is_counted_explained_and_due_in_the_next_run(stocked: Shop) -> None:
    stocked.add("SHARED", stocked.host.url("/5"))
    stocked.limit(fetch_budget_seconds=1e-9)

    first = stocked.copy()

    assert (first.considered, first.written_back, first.failed, first.deferred) == (ITEMS + 1, 1, 0, ITEMS)
    assert first.deferred_reason == (
        "hosts took 1e-09 seconds to deliver images, which is all that a tenant gets in one run;"
        " the rest is due in the next one"
    )
    assert len(stocked.host.seen) == 1
    for done in range(2, ITEMS):
        assert stocked.copy().written_back == 1
        assert shown(stocked) == [True] * done + [False] * (ITEMS - done)
    assert stocked.copy().written_back == 2
    assert stocked.copy().considered == 0


def test_what_a_used_up_decode_time_leaves_is_counted_explained_and_due_in_the_next_run(stocked: Shop) -> None:
    stocked.limit(decode_budget_seconds=1e-9)
    with Inspector(stocked.limits) as stocked.inspector:
        first = stocked.copy()
        assert (first.considered, first.written_back, first.failed, first.deferred) == (ITEMS, 1, 0, ITEMS - 1)
        assert first.deferred_reason.startswith("images took 1e-09 seconds to decode")
        assert len(stocked.host.seen) == 2
        assert stocked.copy().written_back == 1
    assert shown(stocked) == [True, True, *[False] * (ITEMS - 2)]


def test_images_deferred_once_come_before_those_checked_since(stocked: Shop) -> None:
    stocked.copy()
    stocked.limit(fetch_budget_seconds=1e-9)
    visited = []
    for _ in range(2 * ITEMS):
        stocked.clock.pass_time(days=1)
        stocked.host.seen.clear()
        assert stocked.copy().deferred == ITEMS - 1
        visited += [seen.path for seen in stocked.host.seen]
    assert visited == [f"/{number}" for number in range(ITEMS)] * 2


def test_a_deferred_failure_is_still_reported(stocked: Shop) -> None:
    for number in range(ITEMS):
        stocked.host.answers[f"/{number}"] = status(503)
    assert stocked.copy().failed == ITEMS
    stocked.limit(fetch_budget_seconds=1e-9)
    stocked.clock.pass_time(hours=1)

    assert (stocked.copy().failed, stocked.copy().considered) == (1, ITEMS - 1)

    assert History(stocked.control).failing_pictures([stocked.tenant_id]) == {stocked.tenant_id: ITEMS}


def test_what_is_under_way_when_the_time_is_used_up_is_finished(stocked: Shop) -> None:
    both, under_way = asyncio.Event(), 0

    async def together(_: web.Request) -> web.Response:
        nonlocal under_way
        under_way += 1
        if under_way == 2:
            both.set()
        await both.wait()
        return web.Response(body=draw(under_way))

    for number in range(ITEMS):
        stocked.host.answers[f"/{number}"] = together
    stocked.limit(fetch_budget_seconds=1e-9, concurrency=2)

    result = stocked.copy()

    assert (result.downloaded, result.written_back, result.deferred) == (2, 2, ITEMS - 2)
