"""What a host can do to our memory, and to the requests after its own."""

import asyncio
import contextlib
import socket
import threading
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.fetch import Fetched, NotModified, fetch
from cata_pipeline.images.guard import guarded_session
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.validators import NO_VALIDATORS
from cata_pipeline_tests.images.hosts import LOOPBACK, PictureHost, listener, picture, policy_for, says, status
from cata_pipeline_tests.images.test_fetch import get

LIMITS = CopyLimits(max_bytes=1_000_000, deadline_seconds=0.5)
# One read of tiny answers is parsed into some megabytes; what is not bounded passes this in the time it has.
MOST_MEMORY = 10_000_000
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ANSWER = OK + b"Content-Length: 5\r\n\r\nhello"
ENDLESS = {
    "headers": (OK, b"X-A: bcdefghijk\r\n"),
    "one header": (OK + b"X: ", b"a"),
    "status line": (b"HTTP/1.1 200 ", b"a"),
    "folded header": (OK + b"X: a\r\n", b" aaaaaaaa\r\n"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "103 Early Hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "empty lines": (b"", b"\r\n"),
    "no line at all": (b"", b"a"),
    "body": (OK + b"\r\n", b"a"),
    "body of a huge length": (OK + b"Content-Length: 99999999999\r\n\r\n", b"a"),
    "body of a negative length": (OK + b"Content-Length: -1\r\n\r\n", b"a"),
    "body of two lengths": (OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"a"),
    "chunk size": (CHUNKED, b"0"),
    "chunk extension": (CHUNKED + b"5;", b"a"),
    "huge chunk": (CHUNKED + b"ffffffffffffffff\r\n", b"a"),
    "tiny chunks": (CHUNKED, b"1\r\na\r\n"),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\n", b"X-A: bcdefghijk\r\n"),
    "one trailer": (CHUNKED + b"5\r\nhello\r\n0\r\nX: ", b"a"),
    "gzip as transfer encoding": (OK + b"Transfer-Encoding: gzip\r\n\r\n", b"a"),
    "body of a 404": (b"HTTP/1.1 404 No\r\n\r\n", b"a"),
    "body of a redirect": (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", b"a"),
    "body of a 204": (b"HTTP/1.1 204 No\r\n\r\n", b"a"),
    "body of a 304": (b"HTTP/1.1 304 No\r\n\r\n", b"a"),
    "other protocol": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", b"a"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_nothing_endless_takes_more_memory_than_a_picture_may(name: str) -> None:
    head, piece = ENDLESS[name]
    block = piece * (65_536 // len(piece))
    ended = threading.Event()

    def send(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(head)
        while not ended.is_set():
            connection.sendall(block)

    with listener(send) as port:
        tracemalloc.start()
        try:
            with pytest.raises(PictureError):
                get(f"http://{LOOPBACK}:{port}/", policy_for(port), limits=LIMITS)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            ended.set()

    assert peak < MOST_MEMORY


@pytest.mark.parametrize("more", [b"junk", b"\r\n", OK + b"Content-Length: 6\r\n\r\nstolen", CHUNKED + b"ffffffff\r\n"])
def test_a_connection_ends_when_its_host_goes_on_unasked(more: bytes) -> None:
    go_on, dropped = threading.Event(), threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(ANSWER)
        go_on.wait()
        connection.sendall(more)
        if not connection.recv(65_536):
            dropped.set()

    async def run(port: int) -> bool:
        policy = policy_for(port)
        async with guarded_session(policy, LIMITS) as session:
            await fetch(session, f"http://{LOOPBACK}:{port}/", NO_VALIDATORS, policy, LIMITS)
            go_on.set()
            return await asyncio.to_thread(dropped.wait, 5)

    with listener(talk) as port:
        assert asyncio.run(run(port)), "the connection was kept"


def test_an_answer_that_was_not_asked_for_is_never_taken_for_the_next_picture() -> None:
    connections: list[int] = []

    def talk(connection: socket.socket) -> None:
        connections.append(len(connections))
        while connection.recv(65_536):
            # The end of one answer and a whole other one arrive together, after the beginning.
            connection.sendall(ANSWER[:-5])
            threading.Event().wait(0.05)
            connection.sendall(b"hello" + OK + b"Content-Length: 6\r\n\r\nstolen")

    async def run(port: int) -> list[Fetched | NotModified]:
        policy = policy_for(port)
        async with guarded_session(policy, LIMITS) as session:
            return [
                await fetch(session, f"http://{LOOPBACK}:{port}/{number}", NO_VALIDATORS, policy, LIMITS)
                for number in range(3)
            ]

    with listener(talk) as port:
        answers = asyncio.run(run(port))

    assert answers == [Fetched(b"hello", NO_VALIDATORS)] * 3
    assert len(connections) == 3


def test_a_connection_that_its_host_closes_between_two_pictures_costs_neither() -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(ANSWER)

    async def run(port: int) -> None:
        policy = policy_for(port)
        async with guarded_session(policy, LIMITS) as session:
            for _ in range(5):
                answer = await fetch(session, f"http://{LOOPBACK}:{port}/", NO_VALIDATORS, policy, LIMITS)
                assert answer == Fetched(b"hello", NO_VALIDATORS)

    with listener(talk) as port:
        asyncio.run(run(port))


class Babbler:
    """Answers every request with the bytes it was last given, and closes."""

    port = 0
    words = b""

    def talk(self, connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(self.words)


@pytest.fixture(scope="module")
def babbler() -> Iterator[Babbler]:
    babbler = Babbler()
    with listener(babbler.talk) as babbler.port:
        yield babbler


HEADERS = st.sampled_from(
    [
        b"Content-Length: 3\r\n",
        b"Content-Length: x\r\n",
        b"Content-Length: 18446744073709551616\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: x\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Content-Type: \xff;;=\r\n",
        b"Location: \xff\x00//[\r\n",
        b"Location: http://[::1]:99999/\r\n",
        b"Location: http://\xe4\xb8\xad\xe6\x96\x87/%zz\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"Content-Digest: sha-256=:x:\r\n",
        b"Set-Cookie: \x7f=\xff; Expires=x\r\n",
        b"ETag: \x01\r\n",
        b"NoColon\r\n",
        b": empty\r\n",
    ]
)
WORDS = st.builds(
    lambda code, headers, body: b"HTTP/1.1 " + code + b" X\r\n" + b"".join(headers) + b"\r\n" + body,
    st.sampled_from([b"200", b"206", b"301", b"302", b"304", b"404", b"500", b"099", b"999", b"-1", b"2x0"]),
    st.lists(HEADERS, max_size=5),
    st.binary(max_size=40),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.one_of(st.binary(max_size=80), WORDS))
def test_no_answer_whatsoever_ends_otherwise_than_as_one_pictures_failure(babbler: Babbler, words: bytes) -> None:
    babbler.words = words
    with contextlib.suppress(PictureError):
        answer = get(f"http://{LOOPBACK}:{babbler.port}/", policy_for(babbler.port), limits=LIMITS)
        assert isinstance(answer, Fetched)


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(max_size=60),
    start=st.sampled_from(["", "//", "http://", "https://[", "http://127.0.0.1:", "http://a"]),
)
def test_no_text_whatsoever_ends_otherwise_than_as_one_pictures_failure(start: str, text: str) -> None:
    policy = policy_for()
    with pytest.raises(PictureError):
        get(start + text, policy, limits=CopyLimits(lookup_seconds=0.001, silence_seconds=0.001))


def test_a_body_that_breaks_off_is_asked_for_once_more() -> None:
    answers = [OK + b"Content-Length: 9\r\n\r\nhello", ANSWER]

    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answers.pop(0))

    with listener(talk) as port:
        assert get(f"http://{LOOPBACK}:{port}/", policy_for(port)) == Fetched(b"hello", NO_VALIDATORS)
    assert answers == []


def test_a_body_that_breaks_off_twice_is_left_for_later() -> None:
    requests: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        requests.append(connection.recv(65_536))
        connection.sendall(OK + b"Content-Length: 9\r\n\r\nhello")

    with listener(talk) as port, pytest.raises(PictureError, match="broke off") as refusal:
        get(f"http://{LOOPBACK}:{port}/", policy_for(port))
    assert refusal.value.host_fault
    assert len(requests) == 2


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Content-Type:",
        *(f"Content-Type: {said}" for said in ("image/jpg", "image/png, text/html", "x", "é;=", "/")),
    ],
)
def test_a_hosts_word_on_the_type_counts_for_nothing(header: str) -> None:
    head = f"HTTP/1.1 200 OK\r\n{header}{header and chr(13) + chr(10)}Content-Length: 5\r\n\r\n"
    with listener(says(head.encode() + b"hello")) as port:
        assert get(f"http://{LOOPBACK}:{port}/", policy_for(port)) == Fetched(b"hello", NO_VALIDATORS)


@pytest.mark.parametrize("content_type", ["text/html", "TEXT/HTML; charset=utf-8"])
def test_a_web_page_is_named_as_one(host: PictureHost, content_type: str) -> None:
    host.answers["/a"] = picture(b"hello", content_type=content_type)
    with pytest.raises(PictureError, match="web page"):
        get(host.url("/a"), policy_for(host.port))


def test_a_redirect_without_a_target_is_refused(host: PictureHost) -> None:
    host.answers["/a"] = status(302)
    with pytest.raises(PictureError, match="redirects to an unusable address"):
        get(host.url("/a"), policy_for(host.port))


@pytest.mark.parametrize("said", [b"", OK, OK + b"Content-Length: 9\r\n\r\nhell"], ids=["nothing", "line", "half"])
def test_a_host_that_falls_silent_ends_before_the_deadline(said: bytes) -> None:
    ended = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(said)
        ended.wait()

    limits = CopyLimits(silence_seconds=0.1, deadline_seconds=3600)
    with listener(talk) as port:
        try:
            with pytest.raises(PictureError, match="in time") as refusal:
                get(f"http://{LOOPBACK}:{port}/", policy_for(port), limits=limits)
        finally:
            ended.set()
    assert refusal.value.host_fault


def test_redirects_share_one_deadline() -> None:
    hops: list[bytes] = []
    pause = threading.Event()

    def talk(connection: socket.socket) -> None:
        hops.append(connection.recv(65_536))
        pause.wait(0.2)
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with listener(talk) as port, pytest.raises(PictureError, match="in time"):
        get(f"http://{LOOPBACK}:{port}/", policy_for(port), limits=CopyLimits(redirects=1000, deadline_seconds=0.7))
    assert 1 <= len(hops) < 10
