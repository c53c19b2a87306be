import asyncio
import gzip
import threading

import pytest
from aiohttp import web

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.fetch import Fetched, NotModified, fetch
from cata_pipeline.images.guard import guarded_session
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.validators import NO_VALIDATORS, Validators
from cata_pipeline_tests.images.hosts import (
    LOOPBACK,
    Answer,
    PictureHost,
    listener,
    picture,
    policy_for,
    redirect,
    says,
    status,
)

LIMITS = CopyLimits(max_bytes=1000)


def get(
    url: str, policy: AddressPolicy, known: Validators = NO_VALIDATORS, limits: CopyLimits = LIMITS
) -> Fetched | NotModified:
    async def run() -> Fetched | NotModified:
        async with guarded_session(policy, limits) as session:
            return await fetch(session, url, known, policy, limits)

    return asyncio.run(run())


def get_from(host: PictureHost, path: str, known: Validators = NO_VALIDATORS) -> Fetched | NotModified:
    return get(host.url(path), policy_for(host.port), known)


def test_a_body_comes_with_its_validators(host: PictureHost) -> None:
    host.answers["/a"] = picture(b"bytes", etag='"1"', last_modified="Sun, 01 Mar 2026 00:00:00 GMT")

    assert get_from(host, "/a") == Fetched(b"bytes", Validators('"1"', "Sun, 01 Mar 2026 00:00:00 GMT"))


def test_known_validators_make_the_request_conditional(host: PictureHost) -> None:
    host.answers["/a"] = picture(b"bytes", etag='"1"')

    assert get_from(host, "/a", Validators('"1"')) == NotModified()
    assert get_from(host, "/a", Validators('"0"')) == Fetched(b"bytes", Validators('"1"'))


def test_a_request_says_as_little_as_possible(host: PictureHost) -> None:
    host.answers["/a"] = picture(b"bytes")
    get_from(host, "/a")

    assert set(host.seen[0].headers) == {"Host", "Accept", "Accept-Encoding", "User-Agent"}
    assert host.seen[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("etag", ['W/"é"', '"' + "x" * 600 + '"', ""])
def test_validators_that_cannot_travel_back_are_forgotten(host: PictureHost, etag: str) -> None:
    host.answers["/a"] = picture(b"bytes", etag=etag)

    assert get_from(host, "/a") == Fetched(b"bytes", NO_VALIDATORS)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_followed(host: PictureHost, code: int) -> None:
    host.answers |= {"/a": redirect("/b", code), "/b": picture(b"bytes")}

    assert get_from(host, "/a") == Fetched(b"bytes", NO_VALIDATORS)


def test_three_redirects_are_followed_and_a_fourth_is_not(host: PictureHost) -> None:
    host.answers |= {f"/{hop}": redirect(f"/{hop + 1}") for hop in range(4)} | {"/4": picture(b"bytes")}

    assert get_from(host, "/1") == Fetched(b"bytes", NO_VALIDATORS)
    with pytest.raises(PictureError, match="more than 3 times"):
        get_from(host, "/0")


@pytest.mark.parametrize(
    ("answer", "reason", "transient"),
    [
        (status(404), "any more", False),
        (status(410), "any more", False),
        (status(400), "answers 400", False),
        (status(401), "answers 401", True),
        (status(403), "answers 403", True),
        (status(408), "answers 408", True),
        (status(425), "answers 425", True),
        (status(429), "answers 429", True),
        (status(500), "answers 500", True),
        (status(503), "answers 503", True),
        (status(204), "answers 204", False),
        (status(206), "answers 206", False),
        (status(304), "answers 304", False),
        (status(300), "answers 300", False),
        (picture(b""), "empty file", False),
        (picture(b"<html>", content_type="text/html; charset=utf-8"), "web page", False),
        (picture(b"x" * 1001), "larger than", False),
        (redirect(""), "redirects to an unusable address", False),
        (redirect("ftp://cdn.example/a.jpg"), "http:// or https://", False),
        (redirect("/loop"), "more than 3 times", False),
    ],
)
def test_anything_but_a_whole_body_is_refused(host: PictureHost, answer: Answer, reason: str, transient: bool) -> None:  # noqa: FBT001
    host.answers["/loop"] = answer

    with pytest.raises(PictureError, match=reason) as refusal:
        get_from(host, "/loop")

    assert refusal.value.transient is transient


def test_a_body_of_exactly_the_allowed_size_is_taken(host: PictureHost) -> None:
    host.answers["/a"] = picture(b"x" * 1000)

    assert get_from(host, "/a") == Fetched(b"x" * 1000, NO_VALIDATORS)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_a_compressed_body_is_refused_unread(host: PictureHost, encoding: str) -> None:
    async def compressed(_: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(bytes(10_000)), headers={"Content-Encoding": encoding})

    host.answers["/a"] = compressed

    with pytest.raises(PictureError, match="compressed"):
        get_from(host, "/a")


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ids=["until close", "chunked"],
)
def test_an_endless_body_without_a_length_is_cut_off_at_the_cap(head: bytes) -> None:
    with listener(says(head, b"64\r\n" + b"x" * 100 + b"\r\n", drip=threading.Event())) as port:
        with pytest.raises(PictureError, match="larger than") as refusal:
            get(f"http://{LOOPBACK}:{port}/", policy_for(port))
        assert not refusal.value.transient


def test_a_dripping_body_ends_at_the_deadline() -> None:
    with (
        listener(says(b"HTTP/1.1 200 OK\r\n\r\n", b"x", drip=threading.Event())) as port,
        pytest.raises(PictureError, match="in time") as refusal,
    ):
        get(
            f"http://{LOOPBACK}:{port}/",
            policy_for(port),
            limits=CopyLimits(deadline_seconds=0.2, silence_seconds=5, max_bytes=10_000_000),
        )
    assert refusal.value.transient
    assert refusal.value.host_fault, "it had the whole deadline"


@pytest.mark.parametrize(
    ("pieces", "reason", "transient"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"], "broke off", True),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"], "broke off", True),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"], "did not answer properly", True),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"], "did not answer properly", True),
        ([b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe/\r\n\r\n"], "unusable address", False),
        ([b"not http at all\r\n\r\n"], "did not answer properly", True),
        ([b""], "did not answer properly", True),
    ],
)
def test_a_broken_answer_is_a_failure_of_this_picture_only(pieces: list[bytes], reason: str, transient: bool) -> None:  # noqa: FBT001
    with listener(says(*pieces)) as port:
        with pytest.raises(PictureError, match=reason) as refusal:
            get(f"http://{LOOPBACK}:{port}/", policy_for(port))
        assert refusal.value.transient is transient


def test_a_host_that_is_not_there_is_a_transient_failure() -> None:
    with listener(says(b"")) as port:
        pass

    with pytest.raises(PictureError, match="could not be reached") as refusal:
        get(f"http://{LOOPBACK}:{port}/", policy_for(port))
    assert refusal.value.transient


@pytest.mark.parametrize(
    "url",
    [
        "http://xn--/",
        f"http://{'a' * 64}.example/",
        "http://a..b/",
        "http://\ud800/",
        "http://cdn.example/\ud800",
        "http://％３１/",  # noqa: RUF001 what a lenient parser would read as %31
        "http://0x7f000001/",
        "http://2130706433/",
        "http://127.1/",
        "http://169.254.169.254/",
        "http://[fd20:ce::254]/",
        "http://[fe80::1%25lo]/",
        "https://",
        "http://[v1.x]/",
    ],
)
def test_no_spelling_of_a_url_escapes_as_another_error(url: str) -> None:
    with pytest.raises(PictureError):
        get(url, AddressPolicy())


def test_a_denied_address_is_named_neither_in_reason_nor_message() -> None:
    with pytest.raises(PictureError, match=r"^address not allowed$") as refusal:
        get("http://169.254.169.254/", AddressPolicy())

    assert "169.254" not in str(refusal.value)
    assert not refusal.value.transient
