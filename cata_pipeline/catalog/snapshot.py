"""A snapshot: one complete catalog as nested Parquet in the snapshot bucket, immutable, and on record.

Here is the file format and the record in the control database. Fetching belongs to `cata_pipeline.providers`,
reading a snapshot into tables to `cata_pipeline.reconcile`. A fetch that did not finish never gets this far.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cata_pipeline.buckets import Bucket
from cata_pipeline.catalog.model import (
    BundleComponent,
    Catalog,
    Duplicate,
    Item,
    ModifierGroup,
    Rejection,
    VariantOption,
)
from cata_pipeline.control import schema
from cata_pipeline.control.clock import ControlClock
from cata_pipeline.errors import UsageError

_CHUNK = 10_000  # items turned into Arrow at a time: bounds the Python objects alive at once
_NOTES_KEPT = 1_000  # rejections, duplicates and warnings named in the file; all rows are counted
_NOTES_KEY = b"cata_pipeline.notes"

_OPTION = pa.struct([("option", pa.string()), ("value", pa.string())])
_MODIFIER = pa.struct([("code", pa.string()), ("name", pa.string()), ("is_active", pa.bool_())])
_GROUP = pa.struct(
    [("code", pa.string()), ("name", pa.string()), ("is_active", pa.bool_()), ("modifiers", pa.list_(_MODIFIER))]
)
_COMPONENT = pa.struct(
    [("slot", pa.string()), ("item_code", pa.string()), ("name", pa.string()), ("quantity", pa.string())]
)
SCHEMA = pa.schema(
    [
        pa.field("item_code", pa.string(), nullable=False),
        pa.field("provider_id", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        ("is_active", pa.bool_()),
        ("description", pa.string()),
        ("category", pa.string()),
        ("item_type", pa.string()),
        ("external_image_url", pa.string()),
        ("variant_group", pa.string()),
        ("variant_options", pa.list_(_OPTION)),
        ("modifier_groups", pa.list_(_GROUP)),
        ("bundle_components", pa.list_(_COMPONENT)),
        ("updated_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""One row an item, sorted by `item_code` as UTF-8 bytes; a null list or `is_active` means the provider omits it."""

_UNHASHED = "updated_at"  # providers move it for price changes too, which are none of our business


@dataclass(frozen=True)
class SnapshotRecord:
    """What the control database knows of a snapshot. `path` is an object name in the snapshot bucket."""

    id: str
    tenant_id: str
    provider: str
    path: str
    items: int
    rejected: int
    duplicates: int
    bytes: int
    content_hash: str
    run_id: str
    fetched_at: datetime

    @property
    def received(self) -> int:
        """Rows the provider sent, accepted or not."""
        return self.items + self.rejected + self.duplicates


@dataclass(frozen=True)
class Notes:
    """What a snapshot says of a catalog besides its items: at most 1,000 of each kind, the counts are on record.

    `warnings` are the catalog's, by sentence, the most frequent first.
    """

    rejections: tuple[Rejection, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()
    warnings: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, catalog: Catalog) -> "Notes":
        """The notes of a catalog."""
        warnings = dict(catalog.warnings.most_common(_NOTES_KEPT))
        return cls(catalog.rejections[:_NOTES_KEPT], catalog.duplicates[:_NOTES_KEPT], warnings)

    def first(self, count: int) -> "Notes":
        """The first of each kind."""
        warnings = dict(islice(self.warnings.items(), count))
        return Notes(self.rejections[:count], self.duplicates[:count], warnings)

    @property
    def told(self) -> tuple[str, ...]:
        """A line for each warning, with how often it was given."""
        return tuple(f"{count} x {sentence}" for sentence, count in self.warnings.items())

    def text(self) -> bytes:
        """The notes as the file has them."""
        rejections = [[r.provider_id, r.item_code, r.reason] for r in self.rejections]
        duplicates = [[d.item_code, d.provider_id, d.kept_provider_id] for d in self.duplicates]
        return json.dumps({"rejections": rejections, "duplicates": duplicates, "warnings": self.warnings}).encode()

    @classmethod
    def parse(cls, text: bytes) -> "Notes":
        """The notes of a file; those of before warnings were kept have none."""
        notes = json.loads(text)
        return cls(
            tuple(Rejection(*row) for row in notes["rejections"]),
            tuple(Duplicate(*row) for row in notes["duplicates"]),
            notes.get("warnings", {}),
        )


@dataclass(frozen=True)
class Snapshot:
    """A recorded snapshot with its content."""

    record: SnapshotRecord
    table: pa.Table
    notes: Notes


class SnapshotStore:
    """Saves and finds snapshots: objects in `bucket`, records in the control database."""

    def __init__(self, bucket: Bucket, control: Engine) -> None:
        self._bucket = bucket
        self._control = control

    def save(
        self, tenant_id: str, provider: str, catalog: Catalog, *, run_id: str, now: datetime | None = None
    ) -> Snapshot:
        """Store a complete catalog, then record it; a crash in between leaves an object nothing refers to.

        It is fetched `now`, by the clock of the control database unless a time is given. Raises `StorageError` when the
        bucket does not take it.
        """
        now = now or ControlClock(self._control).now()
        table = catalog_table(catalog)
        content_hash = table_hash(table)
        notes = Notes.of(catalog)
        content = _parquet(table, notes)
        snapshot_id = f"{now:%Y%m%dT%H%M%S%f}Z-{hashlib.sha256(f'{tenant_id} {run_id}'.encode()).hexdigest()[:8]}"
        record = SnapshotRecord(
            id=snapshot_id,
            tenant_id=tenant_id,
            provider=provider,
            path=f"{tenant_id}/snapshots/{snapshot_id}/catalog.parquet",
            items=len(catalog.items),
            rejected=len(catalog.rejections),
            duplicates=len(catalog.duplicates),
            bytes=len(content),
            content_hash=content_hash,
            run_id=run_id,
            fetched_at=now,
        )
        self._bucket.create(record.path, content, content_type="application/vnd.apache.parquet")
        with self._control.begin() as connection:
            connection.execute(schema.snapshots.insert().values(**record.__dict__))
        return Snapshot(record, table, notes)

    def load(self, record: SnapshotRecord) -> Snapshot:
        """Read a recorded snapshot back; raises `StorageError` when its object cannot be read."""
        file = io.BytesIO(self._bucket.read(record.path))
        table = pq.read_table(file, schema=SCHEMA)
        # From the file itself: a table that is read to a schema has that schema's metadata.
        return Snapshot(record, table, Notes.parse(pq.read_metadata(file).metadata[_NOTES_KEY]))

    def record(self, tenant_id: str, snapshot_id: str) -> SnapshotRecord:
        """One snapshot of one tenant; raises `UsageError` when there is none of that id."""
        found = self._select(schema.snapshots.c.id == snapshot_id)
        if found is None or found.tenant_id != tenant_id:
            owner = f"; that id belongs to tenant {found.tenant_id}" if found else ""
            raise UsageError(f"Tenant {tenant_id} has no snapshot {snapshot_id}{owner}. `status` names the newest one.")
        return found

    def newest(self, tenant_id: str) -> SnapshotRecord:
        """The snapshot of a tenant that was recorded last; raises `UsageError` when it has none yet.

        Not by `fetched_at`: a snapshot of a machine whose clock was ahead would stay the newest.
        """
        found = self._select(schema.snapshots.c.tenant_id == tenant_id)
        if found is None:
            raise UsageError(f"Tenant {tenant_id} has no snapshot yet. Run a sync that fetches one first.")
        return found

    def _select(self, condition: sa.ColumnElement[bool]) -> SnapshotRecord | None:
        columns = [schema.snapshots.c[name] for name in SnapshotRecord.__dataclass_fields__]
        statement = sa.select(*columns).where(condition).order_by(schema.snapshots.c.number.desc()).limit(1)
        with self._control.connect() as connection:
            row = connection.execute(statement).mappings().one_or_none()
        return SnapshotRecord(**row) if row else None


def catalog_table(catalog: Catalog) -> pa.Table:
    """The catalog's items as an Arrow table of `SCHEMA`."""
    batches = [pa.RecordBatch.from_pydict(_columns(chunk), schema=SCHEMA) for chunk in _chunks(catalog.items)]
    return pa.Table.from_batches(batches, schema=SCHEMA).combine_chunks()


def table_hash(table: pa.Table) -> str:
    """SHA-256 (hex) of what a reconcile would read: equal content gives an equal hash, whenever it was fetched."""
    digest = hashlib.sha256()
    content = table.drop_columns([_UNHASHED]).replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(pa.PythonFile(_HashSink(digest), mode="w"), content.schema) as writer:
        writer.write_table(content)
    return digest.hexdigest()


class _HashSink(io.RawIOBase):
    """A file that only hashes, so that no second copy of the catalog is made."""

    def __init__(self, digest: "hashlib._Hash") -> None:
        self._digest = digest

    def writable(self) -> bool:
        return True

    def write(self, content: object) -> int:
        view = memoryview(content)  # type: ignore[arg-type]
        self._digest.update(view)
        return view.nbytes


def _parquet(table: pa.Table, notes: Notes) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({_NOTES_KEY: notes.text()}), sink, compression="zstd")
    return sink.getvalue()


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


def _columns(items: Sequence[Item]) -> dict[str, Any]:
    columns: dict[str, Any] = dict(zip(Item._fields, zip(*items, strict=True), strict=True))
    for name in ("variant_options", "modifier_groups", "bundle_components"):
        columns[name] = _array_of_shared(columns[name], SCHEMA.field(name).type)
    return columns


def _array_of_shared(lists: Sequence[tuple[Any, ...] | None], kind: pa.DataType) -> pa.Array:
    """The lists as an array; each object is converted once, because products share most modifier groups."""
    places: dict[int, int] = {}
    distinct: list[list[dict[str, object]] | None] = []
    taken = []
    for parts in lists:
        place = places.setdefault(id(parts), len(distinct))
        if place == len(distinct):
            distinct.append(None if parts is None else [_told(part) for part in parts])
        taken.append(place)
    return pa.array(distinct, type=kind).take(pa.array(taken, type=pa.int32()))


def _told(part: VariantOption | ModifierGroup | BundleComponent) -> dict[str, object]:
    told = part._asdict()
    if isinstance(part, ModifierGroup):
        told["modifiers"] = [modifier._asdict() for modifier in part.modifiers]
    return told
