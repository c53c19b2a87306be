"""Reads the body of an answer as one JSON object or one list, within bounds.

Everything about bytes becoming values belongs here: size, compression, content type, number types. What
the values mean is each provider's own business, and when to ask again is `cata_pipeline.providers.http`'s.
"""

import json
import zlib
from decimal import Decimal
from typing import ClassVar, NoReturn

import httpx

MAX_BODY_BYTES = 32 * 2**20
_MOST_VALUES = 4_000_000
_LONGEST_NAMED = 80
_LONGEST_INDENT = 1024
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_JSON_TYPES = frozenset({"", "application/json", "text/json"})


class BadBodyError(Exception):
    """The answer is not the JSON that is wanted, in bearable size, nor would the next be; `advice` is what to do."""

    advice: ClassVar[str] = "Check that the URL is the API's: a login or maintenance page looks like this."


class TooLargeError(BadBodyError):
    """The answer is larger than we read."""

    advice: ClassVar[str] = "Lower page_size in the tenant's options, so that fewer products come at a time."


class CutBodyError(Exception):
    """The answer ends too early; the next one may be whole."""


def json_object(body: bytes | bytearray) -> dict[str, object]:
    """The JSON object of a body: integers as `int`, other numbers as `Decimal`.

    Raises `BadBodyError` or `CutBodyError`.
    """
    value = _parse(body)
    if not isinstance(value, dict):
        raise BadBodyError("is JSON, but no object")
    return value


def json_list(body: bytes | bytearray) -> list[object]:
    """The same of a body that is a list."""
    value = _parse(body)
    if not isinstance(value, list):
        raise BadBodyError("is JSON, but no list")
    return value


async def body_of(reply: httpx.Response, limit: int = MAX_BODY_BYTES) -> bytes | bytearray:
    """The body of a streamed reply that is JSON by its headers, unpacked.

    At most `limit` bytes are read, and at most as many come out of gzip. Raises `BadBodyError` (`TooLargeError` above
    the limit), `CutBodyError` or `httpx.TransportError`.
    """
    media_type = media_type_of(reply)
    if media_type not in _JSON_TYPES and not media_type.endswith("+json"):
        raise BadBodyError(f"is {named(media_type)} instead of JSON")
    encoding = reply.headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip"}:
        raise BadBodyError(f"is encoded as {named(encoding)}, although only gzip was offered")
    raw = await _read(reply, limit)
    return _inflate(raw, limit) if "gzip" in encoding else raw


def media_type_of(reply: httpx.Response) -> str:
    """Return the content type without its parameters, in lower case; empty where there is none."""
    content_type: str = reply.headers.get("content-type", "")
    return content_type.partition(";")[0].strip().lower()


def named(header: str) -> str:
    """A header's value, fit for a message; never a part of one, by which a secret in it could not be told any more."""
    return header if len(header) <= _LONGEST_NAMED else "something that is too long for a name"


async def _read(reply: httpx.Response, limit: int) -> bytearray:
    body = bytearray()
    # Raw bytes: httpx would inflate a whole chunk before its size can be judged, 276 bytes to 256 MiB.
    async for chunk in reply.aiter_raw():
        body += chunk
        if len(body) > limit:
            raise TooLargeError(f"is larger than {limit} bytes")
    return body


def _inflate(raw: bytearray, limit: int) -> bytes:
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    try:
        body = inflater.decompress(raw, limit + 1)
    except zlib.error:
        raise BadBodyError("says that it is gzip and is not") from None
    if len(body) > limit:
        raise TooLargeError(f"is larger than {limit} bytes once inflated")
    if not inflater.eof:
        raise CutBodyError("ends in the middle of its gzip stream")
    return body


def _parse(body: bytes | bytearray) -> object:
    if body[:_LONGEST_INDENT].lstrip()[:1] == b"<":
        raise BadBodyError("is HTML or XML instead of JSON")
    # Each value but the first follows one of these: 32 MiB of empty lists would become 700 MB of objects.
    if sum(map(body.count, (b",", b"[", b"{", b":"))) > _MOST_VALUES:
        raise TooLargeError(f"may hold more than {_MOST_VALUES} values")
    try:
        value: object = json.loads(body.decode("utf-8-sig"), parse_float=Decimal, parse_constant=_refuse_constant)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise CutBodyError("is not valid JSON, as if it were cut") from None
    except RecursionError:
        raise BadBodyError("is nested too deeply") from None
    except (ValueError, ArithmeticError):
        raise BadBodyError("holds a number that no catalog has") from None
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise BadBodyError(f"holds {name}, which is no JSON number")
