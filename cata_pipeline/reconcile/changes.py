"""The audit trail of one reconcile: every changed value, old and new, as Parquet beside the snapshot.

One row for each changed column of an updated row, one for each inserted row (the provider's values as JSON in `new`),
one for each hidden child. The file is written after the commit, so it never claims what was rolled back. A dry run
whose plan is longer than what is shown leaves a file of the same form, named `plan-…`.
"""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cata_pipeline.reconcile.contract import BoundTable
from cata_pipeline.reconcile.policy import Kind
from cata_pipeline.reconcile.report import Change
from cata_pipeline.reconcile.stage import StagedTable

ROWS_A_BATCH = 50_000
"""Rows of a change file that are in memory at a time."""

_MOST_PREPARED = 200_000
_ESCAPED_IN_JSON = r'[\x00-\x1f"\\]'

Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Numbers of staged rows."""

SCHEMA = pa.schema(
    [
        pa.field("table", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("action", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("item_code", pa.string(), nullable=False),
        ("key", pa.string()),
        ("column", pa.dictionary(pa.int8(), pa.string())),
        ("old", pa.string()),
        ("new", pa.string()),
    ]
)
"""The columns of `Change`, in its order; `action` is inserted, updated or hidden."""


class StagedKeys:
    """The names of staged rows, by their numbers: item code, and for a child its path of keys as JSON."""

    def __init__(self, staged: StagedTable) -> None:
        self._staged = staged
        self._own = staged.table.keys[1:]

    def codes(self, numbers: Numbers) -> pa.Array:
        """Return the item codes of rows."""
        return self._staged.at(numbers)["item_code"]

    def paths(self, numbers: Numbers) -> pa.Array:
        """Return the keys of rows within their item as JSON lists, NULL for items."""
        if not self._own:
            return pa.nulls(len(numbers), pa.string())
        chosen = self._staged.at(numbers)
        return _lists([(chosen[name].combine_chunks(), Kind.TEXT) for name in self._own])

    def path(self, number: int) -> list[object]:
        """Return the keys of one row within its item."""
        return [self._staged.rows[name][number - 1].as_py() for name in self._own]


def updated(staged: StagedTable, rows: Sequence[tuple[int, str, str | None, str | None]]) -> pa.Table:
    """Return changes of updated rows: each the number of a staged row, a column, its old and its new value."""
    keys = StagedKeys(staged)
    numbers, columns, old, new = zip(*rows, strict=True)
    places = np.array(numbers)
    codes, paths = keys.codes(places), keys.paths(places)
    return changes_table(staged.table.name, "updated", codes, paths, column=columns, old=old, new=new)


def hidden(staged: StagedTable, parents: StagedTable, rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    """Return changes of hidden children: each the number of its parent's staged row, and its own keys."""
    keys = StagedKeys(parents)
    codes = keys.codes(np.array([number for number, *_ in rows]))
    paths = [json.dumps([*keys.path(number), *own], ensure_ascii=False) for number, *own in rows]
    count = len(rows)
    return changes_table(
        staged.table.name,
        "hidden",
        codes,
        paths,
        column=["visible"] * count,
        old=["true"] * count,
        new=["false"] * count,
    )


def inserted(bound: BoundTable, staged: StagedTable, numbers: Numbers) -> Iterator[pa.Table]:
    """Yield the changes of inserted rows, in batches; `numbers` are those of the staged rows."""
    keys = StagedKeys(staged)
    columns = sorted(bound.written, key=lambda column: (len(column.name), column.name))
    for start in range(0, len(numbers), ROWS_A_BATCH):
        chosen = numbers[start : start + ROWS_A_BATCH]
        rows = staged.at(chosen)
        values = [(column.name, rows[column.column.source].combine_chunks(), column.column.kind) for column in columns]
        yield changes_table(bound.name, "inserted", keys.codes(chosen), keys.paths(chosen), new=_objects(values))


class InsertedLines:
    """The changes of inserted rows, made in a thread of their own while the database inserts them.

    What was planned and what came of it may differ: lines of other rows than those prepared are made anew. More rows
    than `_MOST_PREPARED` are not held in memory.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inserted-lines")
        self._prepared: dict[str, tuple[Numbers, Future[list[pa.Table]]]] = {}

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    def prepare(self, bound: BoundTable, staged: StagedTable, numbers: Numbers) -> None:
        """Begin to make the changes of rows that will be inserted, once however often an attempt is repeated."""
        if 0 < len(numbers) <= _MOST_PREPARED and bound.name not in self._prepared:
            made = self._thread.submit(lambda: list(inserted(bound, staged, numbers)))
            self._prepared[bound.name] = numbers, made

    def made(self, bound: BoundTable, staged: StagedTable, numbers: Numbers) -> Iterable[pa.Table]:
        """Return the changes of the rows that were inserted."""
        prepared = self._prepared.get(bound.name)
        if prepared and np.array_equal(prepared[0], numbers):
            return prepared[1].result()
        return inserted(bound, staged, numbers)


def changes_table(
    table: str,
    action: str,
    codes: pa.Array | Sequence[str],
    paths: pa.Array | Sequence[str | None],
    *,
    column: Sequence[str | None] | None = None,
    old: Sequence[str | None] | None = None,
    new: pa.Array | Sequence[str | None] | None = None,
) -> pa.Table:
    """Return changes of one table and action as Arrow; what is not given is NULL."""
    count = len(codes)
    missing = pa.nulls(count, pa.string())
    arrays = (
        _repeated(table, count),
        _repeated(action, count),
        codes,
        paths,
        pa.array([None] * count if column is None else column, pa.string()).dictionary_encode(),
        missing if old is None else old,
        missing if new is None else new,
    )
    return pa.table(dict(zip(SCHEMA.names, arrays, strict=True))).cast(SCHEMA)


def _repeated(word: str, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), pa.array([word]))


def _objects(fields: Sequence[tuple[str, pa.Array, Kind]]) -> pa.Array:
    """Rows of named values as JSON objects."""
    return _joined([(f'"{name}": ', values, kind) for name, values, kind in fields], "{", "}")


def _lists(values: Sequence[tuple[pa.Array, Kind]]) -> pa.Array:
    """Rows of values as JSON lists."""
    return _joined([("", column, kind) for column, kind in values], "[", "]")


def _joined(fields: Sequence[tuple[str, pa.Array, Kind]], head: str, tail: str) -> pa.Array:
    """Rows of labelled values as JSON: one pass over the texts, since a row takes more time than anything else here."""
    parts: list[pa.Array | str] = [head]
    for place, (label, values, kind) in enumerate(fields):
        before, value, after = _json(values, kind)
        parts[-1] += f"{', ' if place else ''}{label}{before}"
        parts += [value, after]
    parts[-1] += tail
    return pc.binary_join_element_wise(*parts, "")


def _json(values: pa.Array, kind: Kind) -> tuple[str, pa.Array, str]:
    """Values as JSON, and what stands before and after each; JSON texts and decimals are JSON already.

    A text is only looked at one by one where it needs escaping.
    """
    if not pa.types.is_string(values.type):
        return "", pc.fill_null(pc.cast(values, pa.string()), "null"), ""
    if kind in {Kind.JSON, Kind.DECIMAL}:
        return "", pc.fill_null(values, "null"), ""
    plain = not _holds_any_to_escape(values)
    if plain and not values.null_count:
        return '"', values, '"'
    quoted = pc.binary_join_element_wise('"', values, '"', "")
    if not plain:
        special = pc.fill_null(pc.match_substring_regex(values, _ESCAPED_IN_JSON), False)
        escaped = [json.dumps(text, ensure_ascii=False) for text in values.filter(special).to_pylist()]
        quoted = pc.replace_with_mask(quoted, special, pa.array(escaped, pa.string()))
    return "", pc.fill_null(quoted, "null"), ""


def _holds_any_to_escape(texts: pa.Array) -> bool:
    """Whether any byte of some texts has to be escaped in JSON."""
    content = texts.buffers()[2]
    if content is None:
        return False
    found = np.frombuffer(content, np.uint8)
    return bool(((found < ord(" ")) | (found == ord('"')) | (found == ord("\\"))).any())


def changes_parquet(batches: Iterable[pa.Table]) -> bytes:
    """Return a change file's content; batches are written as they come, so memory does not follow their number."""
    sink = io.BytesIO()
    words = ["table", "action", "column"]  # the texts of other columns hardly repeat
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd", use_dictionary=words) as writer:
        for batch in batches:
            writer.write_table(batch)
    return sink.getvalue()


def read_changes(content: bytes, item_code: str | None = None) -> Iterator[Change]:
    """The rows of a change file, in its order; of one item only if `item_code` is given."""
    yield from changes_of(read_table(content, item_code))


def read_table(content: bytes, item_code: str | None = None) -> pa.Table:
    """A change file, or the rows of one item in it, as an Arrow table with the columns of `SCHEMA`."""
    chosen = pc.field("item_code") == item_code if item_code is not None else None
    return pq.read_table(io.BytesIO(content), filters=chosen)


def changes_of(table: pa.Table) -> Iterator[Change]:
    """The rows of changes in Arrow."""
    for batch in table.to_batches(max_chunksize=ROWS_A_BATCH):
        yield from (Change(**row) for row in batch.to_pylist())


def rows_of(content: bytes) -> int:
    """How many rows a change file has."""
    rows: int = pq.read_metadata(io.BytesIO(content)).num_rows
    return rows


def changes_path(snapshot_path: str, run_id: str, *, dry_run: bool = False) -> str:
    """Where the change file of a run goes: beside the snapshot it applied, which may be applied again by other runs.

    That of a dry run holds what would have changed.
    """
    return f"{snapshot_path.rpartition('/')[0]}/{'plan' if dry_run else 'changes'}-{run_id}.parquet"
