"""What the records of a feed say: rows by name, and the explicit end, in JSON Lines or CSV.

The two formats differ only here; what a row's fields mean is `feed_rows`. A feed that ends without its end line, or
whose end line counts otherwise, may be a part of one, and is never taken for a whole.
"""

import csv
import json
import re
from decimal import Decimal
from typing import NoReturn, Protocol, Self

from cata_pipeline.providers.feed_bytes import BrokenFeedError
from cata_pipeline.providers.feed_options import Format
from cata_pipeline.providers.feed_rows import FIELDS, JSON_FIELDS, REQUIRED_FIELDS, unknown_fields
from cata_pipeline.providers.json_body import CutBodyError
from cata_pipeline.providers.row_fields import Row, UnusableRowError

_END_OF_JSON_LINES = '{"end": true, "items": N}'
_END_OF_CSV = "#end,N"
_CSV_END = "#end"
_EXCERPT = 80
_JSON_SPACES = " \t\r\n"
_COUNT = re.compile(r"([0-9]{1,9}),*")
_FLAG = "is_active"
_FLAGS = {"true": True, "TRUE": True, "false": False, "FALSE": False, "": None}
_FIELDS_WITH_VALUES = frozenset({_FLAG, *JSON_FIELDS})
"""An empty cell of any other field is an empty text, which is read as null."""


class _Format(Protocol):
    """One of the two formats, for one feed."""

    end: str
    rows: int
    """Rows so far, usable or not; the end line counts them."""

    def read(self, text: str) -> "Row | _End | None":
        """The row of a record, the end, or None for a header; raises `UnusableRowError` or `BrokenFeedError`."""
        ...


class _End:
    """The end line, or what is meant to be one; `count` is what it says, None where it says nothing of use."""

    def __init__(self, count: int | Decimal | None) -> None:
        self.count = count


class Reading:
    """One pass over a feed's records, up to its end line."""

    def __init__(self, format_: Format) -> None:
        self._format: _Format = _Csv() if format_ == "csv" else _JsonLines()
        self._has_begun = False
        self._has_ended = False

    def row(self, line: int, record: bytes) -> Row | None:
        """The row of a record, None for one that is none.

        Raises `UnusableRowError` where only this row is wrong, `BrokenFeedError` where the feed is.
        """
        if self._has_ended:
            raise BrokenFeedError(f"goes on after its end line, on line {line}")
        try:
            text = record.decode()
        except UnicodeDecodeError:
            raise BrokenFeedError(f"is not UTF-8 on line {line}") from None
        if not self._has_begun and text.lstrip().startswith("<"):
            raise BrokenFeedError("is HTML or XML, such as a login page")
        self._has_begun = True
        row = self._format.read(text)
        if not isinstance(row, _End):
            return row
        if row.count is None:
            raise BrokenFeedError(f"has an end line that is none, on line {line}; expected {self._format.end}")
        if row.count != self._format.rows:
            raise BrokenFeedError(
                f"says on line {line} that it has {str(row.count)[:_EXCERPT]} items, and has {self._format.rows}"
            )
        self._has_ended = True
        return None

    def finish(self, lines: int) -> None:
        """Raise `CutBodyError` unless the end line was read."""
        if not self._has_ended:
            raise CutBodyError(
                f"ends after line {lines} without its end line, as if it were cut; expected {self._format.end}"
            )


class _JsonLines:
    """One JSON object a line."""

    end = _END_OF_JSON_LINES

    def __init__(self) -> None:
        self.rows = 0

    def read(self, text: str) -> Row | _End:
        try:
            row = _json(text)
        except ValueError as error:
            self.rows += 1
            raise UnusableRowError(f"is not JSON ({error})") from None
        if isinstance(row, dict) and "end" in row:
            count = row.get("items")
            is_right = row["end"] is True and row.keys() == {"end", "items"}
            is_number = isinstance(count, int | Decimal) and not isinstance(count, bool)
            return _End(count if is_right and is_number else None)
        self.rows += 1
        if not isinstance(row, dict):
            raise UnusableRowError("is JSON, but no object")
        return row


class _Csv:
    """Comma separated, double quotes, a header line."""

    end = _END_OF_CSV

    def __init__(self) -> None:
        self.rows = 0
        self._header: list[str] = []
        self._columns_with_values: list[str] = []
        self._record = _Record()
        # One for all: to make a reader takes as long as to read a row.
        self._cells = csv.reader(self._record, strict=True)

    def read(self, text: str) -> Row | _End | None:
        self._record.text = text
        try:
            cells = next(self._cells)
        except csv.Error as error:
            self._raise_not_csv(error)
        if not self._header:
            self._header = _checked_header(cells)
            self._columns_with_values = [name for name in self._header if name in _FIELDS_WITH_VALUES]
            return None
        if cells[0] == _CSV_END:
            count = _COUNT.fullmatch(",".join(cells[1:]))
            return _End(int(count[1]) if count else None)
        self.rows += 1
        if len(cells) != len(self._header):
            raise UnusableRowError(f"has {len(cells)} cells; the header has {len(self._header)}")
        row: Row = dict(zip(self._header, cells, strict=True))
        for name in self._columns_with_values:
            row[name] = _value(name, str(row[name]))
        return row

    def _raise_not_csv(self, error: csv.Error) -> NoReturn:
        reason = str(error).partition(" - ")[0]  # what follows is advice about Python
        if not self._header:
            raise BrokenFeedError(f"has a header that is not CSV ({reason})") from None
        self.rows += 1
        raise UnusableRowError(f"is not CSV ({reason})") from None


class _Record:
    """Gives the `csv` module one record and then its end: quotes left open must not take the next record in."""

    text: str | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        text, self.text = self.text, None
        if text is None:
            raise StopIteration
        return text


def _checked_header(names: list[str]) -> list[str]:
    if unknown := [name for name in names if name not in FIELDS]:
        raise BrokenFeedError(f"has a header with {unknown_fields(unknown)}")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise BrokenFeedError(f"has a header with {', '.join(repeated)} more than once")
    if missing := [name for name in REQUIRED_FIELDS if name not in names]:
        raise BrokenFeedError(f"has a header without {', '.join(missing)}")
    return names


def _value(name: str, cell: str) -> object:
    """What a cell stands for where that is no text; an empty one is null, as CSV knows no other."""
    if name == _FLAG:
        return _FLAGS.get(cell, cell)
    if cell == "":
        return None
    try:
        return _json(cell)
    except ValueError as error:
        raise UnusableRowError(f"has a {name} that is not JSON ({error})") from None


def _json(text: str) -> object:
    """The value that a text is; raises `ValueError` with a reason that repeats nothing of it."""
    text = text.rstrip(_JSON_SPACES)
    try:
        value, end = _JSON.raw_decode(text, len(text) - len(text.lstrip(_JSON_SPACES)))
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg.removesuffix(' at')} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ArithmeticError:
        raise ValueError("it holds a number that no catalog has") from None
    except ValueError as error:
        raise ValueError(str(error).partition(":")[0]) from None
    if end != len(text):
        raise ValueError(f"more than one value, from character {end + 1}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _without_repetition(pairs: list[tuple[str, object]]) -> Row:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a key stands there twice")
    return row


# One for all: `json.loads` with these arguments would make a decoder for each line.
_JSON = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_without_repetition)
