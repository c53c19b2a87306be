"""Bulk load into MySQL and MariaDB: Arrow columns turned into the text that the server reads, without Python rows.

LOAD DATA LOCAL where the server takes it, else INSERTs of many rows. Both forms write NULL apart from '' and bring
every byte across. Which table is loaded, and from what, is not decided here.
"""

import re
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_Marks = Sequence[tuple[str, str]]
_FILE_MARKS: _Marks = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"))
_LITERAL_MARKS: _Marks = (("\\", "\\\\"), ("'", "\\'"))

_BATCH_ROWS = 20_000
_LARGEST_STATEMENT = 4_000_000
"""Bytes; larger ones gain nothing, and `max_allowed_packet` may allow less."""


def load_file_statement(table: str, columns: Sequence[str]) -> str:
    """Loads what `write_load_file` wrote; one parameter, the name of the stream."""
    names = ", ".join(f"`{column}`" for column in columns)
    return f"""
        LOAD DATA LOCAL INFILE %s INTO TABLE {table} CHARACTER SET utf8mb4
        FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({names})"""


def write_load_file(rows: pa.Table, file: IO[bytes]) -> None:
    """Write tab separated lines, in the form of LOAD DATA's defaults."""
    marks = [_occurring(column, _FILE_MARKS) for column in rows.columns]
    for batch in rows.to_batches(max_chunksize=_BATCH_ROWS):
        fields = [_escaped(column, "\\N", found) for column, found in zip(batch.columns, marks, strict=True)]
        file.write(_content(_joined(fields, "\t", "", "\n"))[0])
    file.flush()


def insert_statements(table: str, rows: pa.Table, largest: int) -> Iterator[bytes]:
    """INSERTs of as many rows as fit into `largest` bytes, at least one each."""
    head = f"INSERT INTO {table} ({', '.join(f'`{name}`' for name in rows.column_names)}) VALUES ".encode()
    room = max(0, min(largest, _LARGEST_STATEMENT) - len(head))
    marks = [_occurring(column, _LITERAL_MARKS) for column in rows.columns]
    for batch in rows.to_batches(max_chunksize=_BATCH_ROWS):
        fields = [_literal(column, found) for column, found in zip(batch.columns, marks, strict=True)]
        content, ends = _content(_joined(fields, ",", "(", "),"))
        start = 0
        while start < len(content):
            fitting = int(np.searchsorted(ends, start + room, side="right")) - 1
            end = int(ends[fitting]) if ends[fitting] > start else int(ends[np.searchsorted(ends, start, "right")])
            yield head + bytes(content[start : end - 1])
            start = end


def _occurring(column: pa.ChunkedArray, marks: _Marks) -> _Marks:
    """Those marks that a column holds at all: most hold none, and looking for a byte is cheaper than replacing it."""
    if not pa.types.is_string(column.type):
        return ()
    contents = [chunk.buffers()[2] for chunk in column.chunks]
    return tuple(
        (plain, escaped)
        for plain, escaped in marks
        if any(content and re.search(re.escape(plain.encode()), content) for content in contents)
    )


def _literal(column: pa.Array, marks: _Marks) -> pa.Array:
    if not pa.types.is_string(column.type):
        return _escaped(column, "NULL", ())
    text = _escaped(column, None, marks)
    return pc.fill_null(pc.binary_join_element_wise("'", text, "'", ""), "NULL")


def _escaped(column: pa.Array, null: str | None, marks: _Marks) -> pa.Array:
    if pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.int8())
    text = pc.cast(column, pa.string())
    for plain, escaped in marks:
        text = pc.replace_substring(text, plain, escaped)
    return text if null is None else pc.fill_null(text, null)


def _joined(fields: Sequence[pa.Array], separator: str, head: str, tail: str) -> pa.Array:
    return pc.binary_join_element_wise(head, pc.binary_join_element_wise(*fields, separator), tail, "")


def _content(lines: pa.Array) -> tuple[memoryview, "np.ndarray[tuple[int], np.dtype[np.int32]]"]:
    """All lines as one run of bytes, which is how Arrow holds them, and where each one ends (the first is 0)."""
    _, offsets, content = lines.buffers()
    ends = np.frombuffer(offsets, np.int32, count=len(lines) + 1)
    return memoryview(content)[: int(ends[-1])], ends
