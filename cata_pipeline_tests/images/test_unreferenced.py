"""Which objects no row refers to: on real databases and a real bucket, and how the streams are walked."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine

from cata_pipeline.buckets import StoredObject
from cata_pipeline.errors import DatabaseError, StorageError, TenantError
from cata_pipeline.images.image_paths import ComputedPath, ImagePaths
from cata_pipeline.images.tenant_images import TenantImages
from cata_pipeline.images.unreferenced import Pile, UnreferencedImages, find_unreferenced, sort_out
from cata_pipeline_tests.images.conftest import Shop
from cata_pipeline_tests.images.hosts import picture
from cata_pipeline_tests.images.pictures import draw
from cata_pipeline_tests.images.test_copy import path_of
from cata_pipeline_tests.reconcile.test_mapping import RENAMED, rename_everything

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OLD, NEW = NOW - timedelta(days=9), NOW - timedelta(hours=1)
FOLDER = "kopi-kita/items/"


@pytest.fixture(params=["postgresql", "mariadb", "mysql"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "postgresql":
        yield request.getfixturevalue("tenant_engine")
        return
    new_database: Callable[[], URL] = request.getfixturevalue(f"new_{request.param}_database")
    engine = sa.create_engine(new_database(), poolclass=sa.NullPool)
    yield engine
    engine.dispose()


@pytest.fixture
def any_shop(new_shop: Callable[[str, Engine], Shop], engine: Engine, tenant_id: str) -> Shop:
    return new_shop(tenant_id, engine)


def report(shop: Shop, *, days_later: int = 2) -> UnreferencedImages:
    tenant, paths = TenantImages(shop.tenant_engine), ImagePaths(shop.control, shop.tenant_id)
    return find_unreferenced(shop.tenant_id, tenant, paths, shop.bucket, datetime.now(UTC) + timedelta(days=days_later))


def put(shop: Shop, name: str, content: bytes = b"12345") -> str:
    shop.bucket.create(name, content, content_type="image/jpeg")
    return name


def test_an_object_that_no_row_shows_is_reported_with_its_bytes(any_shop: Shop) -> None:
    shop = any_shop
    shown = put(shop, f"{FOLDER}shown.jpg")
    own = put(shop, f"{FOLDER}Own.jpg")
    put(shop, f"{FOLDER}orphan.jpg", b"1234567")
    put(shop, f"{FOLDER}OWN.jpg")
    put(shop, f"{FOLDER}é%_.jpg")
    put(shop, "kopi-kita/elsewhere.jpg")
    put(shop, "kopi-kita-2/items/other-tenant.jpg")
    shop.add("A", shop.host.url("/a"), shown)
    shop.add("B", shop.host.url("/b"), shown)
    shop.add("C", None, own)
    shop.add("D", None, "uploads/own.jpg")
    shop.add("E", None, None)

    found = report(shop)

    sample = (f"{FOLDER}OWN.jpg", f"{FOLDER}orphan.jpg", f"{FOLDER}é%_.jpg")
    assert found == UnreferencedImages(unreferenced=Pile(3, 5 + 7 + 5, sample))


def test_nothing_is_deleted(any_shop: Shop) -> None:
    name = put(any_shop, f"{FOLDER}orphan.jpg")
    report(any_shop)
    assert list(any_shop.bucket.names("")) == [name]


def test_a_copy_that_an_item_had_before_is_told_apart(any_shop: Shop) -> None:
    shop = any_shop
    shop.host.answers["/latte"] = picture(draw(1))
    shop.add("LATTE", shop.host.url("/latte"))
    shop.copy()
    shop.host.answers["/latte"] = picture(draw(2))
    shop.clock.pass_time(days=1)
    shop.copy()

    found = report(shop)

    assert found == UnreferencedImages(former=Pile(1, len(draw(1)), (path_of(draw(1)),)))


def test_an_object_that_a_copy_may_be_about_to_show_is_told_apart(shop: Shop) -> None:
    name = put(shop, f"{FOLDER}fresh.jpg")
    assert report(shop, days_later=0) == UnreferencedImages(recent=Pile(1, 5, (name,)))


def test_a_prefix_is_meant_byte_for_byte(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO items (item_code, main_image_url) VALUES (:code, :path)"),
            [{"code": path, "path": path} for path in ("a_b/items/1", "a_b/items/2", "axb/items/3", "A_B/items/4")],
        )
    assert list(TenantImages(engine).shown_paths("a_b/items/", 1)) == ["a_b/items/1", "a_b/items/2"]


def test_paths_come_in_the_order_of_their_bytes(engine: Engine) -> None:
    paths = sorted(
        (f"{FOLDER}{name}" for name in ("a", "B", "é", "Z", "z", "_", "\uffee", "1", "10", "2")), key=str.encode
    )
    with engine.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO items (item_code, main_image_url) VALUES (:code, :path)"),
            [{"code": str(number), "path": path} for number, path in enumerate(reversed(paths))],
        )
    assert list(TenantImages(engine).shown_paths(FOLDER, 3)) == paths


def test_paths_are_read_from_a_renamed_schema(any_shop: Shop) -> None:
    any_shop.add("LATTE", None, f"{FOLDER}a")
    rename_everything(any_shop.tenant_engine, RENAMED)
    assert list(TenantImages(any_shop.tenant_engine, RENAMED).shown_paths(FOLDER, 10)) == [f"{FOLDER}a"]


def test_the_ledger_names_each_path_once_in_the_order_of_bytes(control: Engine) -> None:
    paths = ImagePaths(control, "kopi-kita")
    known = [("A", f"{FOLDER}b"), ("B", f"{FOLDER}b"), ("A", f"{FOLDER}B"), ("C", f"{FOLDER}é")]
    paths.record([ComputedPath(code, path, is_written=code == "A") for code, path in known])
    ImagePaths(control, "roti-pagi").record([ComputedPath("A", "roti-pagi/items/a", is_written=True)])
    assert list(paths.all(2)) == [f"{FOLDER}B", f"{FOLDER}b", f"{FOLDER}é"]


def test_an_unreadable_tenant_database_is_told(shop: Shop) -> None:
    put(shop, f"{FOLDER}orphan.jpg")
    shop.sql("ALTER TABLE items RENAME TO products")
    with pytest.raises(DatabaseError, match="did not let us read which pictures items show"):
        report(shop)


def test_an_unreadable_bucket_is_told(shop: Shop) -> None:
    shop.bucket.name = "no-such-bucket"
    with pytest.raises(StorageError, match=r"Bucket no-such-bucket did not list kopi-kita/items/: it answered 404"):
        report(shop)


def objects(*names: str, created_at: datetime = OLD) -> Iterator[StoredObject]:
    return (StoredObject(name, 10, created_at) for name in names)


def test_the_sample_is_short_and_the_count_is_not() -> None:
    names = [f"{number:03}" for number in range(100)]
    found = sort_out(objects(*names), [], [], settled_before=NOW)
    assert found.unreferenced == Pile(100, 1000, tuple(names[:20]))


def test_ledger_comes_before_age_and_rows_before_both() -> None:
    stored = objects("1", "2", "3", created_at=NEW)
    found = sort_out(stored, ["1"], ["1", "2"], settled_before=NOW - timedelta(days=1))
    assert (found.former.sample, found.recent.sample, found.unreferenced.objects) == (("2",), ("3",), 0)


def test_names_that_one_side_lacks_are_passed_over() -> None:
    found = sort_out(objects("b", "d", "f"), ["a", "b", "b", "c", "e", "g"], ["c", "d"], settled_before=NOW)
    assert (found.unreferenced.sample, found.former.sample) == (("f",), ("d",))


def test_no_stream_is_read_ahead() -> None:
    read = count()

    def endless() -> Iterator[str]:
        return (f"{number:09}" for number in read)

    found = sort_out(objects("000000002", "000000005"), endless(), [], settled_before=NOW)
    assert found == UnreferencedImages()
    assert next(read) == 6


@pytest.mark.parametrize(
    ("stored", "shown", "known"),
    [("bac", "", ""), ("abc", "bac", ""), ("abc", "", "bac")],
    ids=["bucket", "rows", "ledger"],
)
def test_a_stream_in_another_order_is_an_error_and_no_report(stored: str, shown: str, known: str) -> None:
    with pytest.raises(TenantError, match="named a after b, and the order of bytes was expected"):
        sort_out(objects(*stored), shown, known, settled_before=NOW)
