"""Bounds what one fetch takes from a provider: bytes, after decompression, and rows.

The client of every API and the feed count here, so that no POS can fill the memory of a batch. How much memory the
limits come to is in docs/operations.md. The options that bound its time are here, what keeps to them is in `http`.
"""

from typing import Annotated, Protocol

from pydantic import Field

from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.options import ProviderOptions, seconds, whole_number

DEFAULT_BYTES = 128 * 2**20
DEFAULT_ROWS = 250_000
_MOST_BYTES = 16 * 2**30
_MOST_ROWS = 100_000_000
_NESTED = 2

_NOTHING_TAKEN = "Nothing was taken: find out why the POS sends so much, or raise the option."


class Limits(Protocol):
    """The options by which a tenant bounds the size of a fetch."""

    @property
    def max_bytes(self) -> int:
        """Bytes of all responses together, after decompression."""

    @property
    def max_rows(self) -> int:
        """Rows of all responses together, whatever becomes of them."""


class LimitOptions(ProviderOptions):
    """The options that every provider has, for its own to inherit."""

    max_bytes: Annotated[int, whole_number(_MOST_BYTES)] = Field(
        default=DEFAULT_BYTES, description="bytes of a whole fetch, unpacked; a larger catalog is an error"
    )
    max_rows: Annotated[int, whole_number(_MOST_ROWS)] = Field(
        default=DEFAULT_ROWS, description="rows of a whole fetch, a larger catalog is an error"
    )


class BudgetOptions(LimitOptions):
    """The options of a provider that sends requests: how long one of them and all together may take."""

    request_budget_seconds: Annotated[float, seconds(600)] = Field(
        default=60.0, description="the longest that one request may take, its retries included"
    )
    fetch_budget_seconds: Annotated[float, seconds(14_400)] = Field(
        default=1_800.0, description="the longest that the whole fetch may take"
    )


class FetchMeter:
    """Counts what one fetch has taken. An attempt that is repeated does not count."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0
        self._rows = 0

    @property
    def bytes_left(self) -> int:
        """How many bytes the next response may have."""
        return self._limits.max_bytes - self._bytes

    def take(self, size: int, rows: int) -> None:
        """Count a response; raise `ProviderError` where it has too many rows."""
        self._bytes += size
        self._rows += rows
        if self._rows > self._limits.max_rows:
            raise ProviderError(f"The catalog has {too_many_rows(self._limits)}. {_NOTHING_TAKEN}")

    def refuse_bytes(self) -> ProviderError:
        """Return the error for a response that is larger than `bytes_left`."""
        return ProviderError(f"The catalog is {too_many_bytes(self._limits)}. {_NOTHING_TAKEN}")


def too_many_bytes(limits: Limits) -> str:
    """Return the limit and its option, as the end of a sentence about a catalog."""
    return f"larger than {limits.max_bytes} bytes, the limit of the tenant's option max_bytes"


def too_many_rows(limits: Limits) -> str:
    """Return the limit and its option, as the end of a sentence about a catalog."""
    return f"more than {limits.max_rows} rows, the limit of the tenant's option max_rows"


def rows_in(body: object, depth: int = _NESTED) -> int:
    """How many rows a response has: the elements of its lists, of those in its objects too."""
    if isinstance(body, list):
        return len(body)
    if not isinstance(body, dict) or not depth:
        return 0
    return sum(rows_in(part, depth - 1) for part in body.values())
