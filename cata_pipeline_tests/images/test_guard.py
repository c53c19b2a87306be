import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import AddrInfoType, ClientConnectorError, ClientSession, web
from aiohttp.abc import ResolveResult
from yarl import URL

from cata_pipeline import addresses
from cata_pipeline.addresses import AddressDeniedError, AddressPolicy
from cata_pipeline.images import guard, picture_url
from cata_pipeline.images.connector import UnreachableError
from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.fetch import Fetched, fetch
from cata_pipeline.images.guard import guarded_session
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.validators import NO_VALIDATORS
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.settings import Endpoint, Settings
from cata_pipeline_tests.images.conftest import Canary
from cata_pipeline_tests.images.hosts import PictureHost, Sentinel, has_ipv6, picture, policy_for, redirect

LIMITS = CopyLimits(lookup_seconds=5)


async def ask(session: ClientSession, url: str) -> bytes:
    async with guard.get(session, URL(url), {}) as response:
        return await response.read()


def get(url: str, policy: AddressPolicy) -> bytes:
    async def run() -> bytes:
        async with guarded_session(policy, LIMITS) as session:
            return await ask(session, url)

    return asyncio.run(run())


@pytest.mark.parametrize("spelling", ["127.0.0.1", "localhost"])
def test_a_denial_is_told_from_an_unreachable_host(canary: Canary, spelling: str) -> None:
    with pytest.raises(ClientConnectorError) as denial:
        get(canary.url(spelling), AddressPolicy())
    assert isinstance(denial.value.os_error, AddressDeniedError)

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UnreachableError):
        get(f"http://127.0.0.1:{port}/", policy_for(port))


def test_a_redirect_is_not_followed_by_the_client_itself(host: PictureHost, canary: Canary) -> None:
    host.answers["/hop"] = redirect(canary.url())

    assert get(host.url("/hop"), policy_for(host.port)) == b""
    assert canary.visits == []


def test_an_allowed_pair_is_reached_by_address_and_by_name(host: PictureHost) -> None:
    host.answers["/a"] = picture(b"bytes")

    assert get(host.url("/a"), policy_for(host.port)) == b"bytes"


# The next tests let the sentinel's port pass for one of the web, so that only its address can be what is refused.
SPELLINGS = (
    "127.0.0.1",
    "127.8.9.10",
    "localhost",
    "LOCALHOST.",
    "ⓛocalhost",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "0",
    "0.0.0.0",  # noqa: S104 a target, not a listener
    "１２７.0.0.1",  # noqa: RUF001 full-width digits
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[::1%25lo]",
    "[::1%25]",
    "[::ffff:127.0.0.1%25lo]",
    "[fe80::1%25lo]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2606:4700::5efe:7f00:1]",
    "user@127.0.0.1",
    "127.0.0.1#@cdn.example",
    "127.0.0.1?@cdn.example",
    "cdn.example\\@127.0.0.1",
    "%31%32%37.0.0.1",
)
LOOPBACKS = ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",)


@pytest.fixture
def sentinel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sentinel]:
    with Sentinel(LOOPBACKS) as sentinel:
        ports = frozenset({80, 443, sentinel.port})
        monkeypatch.setattr(addresses, "WEB_PORTS", ports)
        monkeypatch.setattr(picture_url, "WEB_PORTS", ports)
        yield sentinel


def reason(url: str, policy: AddressPolicy | None = None, limits: CopyLimits = LIMITS) -> str:
    async def run() -> None:
        allowed = policy or AddressPolicy()
        async with guarded_session(allowed, limits) as session:
            await fetch(session, url, NO_VALIDATORS, allowed, limits)

    with pytest.raises(PictureError) as refusal:
        asyncio.run(run())
    return refusal.value.reason


def test_the_sentinel_sees_what_an_allowed_pair_lets_through(sentinel: Sentinel) -> None:
    policy, limits = policy_for(sentinel.port), CopyLimits(silence_seconds=0.05)

    assert "in time" in reason(f"http://127.0.0.1:{sentinel.port}/", policy, limits)
    assert sentinel.visits == 1


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_spelling_of_a_denied_address_makes_a_connection(sentinel: Sentinel, scheme: str, spelling: str) -> None:
    assert reason(f"{scheme}://{spelling}:{sentinel.port}/x.jpg") in {
        "address not allowed",
        picture_url.UNUSABLE_URL,
        "the picture's address holds a user name or password",
        # some resolvers do not know it
        "the picture's host could not be reached or did not answer properly",
    }
    assert sentinel.visits == 0


def test_no_redirect_to_a_denied_address_makes_a_connection(sentinel: Sentinel, host: PictureHost) -> None:
    policy = policy_for(host.port)
    targets = [f"http://{spelling}:{sentinel.port}/" for spelling in SPELLINGS]
    targets += [f"//127.0.0.1:{sentinel.port}/", "http://169.254.169.254/computeMetadata/v1/", "https://192.0.0.192/"]
    for number, target in enumerate(targets):
        host.answers[f"/{number}"] = redirect(quote(target, safe="/:@%?#[]\\"))

    reasons = {reason(host.url(f"/{number}"), policy) for number in range(len(targets))}

    assert sentinel.visits == 0
    assert len(host.seen) == len(targets)
    assert "address not allowed" in reasons


def test_a_url_without_a_port_is_judged_by_its_address_alone() -> None:
    for host_name in ("localhost", "169.254.169.254", "[fd20:ce::254]", "168.63.129.16", "100.100.100.200"):
        assert reason(f"http://{host_name}/") == "address not allowed"
        assert reason(f"https://{host_name}/") == "address not allowed"


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "::1", "fe80::1%1", "192.0.0.192", "64:ff9b::a00:1"])
def test_a_name_that_leads_to_a_denied_address_makes_no_connection(
    sentinel: Sentinel, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    answer_with(monkeypatch, [address])

    assert reason(f"http://cdn.example:{sentinel.port}/") == "address not allowed"
    assert sentinel.visits == 0


def answer_with(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Name servers give these answers, one after the other, the last one for ever; returns the names asked for."""
    asked: list[str] = []

    def look_up(host: str, *_: object) -> list[tuple[socket.AddressFamily, str]]:
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET6 if ":" in address else socket.AF_INET, address) for address in found]

    monkeypatch.setattr(guard, "_addresses", look_up)
    return asked


@pytest.mark.parametrize("denied", ["10.0.0.1", "127.0.0.2", "::1", "169.254.169.254"])
def test_a_name_with_one_denied_address_is_refused_in_any_order(
    sentinel: Sentinel, host: PictureHost, monkeypatch: pytest.MonkeyPatch, denied: str
) -> None:
    monkeypatch.setattr(picture_url, "WEB_PORTS", {host.port})
    policy = policy_for(host.port)
    with Sentinel(("127.0.0.2",), host.port) as second:
        for answers in (["127.0.0.1", denied], [denied, "127.0.0.1"], ["127.0.0.1"] * 6 + [denied]):
            answer_with(monkeypatch, answers)
            assert reason(f"http://cdn.example:{host.port}/", policy) == "address not allowed"
        assert second.visits == 0
    assert host.seen == []


def test_an_address_that_changes_between_two_lookups_is_judged_again(
    host: PictureHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.answers["/a"] = picture(b"bytes")
    url, policy = f"http://rebind.example:{host.port}/a", policy_for(host.port)
    with Sentinel(("127.0.0.2",), host.port) as sentinel:
        asked = answer_with(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
        assert get(url, policy) == b"bytes"
        with pytest.raises(ClientConnectorError) as denial:
            get(url, policy)
        assert isinstance(denial.value.os_error, AddressDeniedError)
        assert sentinel.visits == 0
    assert asked == ["rebind.example", "rebind.example"]


def test_an_address_that_changes_after_its_lookup_was_judged_makes_no_connection(
    sentinel: Sentinel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(_: object, host: str, port: int, **__: object) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_UNSPEC, proto=0, flags=0)
            for address in ("127.0.0.1", "::1")
        ]

    monkeypatch.setattr(guard._JudgingResolver, "resolve", resolve)

    assert reason(f"http://cdn.example:{sentinel.port}/") == "address not allowed"
    assert sentinel.visits == 0


def test_a_name_that_no_resolver_can_take_is_no_denial() -> None:
    assert reason("http://xn--/") == picture_url.UNUSABLE_URL
    with pytest.raises(ClientConnectorError) as refusal:
        get(f"http://{'a' * 64}/", AddressPolicy())
    assert str(refusal.value.os_error) == "not a host name"


def test_a_denial_says_the_same_whether_anything_listens_or_not(sentinel: Sentinel) -> None:
    listening = reason(f"http://127.0.0.1:{sentinel.port}/")
    assert listening == reason(f"http://127.0.0.2:{sentinel.port}/") == "address not allowed"


def test_the_socket_is_made_for_the_address_that_was_judged(host: PictureHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.answers["/a"] = picture(b"bytes")
    judged: list[object] = []
    make = guard._judged_socket

    def watching(policy: AddressPolicy, info: AddrInfoType) -> socket.socket:
        judged.append(info[4])
        return make(policy, info)

    monkeypatch.setattr(guard, "_judged_socket", watching)
    asked = answer_with(monkeypatch, ["127.0.0.1"])

    assert get(f"http://cdn.example:{host.port}/a", policy_for(host.port)) == b"bytes"
    assert (judged, asked) == ([("127.0.0.1", host.port)], ["cdn.example"])


def test_at_most_four_addresses_of_a_name_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    many = [f"127.0.1.{number}" for number in range(1, 201)]
    policy = AddressPolicy(frozenset(Endpoint(ip_address(address), port) for address in many))
    monkeypatch.setattr(picture_url, "WEB_PORTS", {port})
    tried: set[object] = set()
    make = guard._judged_socket

    def watching(policy: AddressPolicy, info: AddrInfoType) -> socket.socket:
        tried.add(info[4])
        return make(policy, info)

    monkeypatch.setattr(guard, "_judged_socket", watching)
    answer_with(monkeypatch, many)

    assert "could not be reached" in reason(f"http://cdn.example:{port}/", policy)
    assert len(tried) == 4


def test_names_that_are_looked_up_for_ever_hold_up_neither_other_names_nor_other_threads(
    host: PictureHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.answers["/a"] = picture(b"bytes")
    monkeypatch.setattr(picture_url, "WEB_PORTS", {host.port})
    policy, limits, done = policy_for(host.port), CopyLimits(lookup_seconds=0.3), threading.Event()

    def look_up(name: str, *_: object) -> list[tuple[socket.AddressFamily, str]]:
        if name.startswith("slow"):
            done.wait()
        return [(socket.AF_INET, "127.0.0.1")]

    monkeypatch.setattr(guard, "_addresses", look_up)

    async def run() -> list[object]:
        async with guarded_session(policy, limits) as session:

            def ask(name: str) -> Coroutine[None, None, object]:
                return fetch(session, f"http://{name}.example:{host.port}/a", NO_VALIDATORS, policy, limits)

            slow = [asyncio.create_task(ask(f"slow-{number}")) for number in range(12)]
            await asyncio.sleep(0)
            assert await asyncio.to_thread(lambda: "ran") == "ran"
            assert not any(task.done() for task in slow)
            quick = await ask("quick")
            assert not done.is_set()
            return [quick, *await asyncio.gather(*slow, return_exceptions=True)]

    try:
        quick, *slow = asyncio.run(run())
    finally:
        done.set()

    assert quick == Fetched(b"bytes", NO_VALIDATORS)
    assert {str(error) for error in slow} == {"the picture's host could not be reached or did not answer properly"}


def test_nothing_around_us_or_in_an_answer_leads_a_request_elsewhere(
    host: PictureHost, sentinel: Sentinel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = f"http://127.0.0.1:{sentinel.port}"
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, elsewhere)
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))

    async def answer(_: web.Request) -> web.Response:
        headers = {
            "Alt-Svc": f'h2="127.0.0.1:{sentinel.port}"; ma=86400, http/1.1="127.0.0.1:{sentinel.port}"',
            "Link": f"<{elsewhere}/x>; rel=preload",
            "Refresh": f"0; url={elsewhere}/x",
            "Content-Location": f"{elsewhere}/x",
            "Location": f"{elsewhere}/x",
            "Set-Cookie": "session=1; Path=/",
        }
        return web.Response(body=b"bytes", headers=headers)

    host.answers |= {"/a": answer, "/hop": redirect("/a")}

    async def run() -> None:
        policy = policy_for(host.port)
        async with guarded_session(policy, LIMITS) as session:
            for path in ("/a", "/hop", "/a"):
                await fetch(session, host.url(path), NO_VALIDATORS, policy, LIMITS)

    asyncio.run(run())

    assert sentinel.visits == 0
    assert [seen.path for seen in host.seen] == ["/a", "/hop", "/a", "/a"]
    assert not {"Cookie", "Authorization", "Referer", "Proxy-Authorization"} & {
        name for seen in host.seen for name in seen.headers
    }


def test_a_connection_is_reused_for_its_own_name_only(host: PictureHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.answers["/a"] = picture(b"bytes")
    answer_with(monkeypatch, ["127.0.0.1"])

    async def run() -> None:
        async with guarded_session(policy_for(host.port), LIMITS) as session:
            for name in ("one", "one", "two"):
                await ask(session, f"http://{name}.example:{host.port}/a")

    asyncio.run(run())

    first, again, other = (seen.client for seen in host.seen)
    assert first == again != other


def test_the_networks_of_the_environment_are_denied_to_every_client_of_a_run() -> None:
    settings = Settings.from_environment(
        {
            "CATA_DATABASE_URL": "postgresql+psycopg://cata@db/cata",
            "CATA_TENANT_DATABASE_URL": "postgresql+psycopg://cata@db/{tenant}",
            "CATA_IMAGE_BUCKET": "images",
            "CATA_SNAPSHOT_BUCKET": "snapshots",
            "CATA_DENY_NETWORKS": "93.184.215.0/24,2a01:db9::/32",
        }
    )
    policy = Pipeline(settings).policy

    assert reason("https://93.184.215.14/x.jpg", policy) == "address not allowed"
    assert reason("https://[2a01:db9::1]/x.jpg", policy) == "address not allowed"
    assert reason("https://[::ffff:93.184.215.14]/x.jpg", policy) == "address not allowed"
