"""Decide which column types hold which values: one family for each way a type keeps what is written.

Engines sort their types into families, `contract` asks here whether a family fits. Widths and signs limit single rows,
which is the business of `stage`.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum

from cata_pipeline.reconcile.policy import Column, Kind, Rule


class Family(Enum):
    """How a type keeps a value; what no other family describes is `OTHER`."""

    TEXT = "text"
    FIXED_TEXT = "text that drops trailing spaces"
    ENUM = "enumeration"
    BOOLEAN = "boolean"
    BOOLEAN_INTEGER = "MySQL's tinyint(1), a boolean and an integer"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DOUBLE = "double"
    ROUNDED = "number that rounds what is written"
    JSON = "json"
    UUID = "uuid"
    OTHER = "other"


_INTEGERS = frozenset({Family.INTEGER, Family.BOOLEAN_INTEGER})
_NUMBERS = _INTEGERS | {Family.DECIMAL, Family.DOUBLE}
_EXACT_TEXT = frozenset({Family.TEXT}), "text or varchar"

_ACCEPTED: Mapping[Kind, tuple[frozenset[Family], str]] = {
    Kind.TEXT: (frozenset({Family.TEXT, Family.FIXED_TEXT, Family.ENUM}), "text, varchar, char or an enumeration"),
    Kind.BOOLEAN: (frozenset({Family.BOOLEAN, Family.BOOLEAN_INTEGER}), "boolean, bit(1) or tinyint(1)"),
    Kind.INTEGER: (_NUMBERS, "an integer, decimal or double"),
    Kind.DECIMAL: (_NUMBERS, "a decimal, integer or double"),
    Kind.JSON: (frozenset({Family.JSON, Family.TEXT}), "json, jsonb or text"),
}
_ACCEPTED_AS_KEY: Mapping[Kind, tuple[frozenset[Family], str]] = {
    Kind.TEXT: _EXACT_TEXT,
    Kind.INTEGER: (_INTEGERS, "an integer"),
}
_DRAWBACKS = {
    Family.FIXED_TEXT: ", which drops trailing spaces",
    Family.ROUNDED: ", which rounds, so that every sync would write it again",
}
_COMPARED_AS = {Family.FIXED_TEXT: Family.TEXT, Family.BOOLEAN_INTEGER: Family.INTEGER}


def type_problem(column: Column, family: Family, type_name: str) -> str | None:
    """Return why a type cannot hold the values of a policy column, None where it can."""
    accepted, expected = _ACCEPTED[column.kind]
    if column.rule is Rule.KEY:
        accepted, expected = _ACCEPTED_AS_KEY[column.kind]
    elif column.exact:
        accepted, expected = _EXACT_TEXT
    if family in accepted:
        return None
    return f"is {type_name}{_DRAWBACKS.get(family, '')}; expected {expected}"


def is_text(family: Family) -> bool:
    """Return whether a type holds texts, which are compared byte by byte."""
    return family in {Family.TEXT, Family.FIXED_TEXT}


def are_comparable(one: Family, other: Family) -> bool:
    """Whether values of both families can be compared without a conversion that an engine may refuse."""
    return _COMPARED_AS.get(one, one) is _COMPARED_AS.get(other, other)


def integer_range(bits: int, *, unsigned: bool = False) -> tuple[Decimal, Decimal]:
    """Return the lowest and highest number of an integer type."""
    half = 2 ** (bits - 1)
    return (Decimal(0), Decimal(2 * half - 1)) if unsigned else (Decimal(-half), Decimal(half - 1))


def decimal_range(precision: int, scale: int, *, unsigned: bool = False) -> tuple[Decimal, Decimal]:
    """Return the lowest and highest number of a decimal type; made digit by digit, because arithmetic rounds to 28."""
    lowest, highest = (Decimal((sign, (9,) * precision, -scale)) for sign in (1, 0))
    return Decimal(0) if unsigned else lowest, highest
