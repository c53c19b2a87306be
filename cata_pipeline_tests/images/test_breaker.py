"""A host that does not answer costs a few waits, not one for each of its pictures."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import sqlalchemy as sa
from aiohttp import web
from sqlalchemy.engine import URL, Engine

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.images.breaker import HostBreakers
from cata_pipeline.images.copy import copy_images
from cata_pipeline.images.due import LedgerEntry, after_failure, fetch_is_due
from cata_pipeline.images.failure import PictureError, PostponedError
from cata_pipeline.images.fetch import Fetched, NotModified, fetch
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.pool import guarded_pool
from cata_pipeline.images.validators import NO_VALIDATORS, Validators
from cata_pipeline.tenants.history import History
from cata_pipeline_tests.images import conftest
from cata_pipeline_tests.images.conftest import Shop
from cata_pipeline_tests.images.hosts import LOOPBACK, Answer, PictureHost, picture, policy_for, status
from cata_pipeline_tests.images.pictures import draw
from cata_pipeline_tests.images.test_fetch import get

LIMITS = CopyLimits(host_failures=3, host_rest_seconds=60)
NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


class Seconds:
    """A clock that moves only when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def breakers(clock: Seconds) -> HostBreakers:
    return HostBreakers(LIMITS, clock)


def rests(breakers: HostBreakers, host: str = "cdn") -> bool:
    try:
        breakers.admit(host)
    except PostponedError:
        return True
    return False


def fail(breakers: HostBreakers, times: int, host: str = "cdn") -> None:
    for _ in range(times):
        breakers.failed(host)


def test_a_host_rests_after_so_many_failures_in_a_row_and_not_before(breakers: HostBreakers) -> None:
    fail(breakers, 2)
    assert not rests(breakers)
    fail(breakers, 1)
    with pytest.raises(PostponedError, match="did not answer 3 times in a row") as postponed:
        breakers.admit("cdn")
    assert postponed.value.transient


def test_any_answer_ends_the_row(breakers: HostBreakers) -> None:
    for _ in range(5):
        fail(breakers, 2)
        breakers.answered("cdn")
    assert not rests(breakers)
    assert breakers._troubles == {}


def test_a_resting_host_costs_the_others_nothing(breakers: HostBreakers) -> None:
    fail(breakers, 3)
    assert rests(breakers)
    assert not rests(breakers, "other")


def test_after_a_rest_one_picture_is_let_through_and_the_others_wait_for_what_it_meets(
    breakers: HostBreakers, clock: Seconds
) -> None:
    fail(breakers, 3)
    clock.now += 59.9
    assert rests(breakers)
    clock.now += 0.1
    assert not rests(breakers)
    assert rests(breakers)

    breakers.failed("cdn")
    clock.now += 59.9
    assert rests(breakers)
    clock.now += 0.1
    assert not rests(breakers)

    breakers.answered("cdn")
    assert not rests(breakers)
    assert not rests(breakers)


def test_a_probe_that_is_never_heard_of_again_costs_one_more_rest(breakers: HostBreakers, clock: Seconds) -> None:
    fail(breakers, 3)
    clock.now += 60
    assert not rests(breakers)
    clock.now += 60
    assert not rests(breakers)


def test_an_answer_that_comes_late_wakes_the_host(breakers: HostBreakers) -> None:
    fail(breakers, 8)
    breakers.answered("cdn")
    assert not rests(breakers)


def test_a_postponed_picture_is_not_blamed_and_waits_the_shortest_time() -> None:
    known = LedgerEntry("p", Validators('"1"'), NOW - timedelta(days=2), 4, "old", NOW - timedelta(days=1), NOW)

    entry = after_failure(known, PostponedError("rests"), NOW, LIMITS)

    assert entry == replace(known, failure="rests", next_try_at=NOW + timedelta(hours=1))
    fresh = after_failure(LedgerEntry(), PostponedError("rests"), NOW, LIMITS)
    assert (fresh.failures, fresh.failing_since) == (0, NOW)
    assert not fetch_is_due(fresh, NOW + timedelta(minutes=59), LIMITS)
    assert fetch_is_due(fresh, NOW + timedelta(hours=1), LIMITS)


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        (status(429), True),
        (status(502), True),
        (status(503), True),
        (status(504), True),
        (status(404), False),
        (status(403), False),
        (status(500), False),
        (picture(b""), False),
        (picture(b"x" * 1001), False),
    ],
)
def test_only_a_host_that_cannot_serve_is_at_fault(host: PictureHost, answer: Answer, counts: bool) -> None:  # noqa: FBT001
    host.answers["/a"] = answer

    with pytest.raises(PictureError) as refusal:
        get(host.url("/a"), policy_for(host.port))

    assert refusal.value.host_fault is counts


def test_a_denied_address_is_no_host_that_is_down() -> None:
    with pytest.raises(PictureError) as refusal:
        get("http://169.254.169.254/", AddressPolicy())
    assert not refusal.value.host_fault


@pytest.fixture
def dead_host() -> Iterator[socket.socket]:
    """Takes connections, and never says a word."""
    with socket.create_server((LOOPBACK, 0), backlog=512) as server:
        yield server


def connections_to(server: socket.socket) -> int:
    server.setblocking(False)
    count = 0
    while True:
        try:
            connection, _ = server.accept()
        except BlockingIOError:
            return count
        connection.close()
        count += 1


def point_at(shop: Shop, server: socket.socket, count: int) -> None:
    port = server.getsockname()[1]
    shop.policy = policy_for(shop.host.port, port)
    shop.limit(silence_seconds=0.1, deadline_seconds=5.0, lookup_seconds=0.1)
    for number in range(count):
        shop.add(f"ITEM-{number:03}", f"http://{LOOPBACK}:{port}/{number}")


def test_five_hundred_pictures_on_a_dead_host_cost_a_handful_of_connections(
    shop: Shop, dead_host: socket.socket
) -> None:
    point_at(shop, dead_host, 500)
    shop.host.answers["/good"] = picture(draw())
    shop.add("GOOD", shop.host.url("/good"))

    result = shop.copy()

    asked = connections_to(dead_host)
    assert shop.limits.host_failures <= asked <= shop.limits.host_failures + shop.limits.concurrency_per_host
    assert (result.considered, result.failed, result.written_back) == (501, 500, 1)
    with shop.control.connect() as connection:
        rows = connection.execute(
            sa.text("""
                SELECT failures, failing_since, next_try_at, count(*) AS urls
                FROM image_urls WHERE failure IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1
            """)
        ).all()
    now, due = shop.clock(), shop.clock() + timedelta(hours=1)
    assert [tuple(row) for row in rows] == [(0, now, due, 500 - asked), (1, now, due, asked)]
    told = History(shop.control)
    assert told.failing_pictures([shop.tenant_id]) == {shop.tenant_id: 500}
    listed = told.longest_failing([shop.tenant_id], 500)[shop.tenant_id]
    assert sorted(picture.tries for picture in listed) == [0] * (500 - asked) + [1] * asked
    assert {(picture.since, picture.next_try_at) for picture in listed} == {(now, due)}


def test_postponed_pictures_that_no_item_has_any_more_are_told_no_longer(shop: Shop, dead_host: socket.socket) -> None:
    point_at(shop, dead_host, 40)
    assert shop.copy().failed == 40
    shop.sql("UPDATE items SET external_image_url = NULL")
    shop.clock.pass_time(hours=1)

    assert shop.copy().considered == 0
    assert History(shop.control).failing_pictures([shop.tenant_id]) == {}


def test_postponed_pictures_are_copied_once_their_host_is_back(shop: Shop, dead_host: socket.socket) -> None:
    point_at(shop, dead_host, 40)
    port = dead_host.getsockname()[1]
    assert shop.copy().failed == 40
    assert shop.copy().considered == 0
    dead_host.close()
    shop.clock.pass_time(hours=1)

    with PictureHost(port=port) as revived:
        revived.answers |= {f"/{number}": picture(draw()) for number in range(40)}
        result = shop.copy()

    assert (result.considered, result.failed, result.written_back) == (40, 0, 40)
    with shop.control.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM image_urls WHERE failure IS NOT NULL")).scalar() == 0


def test_tenants_that_share_breakers_meet_a_dead_host_once(
    new_shop: Callable[[str, Engine], Shop],
    new_tenant_database: Callable[[str], URL],
    dead_host: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shops = [new_shop(name, sa.create_engine(new_tenant_database(name), poolclass=sa.NullPool)) for name in ("a", "b")]
    monkeypatch.setattr(conftest, "copy_images", partial(copy_images, breakers=HostBreakers()))
    for shop in shops:
        point_at(shop, dead_host, 20)

    assert shops[0].copy().failed == 20
    assert connections_to(dead_host) > 0
    assert shops[1].copy().failed == 20
    assert connections_to(dead_host) == 0


def test_the_host_that_a_redirect_leads_to_is_the_one_that_rests(shop: Shop, dead_host: socket.socket) -> None:
    port = dead_host.getsockname()[1]
    shop.policy = policy_for(shop.host.port, port)
    shop.limit(silence_seconds=0.1, concurrency_per_host=1)
    for number in range(20):
        shop.host.answers[f"/{number}"] = status(302, Location=f"http://{LOOPBACK}:{port}/{number}")
        shop.add(f"HOP-{number}", shop.host.url(f"/{number}"))
    shop.host.answers["/good"] = picture(draw())
    shop.add("GOOD", shop.host.url("/good"))

    result = shop.copy()

    assert (result.failed, result.written_back) == (20, 1)
    assert connections_to(dead_host) == shop.limits.host_failures
    assert len(shop.host.seen) == 21


def test_a_host_that_was_left_no_fair_share_of_the_time_is_neither_blamed_nor_cleared(
    host: PictureHost, dead_host: socket.socket
) -> None:
    port = dead_host.getsockname()[1]
    # Later than the redirecting host may take if the next one is to have `silence_seconds`.
    limits = replace(LIMITS, deadline_seconds=1.0, silence_seconds=0.9)
    breakers, victim = HostBreakers(limits), f"{LOOPBACK}:{port}"

    async def late(_: web.Request) -> web.Response:
        await asyncio.sleep(0.2)
        return web.Response(status=302, headers={"Location": f"http://{LOOPBACK}:{port}/"})

    async def run() -> Fetched | NotModified:
        policy = policy_for(host.port, port)
        async with guarded_pool(policy, limits) as pool:
            return await fetch(pool, host.url("/a"), NO_VALIDATORS, policy, limits, breakers)

    host.answers["/a"] = late
    fail(breakers, 2, victim)
    with pytest.raises(PictureError, match="in time") as refusal:
        asyncio.run(run())

    assert connections_to(dead_host) == 1
    assert (refusal.value.transient, refusal.value.host_fault) == (True, False)
    assert not rests(breakers, victim)
    assert not rests(breakers, f"{LOOPBACK}:{host.port}")
    fail(breakers, 1, victim)
    assert rests(breakers, victim)
