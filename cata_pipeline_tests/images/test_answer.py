"""What counts as an answer, whatever pieces it arrives in."""

import gc
import weakref

import pytest

from cata_pipeline.images.answer import Answer, AnswerError, BrokenOffError, TooLargeError
from cata_pipeline.images.limits import CopyLimits

LIMITS = CopyLimits(max_bytes=1000)
OK = b"HTTP/1.1 200 OK\r\n"
FIVE = b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nETag: early\r\n\r\n"


def read(said: bytes, piece: int | None = None, *, ends: bool = True) -> Answer:
    """What becomes of `said` in pieces of that size, and the end of the connection after it."""
    answer = Answer(LIMITS)
    for start in range(0, len(said), piece or len(said) or 1):
        if answer.is_complete:
            answer.is_last = True  # so does the connection
            break
        answer.feed(said[start : start + (piece or len(said))])
    if ends:
        answer.end()
    return answer


@pytest.mark.parametrize("piece", [1, 2, 7, None])
@pytest.mark.parametrize(
    "said",
    [
        OK + FIVE,
        OK + b"content-LENGTH:5\r\n\r\nhello",
        OK + b"Content-Length: 5 \t\r\n\r\nhello",
        OK + b"X-Empty:\r\n" + FIVE,
        OK + b"Connection: upgrade\r\nUpgrade: h2c\r\n" + FIVE,
        OK + b"\r\nhello",
        OK + b"Transfer-Encoding: identity\r\n\r\nhello",
        b"HTTP/1.0 200\r\n\r\nhello",
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        b"\r\n" + OK + FIVE,
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + FIVE,
        HINTS * 8 + OK + FIVE,
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"2\r\nhe\r\n0003;name=value\r\nllo\r\n0\r\nExpires: never\r\n\r\n",
        CHUNKED + b"5  \r\nhello\r\n0\r\n\r\n",
    ],
)
def test_an_answer_is_the_same_in_whatever_pieces_it_arrives(said: bytes, piece: int | None) -> None:
    answer = read(said, piece)
    assert (answer.status, bytes(answer.body), answer.is_complete) == (200, b"hello", True)
    assert answer.header(b"etag") == ""


@pytest.mark.parametrize("piece", [1, 7, None])
@pytest.mark.parametrize(
    "said",
    [
        b"",
        OK,
        OK + b"X: 1",
        b"not http\r\n\r\n",
        b"ICY 200 OK\r\n" + FIVE,
        b"HTTP/0.9 200 OK\r\n" + FIVE,
        b"HTTP/2.0 200 OK\r\n" + FIVE,
        b"HTTP/1.1 099 OK\r\n" + FIVE,
        b"HTTP/1.1 20 OK\r\n" + FIVE,
        b"HTTP/1.1 2000 OK\r\n" + FIVE,
        OK + b"Content-Length: 5\r\n" + FIVE,
        OK + b"Content-Length: 6\r\n" + FIVE,
        OK + b"Content-Length: 5, 5\r\n\r\nhello",
        OK + b"Content-Length: +5\r\n\r\nhello",
        OK + b"Content-Length: 0x5\r\n\r\nhello",
        OK + b"Content-Length: -5\r\n\r\nhello",
        OK + b"Content-Length:\r\n\r\nhello",
        OK + b"Content-Length: 18446744073709551621\r\n\r\nhello",
        OK + b"Content-Length : 5\r\n\r\nhello",
        OK + b"Content-Length\x00: 5\r\n\r\nhello",
        OK + b"X: 1\r\n Content-Length: 5\r\n\r\nhello",
        OK + b"X: 1\rContent-Length: 5\r\n\r\nhello",
        OK + b"X: a\x00b\r\n" + FIVE,
        OK + b"NoColon\r\n" + FIVE,
        OK + b": empty\r\n" + FIVE,
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\nhello",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5\nhello\n0\n\n",
        CHUNKED + b"5\rhello\r\n0\r\n\r\n",
        CHUNKED + b"4\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
        HINTS * 9 + OK + FIVE,
        HINTS,
        OK + b"X: 1\r\n" * 256 + FIVE,
        CHUNKED + b"5\r\nhello\r\n0\r\n" + b"X: 1\r\n" * 256 + b"\r\n",
        OK + b"X: " + b"x" * 70_000,
        b"HTTP/1.1 200 " + b"x" * 70_000,
        b"\r\n" * 35_000,
        CHUNKED + b"0" * 70_000,
        CHUNKED + b"5;" + b"x" * 70_000,
        CHUNKED + b"5\r\nhello\r\n0\r\nX: " + b"x" * 70_000,
    ],
)
def test_what_could_be_read_in_two_ways_or_goes_on_and_on_is_no_answer(said: bytes, piece: int | None) -> None:
    with pytest.raises(AnswerError):
        read(said, piece)


@pytest.mark.parametrize(
    "said",
    [
        OK + b"Content-Length: 6\r\n\r\nhello",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        CHUNKED + b"ffffffffffffffff\r\nhello",
        CHUNKED,
    ],
)
def test_a_body_that_says_where_it_ends_does_not_end_before(said: bytes) -> None:
    with pytest.raises(BrokenOffError):
        read(said)


@pytest.mark.parametrize("head", [OK + b"Content-Length: 1001\r\n\r\n", OK + b"\r\n"])
def test_a_body_may_be_as_large_as_a_picture_and_no_larger(head: bytes) -> None:
    answer = Answer(LIMITS)
    answer.feed(head)
    answer.feed(b"x" * 1000)
    with pytest.raises(TooLargeError):
        answer.feed(b"x")


def test_a_body_in_tiny_chunks_is_read_only_as_long_as_they_hold_more_than_they_cost() -> None:
    small, tiny = b"8\r\n12345678\r\n", b"1\r\na\r\n"
    limits = CopyLimits(max_bytes=1_000_000, head_bytes=1000)
    answer = Answer(limits)
    answer.feed(CHUNKED + small * 10_000 + b"0\r\n\r\n")
    assert len(answer.body) == 80_000

    with pytest.raises(AnswerError):
        Answer(limits).feed(CHUNKED + tiny * 10_000)


@pytest.mark.parametrize("status", [b"101 Switching Protocols", b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize("header", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("more", [b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n"])
def test_an_answer_without_a_body_ends_with_its_head(status: bytes, header: bytes, more: bytes) -> None:
    answer = read(b"HTTP/1.1 " + status + b"\r\n" + header + b"\r\n" + more, ends=False)

    assert (answer.is_complete, bytes(answer.body)) == (True, b"")
    assert answer.is_last is (bool(more) or status.startswith(b"101"))


@pytest.mark.parametrize(
    ("said", "is_last"),
    [
        (OK + FIVE, False),
        (CHUNKED + b"0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + FIVE, False),
        (b"HTTP/1.0 200 OK\r\n" + FIVE, True),
        (OK + b"Connection: close\r\n" + FIVE, True),
        (OK + b"Connection: keep-alive, CLOSE\r\n" + FIVE, True),
        (OK + FIVE + b"x", True),
        (OK + FIVE + OK + FIVE, True),
        (OK + FIVE + b"HTTP/1.1 100 Continue\r\n\r\n", True),
        (OK + b"Connection: close\r\n" + FIVE + OK + FIVE, True),
        (CHUNKED + b"0\r\n\r\n" + b"5\r\nhello\r\n", True),
    ],
)
def test_nothing_is_asked_after_an_answer_that_is_the_last_or_has_something_behind_it(
    said: bytes,
    is_last: bool,  # noqa: FBT001
) -> None:
    answer = read(said, ends=False)

    assert (answer.is_complete, answer.is_last) == (True, is_last)
    assert bytes(answer.body) in {b"hello", b""}


def test_the_first_line_of_a_header_counts_and_every_line_of_a_list() -> None:
    answer = read(
        OK + b'ETag: "1"\r\nETag: "2"\r\nContent-Encoding: identity\r\nContent-Encoding:  gzip \r\nX: 1\r\n' + FIVE
    )

    assert [answer.header(name) for name in (b"etag", b"content-encoding", b"x")] == ['"1"', "identity, gzip", ""]


def test_an_answer_is_gone_as_soon_as_nobody_needs_it() -> None:
    answer = read(OK + FIVE)
    body = weakref.ref(answer)
    gc.disable()
    try:
        answer.close()
        del answer
        assert body() is None
    finally:
        gc.enable()
