"""Reads the fields of a provider's JSON row, exactly as they came or not at all.

What holds for each POS is here: which types a field may have, which texts and numbers can be stored, what a time is.
A value of the wrong type makes its row unusable instead of blanking a field: a rejected row leaves the item as it is.
What a field means belongs to the provider's own module.
"""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import cast

from cata_pipeline.catalog.model import MAX_ITEM_CODE_BYTES, text_problem

Warn = Callable[[str], None]
"""Takes one fixed sentence for a part of a row that was left out or replaced."""

Row = dict[str, object]

_FIRST_YEAR = 1970
_LONGEST_SHOWN = 80
_LARGEST_MAGNITUDE = 9
_LONGEST_QUANTITY = 24
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (int, "a whole number"),
    (Decimal, "a number with a decimal point"),
    (str, "a text"),
    (list, "a list"),
    (dict, "an object"),
)


class UnusableRowError(Exception):
    """The row cannot be taken; the message is the rejection's reason."""


def list_of(part: Row, key: str) -> list[object]:
    """The elements of a list; none where it is absent or null."""
    value = part.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise UnusableRowError(f"has {kind_of(value)} as {key}; expected a list")
    return value


def objects_of(part: Row, key: str) -> list[Row]:
    """Return the objects of a list; anything else among them makes the row unusable: left out, it would look absent."""
    parts = list_of(part, key)
    for found in parts:
        if not isinstance(found, dict):
            raise UnusableRowError(f"has {kind_of(found)} among its {key}; expected objects")
    return cast("list[Row]", parts)


def in_order(rows: list[Row], key: str) -> list[Row]:
    """Return the rows by the number in `key`, 0 where there is none; equal ones in the order they came."""
    return sorted(rows, key=lambda row: _number_or_zero(row.get(key))) if len(rows) > 1 else rows


def _number_or_zero(value: object) -> int | Decimal:
    return value if isinstance(value, int | Decimal) else 0


def optional_text(part: Row, key: str) -> str | None:
    """The text exactly as it came, or None when it is absent, null or blank."""
    value = part.get(key)
    if value is None:
        return None
    text = checked_text(value, key)
    return None if not text or text.isspace() else text


def checked_text(value: object, key: str) -> str:
    """A text that every database of ours can store."""
    if not isinstance(value, str):
        raise UnusableRowError(f"has {kind_of(value)} as {key}; expected a text")
    # ASCII first, and without a call: these are the most called lines of every fetch.
    if value.isascii() and "\x00" not in value:
        return value
    if problem := text_problem(value):
        raise UnusableRowError(f"has a {key} that {problem}")
    return value


def code_of(value: object, key: str) -> str | None:
    """An identifier, byte for byte, or a whole number's digits; None when it is absent, null or blank."""
    if value is None:
        return None
    is_number = isinstance(value, int) and not isinstance(value, bool)
    text = str(value) if is_number else checked_text(value, key)
    if not text or text.isspace():
        return None
    if (length := len(text) if text.isascii() else len(text.encode())) > MAX_ITEM_CODE_BYTES:
        raise UnusableRowError(f"has a {key} of {length} bytes; at most {MAX_ITEM_CODE_BYTES} can be stored")
    return text


def required_code(part: Row, key: str) -> str:
    """As `code_of`; without one the row is unusable."""
    code = code_of(part.get(key), key)
    if code is None:
        raise UnusableRowError(f"has no {key}")
    return code


def required_text(part: Row, key: str) -> str:
    """As `optional_text`; without one the row is unusable."""
    text = optional_text(part, key)
    if text is None:
        raise UnusableRowError(f"has no {key}")
    return text


def item_code_of(sku: object, instead: str | None, thing: str, place: str, option: str) -> str:
    """Return the SKU, byte for byte, or `instead` where there is none.

    Without either the row is unusable, with the advice to give `thing` one in `place` or to set the tenant's `option`.
    """
    if sku is None or sku == "":
        if instead is None:
            raise UnusableRowError(f"has no SKU; give {thing} one in {place}, or set the tenant's option {option}")
        return instead
    code = code_of(sku, "SKU")
    if code is None:
        raise UnusableRowError(f"has a SKU of nothing but spaces; give {thing} a real one in {place}")
    return code


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    return next((kind for type_, kind in _KINDS if isinstance(value, type_)), "null")


def shown(value: object) -> str | None:
    """An identifier fit for a report, or None."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value)
    return None if not text or text_problem(text) else text[:_LONGEST_SHOWN]


def flag(part: Row, key: str, *, absent: bool = True) -> bool:
    """As `flag_or_none`; `absent` where it is absent or null."""
    value = flag_or_none(part, key)
    return absent if value is None else value


def flag_or_none(part: Row, key: str) -> bool | None:
    """True or false, in the spellings that POS use; None where it is absent or null."""
    value = part.get(key)
    if value is None:
        return None
    if value is True:
        return True
    if value is False:
        return False
    if isinstance(value, int) and value in (0, 1):
        return value == 1
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise UnusableRowError(f"has {kind_of(value)} as {key}; expected true or false")


def quantity(value: object, warn: Warn) -> str:
    """A decimal in text form; "1" where it is absent, and with a warning where it is no usable number."""
    if value is None:
        return "1"
    number = None
    if isinstance(value, int | str | Decimal) and not isinstance(value, bool):
        with contextlib.suppress(InvalidOperation):
            number = Decimal(value)
    if number is not None and number.is_finite() and not number.is_signed():
        # Judged before it is written out: 1E+999999 would become a million digits.
        text = format(number, "f") if abs(number.adjusted()) <= _LARGEST_MAGNITUDE else ""
        if 0 < len(text) <= _LONGEST_QUANTITY:
            return text
    warn("bundle quantity that is no usable number read as 1")
    return "1"


def moment_of(value: object) -> datetime | None:
    """A time in UTC (one without zone is taken for UTC); None when absent, blank or before 1970.

    Raises `ValueError` when it cannot be read.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError("no text")  # noqa: TRY004 one error for all that cannot be read
    moment = datetime.fromisoformat(value)
    try:
        if moment.tzinfo is not UTC:
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("outside the calendar") from None
    return moment if moment.year >= _FIRST_YEAR else None


def changed_at(row: Row, key: str, warn: Warn) -> datetime | None:
    """When the row last changed, as `moment_of`; None, with a warning, when that cannot be read."""
    try:
        return moment_of(row.get(key))
    except ValueError:
        warn(f"{key} that cannot be read left out")
        return None
