"""How the bytes of a feed become records, however they are cut and packed."""

import gzip
import itertools
from collections.abc import Iterable

import pytest

from cata_pipeline.providers import feed_bytes
from cata_pipeline.providers.feed_bytes import BrokenFeedError, Records, Unpacking
from cata_pipeline.providers.fetch_limits import LimitOptions
from cata_pipeline.providers.json_body import CutBodyError


def records(text: bytes, size: int = 1 << 20, *, quoted: bool = False) -> list[tuple[int, bytes]]:
    cutting = Records(quoted=quoted)
    found = [record for start in range(0, len(text), size) for record in cutting.take(text[start : start + size])]
    return [*found, *cutting.finish()]


def unpacked(chunks: Iterable[bytes], *, must_be_gzip: bool = False, max_bytes: int = 1 << 20) -> bytes:
    unpacking = Unpacking(LimitOptions(max_bytes=max_bytes), must_be_gzip=must_be_gzip)
    found = b"".join(piece for chunk in chunks for piece in unpacking.pieces(chunk))
    return found + b"".join(unpacking.finish())


@pytest.mark.parametrize("size", [1, 2, 3, 1_000])
def test_a_record_is_a_line_wherever_the_bytes_are_cut(size: int) -> None:
    text = b"\xef\xbb\xbfone\r\n\n  \ntwo\nthree"
    assert records(text, size) == [(1, b"one\r"), (4, b"two"), (5, b"three")]


@pytest.mark.parametrize("size", [1, 4, 1_000])
def test_quotes_hold_lines_together_and_the_first_one_numbers_them(size: int) -> None:
    text = b'a,"b\n\nc",d\ne,"f ""g"" h"\n"i\n'
    cutting = Records(quoted=True)
    found = [record for start in range(0, len(text), size) for record in cutting.take(text[start : start + size])]
    assert found == [(1, b'a,"b\n\nc",d'), (4, b'e,"f ""g"" h"')]
    with pytest.raises(CutBodyError, match="quotes that are opened on line 5"):
        list(cutting.finish())


def test_quotes_mean_nothing_where_a_line_is_a_record() -> None:
    assert records(b'{"\n"}\n') == [(1, b'{"'), (2, b'"}')]


@pytest.mark.parametrize("quoted", [True, False])
@pytest.mark.parametrize("text", [b"x" * 2_000, b"x" * 2_000 + b"\n", b'"\n' + b"x\n" * 1_000])
def test_a_record_without_end_is_not_collected_for_ever(
    monkeypatch: pytest.MonkeyPatch,
    text: bytes,
    quoted: bool,  # noqa: FBT001 a parametrized value
) -> None:
    monkeypatch.setattr(feed_bytes, "MAX_RECORD_BYTES", 1_000)
    if not quoted and text.startswith(b'"'):
        assert len(records(text)) == 1_001
        return
    with pytest.raises(BrokenFeedError, match="more than 1000 bytes on line 1"):
        records(text, 100, quoted=quoted)


@pytest.mark.parametrize("quoted", [True, False])
@pytest.mark.parametrize("size", [1, 600, 10_000])
def test_a_record_that_is_too_long_is_told_by_its_line_however_it_arrives(
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    quoted: bool,  # noqa: FBT001 a parametrized value
) -> None:
    monkeypatch.setattr(feed_bytes, "MAX_RECORD_BYTES", 1_000)
    fits, too_long = b"x" * 1_000, b"x" * 1_001
    assert records(b"a\n" + fits + b"\n" + fits, size, quoted=quoted) == [(1, b"a"), (2, fits), (3, fits)]
    for text in (b"a\n" + too_long + b"\nb\n", b"a\n" + too_long):
        with pytest.raises(BrokenFeedError, match="more than 1000 bytes on line 2"):
            records(text, size, quoted=quoted)


@pytest.mark.parametrize("size", [1, 600, 10_000])
def test_the_lines_that_quotes_hold_together_count_together(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(feed_bytes, "MAX_RECORD_BYTES", 1_000)
    half = b"x" * 498
    assert records(b'a\n"' + half + b"\n" + half + b'"\n', size, quoted=True)[1][0] == 2
    with pytest.raises(BrokenFeedError, match="more than 1000 bytes on line 2"):
        records(b'a\n"' + half + b"\n" + half + b'xxx"\n', size, quoted=True)


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("must_be_gzip", [True, False])
def test_gzip_is_inflated_one_stream_after_the_other(size: int, must_be_gzip: bool) -> None:  # noqa: FBT001
    packed = gzip.compress(b"one\n" * 1_000) + gzip.compress(b"two\n")
    chunks = [packed[start : start + size] for start in range(0, len(packed), size)]
    assert unpacked(chunks, must_be_gzip=must_be_gzip) == b"one\n" * 1_000 + b"two\n"


def test_what_is_no_gzip_passes_unless_it_was_said_to_be_one() -> None:
    assert unpacked([b"o", b"ne"]) == b"one"
    assert unpacked([b"o"]) == b"o"
    assert unpacked([]) == b""
    with pytest.raises(BrokenFeedError, match="says that it is gzip and is not"):
        unpacked([b"o", b"ne"], must_be_gzip=True)


@pytest.mark.parametrize("cut", [3, 12, -1])
def test_a_gzip_stream_that_is_cut_is_told_as_cut(cut: int) -> None:
    with pytest.raises(CutBodyError, match="ends in the middle of its gzip stream"):
        unpacked([gzip.compress(b"one\n" * 1_000)[:cut]])


def test_damaged_gzip_is_broken() -> None:
    packed = bytearray(gzip.compress(b"one\n" * 1_000))
    packed[-8] ^= 1
    with pytest.raises(BrokenFeedError, match="is gzip, but damaged"):
        unpacked([bytes(packed)])


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("rest", [b"\x00" * 512, b"garbage", b"x"])
def test_what_follows_a_gzip_stream_and_is_none_is_broken(size: int, rest: bytes) -> None:
    packed = gzip.compress(b"one\n") + rest
    with pytest.raises(BrokenFeedError, match="goes on after its gzip stream with what is none"):
        unpacked(packed[start : start + size] for start in range(0, len(packed), size))


def test_a_bomb_is_ended_at_the_limit() -> None:
    too_large = "is larger than 1048576 bytes, the limit of the tenant's option max_bytes"
    with pytest.raises(BrokenFeedError, match=too_large):
        unpacked([gzip.compress(b" " * (8 << 20))])
    with pytest.raises(BrokenFeedError, match=too_large):
        unpacked([b"x" * (1 << 20), b"x"])
    assert unpacked([gzip.compress(b"x" * (1 << 20))]) == b"x" * (1 << 20)


def test_gzip_streams_without_content_are_not_read_for_ever() -> None:
    with pytest.raises(BrokenFeedError, match="is larger than 1000 bytes"):
        unpacked(itertools.repeat(gzip.compress(b"")), max_bytes=1_000)
