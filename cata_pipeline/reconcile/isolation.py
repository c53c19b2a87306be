"""Writes many rows by one statement, and leaves out exactly those that the database refuses.

A constraint or a trigger may refuse a row for a reason that no schema check can know. The statement is then repeated
for halves of the rows, down to single ones; how a statement is written and undone belongs to the engines.
"""

from collections.abc import Callable, Sequence

ALL_ROWS = (0, 2**31 - 1)
"""The range of numbers that holds every staged row."""


class RowRefusedError(Exception):
    """The database refused a statement because of what a row holds; nothing of the statement is written."""


def write_isolated(
    write: Callable[[int, int], object], numbers: Callable[[], Sequence[int]], refuse: Callable[[int, str], None]
) -> None:
    """Write all rows by one `write`; where that is refused, halve the range until single rows are left.

    `write` takes the first and the last number of a range, and raises `RowRefusedError` with nothing of it written.
    `numbers` are those of all rows, in order; `refuse` takes the number of a refused row and the database's reason. It
    may raise to give up: k refused rows of n cost some k x log2(n) statements.
    """
    try:
        write(*ALL_ROWS)
    except RowRefusedError:
        _write_parts(write, numbers(), refuse)


def _write_parts(write: Callable[[int, int], object], rows: Sequence[int], refuse: Callable[[int, str], None]) -> None:
    pending = [(0, len(rows))]
    while pending:
        start, end = pending.pop()
        try:
            write(rows[start], rows[end - 1])
        except RowRefusedError as error:
            if end - start == 1:
                refuse(rows[start], str(error))
            else:
                middle = (start + end) // 2
                pending += [(middle, end), (start, middle)]
