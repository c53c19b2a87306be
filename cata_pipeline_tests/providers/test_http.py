"""What every provider's HTTP does with good, bad, slow and hostile answers."""

import asyncio
import gzip
import json
import logging
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from cata_pipeline.addresses import AddressDeniedError, AddressPolicy
from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.conformance.scripted_server import (
    Answer,
    Canary,
    ScriptedServer,
    allowing,
    answer,
    closed_port,
    hang_up,
    running,
)
from cata_pipeline.providers.http import Call, JsonClient, Patience, RefusedError
from cata_pipeline.providers.json_body import MAX_BODY_BYTES
from cata_pipeline.providers.network import GuardedNetwork
from cata_pipeline.providers.pacing import Pacing
from cata_pipeline_tests.certificates import write_server_certificate

_DEAD = ip_address("127.0.0.2")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TOKEN = "tok-5d1e"
SECRET = "s3cr3t/with+signs"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Rests:
    """Stands in for sleeping, and remembers how long each rest would have been."""

    def __init__(self) -> None:
        self.all: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.all.append(seconds)
        await asyncio.sleep(0)

    @property
    def taken(self) -> list[float]:
        return [seconds for seconds in self.all if seconds > 0]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with running(ScriptedServer()) as server:
        yield server


@pytest.fixture
def rests() -> Rests:
    return Rests()


@pytest.fixture
def patience(rests: Rests) -> Patience:
    return Patience(budget_seconds=60, pacing=Pacing(interval=0), sleep=rests, now=lambda: NOW)


def ask(url: str, policy: AddressPolicy, patience: Patience, token: str | None = TOKEN) -> dict[str, object]:
    async def once() -> dict[str, object]:
        async with JsonClient(policy, patience, {"secret": SECRET, "token": TOKEN}) as client:
            return await client.ask(Call("The catalog", "POST", httpx.URL(url), json={"page": 1}, token=token))

    return asyncio.run(once())


def ask_server(server: ScriptedServer, patience: Patience, *answers: Answer) -> dict[str, object]:
    server.script("/api", *answers)
    return ask(f"{server.origin}/api", server.policy, patience)


def test_a_request_carries_the_body_the_token_and_only_what_is_needed(
    server: ScriptedServer, patience: Patience
) -> None:
    assert ask_server(server, patience, answer({"ok": True})) == {"ok": True}
    (request,) = server.received
    assert request.json == {"page": 1}
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["Accept"] == "application/json"
    assert request.headers["Accept-Encoding"] == "gzip"
    assert "Cookie" not in request.headers


def test_cookies_are_neither_kept_nor_sent(server: ScriptedServer, patience: Patience) -> None:
    server.script("/api", answer({}, headers={"Set-Cookie": "session=1; Path=/"}))

    async def twice() -> None:
        async with JsonClient(server.policy, patience) as client:
            for _ in range(2):
                await client.ask(Call("The catalog", "GET", httpx.URL(f"{server.origin}/api")))

    asyncio.run(twice())
    assert ["Cookie" in request.headers for request in server.received] == [False, False]
    assert server.connections == 1


def test_proxies_of_the_environment_are_ignored(
    server: ScriptedServer, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = Canary()
    with canary.listener:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert ask_server(server, patience, answer({"ok": 1})) == {"ok": 1}
        assert canary.connections() == 0


def test_numbers_keep_every_digit(server: ScriptedServer, patience: Patience) -> None:
    body = '{"id": 9007199254740993, "zero": 0, "quantity": 0.10, "huge": 1e400}'
    found = ask_server(server, patience, answer(body))
    assert found == {"id": 9007199254740993, "zero": 0, "quantity": Decimal("0.10"), "huge": Decimal("1E+400")}
    assert str(found["quantity"]) == "0.10"
    assert isinstance(found["id"], int)


@pytest.mark.parametrize(
    "given",
    [
        answer(b"\xef\xbb\xbf" + b'{"name": "Kopi"}'),
        answer({"name": "Kopi"}, content_type="application/json; charset=windows-1252"),
        answer({"name": "Kopi"}, content_type="application/vnd.pos+json"),
        answer({"name": "Kopi"}, content_type=None),
        answer({"name": "Kopi"}, without_length=True),
        answer(gzip.compress(b'{"name": "Kopi"}'), headers={"Content-Encoding": "gzip"}),
        answer({"name": "Kopi"}, headers={"Content-Encoding": "identity"}),
    ],
    ids=["byte order mark", "odd charset", "json suffix", "no content type", "no length", "gzip", "identity"],
)
def test_an_object_is_read_in_every_usual_dress(server: ScriptedServer, patience: Patience, given: Answer) -> None:
    assert ask_server(server, patience, given) == {"name": "Kopi"}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (answer("<html>Please log in</html>", content_type="text/html; charset=utf-8"), "is text/html instead of JSON"),
        (answer("\n<!doctype html><p>Maintenance"), "is HTML or XML"),
        (answer("[]"), "no object"),
        (answer("null"), "no object"),
        (answer('"text"'), "no object"),
        (answer('{"price": NaN}'), "holds NaN"),
        (answer('{"price": -Infinity}'), "holds -Infinity"),
        (answer("[" * 100_000), "nested too deeply"),
        (answer('{"id": %s}' % ("9" * 5000)), "number"),
        (answer('{"price": 1e99999999999999999999}'), "number"),
        (answer(b" " * (MAX_BODY_BYTES + 1)), f"is larger than {MAX_BODY_BYTES} bytes"),
        (
            answer(gzip.compress(b" " * (MAX_BODY_BYTES + 1)), headers={"Content-Encoding": "gzip"}),
            f"is larger than {MAX_BODY_BYTES} bytes once inflated",
        ),
        (answer(b"\x0b\x02\x80{}", headers={"Content-Encoding": "br"}), "is encoded as br"),
        (answer(gzip.compress(gzip.compress(b"{}")), headers={"Content-Encoding": "gzip, gzip"}), "gzip, gzip"),
        (answer("{}", headers={"Content-Encoding": "gzip"}), "says that it is gzip and is not"),
    ],
    ids=[
        "HTML", "HTML called JSON", "list", "null", "text", "NaN", "Infinity", "depth", "huge integer", "huge exponent",
        "oversize", "gzip bomb", "brotli", "double gzip", "false gzip",
    ],
)  # fmt: skip
def test_an_answer_that_is_no_json_object_is_refused_at_once(
    server: ScriptedServer, patience: Patience, rests: Rests, given: Answer, found: str
) -> None:
    with pytest.raises(ProviderError) as refusal:
        ask_server(server, patience, given)
    assert found in str(refusal.value)
    assert "The catalog at http://127.0.0.1" in str(refusal.value)
    assert len(server.received) == 1
    assert rests.taken == []


def test_an_endless_body_is_left_at_the_limit(server: ScriptedServer, patience: Patience) -> None:
    endless = server.repeat(HEAD + b"Connection: close\r\n\r\n", b" " * 2**20)
    with pytest.raises(ProviderError, match=r"is larger than \d+ bytes\. Lower page_size in the tenant's options"):
        ask_server(server, patience, endless)


def fetch_pages(server: ScriptedServer, patience: Patience, *answers: Answer) -> int:
    """How many pages of one fetch arrive before its error."""
    server.script("/api", *answers)
    call = Call("The catalog", "GET", httpx.URL(f"{server.origin}/api"))
    arrived = 0

    async def fetch() -> None:
        nonlocal arrived
        async with JsonClient(server.policy, patience, {}) as client:
            for _ in answers:
                await client.ask(call)
                arrived += 1

    with pytest.raises(ProviderError) as refusal:
        asyncio.run(fetch())
    assert "the limit of the tenant's option max_" in str(refusal.value)
    return arrived


def page_of(size: int, *, packed: bool = False) -> Answer:
    body = json.dumps({"products": ["x" * size]}).encode()
    return answer(gzip.compress(body), headers={"Content-Encoding": "gzip"}) if packed else answer(body)


@pytest.mark.parametrize("packed", [False, True])
def test_the_bytes_of_all_responses_are_bounded_as_they_are_unpacked(
    server: ScriptedServer, patience: Patience, *, packed: bool
) -> None:
    pages = [page_of(100_000, packed=packed)] * 5
    assert fetch_pages(server, replace(patience, max_bytes=350_000), *pages) == 3


def test_a_response_is_read_no_further_than_what_is_left_of_the_fetch(
    server: ScriptedServer, patience: Patience
) -> None:
    endless = server.repeat(HEAD + b"Connection: close\r\n\r\n", b" " * 2**16)
    assert fetch_pages(server, replace(patience, max_bytes=400_000), page_of(300_000), endless) == 1


def test_the_rows_of_all_responses_are_bounded_wherever_they_are(server: ScriptedServer, patience: Patience) -> None:
    page = answer({"products": [{"id": number} for number in range(100)], "status": True})
    nested = answer({"data": {"products": list(range(100))}})
    for given in (page, nested):
        assert fetch_pages(server, replace(patience, max_rows=250), *[given] * 5) == 2


def test_an_attempt_that_is_repeated_counts_once(server: ScriptedServer, patience: Patience) -> None:
    cut = answer(b'{"products": ["' + b"x" * 200_000)
    pages = [cut, cut, page_of(100_000), page_of(100_000)]
    assert fetch_pages(server, replace(patience, max_bytes=250_000), *pages, page_of(100_000)) == 2


def test_a_body_of_very_many_values_is_not_parsed(server: ScriptedServer, patience: Patience) -> None:
    with pytest.raises(ProviderError, match="may hold more than 4000000 values"):
        ask_server(server, patience, answer(b'{"a": [' + b"[]," * 4_000_000 + b"[]]}"))


WHOLE = b'{"products": ["Kopi Susu"], "status": true}'
CUT = WHOLE[:20]


@pytest.mark.parametrize(
    "cut",
    [
        answer(CUT),
        answer(CUT, without_length=True),
        answer(CUT, declared_length=len(WHOLE)),
        answer('{"name": "Kopi é'.encode()[:-1]),
        answer(b""),
        answer(gzip.compress(WHOLE)[:-12], headers={"Content-Encoding": "gzip"}),
        answer(b"", headers={"Content-Encoding": "gzip"}),
        hang_up,
    ],
    ids=[
        "right length",
        "no length",
        "short of its length",
        "in a character",
        "empty",
        "gzip",
        "empty gzip",
        "hang-up",
    ],
)
def test_a_cut_answer_is_asked_for_again_and_never_half_read(
    server: ScriptedServer, patience: Patience, rests: Rests, cut: Answer
) -> None:
    assert ask_server(server, patience, cut, answer(WHOLE)) == json.loads(WHOLE)
    assert len(server.received) == 2
    server.received.clear()
    with pytest.raises(ProviderError, match="gave up after 5 tries"):
        ask_server(server, patience, cut)
    assert len(server.received) == 5


def test_rests_between_tries_grow(server: ScriptedServer, patience: Patience, rests: Rests) -> None:
    with pytest.raises(ProviderError, match=r"gave up after 5 tries; the last one: HTTP 503 \(text/html\)"):
        ask_server(server, patience, answer("<p>busy", status=503, content_type="text/html"))
    lower_bounds = [1, 2, 4, 8]
    assert len(rests.taken) == len(lower_bounds)
    assert all(least <= rest <= least + 1 for least, rest in zip(lower_bounds, rests.taken, strict=True))


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server: ScriptedServer, patience: Patience, status: int) -> None:
    assert ask_server(server, patience, answer(b"", status=status), answer({"ok": 1})) == {"ok": 1}


@pytest.mark.parametrize(
    "retry_after",
    ["7", format_datetime(NOW + timedelta(seconds=7), usegmt=True), (NOW + timedelta(seconds=7)).strftime("%c -0000")],
    ids=["seconds", "date", "date without zone"],
)
def test_retry_after_is_honoured_in_both_forms(
    server: ScriptedServer, patience: Patience, rests: Rests, retry_after: str
) -> None:
    ask_server(server, patience, answer(b"", status=429, headers={"Retry-After": retry_after}), answer({}))
    assert rests.taken == [7.0]


@pytest.mark.parametrize(
    ("headers", "rest"),
    [
        ({"X-RateLimit-Reset": "7"}, 7.0),
        ({"X-RateLimit-Reset": f"{NOW.timestamp() + 7:.0f}"}, 7.0),
        ({"X-RateLimit-Reset": "50", "Retry-After": "7"}, 7.0),
    ],
    ids=["seconds", "moment", "both"],
)
def test_a_limit_that_says_when_it_ends_is_waited_for(
    server: ScriptedServer, patience: Patience, rests: Rests, headers: Mapping[str, str], rest: float
) -> None:
    ask_server(server, patience, answer(b"", status=429, headers=headers), answer({}))
    assert rests.taken == [rest]


@pytest.mark.parametrize(
    ("status", "advice"),
    [(429, "asked more often than it allows, by us or by the merchant's other apps"), (503, "check the tenant's URLs")],
)
def test_what_to_do_about_a_try_too_many_depends_on_the_reason(
    server: ScriptedServer, patience: Patience, status: int, advice: str
) -> None:
    with pytest.raises(ProviderError, match=f"gave up after 5 tries.*{advice}"):
        ask_server(server, patience, *[answer(b"", status=status)] * 5)


@pytest.mark.parametrize("reset", ["-1", "soon", "1000000001", "\u00b2"])
def test_a_useless_end_of_a_limit_means_the_usual_rest(
    server: ScriptedServer, patience: Patience, rests: Rests, reset: str
) -> None:
    busy = answer(b"", status=429, headers={"X-RateLimit-Reset": reset.encode().decode("latin-1")})
    ask_server(server, patience, busy, answer({}))
    assert len(rests.taken) == 1
    assert 1 <= rests.taken[0] <= 2


@pytest.mark.parametrize("retry_after", ["-1", "soon", "", "Sun, 01 Mar 2020 00:00:00 GMT", "Sun, 99 Foo 2026", "²"])
def test_a_useless_retry_after_means_the_usual_rest(
    server: ScriptedServer, patience: Patience, rests: Rests, retry_after: str
) -> None:
    busy = answer(b"", status=503, headers={"Retry-After": retry_after.encode().decode("latin-1")})
    ask_server(server, patience, busy, answer({}))
    assert len(rests.taken) == 1
    assert 1 <= rests.taken[0] <= 2


@pytest.mark.parametrize("retry_after", ["99999", "9" * 400, "Fri, 01 Jan 2038 00:00:00 GMT"])
def test_a_rest_longer_than_the_budget_is_not_begun(
    server: ScriptedServer, patience: Patience, rests: Rests, retry_after: str
) -> None:
    with pytest.raises(ProviderError, match="more than is left of 60 s"):
        ask_server(server, patience, answer(b"", status=429, headers={"Retry-After": retry_after}))
    assert rests.taken == []
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "Expected 200"),
        (401, "reconnect"),
        (403, "may not read this store"),
        (404, "no such address"),
        (422, "Expected 200"),
        (204, "Expected 200"),
        (304, "Expected 200"),
    ],
)
def test_a_final_status_is_said_at_once_with_its_reason(
    server: ScriptedServer, patience: Patience, rests: Rests, status: int, advice: str
) -> None:
    body = b"" if status in {204, 304} else json.dumps({"error_message": "Store is\nclosed"}).encode()
    with pytest.raises(RefusedError, match=f"HTTP {status}") as refusal:
        ask_server(server, patience, answer(body, status=status))
    assert refusal.value.status == status
    assert advice in str(refusal.value)
    assert ("Store is closed" in str(refusal.value)) == bool(body)
    assert len(server.received) == 1
    assert rests.taken == []


@pytest.mark.parametrize(
    ("errors", "found"),
    [
        ([{"category": "RATE_LIMIT_ERROR", "code": "RATE_LIMITED"}], "json): RATE_LIMITED. Expected 200."),
        ([{"code": "BAD_REQUEST", "detail": "No such type"}, {"code": "B"}], "json): BAD_REQUEST: No such type. Exp"),
        ([{"code": "INVALID_CURSOR", "details": "Unknown cursor"}], "json): INVALID_CURSOR: Unknown cursor. Exp"),
        ([{"code": 5, "detail": f"said {SECRET}"}], "json). Expected 200."),
        (["BAD_REQUEST"], "json). Expected 200."),
        ([], "json). Expected 200."),
        ("BAD_REQUEST", "json). Expected 200."),
    ],
)
def test_the_first_of_a_list_of_errors_is_repeated(
    server: ScriptedServer, patience: Patience, errors: object, found: str
) -> None:
    with pytest.raises(RefusedError) as refusal:
        ask_server(server, patience, answer({"errors": errors}, status=400))
    assert found in str(refusal.value)


def test_a_call_may_have_headers_of_its_own(server: ScriptedServer, patience: Patience) -> None:
    async def once() -> None:
        async with JsonClient(server.policy, patience) as client:
            url = httpx.URL(f"{server.origin}/api")
            await client.ask(Call("The catalog", "GET", url, token=TOKEN, headers={"Api-Version": "7"}))

    server.script("/api", answer({}))
    asyncio.run(once())
    (request,) = server.received
    assert (request.headers["Api-Version"], request.headers["Authorization"]) == ("7", f"Bearer {TOKEN}")


def test_user_and_password_are_sent_as_http_says_and_never_quoted(server: ScriptedServer, patience: Patience) -> None:
    pair = "a2Vkw6k6dG9rOjU="  # base64 of "kedé:tok:5"
    call = Call("The catalog", "GET", httpx.URL(f"{server.origin}/api"), basic=("kedé", "tok:5"))

    async def once() -> None:
        async with JsonClient(server.policy, patience) as client:
            await client.ask(call)

    server.script("/api", answer({"message": f"what is Basic {pair}"}, status=401))
    with pytest.raises(RefusedError) as refusal:
        asyncio.run(once())
    (request,) = server.received
    assert request.headers["Authorization"] == f"Basic {pair}"
    assert [told for told in (str(refusal.value), repr(call)) if pair in told or "tok:5" in told] == []


@pytest.mark.parametrize(
    ("given", "found"),
    [("{}", "no list"), ("null", "no list"), ('[{"price": NaN}]', "holds NaN"), ("<p>Maintenance", "is HTML or XML")],
)
def test_a_list_is_read_where_a_list_is_asked_for_and_nothing_else(
    server: ScriptedServer, patience: Patience, given: str, found: str
) -> None:
    async def once() -> list[object]:
        async with JsonClient(server.policy, patience) as client:
            return await client.ask_list(Call("The catalog", "GET", httpx.URL(f"{server.origin}/api")))

    server.script("/api", answer('[{"quantity": 0.10'), answer('[{"quantity": 0.10}]'))
    assert asyncio.run(once()) == [{"quantity": Decimal("0.10")}]
    server.script("/api", answer(given))
    with pytest.raises(ProviderError, match=found):
        asyncio.run(once())


def test_a_redirect_is_not_followed_and_the_token_goes_nowhere_else(server: ScriptedServer, patience: Patience) -> None:
    with running(ScriptedServer()) as other:
        other.script("/steal", answer({"ok": 1}))
        server.script("/api", answer(b"", status=307, headers={"Location": f"{other.origin}/steal"}))
        with pytest.raises(RefusedError, match="Redirects are not followed"):
            ask(f"{server.origin}/api", allowing(server.port, other.port), patience)
        assert other.connections == 0


@pytest.mark.parametrize("location", ["javascript:alert(1)", "https://:1:2", "http://[", "//", "x" * 70_000])
def test_a_redirect_to_nowhere_is_an_error_of_the_provider(
    server: ScriptedServer, patience: Patience, location: str
) -> None:
    server.script("/api", *[answer(b"", status=302, headers={"Location": location})] * 5)
    with pytest.raises(ProviderError):
        ask(f"{server.origin}/api", allowing(server.port), patience)


def test_nobody_listening_is_tried_again_and_then_said(patience: Patience, rests: Rests) -> None:
    port = closed_port()
    with pytest.raises(ProviderError, match=r"gave up after 5 tries; the last one: no connection .* cannot be reached"):
        ask(f"http://127.0.0.1:{port}/api", allowing(port), patience)
    assert len(rests.taken) == 4


@pytest.mark.parametrize(
    "start",
    [
        (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b""),
        (HEAD + b"Content-Length: 10\r\n\r\n", b""),
        (b"HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n", b" "),
    ],
    ids=["dripping body", "endless early hints", "stalled headers", "stalled body", "dripping error"],
)
def test_an_answer_that_does_not_end_ends_at_the_deadline(
    server: ScriptedServer, patience: Patience, start: tuple[bytes, bytes]
) -> None:
    first, piece = start
    endless = server.repeat(first, piece) if piece else server.stall(first)
    with pytest.raises(ProviderError, match=r"no complete answer within 0\.3 s\. The POS is too slow"):
        ask_server(server, replace(patience, budget_seconds=0.3), endless)


def test_the_deadline_covers_rests_and_names_what_came_before(server: ScriptedServer, patience: Patience) -> None:
    async def for_ever(seconds: float) -> None:
        await asyncio.sleep(60 if seconds else 0)

    with pytest.raises(ProviderError, match=r"no complete answer within 1 s \(before that: HTTP 503"):
        ask_server(server, replace(patience, budget_seconds=1, sleep=for_ever), answer(b"", status=503))


def test_plain_http_is_refused_unless_the_endpoint_was_allowed(patience: Patience) -> None:
    canary = Canary()
    with canary.listener:
        with pytest.raises(ProviderError, match=r"plain http .* CATA_ALLOW_PRIVATE_ENDPOINTS"):
            ask(f"http://127.0.0.1:{canary.port}/api", allowing(canary.port + 1), patience)
        assert canary.connections() == 0


def test_a_private_address_gets_no_connection(patience: Patience, rests: Rests) -> None:
    canary = Canary()
    with canary.listener:
        for host in ("127.0.0.1", "localhost", "127.1", "2130706433"):
            with pytest.raises(ProviderError, match="address that may not be reached, so nothing was sent"):
                ask(f"https://{host}:{canary.port}/api", AddressPolicy(), patience)
        assert canary.connections() == 0
    assert rests.taken == []


@pytest.mark.parametrize("answers", [["127.0.0.1", "10.0.0.7"], ["10.0.0.7", "127.0.0.1"]])
def test_a_name_with_one_denied_address_is_refused_in_every_order(answers: list[str]) -> None:
    canary = Canary()
    network = GuardedNetwork(allowing(canary.port), resolver=lambda _host, _port: answers)
    with canary.listener:
        with pytest.raises(AddressDeniedError):
            asyncio.run(network.connect_tcp("pos.example", canary.port, timeout=5))
        assert canary.connections() == 0
    network.close()


def test_the_address_that_was_judged_is_the_one_connected_to() -> None:
    canary = Canary()
    lookups: list[str] = []

    def rebinding(host: str, _port: int) -> list[str]:
        lookups.append(host)
        return ["127.0.0.1" if len(lookups) == 1 else "10.0.0.7"]

    network = GuardedNetwork(allowing(canary.port), resolver=rebinding)

    async def connect() -> str:
        stream = await network.connect_tcp("pos.example", canary.port, timeout=5)
        peer = str(stream.get_extra_info("server_addr")[0])
        await stream.aclose()
        return peer

    with canary.listener:
        assert asyncio.run(connect()) == "127.0.0.1"
        assert canary.connections() == 1
    assert lookups == ["pos.example"]
    network.close()


def test_a_second_address_is_tried_when_the_first_is_dead(server: ScriptedServer) -> None:
    policy = AddressPolicy(server.policy.allowed | {replace(next(iter(server.policy.allowed)), address=_DEAD)})
    network = GuardedNetwork(policy, resolver=lambda _host, _port: [str(_DEAD), "127.0.0.1"])

    async def connect() -> str:
        stream = await network.connect_tcp("pos.example", server.port, timeout=5)
        peer = str(stream.get_extra_info("server_addr")[0])
        await stream.aclose()
        return peer

    assert asyncio.run(connect()) == "127.0.0.1"
    network.close()


def test_a_name_that_cannot_be_resolved_is_said(patience: Patience) -> None:
    for host in ("no-such-host.invalid", f"{'a' * 64}.example"):
        with pytest.raises(ProviderError, match="its name cannot be resolved"):
            ask(f"https://{host}/api", AddressPolicy(), replace(patience, tries=1))


def test_a_certificate_that_does_not_verify_is_final(
    server: ScriptedServer, patience: Patience, rests: Rests, tmp_path: Path
) -> None:
    server.speak_tls(_self_signed(tmp_path))
    with pytest.raises(ProviderError, match=r"certificate is not accepted \(self-signed certificate\)"):
        ask(f"https://127.0.0.1:{server.port}/api", server.policy, patience)
    assert rests.taken == []
    assert server.received == []


def test_a_port_that_does_not_speak_tls_is_final(server: ScriptedServer, patience: Patience, rests: Rests) -> None:
    with pytest.raises(ProviderError, match="does not speak TLS as expected"):
        ask(f"https://127.0.0.1:{server.port}/api", server.policy, patience)
    assert rests.taken == []


@pytest.mark.parametrize(
    "words",
    [f"bad token {TOKEN}", f"client_secret={SECRET}", "client_secret=s3cr3t%2Fwith%2Bsigns was wrong"],
)
@pytest.mark.parametrize("status", [400, 503])
def test_no_secret_gets_into_messages_or_logs(
    server: ScriptedServer, patience: Patience, caplog: pytest.LogCaptureFixture, words: str, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ProviderError) as refusal:
        ask_server(server, patience, answer({"error_message": words}, status=status))
    assert f"HTTP {status}" in str(refusal.value)
    told = str(refusal.value) + caplog.text
    assert all(secret not in told for secret in (TOKEN, SECRET, "s3cr3t"))


def test_a_slot_for_another_try_takes_nothing_from_the_budget(server: ScriptedServer, patience: Patience) -> None:
    """Slots are slept through in no time here, so that the budget of 60 s has what each of them gave back to it."""
    slow = replace(patience, pacing=Pacing(interval=100))
    busy = answer(b"", status=429, headers={"Retry-After": "90"})
    assert ask_server(server, slow, answer(b"", status=503), busy, answer({"ok": True})) == {"ok": True}


def test_each_try_takes_its_slot(server: ScriptedServer, patience: Patience, rests: Rests) -> None:
    pacing = Pacing(interval=0.5, clock=lambda: 100.0)
    ask_server(server, replace(patience, pacing=pacing), answer(b"", status=503), answer({}))
    first_slot, backoff, second_slot = rests.all
    assert (first_slot, second_slot) == (0.0, 0.5)
    assert backoff >= 1


def _self_signed(folder: Path) -> ssl.SSLContext:
    names = [x509.IPAddress(ip_address("127.0.0.1"))]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(write_server_certificate(folder / "server.pem", names))
    return context
