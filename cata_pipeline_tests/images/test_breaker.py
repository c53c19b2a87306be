"""A host that does not answer costs a few waits, not one for each of its pictures."""

import asyncio
import errno
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import sqlalchemy as sa
from aiohttp import web
from sqlalchemy.engine import URL, Engine

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.images.breaker import HostBreakers, TenantBreakers
from cata_pipeline.images.copy import copy_images
from cata_pipeline.images.due import LedgerEntry, after_failure, fetch_is_due
from cata_pipeline.images.failure import HostFault, PictureError, PostponedError
from cata_pipeline.images.fetch import Fetched, NotModified, fetch
from cata_pipeline.images.guard import guarded_session
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.picture_url import Origin
from cata_pipeline.images.result import ImageFailure
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
def shared(clock: Seconds) -> HostBreakers:
    return HostBreakers(LIMITS, clock)


@pytest.fixture
def breakers(shared: HostBreakers) -> TenantBreakers:
    return shared.of_tenant("kopi-kita")


CDN, OTHER = Origin("https", "cdn", 443), Origin("https", "other", 443)
EITHER = pytest.mark.parametrize("fault", list(HostFault))


def rests(breakers: TenantBreakers, origin: Origin = CDN) -> bool:
    try:
        breakers.admit(origin)
    except PostponedError:
        return True
    return False


def fail(breakers: TenantBreakers, times: int, fault: HostFault = HostFault.UNSERVED, origin: Origin = CDN) -> None:
    for _ in range(times):
        breakers.failed(origin, fault)


@EITHER
def test_a_host_rests_after_so_many_failures_in_a_row_and_not_before(
    breakers: TenantBreakers, fault: HostFault
) -> None:
    fail(breakers, 2, fault)
    assert not rests(breakers)
    fail(breakers, 1, fault)
    with pytest.raises(PostponedError, match="did not respond properly 3 times in a row") as postponed:
        breakers.admit(CDN)
    assert postponed.value.transient


def test_any_response_ends_the_row(shared: HostBreakers, breakers: TenantBreakers) -> None:
    for _ in range(5):
        fail(breakers, 2, HostFault.UNREACHABLE)
        breakers.responded(CDN)
    assert not rests(breakers)
    assert shared.circuits == {}


@EITHER
def test_a_resting_host_costs_the_others_nothing(breakers: TenantBreakers, fault: HostFault) -> None:
    fail(breakers, 3, fault)
    assert rests(breakers)
    for origin in (OTHER, CDN._replace(scheme="http"), CDN._replace(port=80)):
        assert not rests(breakers, origin)


@EITHER
def test_after_a_rest_one_picture_is_let_through_and_the_others_wait_for_what_it_meets(
    breakers: TenantBreakers, clock: Seconds, fault: HostFault
) -> None:
    fail(breakers, 3, fault)
    clock.now += 59.9
    assert rests(breakers)
    clock.now += 0.1
    assert not rests(breakers)
    assert rests(breakers)

    breakers.failed(CDN, fault)
    clock.now += 59.9
    assert rests(breakers)
    clock.now += 0.1
    assert not rests(breakers)

    breakers.responded(CDN)
    assert not rests(breakers)
    assert not rests(breakers)


def test_a_probe_that_is_never_heard_of_again_costs_one_more_rest(breakers: TenantBreakers, clock: Seconds) -> None:
    fail(breakers, 3)
    clock.now += 60
    assert not rests(breakers)
    clock.now += 60
    assert not rests(breakers)


def test_a_response_that_comes_late_wakes_the_host(breakers: TenantBreakers) -> None:
    fail(breakers, 8, HostFault.UNREACHABLE)
    breakers.responded(CDN)
    assert not rests(breakers)


def test_connections_that_cannot_be_made_suspend_a_host_for_all_whoever_meets_them(shared: HostBreakers) -> None:
    tenants = [shared.of_tenant(name) for name in "abc"]
    for tenant in tenants:
        fail(tenant, 1, HostFault.UNREACHABLE)
    assert [rests(tenant) for tenant in (*tenants, shared.of_tenant("d"))] == [True] * 4


def test_responses_that_fail_for_one_tenant_suspend_a_host_for_that_tenant_only(shared: HostBreakers) -> None:
    one, other = shared.of_tenant("one"), shared.of_tenant("other")
    fail(one, 100)
    fail(other, 2)
    assert (rests(one), rests(other)) == (True, False)


def test_responses_that_fail_for_two_tenants_suspend_a_host_for_all(shared: HostBreakers) -> None:
    one, other, third = (shared.of_tenant(name) for name in ("one", "other", "third"))
    fail(one, 3)
    fail(other, 3)
    assert rests(third)


def test_copies_of_one_tenant_are_one_tenant(shared: HostBreakers) -> None:
    for _ in range(3):
        fail(shared.of_tenant("one"), 3)
    assert not rests(shared.of_tenant("other"))


def test_a_response_to_any_tenant_clears_the_host_and_leaves_the_others_to_their_own_failures(
    shared: HostBreakers, clock: Seconds
) -> None:
    one, other, third = (shared.of_tenant(name) for name in ("one", "other", "third"))
    fail(one, 3)
    fail(other, 3)
    clock.now += 60
    assert not rests(third)
    third.responded(CDN)
    assert (rests(one), rests(one), rests(third)) == (False, True, False)


def test_a_tenant_that_is_suspended_itself_does_not_use_up_the_others_turn(
    shared: HostBreakers, clock: Seconds
) -> None:
    one, other = shared.of_tenant("one"), shared.of_tenant("other")
    fail(other, 3, HostFault.UNREACHABLE)
    clock.now += 30
    fail(one, 3)
    clock.now += 30
    assert rests(one)
    assert not rests(other)


def test_hosts_without_number_take_no_memory_without_end(clock: Seconds) -> None:
    shared = HostBreakers(replace(LIMITS, suspended_origins=10), clock)
    tenant = shared.of_tenant("one")
    for number in range(100):
        fail(tenant, 3, HostFault.UNREACHABLE, Origin("https", f"dead-{number}", 443))
    assert len(shared.circuits) == 10
    assert rests(shared.of_tenant("other"), Origin("https", "dead-99", 443))


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

    assert refusal.value.host_fault is (HostFault.UNSERVED if counts else None)


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


@pytest.fixture
def shops(
    new_shop: Callable[[str, Engine], Shop],
    new_tenant_database: Callable[[str], URL],
    monkeypatch: pytest.MonkeyPatch,
) -> list[Shop]:
    """Three tenants of one process."""
    monkeypatch.setattr(conftest, "copy_images", partial(copy_images, breakers=HostBreakers()))
    return [new_shop(name, sa.create_engine(new_tenant_database(name), poolclass=sa.NullPool)) for name in "abc"]


def test_a_host_that_accepts_and_says_nothing_is_met_by_two_tenants_and_spared_by_the_third(
    shops: list[Shop], dead_host: socket.socket
) -> None:
    met = []
    for shop in shops:
        point_at(shop, dead_host, 20)
        assert shop.copy().failed == 20
        met.append(connections_to(dead_host) > 0)
    assert met == [True, True, False]


def requested(shop: Shop) -> int:
    """How many of a tenant's failing URLs were requested, and not only postponed."""
    with shop.control.connect() as connection:
        found: int = connection.execute(
            sa.text("SELECT count(*) FROM image_urls WHERE tenant_id = :tenant AND failures > 0"),
            {"tenant": shop.tenant_id},
        ).scalar_one()
        return found


def test_a_host_that_takes_no_connection_is_met_by_one_tenant(shops: list[Shop], dead_host: socket.socket) -> None:
    for shop in shops:
        point_at(shop, dead_host, 20)
    dead_host.close()
    for shop in shops:
        assert shop.copy().failed == 20
    assert [requested(shop) > 0 for shop in shops] == [True, False, False]


def failing(shop: Shop, url: str, count: int) -> list[ImageFailure]:
    """The failures of a copy with that many items at `url`."""
    for number in range(count):
        shop.add(f"BAD-{number:02}", url.replace("*", str(number)))
    result = shop.copy()
    assert result.failed == count
    return list(result.failures)


@pytest.mark.parametrize("code", [429, 502, 503, 504])
def test_urls_that_fail_for_one_tenant_postpone_no_other_tenants_images(shops: list[Shop], code: int) -> None:
    bad, good, _ = shops
    for number in range(8):
        bad.host.answers[f"/bad/{number}"] = status(code)
        good.host.answers[f"/{number}"] = picture(draw(number))
        good.add(f"ITEM-{number}", good.host.url(f"/{number}"))
    failing(bad, bad.host.url("/bad/*"), 8)
    assert good.copy().written_back == 8


def test_https_at_a_port_of_plain_http_is_the_urls_own_fault(shops: list[Shop]) -> None:
    bad, good, _ = shops
    for number in range(8):
        good.host.answers[f"/{number}"] = picture(draw(number))
        for shop in (bad, good):
            shop.add(f"ITEM-{number}", good.host.url(f"/{number}"))
    mistaken = bad.host.url("/bad/*").replace("http:", "https:")
    for number in range(8):
        bad.add(f"BAD-{number:02}", mistaken.replace("*", str(number)))

    result = bad.copy()

    assert (result.failed, result.written_back) == (8, 8)
    assert {failure.reason for failure in result.failures} == {"the image's host does not speak https at this address"}
    assert {failure.next_try_at for failure in result.failures} == {bad.clock() + timedelta(days=1)}
    assert requested(bad) == 8
    assert good.copy().written_back == 8


def test_a_machine_without_sockets_blames_no_host(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("cata_pipeline.images.guard._judged_socket", none_left)
        failures = failing(shop, shop.host.url("/*"), 20)
    assert {failure.reason for failure in failures} == {
        "our machine has no connection left for the image at the moment"
    }
    assert requested(shop) == 0


def test_names_that_no_server_resolves_in_time_suspend_no_host_for_other_tenants(
    shops: list[Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, attacker, _ = shops
    ends = threading.Event()

    def look_up(host: str, *_: object) -> list[tuple[socket.AddressFamily, str]]:
        if host.startswith("hangs"):
            ends.wait()
        return [(socket.AF_INET, LOOPBACK)]

    monkeypatch.setattr("cata_pipeline.images.guard._addresses", look_up)
    monkeypatch.setattr("cata_pipeline.images.picture_url.WEB_PORTS", {victim.host.port})
    attacker.limit(lookup_threads=2, lookup_seconds=0.2)
    for number in range(8):
        for shop in (victim, attacker):
            shop.add(f"CDN-{number}", f"http://cdn.example:{victim.host.port}/{number}")
        attacker.add(f"HANGS-{number}", f"http://hangs-{number}.example:{victim.host.port}/")
        victim.host.answers[f"/{number}"] = picture(draw(number))
    try:
        assert attacker.copy().failed == 16
    finally:
        ends.set()

    assert victim.copy().written_back == 8


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
    breakers, victim = HostBreakers(limits).of_tenant("kopi-kita"), Origin("http", LOOPBACK, port)

    async def late(_: web.Request) -> web.Response:
        await asyncio.sleep(0.2)
        return web.Response(status=302, headers={"Location": f"http://{LOOPBACK}:{port}/"})

    async def run() -> Fetched | NotModified:
        policy = policy_for(host.port, port)
        async with guarded_session(policy, limits) as session:
            return await fetch(session, host.url("/a"), NO_VALIDATORS, policy, limits, breakers)

    host.answers["/a"] = late
    fail(breakers, 2, origin=victim)
    with pytest.raises(PictureError, match="in time") as refusal:
        asyncio.run(run())

    assert connections_to(dead_host) == 1
    assert (refusal.value.transient, refusal.value.host_fault) == (True, None)
    assert not rests(breakers, victim)
    assert not rests(breakers, Origin("http", LOOPBACK, host.port))
    fail(breakers, 1, origin=victim)
    assert rests(breakers, victim)
