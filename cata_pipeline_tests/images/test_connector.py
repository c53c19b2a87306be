"""What is sent to an image host, and which connections are used again."""

import asyncio
import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import aiohttp
import pytest

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.images.connector import UnreachableError
from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.fetch import Fetched, fetch
from cata_pipeline.images.guard import guarded_session
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.validators import NO_VALIDATORS, Validators
from cata_pipeline.settings import Endpoint
from cata_pipeline_tests.images.hosts import LOOPBACK, PictureHost, has_ipv6, listener, picture, policy_for, status
from cata_pipeline_tests.images.test_fetch import get
from cata_pipeline_tests.images.test_guard import answer_with, ask

LIMITS = CopyLimits(max_bytes=1000)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@contextlib.contextmanager
def waiter(answers: Callable[[int], bytes | None]) -> Iterator[tuple[int, "queue.SimpleQueue[tuple[int, bytes]]"]]:
    """Answers the requests of all connections by their number; None hangs up. Yields a port and what was asked."""
    asked: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
    threads: list[threading.Thread] = []
    numbers = iter(range(1_000_000))

    def serve(connection: socket.socket, number: int) -> None:
        with connection, contextlib.suppress(OSError):
            while request := connection.recv(65_536):
                asked.put((number, request))
                said = answers(next(numbers))
                if said is None:
                    return
                connection.sendall(said)

    def accept(connection: socket.socket) -> None:
        threads.append(threading.Thread(target=serve, args=(connection.dup(), len(threads))))
        threads[-1].start()

    with listener(accept) as port:
        yield port, asked
    for thread in threads:
        thread.join()


def ask_for(port: int, *paths: str) -> list[bytes]:
    """Bodies, one after the other."""

    async def run() -> list[bytes]:
        async with guarded_session(policy_for(port), LIMITS) as session:
            return [await ask(session, f"http://{LOOPBACK}:{port}{path}") for path in paths]

    return asyncio.run(run())


def connections(asked: "queue.SimpleQueue[tuple[int, bytes]]") -> list[int]:
    """Which connection each request came on."""
    return [asked.get(timeout=5)[0] for _ in range(asked.qsize())]


def test_requests_one_after_the_other_share_a_connection() -> None:
    with waiter(lambda _: ANSWER) as (port, asked):
        assert ask_for(port, "/a", "/b", "/c") == [b"hello"] * 3
        assert connections(asked) == [0, 0, 0]


@pytest.mark.parametrize(
    "said",
    [
        ANSWER.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"),
        ANSWER.replace(b"1.1", b"1.0"),
        ANSWER + ANSWER,
        b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_a_connection_is_not_used_after_its_last_answer_or_one_with_something_behind_it(said: bytes) -> None:
    with waiter(lambda _: said) as (port, asked):
        first, second = ask_for(port, "/a", "/b")
        assert first == second == (b"hello" if b"200 OK" in said[:20] else b"")
        assert connections(asked) == [0, 1]


@pytest.mark.parametrize(
    "said", [ANSWER + b"x", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello"], ids=["body", "304"]
)
def test_a_response_with_noise_behind_it_fails_and_ends_its_connection(said: bytes) -> None:
    async def run(port: int) -> None:
        async with guarded_session(policy_for(port), LIMITS) as session:
            for _ in range(2):
                with pytest.raises(aiohttp.ClientResponseError):
                    await ask(session, f"http://{LOOPBACK}:{port}/")

    with waiter(lambda _: said) as (port, asked):
        asyncio.run(run(port))
        assert connections(asked) == [0, 1]


def test_an_empty_line_behind_a_response_does_no_harm() -> None:
    with waiter(lambda _: ANSWER + b"\r\n") as (port, asked):
        assert ask_for(port, "/a", "/b") == [b"hello"] * 2
        assert len(connections(asked)) == 2


def test_a_connection_whose_answer_was_not_read_to_its_end_is_not_used_again() -> None:
    async def run(port: int) -> None:
        policy = policy_for(port)
        async with guarded_session(policy, LIMITS) as session:
            for _ in range(2):
                with pytest.raises(PictureError, match="answers 404"):
                    await fetch(session, f"http://{LOOPBACK}:{port}/", NO_VALIDATORS, policy, LIMITS)

    with waiter(lambda _: b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nhell") as (port, asked):
        asyncio.run(run(port))
        assert connections(asked) == [0, 1]


def test_a_refusal_that_was_read_to_its_end_costs_no_connection(host: PictureHost) -> None:
    async def run() -> None:
        policy = policy_for(host.port)
        async with guarded_session(policy, LIMITS) as session:
            for _ in range(3):
                with pytest.raises(PictureError):
                    await fetch(session, host.url("/a"), NO_VALIDATORS, policy, LIMITS)

    host.answers["/a"] = status(404)
    asyncio.run(run())
    assert len({seen.client for seen in host.seen}) == 1


def test_a_kept_connection_that_its_host_ends_without_a_word_is_asked_again_on_a_fresh_one() -> None:
    with waiter(lambda number: None if number == 1 else ANSWER) as (port, asked):
        assert ask_for(port, "/a", "/b") == [b"hello"] * 2
        assert connections(asked) == [0, 0, 1]


def test_a_host_that_ends_every_connection_without_a_response_is_requested_twice() -> None:
    with waiter(lambda _: None) as (port, asked):
        with pytest.raises(aiohttp.ServerDisconnectedError):
            ask_for(port, "/a")
        assert connections(asked) == [0, 1]


def test_no_more_connections_rest_than_pictures_are_copied_at_once(
    host: PictureHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.answers["/a"] = picture(b"bytes")
    answer_with(monkeypatch, [LOOPBACK])

    async def run() -> None:
        async with guarded_session(policy_for(host.port), CopyLimits(concurrency=3)) as session:
            for number in range(9):
                await ask(session, f"http://host-{number}.example:{host.port}/a")
            await ask(session, f"http://host-8.example:{host.port}/a")
            await ask(session, f"http://host-0.example:{host.port}/a")

    asyncio.run(run())
    clients = [seen.client for seen in host.seen]
    assert clients[9] == clients[8]
    assert clients[10] not in clients[:9]


def test_whoever_gives_up_closes_the_connection() -> None:
    closed = threading.Event()

    def talk(connection: socket.socket) -> None:
        while connection.recv(65_536):
            pass
        closed.set()

    async def run(port: int) -> bool:
        async with guarded_session(policy_for(port), LIMITS) as session:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ask(session, f"http://{LOOPBACK}:{port}/"), 0.05)
            return await asyncio.to_thread(closed.wait, 5)

    with listener(talk) as port:
        assert asyncio.run(run(port))


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", b"/"),
        ("?x=1", b"/?x=1"),
        ("/a%2Fb/../c.jpg?sig=a%2bB+c&x=%zz#part", b"/a%2Fb/../c.jpg?sig=a%2bB+c&x=%zz"),
        ("/kopi susu/é.jpg?q=ü", b"/kopi%20susu/%C3%A9.jpg?q=%C3%BC"),
    ],
)
def test_a_path_travels_as_it_is_spelt_where_it_can(path: str, target: bytes) -> None:
    with waiter(lambda _: ANSWER) as (port, asked):
        get(f"http://{LOOPBACK}:{port}{path}", policy_for(port))
        lines = asked.get(timeout=5)[1].split(b"\r\n")
    assert lines[:2] == [b"GET " + target + b" HTTP/1.1", f"Host: {LOOPBACK}:{port}".encode()]


def test_a_request_names_its_host_without_the_final_dot(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, [LOOPBACK])
    with waiter(lambda _: ANSWER) as (port, asked):
        monkeypatch.setattr("cata_pipeline.images.picture_url.WEB_PORTS", {port})
        get(f"http://cdn.example.:{port}/", policy_for(port))
        assert f"\r\nHost: cdn.example:{port}\r\n".encode() in asked.get(timeout=5)[1]


@pytest.mark.parametrize("value", ['"1"\r\nX: 1', '"1"\n', '"\x00"'])
def test_a_validator_that_could_become_a_line_of_its_own_is_not_sent(value: str) -> None:
    with waiter(lambda _: ANSWER) as (port, asked):
        with pytest.raises(PictureError, match="not a usable web address"):
            get(f"http://{LOOPBACK}:{port}/", policy_for(port), Validators(value))
        assert asked.empty()


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_an_ipv6_literal_is_reached() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                seen.append(connection.recv(65_536))
                connection.sendall(ANSWER)

        seen: list[bytes] = []
        thread = threading.Thread(target=serve)
        thread.start()
        answer = get(f"http://[::1]:{port}/", AddressPolicy(frozenset({Endpoint(ip_address("::1"), port)})))
        thread.join()

    assert answer == Fetched(b"hello", NO_VALIDATORS)
    assert f"Host: [::1]:{port}".encode() in seen[0]


def test_pictures_of_one_host_are_asked_at_once_on_connections_of_their_own() -> None:
    both = threading.Barrier(2)

    def answers(_: int) -> bytes:
        both.wait(5)
        return ANSWER

    async def run(port: int) -> list[bytes]:
        async with guarded_session(policy_for(port), LIMITS) as session:
            return await asyncio.gather(*(ask(session, f"http://{LOOPBACK}:{port}/{number}") for number in range(2)))

    with waiter(answers) as (port, asked):
        assert asyncio.run(run(port)) == [b"hello"] * 2
        assert sorted(connections(asked)) == [0, 1]


def test_names_that_many_ask_for_at_once_are_looked_up_once(host: PictureHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.answers["/a"] = picture(b"bytes")
    asked = answer_with(monkeypatch, [LOOPBACK])

    async def run() -> None:
        async with guarded_session(policy_for(host.port), LIMITS) as session:
            await asyncio.gather(*(ask(session, f"http://cdn.example:{host.port}/a") for _ in range(4)))

    asyncio.run(run())
    assert asked == ["cdn.example"]
    assert len(host.seen) == 4


def test_a_lookup_that_fails_is_made_anew_for_the_next_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def look_up(name: str, *_: object) -> list[tuple[socket.AddressFamily, str]]:
        tries.append(name)
        raise socket.gaierror

    monkeypatch.setattr("cata_pipeline.images.guard._addresses", look_up)

    async def run() -> None:
        async with guarded_session(policy_for(), LIMITS) as session:
            for _ in range(2):
                with pytest.raises(UnreachableError):
                    await ask(session, "http://cdn.example/a")
                await asyncio.sleep(0.01)

    asyncio.run(run())
    assert tries == ["cdn.example"] * 2
