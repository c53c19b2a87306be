"""Cuts a feed, as its bytes arrive, into records: inflated where it is gzip, each with the line it begins on.

Everything about bytes, sizes and encodings of a feed belongs here; what a record says is `feed_records`. Nothing keeps
more than one record, and nothing inflates more than the tenant's limit.
"""

import zlib
from collections.abc import Iterator

from cata_pipeline.providers.fetch_limits import Limits, too_many_bytes
from cata_pipeline.providers.json_body import CutBodyError

MAX_RECORD_BYTES = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_PIECE = 2**18
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BrokenFeedError(Exception):
    """The feed as a whole cannot be used; the message is the end of a sentence that begins with it."""


class Unpacking:
    """A feed's bytes, inflated where they begin as gzip does; `must_be_gzip` where the server said so.

    `limits` bound what comes out.
    """

    def __init__(self, limits: Limits, *, must_be_gzip: bool = False) -> None:
        self._limits = limits
        self._must_be_gzip = must_be_gzip
        self._inflater: zlib._Decompress | None = None
        self._begun = False
        self._head = b""
        self._packed = 0
        self._size = 0

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What a chunk holds; raises `BrokenFeedError` where it is too much or no gzip."""
        self._packed += len(chunk)
        if not self._begun:
            self._head += chunk
            if len(self._head) < len(_GZIP_MAGIC):
                return
            chunk, self._head = self._begin(), b""
        for piece in self._inflated(chunk) if self._inflater else (chunk,):
            self._size += len(piece)
            # Both: gzip streams without content would go on for ever.
            if max(self._size, self._packed) > self._limits.max_bytes:
                raise BrokenFeedError(f"is {too_many_bytes(self._limits)}")
            yield piece

    def finish(self) -> Iterator[bytes]:
        """What is left; raises `CutBodyError` in the middle of a gzip stream."""
        if not self._begun:
            yield self._begin()
        if self._inflater and not self._inflater.eof:
            raise CutBodyError("ends in the middle of its gzip stream")

    def _begin(self) -> bytes:
        self._begun = True
        if self._head.startswith(_GZIP_MAGIC):
            self._inflater = zlib.decompressobj(_GZIP_WINDOW)
        elif self._must_be_gzip and self._head:
            raise BrokenFeedError("says that it is gzip and is not")
        return self._head

    def _inflated(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            assert self._inflater is not None
            if self._inflater.eof:
                # Exports that append to a file leave one gzip stream after the other.
                if not _GZIP_MAGIC.startswith(chunk[:2]):
                    raise BrokenFeedError("goes on after its gzip stream with what is none")
                self._inflater = zlib.decompressobj(_GZIP_WINDOW)
            try:
                # Bounded: 64 kB can hold 64 MB.
                yield self._inflater.decompress(chunk, _PIECE)
            except zlib.error:
                raise BrokenFeedError("is gzip, but damaged") from None
            chunk = self._inflater.unconsumed_tail or self._inflater.unused_data


class Records:
    """Whole records as bytes, each with the number of its first line; blank lines are none.

    A record is a line, or with `quoted`, as CSV has it, as many lines as its double quotes hold together.
    """

    def __init__(self, *, quoted: bool) -> None:
        self.lines = 0
        self._quoted = quoted
        self._left = b""
        self._open: list[bytes] = []
        self._open_bytes = 0

    def take(self, piece: bytes) -> Iterator[tuple[int, bytes]]:
        """The records that end in this piece; raises `BrokenFeedError` for one that is too long."""
        lines = (self._left + piece).split(b"\n")
        self._left = lines.pop()
        yield from self._records(lines)
        self._check(self._open_bytes + len(self._left), self.lines + 1)

    def finish(self) -> Iterator[tuple[int, bytes]]:
        """The last record, where no line end follows it; raises `CutBodyError` inside quotes."""
        if self._left:
            yield from self._records([self._left])
        if self._open:
            raise CutBodyError(f"ends inside the quotes that are opened on line {self.lines - len(self._open) + 1}")

    def _records(self, lines: list[bytes]) -> Iterator[tuple[int, bytes]]:
        if lines and not self.lines:
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        for line in lines:
            self.lines += 1
            if self._open_bytes or len(line) > MAX_RECORD_BYTES:
                self._check(self._open_bytes + len(line), self.lines)
            if self._quoted and (line.count(b'"') % 2 or self._open):
                yield from self._closed(line)
            elif line and not line.isspace():
                yield self.lines, line

    def _closed(self, line: bytes) -> Iterator[tuple[int, bytes]]:
        """The record that ends with this line: one that was open, and the line has the quote that closes it."""
        self._open.append(line)
        self._open_bytes += len(line) + 1
        if len(self._open) > 1 and line.count(b'"') % 2:
            held, self._open, self._open_bytes = self._open, [], 0
            yield self.lines - len(held) + 1, b"\n".join(held)

    def _check(self, size: int, line: int) -> None:
        if size > MAX_RECORD_BYTES:
            first = line - len(self._open)
            raise BrokenFeedError(f"has more than {MAX_RECORD_BYTES} bytes on line {first}, or quotes that never end")
