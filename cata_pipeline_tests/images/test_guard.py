import asyncio
import socket

import aiohttp
import pytest

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.images.guard import guarded_session, is_denial
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline_tests.images.conftest import Canary
from cata_pipeline_tests.images.hosts import PictureHost, picture, policy_for, redirect

LIMITS = CopyLimits(lookup_seconds=5)


def get(url: str, policy: AddressPolicy, *, follow: bool = False) -> bytes:
    async def run() -> bytes:
        async with guarded_session(policy, LIMITS) as session, session.get(url, allow_redirects=follow) as response:
            return await response.read()

    return asyncio.run(run())


@pytest.mark.parametrize(
    "spelling",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "0.0.0.0",  # noqa: S104 a target, not a listener
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[::1]",
    ],
)
def test_no_spelling_of_a_denied_address_gets_a_packet_out(canary: Canary, spelling: str) -> None:
    with pytest.raises((aiohttp.ClientError, ValueError)):
        get(canary.url(spelling), AddressPolicy())

    assert canary.visits == []


@pytest.mark.parametrize("spelling", ["127.0.0.1", "localhost"])
def test_a_denial_is_told_from_an_unreachable_host(canary: Canary, spelling: str) -> None:
    with pytest.raises(aiohttp.ClientConnectorError) as denial:
        get(canary.url(spelling), AddressPolicy())
    assert is_denial(denial.value)

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(aiohttp.ClientConnectorError) as refusal:
        get(f"http://127.0.0.1:{port}/", policy_for(port))
    assert not is_denial(refusal.value)


def test_a_redirect_is_judged_again_even_if_the_client_follows_it(host: PictureHost, canary: Canary) -> None:
    host.answers["/hop"] = redirect(canary.url())

    with pytest.raises(aiohttp.ClientConnectorError) as denial:
        get(host.url("/hop"), policy_for(host.port), follow=True)

    assert is_denial(denial.value)
    assert canary.visits == []


def test_an_allowed_pair_is_reached_by_address_and_by_name(host: PictureHost) -> None:
    host.answers["/a"] = picture(b"bytes")

    assert get(host.url("/a"), policy_for(host.port)) == b"bytes"


def test_a_name_with_one_denied_address_is_refused_whatever_the_order(
    host: PictureHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.answers["/a"] = picture(b"bytes")
    good = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", host.port))
    bad = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", host.port))
    url = f"http://mixed.example:{host.port}/a"
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [good])
    assert get(url, policy_for(host.port)) == b"bytes"

    for answers in ([good, bad], [bad, good]):
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, answers=answers, **__: answers)
        with pytest.raises(aiohttp.ClientConnectorError) as denial:
            get(url, policy_for(host.port))
        assert is_denial(denial.value)
    assert len(host.seen) == 1


def test_a_name_that_no_resolver_can_take_is_a_connection_error() -> None:
    with pytest.raises((aiohttp.ClientError, ValueError)) as failure:
        get("http://xn--/", AddressPolicy())

    assert not is_denial(failure.value)


def test_proxies_and_cookies_of_the_surroundings_are_not_used(
    host: PictureHost, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", canary.url())
    host.answers["/a"] = picture(b"bytes")

    assert get(host.url("/a"), policy_for(host.port)) == b"bytes"
    assert canary.visits == []
    assert "Cookie" not in host.seen[0].headers
