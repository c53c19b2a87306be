"""Where a response ends: what could be read in two ways is no image."""

import pytest

from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.fetch import Fetched
from cata_pipeline.images.validators import NO_VALIDATORS
from cata_pipeline_tests.images.hosts import LOOPBACK, listener, policy_for, says
from cata_pipeline_tests.images.test_fetch import get

OK = b"HTTP/1.1 200 OK\r\n"
FIVE = b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nETag: early\r\n\r\n"


@pytest.mark.parametrize("in_pieces", [True, False])
@pytest.mark.parametrize(
    "response",
    [
        OK + FIVE,
        OK + b"X-Empty:\r\n" + FIVE,
        OK + b"\r\nhello",
        OK + b"Transfer-Encoding: identity\r\n\r\nhello",
        b"HTTP/1.0 200\r\n\r\nhello",
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        b"\r\n" + HINTS * 8 + OK + FIVE,
        CHUNKED + b"5  \r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"2\r\nhe\r\n0003;name=value\r\nllo\r\n0\r\nExpires: never\r\n\r\n",
    ],
)
def test_a_response_is_the_same_in_whatever_pieces_it_arrives(response: bytes, in_pieces: bool) -> None:  # noqa: FBT001
    pieces = [response[at : at + 1] for at in range(len(response))] if in_pieces else [response]
    with listener(says(*pieces)) as port:
        assert get(f"http://{LOOPBACK}:{port}/", policy_for(port)) == Fetched(b"hello", NO_VALIDATORS)


@pytest.mark.parametrize(
    "response",
    [
        OK + b"Content-Length: 5\r\n" + FIVE,
        OK + b"Content-Length: 6\r\n" + FIVE,
        OK + b"Content-Length: 5, 5\r\n\r\nhello",
        OK + b"Content-Length: +5\r\n\r\nhello",
        OK + b"Content-Length: -5\r\n\r\nhello",
        OK + b"Content-Length:\r\n\r\nhello",
        OK + b"Content-Length: 18446744073709551621\r\n\r\nhello",
        OK + b"Content-Length\x00: 5\r\n\r\nhello",
        OK + b"X: 1\rContent-Length: 5\r\n\r\nhello",
        OK + b"NoColon\r\n" + FIVE,
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\nhello",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        OK + b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\n" + FIVE,
        CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"4\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5\nhello\n0\n\n",
        CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        OK + b"X: 1\r\n" * 257 + FIVE,
        OK + b"X: " + b"x" * 70_000 + b"\r\n" + FIVE,
    ],
)
def test_a_response_that_could_be_read_in_two_ways_is_no_image(response: bytes) -> None:
    with listener(says(response)) as port, pytest.raises(PictureError):
        get(f"http://{LOOPBACK}:{port}/", policy_for(port))
