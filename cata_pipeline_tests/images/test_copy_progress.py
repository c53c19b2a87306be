"""What is seen of a copy while it goes on, how it is ended early, and that it holds no more the more there is to do."""

import asyncio
import contextlib
import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime

import pytest
import sqlalchemy as sa
from aiohttp import web

from cata_pipeline.errors import StoppedError
from cata_pipeline.images import progress
from cata_pipeline.images.progress import EACH, PicturesDone
from cata_pipeline.images.result import MAX_NEWEST, CopiedPicture
from cata_pipeline.stopping import Stop
from cata_pipeline_tests.images.conftest import Clock, Shop
from cata_pipeline_tests.images.hosts import picture, status
from cata_pipeline_tests.images.pictures import draw
from cata_pipeline_tests.images.test_copy import path_of


def stock(shop: Shop, count: int) -> None:
    """That many items with a picture each."""
    for number in range(count):
        shop.host.answers[f"/{number}"] = picture(draw(number, size=(8, 8)))
        shop.add(f"ITEM-{number:03}", shop.host.url(f"/{number}"))


def test_a_long_copy_says_now_and_then_how_far_it_is(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "LINE_URLS", 5)
    caplog.set_level(logging.INFO, "cata_pipeline")
    stock(shop, 12)
    shop.host.answers["/0"] = status(404)
    shop.limit(concurrency=1)

    shop.copy()

    lines = [record.getMessage() for record in caplog.records if record.name == progress.__name__]
    assert lines == [
        "Pictures of kopi-kita: 5 of 12 URLs done, 1 failed",
        "Pictures of kopi-kita: 10 of 12 URLs done, 1 failed",
    ]


def test_every_url_is_told_to_whoever_draws_a_bar_and_to_nobody_else(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    stock(shop, 3)
    caplog.set_level(logging.INFO)
    shop.copy()
    assert not [record for record in caplog.records if record.name == EACH.name]
    shop.clock.pass_time(days=1)
    caplog.set_level(logging.DEBUG, EACH.name)

    shop.copy()

    told = [record.pictures for record in caplog.records if record.name == EACH.name]  # type: ignore[attr-defined]
    assert told == [PicturesDone("kopi-kita", done, 3, 0) for done in (1, 2, 3)]


def test_the_newest_pictures_are_told_those_of_this_copy_first(shop: Shop) -> None:
    stock(shop, MAX_NEWEST + 2)
    shop.limit(concurrency=1)
    shop.host.answers["/3"] = status(404)
    expected = [CopiedPicture(f"ITEM-{number:03}", path_of(draw(number, size=(8, 8)))) for number in (7, 6, 5, 4, 2, 1)]
    assert list(shop.copy().newest) == expected
    shop.clock.pass_time(days=1)
    shop.host.answers["/5"] = picture(draw(99))

    first, *others = shop.copy().newest
    assert first == CopiedPicture("ITEM-005", path_of(draw(99)))
    assert (len(others), len({first.path, *(picture.path for picture in others)})) == (MAX_NEWEST - 1, MAX_NEWEST)
    again = shop.copy()
    assert (again.considered, again.newest[0]) == (0, first)


def test_a_tenant_without_any_copy_has_no_newest_pictures(shop: Shop) -> None:
    shop.add("LATTE", shop.host.url("/gone"))
    assert shop.copy().newest == ()


def test_a_copy_that_is_stopped_keeps_what_arrived_and_leaves_hosts_that_stall(shop: Shop) -> None:
    stop, arrived = Stop(), threading.Event()

    async def stalling(_: web.Request) -> web.StreamResponse:
        # The others are done by the time that only these are asked.
        asyncio.get_running_loop().run_in_executor(None, stop_once_the_others_are_stored)
        await asyncio.Event().wait()
        raise AssertionError("nobody sets this event")

    def stop_once_the_others_are_stored() -> None:
        if not arrived.is_set():
            arrived.set()
            for _ in range(3_000):
                if len(list(shop.bucket.names(""))) == 4:
                    break
                time.sleep(0.01)
            stop.request()

    stock(shop, 4)
    for number in range(20):
        shop.host.answers[f"/stalled-{number}"] = stalling
        shop.add(f"STALLED-{number}", shop.host.url(f"/stalled-{number}"))
    with pytest.raises(StoppedError, match="ended after 4 of 24 pictures; these are done and stay"):
        shop.copy(stop)
    assert [shop.shown(f"ITEM-{number:03}") for number in range(4)] == [
        path_of(draw(number, size=(8, 8))) for number in range(4)
    ]
    with shop.control.connect() as connection:
        settled = connection.execute(sa.text("SELECT count(*), sum(failures) FROM image_urls")).one()
    assert tuple(settled) == (4, 0)


def test_a_copy_that_is_stopped_before_it_begins_asks_and_writes_nothing(shop: Shop) -> None:
    stock(shop, 2)
    stop = Stop()
    stop.request()
    before = shop.row_versions()

    with pytest.raises(StoppedError):
        shop.copy(stop)

    assert shop.row_versions() == before
    assert shop.host.seen == []


@dataclass
class CountingClock(Clock):
    """A clock that is asked after every picture, and then counts the loop's tasks."""

    tasks: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __call__(self) -> datetime:
        with contextlib.suppress(RuntimeError):  # it is asked outside the loop, too
            self.tasks.append(len(asyncio.all_tasks()))
        return super().__call__()


def test_work_under_way_does_not_grow_with_pictures_or_hosts(shop: Shop) -> None:
    most = []
    for count in (20, 200):
        for number in range(count):
            path = f"/{count}-{number}"
            shop.host.answers[path] = picture(draw(number, size=(8, 8)))
            # Every other one has a host of its own, at an address that is denied.
            url = shop.host.url(path) if number % 2 else f"http://127.0.1.{number + 1}:{shop.host.port}{path}"
            shop.add(f"{count}-{number}", url)
        shop.clock = clock = CountingClock()
        shop.clock.time = Clock().time
        assert shop.copy().considered == count
        assert len(clock.tasks) >= count
        most.append(max(clock.tasks))
    few, many = most
    assert many <= 2 * shop.limits.concurrency
    assert many <= few + shop.limits.concurrency


def test_a_failing_url_that_no_item_has_any_more_is_not_told_for_ever(shop: Shop) -> None:
    shop.add("LATTE", shop.host.url("/gone"))
    shop.add("TEA", shop.host.url("/also-gone"))
    assert shop.copy().failed == 2
    assert shop.ledger(shop.host.url("/gone")).item_code == "LATTE"
    shop.host.answers["/new"] = picture(draw())
    shop.point("LATTE", shop.host.url("/new"))
    shop.clock.pass_time(days=1)

    assert shop.copy().failed == 1

    assert shop.ledger(shop.host.url("/gone")).failures == 0
    assert shop.ledger(shop.host.url("/also-gone")).failures == 2


def test_the_ledger_says_which_item_a_failing_url_belongs_to_and_how_many_share_it(shop: Shop) -> None:
    for code in ("C", "A", "B"):
        shop.add(code, shop.host.url("/gone"))
    shop.copy()
    entry = shop.ledger(shop.host.url("/gone"))
    assert (entry.item_code, entry.items) == ("A", 3)
