"""Snapshots: what goes in comes out, from a real bucket and a real control database."""

import dataclasses
import io
import socket
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cata_pipeline.buckets import Bucket, WrongBytesError
from cata_pipeline.catalog.model import (
    BundleComponent,
    Catalog,
    Duplicate,
    Item,
    Modifier,
    ModifierGroup,
    Rejection,
    VariantOption,
)
from cata_pipeline.catalog.snapshot import SCHEMA, Notes, Snapshot, SnapshotStore, catalog_table, table_hash
from cata_pipeline.errors import StorageError, UsageError

NIGHT = datetime(2026, 3, 1, 2, 0, 0, 123456, tzinfo=UTC)
PLAIN = Item("LAT-L", "p-1", "Latte", is_active=True)
FULL = Item(
    item_code="Ünïcøde 🍜\t\n'\"\\",
    provider_id="9007199254740993",
    name="Mi Aceh — “pedas” 辣",
    is_active=False,
    description="",
    category="Mi",
    item_type="variant",
    external_image_url="https://cdn.example/a b.jpg?x=1&y=%20",
    variant_group="Mi Aceh",
    variant_options=(VariantOption("Size", "Large"), VariantOption("Pedas", "辣")),
    modifier_groups=(
        ModifierGroup("g1", "Topping", (Modifier("m1", "Telur"), Modifier("m2", "Keju", is_active=False))),
        ModifierGroup("g2", "Empty", (), is_active=False),
    ),
    bundle_components=(
        BundleComponent("Drink", "TEA", "Teh", "0.3333333333333333333333"),
        BundleComponent("Drink", "TEA", "Teh", "0.3333333333333333333333"),
    ),
    updated_at=datetime(2025, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
)
UNKNOWN_STRUCTURE = Item("Z", "p-9", "Z", is_active=True, modifier_groups=None, bundle_components=None)
CATALOG = Catalog(
    (PLAIN, UNKNOWN_STRUCTURE, FULL),
    (Rejection(None, None, "has no name"), Rejection("p-2", "辣", "has a NUL")),
    (Duplicate("LAT-L", "p-3", "p-1"),),
    Counter({"modifier without id left out": 1, "category that cannot be read left out": 2}),
)
CHANGES: dict[str, Any] = {
    "item_code": "LAT-M",
    "provider_id": "p-2",
    "name": "latte",
    "is_active": False,
    "description": "",
    "category": "",
    "item_type": "",
    "external_image_url": "",
    "variant_group": "",
    "variant_options": (VariantOption("", ""),),
    "modifier_groups": None,
    "bundle_components": None,
}


@pytest.fixture
def store(snapshot_bucket: Bucket, control: Engine) -> SnapshotStore:
    return SnapshotStore(snapshot_bucket, control)


def save(store: SnapshotStore, catalog: Catalog, *, days: int = 0, tenant_id: str = "kopi-kita") -> Snapshot:
    now = NIGHT + timedelta(days=days)
    return store.save(tenant_id, "iseller", catalog, run_id=f"run-{days}", now=now)


def recorded(control: Engine) -> list[Any]:
    with control.connect() as connection:
        return list(connection.execute(sa.text("SELECT * FROM snapshots ORDER BY id")))


def content_hash(*items: Item) -> str:
    return table_hash(catalog_table(Catalog(items)))


def as_parquet(value: object) -> object:
    """Items as a Parquet file gives them back: lists of plain values."""
    if not isinstance(value, tuple):
        return value
    names = getattr(value, "_fields", None)
    inner = [as_parquet(part) for part in value]
    return inner if names is None else dict(zip(names, inner, strict=True))


def test_every_field_survives_the_bucket(store: SnapshotStore) -> None:
    saved = save(store, CATALOG)
    loaded = store.load(saved.record)
    assert loaded.table.to_pylist() == as_parquet(CATALOG.items)
    assert loaded.table.equals(saved.table)
    assert loaded.notes == saved.notes == Notes(CATALOG.rejections, CATALOG.duplicates, dict(CATALOG.warnings))
    assert list(loaded.notes.warnings) == ["category that cannot be read left out", "modifier without id left out"]
    assert loaded.record == saved.record


def test_none_and_empty_lists_stay_different(store: SnapshotStore) -> None:
    table = store.load(save(store, CATALOG).record).table
    assert table["modifier_groups"].to_pylist()[:2] == [[], None]
    assert table["bundle_components"].to_pylist()[:2] == [[], None]


def test_an_empty_catalog_is_a_snapshot_too(store: SnapshotStore) -> None:
    saved = save(store, Catalog(()))
    loaded = store.load(saved.record)
    assert (loaded.table.num_rows, loaded.table.schema.names) == (0, SCHEMA.names)
    assert (saved.record.items, saved.record.received, loaded.notes) == (0, 0, Notes())


def test_the_record_says_what_was_stored_where_and_when(
    store: SnapshotStore, snapshot_bucket: Bucket, control: Engine
) -> None:
    record = save(store, CATALOG).record
    assert record.path == f"kopi-kita/snapshots/{record.id}/catalog.parquet"
    assert record.id.startswith("20260301T020000123456Z-")
    assert (record.items, record.rejected, record.duplicates, record.received) == (3, 2, 1, 6)
    assert (record.tenant_id, record.provider, record.run_id, record.fetched_at) == (
        "kopi-kita",
        "iseller",
        "run-0",
        NIGHT,
    )
    assert record.bytes == len(snapshot_bucket.read(record.path))
    assert store.record("kopi-kita", record.id) == record
    assert [row.id for row in recorded(control)] == [record.id]


def test_rows_stay_sorted_by_the_bytes_of_their_codes(store: SnapshotStore) -> None:
    table = store.load(save(store, CATALOG).record).table
    codes = [code.encode() for code in table["item_code"].to_pylist()]
    assert codes == sorted(codes)


def test_a_stored_snapshot_is_never_overwritten(store: SnapshotStore, snapshot_bucket: Bucket) -> None:
    first = save(store, CATALOG)
    content = snapshot_bucket.read(first.record.path)
    with pytest.raises(WrongBytesError):
        save(store, Catalog((PLAIN,)))
    assert snapshot_bucket.read(first.record.path) == content


def test_more_items_than_fit_one_chunk_make_one_snapshot_with_one_hash(store: SnapshotStore) -> None:
    items = tuple(PLAIN._replace(item_code=f"{number:06}") for number in range(20_001))
    saved = save(store, Catalog(items))
    loaded = store.load(saved.record)
    assert loaded.table["item_code"].to_pylist() == [item.item_code for item in items]
    assert table_hash(pa.concat_tables([loaded.table[:3], loaded.table[3:]])) == saved.record.content_hash


def test_a_snapshot_of_before_is_active_could_be_missing_is_read_as_it_was(
    store: SnapshotStore, snapshot_bucket: Bucket
) -> None:
    table = catalog_table(CATALOG)
    place = SCHEMA.get_field_index("is_active")
    older = table.cast(table.schema.set(place, table.schema.field(place).with_nullable(False)))
    file = io.BytesIO()
    pq.write_table(older.replace_schema_metadata({b"cata_pipeline.notes": Notes().text()}), file)
    record = dataclasses.replace(save(store, CATALOG).record, path="kopi-kita/snapshots/older/catalog.parquet")
    snapshot_bucket.create(record.path, file.getvalue(), content_type="application/vnd.apache.parquet")
    assert store.load(record).table == table


def test_a_missing_is_active_stays_missing(store: SnapshotStore) -> None:
    group = ModifierGroup("g", "Ice", (Modifier("m", "Less", None),), None)
    saved = save(store, Catalog((PLAIN._replace(is_active=None, modifier_groups=(group,)),)))
    [row] = store.load(saved.record).table.to_pylist()
    [loaded] = row["modifier_groups"]
    assert (row["is_active"], loaded["is_active"], loaded["modifiers"][0]["is_active"]) == (None, None, None)


def test_equal_content_has_an_equal_hash_whenever_it_was_fetched(store: SnapshotStore) -> None:
    first, second = save(store, CATALOG), save(store, CATALOG, days=1, tenant_id="roti-pagi")
    assert first.record.content_hash == second.record.content_hash
    assert first.record.path != second.record.path
    assert table_hash(store.load(first.record).table) == first.record.content_hash


def test_the_hash_does_not_depend_on_when_the_provider_says_it_was_changed() -> None:
    moved = FULL._replace(updated_at=NIGHT)
    assert content_hash(PLAIN, moved) == content_hash(PLAIN, FULL)
    assert content_hash(PLAIN, FULL._replace(updated_at=None)) == content_hash(PLAIN, FULL)


@pytest.mark.parametrize("field", [name for name in Item._fields if name != "updated_at"])
def test_any_other_change_of_an_item_changes_the_hash(field: str) -> None:
    assert content_hash(PLAIN._replace(**{field: CHANGES[field]})) != content_hash(PLAIN)


def test_one_item_more_or_a_change_deep_inside_changes_the_hash() -> None:
    assert FULL.modifier_groups is not None
    first, second = FULL.modifier_groups
    deep = first._replace(modifiers=(first.modifiers[0], Modifier("m2", "Keju", is_active=True)))
    changed = FULL._replace(modifier_groups=(deep, second))
    assert len({content_hash(FULL), content_hash(changed), content_hash(PLAIN, FULL), content_hash()}) == 4


def test_an_upload_that_fails_leaves_no_record(control: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nowhere = f"http://127.0.0.1:{listener.getsockname()[1]}"
    store = SnapshotStore(Bucket("snapshots", nowhere, retry_seconds=0.1), control)
    with pytest.raises(StorageError, match="Bucket snapshots did not store kopi-kita/snapshots/"):
        save(store, CATALOG)
    assert recorded(control) == []


def test_the_object_is_stored_before_it_is_recorded(
    store: SnapshotStore, snapshot_bucket: Bucket, control: Engine
) -> None:
    with control.begin() as connection:
        connection.execute(sa.text("ALTER TABLE snapshots RENAME TO elsewhere"))
    with pytest.raises(sa.exc.ProgrammingError):
        save(store, CATALOG)
    assert len(list(snapshot_bucket.names("kopi-kita/snapshots/"))) == 1


def test_only_the_first_thousand_rows_that_were_not_taken_are_named_and_all_are_counted(store: SnapshotStore) -> None:
    rejections = tuple(Rejection(str(number), None, "has no name") for number in range(1_500))
    duplicates = tuple(Duplicate("A", str(number), "kept") for number in range(1_200))
    warnings = Counter({f"warning {number}": number for number in range(1, 1_101)})
    saved = save(store, Catalog((PLAIN,), rejections, duplicates, warnings))
    loaded = store.load(saved.record)
    assert (saved.record.rejected, saved.record.duplicates, saved.record.received) == (1_500, 1_200, 2_701)
    assert loaded.notes == Notes(rejections[:1_000], duplicates[:1_000], dict(warnings.most_common(1_000)))


def test_the_newest_snapshot_of_a_tenant_is_the_one_recorded_last_whatever_the_clocks_of_machines_say(
    store: SnapshotStore,
) -> None:
    ahead, newest = save(store, CATALOG, days=2), save(store, Catalog((PLAIN,)), days=1)
    save(store, CATALOG, days=3, tenant_id="roti-pagi")
    assert store.newest("kopi-kita") == newest.record != ahead.record


def test_a_snapshot_that_does_not_exist_is_refused_with_a_sentence(store: SnapshotStore) -> None:
    with pytest.raises(UsageError, match=r"Tenant kopi-kita has no snapshot 2026\. `status` names the newest one\."):
        store.record("kopi-kita", "2026")
    with pytest.raises(UsageError, match=r"Tenant kopi-kita has no snapshot yet\. Run a sync that fetches one first\."):
        store.newest("kopi-kita")


def test_the_snapshot_of_another_tenant_is_refused_and_its_owner_named(store: SnapshotStore) -> None:
    foreign = save(store, CATALOG, tenant_id="roti-pagi").record
    with pytest.raises(UsageError, match=rf"Tenant kopi-kita has no snapshot {foreign.id}; .* belongs to tenant roti-"):
        store.record("kopi-kita", foreign.id)


def test_a_recorded_snapshot_whose_object_is_gone_says_what_is_missing(store: SnapshotStore) -> None:
    record = dataclasses.replace(save(store, CATALOG).record, path="kopi-kita/snapshots/gone/catalog.parquet")
    with pytest.raises(StorageError, match=r"did not read kopi-kita/snapshots/gone/catalog\.parquet: it answered 404"):
        store.load(record)
