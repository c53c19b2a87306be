"""The audit trail of one reconcile: every changed value, old and new, as Parquet beside the snapshot.

One row for each changed column of an updated row, one for each inserted row (its values as JSON in `new`), one for
each hidden child. The file is written after the commit, so it never claims what was rolled back. A dry run whose plan
is longer than what is shown leaves a file of the same form, named `plan-…`.
"""

import io
from collections.abc import Iterable, Iterator
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cata_pipeline.reconcile.report import Change

_ROWS_A_GROUP = 50_000

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


def changes_parquet(changes: Iterable[Change]) -> bytes:
    """The change file's content; rows are taken in groups, so memory does not follow their number."""
    sink = io.BytesIO()
    rows = iter(changes)
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd") as writer:
        while group := list(islice(rows, _ROWS_A_GROUP)):
            columns = {name: [getattr(row, name) for row in group] for name in SCHEMA.names}
            writer.write_batch(pa.RecordBatch.from_pydict(columns, schema=SCHEMA))
    return sink.getvalue()


def read_changes(content: bytes, item_code: str | None = None) -> Iterator[Change]:
    """The rows of a change file, in its order; of one item only if `item_code` is given."""
    chosen = pc.field("item_code") == item_code if item_code is not None else None
    table = pq.read_table(io.BytesIO(content), filters=chosen)
    for batch in table.to_batches(max_chunksize=_ROWS_A_GROUP):
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
