"""One answer to a GET, put together from what arrives on a connection; what could be read in two ways is refused.

Add rules about the form of an answer here. How bytes arrive and how long that may take is `connection.py`; what an
answer must say to be a picture is `fetch.py`.
"""

import httptools

from cata_pipeline.images.limits import CopyLimits

_FIRST_INTERIM, _SWITCHING, _FIRST_FINAL = 100, 101, 200
_BODILESS = frozenset({_SWITCHING, 204, 304})
_VERSIONS = frozenset({"1.0", "1.1"})
# What is kept of the headers, so that a host cannot make us keep more; the lists count with all of their lines.
_LISTS = frozenset({b"content-digest", b"content-encoding", b"transfer-encoding"})
_KEPT = _LISTS | {b"content-length", b"content-type", b"etag", b"last-modified", b"location"}
_TLS_ALERT = b"\x15\x03"
_CODINGS = frozenset({b"chunked", b"identity"})
_MOST_INTERIM = 8


class AnswerError(OSError):
    """What arrived is no answer that HTTP/1.1 knows, or holds more beside its body than any host needs to say."""


class BrokenOffError(OSError):
    """The connection ended in the middle of the body."""


class TooLargeError(OSError):
    """The body is larger than a picture may be."""


class TlsAnswerError(OSError):
    """A request in plain text was answered by an alert of TLS."""


class Answer:
    """As much of an answer as has arrived.

    `has_head`: status and headers are there. `is_complete`: so is the body. `is_last`: nothing more may be asked on
    the connection.
    """

    def __init__(self, limits: CopyLimits) -> None:
        self.status = 0
        self.body = bytearray()
        self.has_head = False
        self.is_complete = False
        self.is_last = False
        self._limits = limits
        self._arrived = 0
        self._lines = 0
        self._interim = 0
        self._is_interim = False
        self._ends_with_connection = False
        self._headers: dict[bytes, bytes] = {}
        parser = httptools.HttpResponseParser(self)
        # Old hosts say it so. Neither can move the end of a body, as odd header names could.
        parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)
        self._parser: httptools.HttpResponseParser | None = parser

    @property
    def has_begun(self) -> bool:
        """Whether anything at all has arrived."""
        return self._arrived > 0

    def header(self, name: bytes) -> str:
        """A header by its lower-case name; "" for one that is absent, or of which nothing depends."""
        return self._headers.get(name, b"").strip(b" \t").decode("utf-8", "surrogateescape")

    def feed(self, data: bytes) -> bool:
        """More has arrived; returns whether it brought the head or the end.

        Raises `TooLargeError` for more than `max_bytes` of body, `TlsAnswerError`, and `AnswerError` for anything else
        that is out of order.
        """
        assert self._parser is not None
        if not self._arrived and data.startswith(_TLS_ALERT):
            raise TlsAnswerError("an alert of TLS")
        self._arrived += len(data)
        had_head = self.has_head
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # Behind a complete answer it is only noise, which ends the connection.
            self.is_last = True
            if not self.is_complete:
                raise _cause(error) from None
        # Endless header lines, interim answers, chunk sizes and trailers all carry little body or none.
        if not self.is_complete and self._arrived > 2 * len(self.body) + self._limits.head_bytes:
            raise AnswerError("too much beside the body")
        return self.is_complete or self.has_head != had_head

    def end(self) -> None:
        """The connection has ended in good order, which completes a body that says nothing of its length."""
        self.is_last = True
        if self.is_complete:
            return
        if not self.has_head:
            raise AnswerError("the connection ended before the answer was there")
        if not self._ends_with_connection:
            raise BrokenOffError("the connection ended in the middle of the body")
        self.is_complete = True

    def close(self) -> None:
        """Expect nothing more. The parser knows this object, and both would wait for the garbage collector."""
        self._parser = None

    # What the parser calls:

    def on_message_begin(self) -> None:
        """Another answer begins: the first, one behind an interim one, or one that nobody asked for."""
        if self.is_complete:
            self.is_last = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line of any answer, or a trailer."""
        self._lines += 1
        if self._lines > self._limits.header_lines:
            raise AnswerError("too many header lines")
        name = name.lower()
        if name in _KEPT and not self.has_head:
            if name not in self._headers:
                self._headers[name] = value
            elif name in _LISTS:
                self._headers[name] += b", " + value

    def on_headers_complete(self) -> None:
        """The end of a head, be it an interim answer's."""
        parser = self._parser
        if self.is_complete or parser is None:
            return
        status = parser.get_status_code()
        if status < _FIRST_INTERIM or parser.get_http_version() not in _VERSIONS:
            raise AnswerError("a status or version that HTTP/1 does not have")
        self._is_interim = status < _FIRST_FINAL and status != _SWITCHING
        if self._is_interim:
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                raise AnswerError("too many interim answers")
            self._headers.clear()
            return
        self._judge_framing()
        self.is_last = not parser.should_keep_alive()
        self.status = status
        self.has_head = True
        self.is_complete = status in _BODILESS

    def on_body(self, piece: bytes) -> None:
        """A piece of the body; behind an answer that has none, it is noise."""
        if self.is_complete:
            self.is_last = True
            return
        self.body += piece
        if len(self.body) > self._limits.max_bytes:
            raise TooLargeError("the body is too large")

    def on_message_complete(self) -> None:
        """The end of an answer."""
        if self._is_interim:
            self._is_interim = False
        elif self.has_head:
            self.is_complete = True

    def _judge_framing(self) -> None:
        coding = self._headers.get(b"transfer-encoding", b"identity").strip().lower()
        if coding not in _CODINGS:
            raise AnswerError("a coding that nobody asked for")
        # The parser refuses a coding beside a length, and two lengths.
        self._ends_with_connection = coding != b"chunked" and b"content-length" not in self._headers


def _cause(error: BaseException) -> OSError:
    """What one of our own methods raised inside the parser, or that the parser gave up."""
    cause = error.__context__
    return cause if isinstance(cause, AnswerError | TooLargeError) else AnswerError("not an HTTP answer")
