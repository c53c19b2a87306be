import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from urllib.parse import quote

import httpx
import pytest
import sqlalchemy as sa
from aiohttp import web
from sqlalchemy.engine import URL, Engine

from cata_pipeline.errors import DatabaseError, StorageError
from cata_pipeline_tests.images.conftest import Shop
from cata_pipeline_tests.images.hosts import picture, redirect
from cata_pipeline_tests.images.pictures import draw


def path_of(content: bytes, tenant: str = "kopi-kita", extension: str = "jpg") -> str:
    return f"{tenant}/items/{sha256(content).hexdigest()}.{extension}"


@pytest.mark.parametrize(
    ("kind", "extension", "content_type"),
    [("JPEG", "jpg", "image/jpeg"), ("PNG", "png", "image/png"), ("WEBP", "webp", "image/webp")],
)
def test_a_first_copy_stores_the_source_bytes_and_writes_their_relative_path(
    shop: Shop, kind: str, extension: str, content_type: str
) -> None:
    content = draw(1, kind)
    shop.host.answers["/latte"] = picture(content, content_type="application/octet-stream")
    shop.add("LATTE", shop.host.url("/latte"))

    result = shop.copy()

    path = path_of(content, extension=extension)
    assert shop.shown("LATTE") == path
    assert shop.bucket.read(path) == content
    stored = httpx.get(f"{shop.bucket._emulator}/storage/v1/b/{shop.bucket.name}/o/{quote(path, safe='')}").json()
    assert stored["contentType"] == content_type
    assert stored["cacheControl"] == "public, max-age=31536000, immutable"
    assert (result.considered, result.downloaded, result.bytes_downloaded) == (1, 1, len(content))
    assert (result.uploaded, result.already_stored, result.written_back) == (1, 0, 1)
    assert (result.not_modified, result.overridden, result.failed, result.failures) == (0, 0, 0, ())
    assert result.seconds > 0


def test_an_immediate_second_copy_asks_nobody_and_writes_no_row(shop: Shop) -> None:
    shop.host.answers["/latte"] = picture(draw(), etag='"1"')
    shop.add("LATTE", shop.host.url("/latte"))
    shop.add("OWN", shop.host.url("/latte"), "uploads/own.jpg")
    shop.add("GONE", shop.host.url("/gone"))
    shop.add("PLAIN", None)
    shop.copy()
    before, requests, creations = shop.row_versions(), len(shop.host.seen), len(shop.bucket.creations)

    result = shop.copy()

    assert result.considered == 0
    assert len(shop.host.seen) == requests
    assert len(shop.bucket.creations) == creations
    assert shop.row_versions() == before


@pytest.mark.parametrize(
    ("validators", "header"),
    [
        ({"etag": 'W/"1"'}, "If-None-Match"),
        ({"last_modified": "Sun, 01 Mar 2026 00:00:00 GMT"}, "If-Modified-Since"),
    ],
)
def test_a_day_later_an_unchanged_picture_costs_one_conditional_request(
    shop: Shop, validators: dict[str, str], header: str
) -> None:
    shop.host.answers["/latte"] = picture(draw(), **validators)
    shop.add("LATTE", shop.host.url("/latte"))
    shop.copy()
    with shop.tenant_engine.connect() as connection:
        updated_at = connection.execute(sa.text("SELECT updated_at FROM items")).scalar_one()
    shop.clock.pass_time(hours=20)

    result = shop.copy()

    assert shop.host.seen[-1].headers[header] in validators.values()
    assert (result.considered, result.not_modified) == (1, 1)
    assert (result.downloaded, result.bytes_downloaded, result.written_back, result.failed) == (0, 0, 0, 0)
    assert len(shop.bucket.creations) == 1
    with shop.tenant_engine.connect() as connection:
        assert connection.execute(sa.text("SELECT updated_at FROM items")).scalar_one() == updated_at
    assert shop.copy().considered == 0


def test_a_picture_is_not_asked_again_before_its_time(shop: Shop) -> None:
    shop.host.answers["/latte"] = picture(draw())
    shop.add("LATTE", shop.host.url("/latte"))
    shop.copy()
    shop.clock.pass_time(hours=19, minutes=59)

    assert shop.copy().considered == 0


def test_without_validators_equal_bytes_are_downloaded_but_not_uploaded(shop: Shop) -> None:
    content = draw()
    shop.host.answers["/latte"] = picture(content)
    shop.add("LATTE", shop.host.url("/latte"))
    shop.copy()
    shop.clock.pass_time(days=1)

    result = shop.copy()

    assert (result.downloaded, result.bytes_downloaded) == (1, len(content))
    assert (result.uploaded, result.already_stored, result.written_back) == (0, 1, 0)
    assert len(shop.bucket.creations) == 1


def test_a_changed_picture_at_the_same_url_gets_a_new_path_and_the_old_object_stays(shop: Shop) -> None:
    old, new = draw(1), draw(2)
    shop.host.answers["/latte"] = picture(old, etag='"1"')
    shop.add("LATTE", shop.host.url("/latte"))
    shop.copy()
    shop.host.answers["/latte"] = picture(new, etag='"2"')
    shop.clock.pass_time(days=1)

    result = shop.copy()

    assert (result.downloaded, result.uploaded, result.written_back) == (1, 1, 1)
    assert shop.shown("LATTE") == path_of(new)
    assert shop.bucket.read(path_of(old)) == old


@pytest.mark.parametrize("is_direct", [False, True], ids=["by another redirect", "by the first host itself"])
def test_an_older_picture_than_the_one_that_a_redirect_led_to_is_shown(
    shop: Shop,
    is_direct: bool,  # noqa: FBT001
) -> None:
    async def old(request: web.Request) -> web.Response:
        if "If-Modified-Since" in request.headers:
            return web.Response(status=304)
        return web.Response(body=draw(2), headers={"Last-Modified": "Sun, 01 Feb 2026 00:00:00 GMT"})

    shop.host.answers["/latte"] = redirect("/new")
    shop.host.answers["/new"] = picture(draw(1), last_modified="Sun, 01 Mar 2026 00:00:00 GMT")
    shop.host.answers["/old"] = old
    shop.add("LATTE", shop.host.url("/latte"))
    shop.copy()
    assert shop.shown("LATTE") == path_of(draw(1))

    shop.host.answers["/latte"] = old if is_direct else redirect("/old")
    shop.clock.pass_time(hours=24)
    shop.copy()

    assert shop.shown("LATTE") == path_of(draw(2))


def test_a_picture_behind_a_redirect_is_confirmed_by_its_etag_alone(shop: Shop) -> None:
    shop.host.answers["/latte"] = redirect("/b")
    shop.host.answers["/b"] = picture(draw(), etag='"1"', last_modified="Sun, 01 Mar 2026 00:00:00 GMT")
    shop.add("LATTE", shop.host.url("/latte"))
    shop.copy()
    shop.clock.pass_time(hours=24)

    assert shop.copy().not_modified == 1
    assert "If-Modified-Since" not in shop.host.seen[-1].headers


def test_a_new_url_is_copied_at_once(shop: Shop) -> None:
    shop.host.answers |= {"/old": picture(draw(1)), "/new": picture(draw(2))}
    shop.add("LATTE", shop.host.url("/old"))
    shop.copy()
    shop.point("LATTE", shop.host.url("/new"))

    result = shop.copy()

    assert (result.considered, result.downloaded, result.written_back) == (1, 1, 1)
    assert shop.shown("LATTE") == path_of(draw(2))


def test_items_that_share_a_url_share_one_download(shop: Shop) -> None:
    shop.host.answers["/cup"] = picture(draw())
    shop.add("SMALL", shop.host.url("/cup"))
    shop.add("LARGE", shop.host.url("/cup"))

    result = shop.copy()

    assert (result.considered, result.downloaded, result.written_back) == (2, 1, 2)
    assert shop.shown("SMALL") == shop.shown("LARGE") == path_of(draw())
    assert len(shop.host.seen) == 1


def test_a_new_item_with_a_known_picture_is_served_without_a_request(shop: Shop) -> None:
    shop.host.answers["/cup"] = picture(draw())
    shop.add("SMALL", shop.host.url("/cup"))
    shop.copy()
    shop.add("LARGE", shop.host.url("/cup"), "")

    result = shop.copy()

    assert (result.considered, result.downloaded, result.not_modified, result.written_back) == (1, 0, 0, 1)
    assert shop.shown("LARGE") == path_of(draw())
    assert len(shop.host.seen) == 1


def test_an_item_sent_back_to_a_known_picture_shows_it_again_without_a_request(shop: Shop) -> None:
    shop.host.answers |= {"/a": picture(draw(1)), "/b": picture(draw(2))}
    shop.add("LATTE", shop.host.url("/a"))
    shop.copy()
    shop.point("LATTE", shop.host.url("/b"))
    shop.copy()
    shop.point("LATTE", shop.host.url("/a"))

    result = shop.copy()

    assert (result.considered, result.written_back, len(shop.host.seen)) == (1, 1, 2)
    assert shop.shown("LATTE") == path_of(draw(1))


def test_two_urls_with_equal_bytes_give_one_object(shop: Shop) -> None:
    shop.limit(concurrency=1)
    shop.host.answers |= {"/a": picture(draw()), "/b": picture(draw())}
    shop.add("A", shop.host.url("/a"))
    shop.add("B", shop.host.url("/b"))

    result = shop.copy()

    assert (result.downloaded, result.uploaded, result.already_stored, result.written_back) == (2, 1, 1, 2)


def test_equal_pictures_of_two_tenants_are_two_objects(
    new_shop: Callable[[str, Engine], Shop], new_tenant_database: Callable[[str], URL]
) -> None:
    engines = {name: sa.create_engine(new_tenant_database(name), poolclass=sa.NullPool) for name in ("one", "two")}
    for tenant, engine in engines.items():
        shop = new_shop(tenant, engine)
        shop.host.answers["/latte"] = picture(draw())
        shop.add("LATTE", shop.host.url("/latte"))

        assert shop.copy().uploaded == 1
        assert shop.shown("LATTE") == path_of(draw(), tenant)
    assert len(shop.host.seen) == 2


def test_tenants_are_copied_on_several_threads_with_one_inspector(
    new_shop: Callable[[str, Engine], Shop], new_tenant_database: Callable[[str], URL]
) -> None:
    shops = []
    for tenant in ("one", "two", "three"):
        shop = new_shop(tenant, sa.create_engine(new_tenant_database(tenant), poolclass=sa.NullPool))
        for number in range(10):
            shop.host.answers[f"/{number}"] = picture(draw(number))
            shop.add(f"ITEM-{number}", shop.host.url(f"/{number}"))
        shops.append(shop)

    with ThreadPoolExecutor(len(shops)) as threads:
        results = list(threads.map(Shop.copy, shops))

    assert [result.written_back for result in results] == [10, 10, 10]
    assert [shop.shown("ITEM-7") for shop in shops] == [path_of(draw(7), shop.tenant_id) for shop in shops]


def test_a_removed_url_leaves_the_copy_where_it_is(shop: Shop) -> None:
    shop.host.answers["/latte"] = picture(draw())
    shop.add("LATTE", shop.host.url("/latte"))
    shop.copy()
    shop.point("LATTE", None)
    shop.clock.pass_time(days=1)

    assert shop.copy().considered == 0
    assert shop.shown("LATTE") == path_of(draw())


def test_a_url_that_changes_during_the_download_is_left_to_the_next_copy(shop: Shop) -> None:
    async def changing(_: web.Request) -> web.Response:
        shop.point("LATTE", shop.host.url("/new"))
        return web.Response(body=draw(1))

    shop.host.answers |= {"/old": changing, "/new": picture(draw(2))}
    shop.add("LATTE", shop.host.url("/old"))

    result = shop.copy()

    assert (result.considered, result.downloaded, result.written_back, result.overridden) == (1, 1, 0, 0)
    assert shop.shown("LATTE") is None
    assert shop.copy().written_back == 1
    assert shop.shown("LATTE") == path_of(draw(2))


def test_an_item_deleted_during_the_download_is_no_error(shop: Shop) -> None:
    async def deleting(_: web.Request) -> web.Response:
        shop.sql("DELETE FROM items")
        return web.Response(body=draw())

    shop.host.answers["/latte"] = deleting
    shop.add("LATTE", shop.host.url("/latte"))

    result = shop.copy()

    assert (result.considered, result.written_back, result.overridden, result.failed) == (1, 0, 0, 0)


def test_item_codes_travel_byte_for_byte(shop: Shop) -> None:
    codes = ['a"b\\c', "ü/é{}", "  KS-L ", "☕;--", "%s:code", "a"]
    for number, code in enumerate(codes):
        shop.host.answers[f"/{number}"] = picture(draw(number))
        shop.add(code, shop.host.url(f"/{number}"))

    assert shop.copy().written_back == len(codes)
    assert [shop.shown(code) for code in codes] == [path_of(draw(number)) for number in range(len(codes))]


def test_many_pictures_are_settled_in_batches_and_all_arrive(shop: Shop) -> None:
    shop.limit(flush_urls=4, flush_items=3, page_items=5, concurrency=3, concurrency_per_host=2)
    for number in range(23):
        shop.host.answers[f"/{number}"] = picture(draw(number, size=(8, 8)))
        shop.add(f"ITEM-{number}", shop.host.url(f"/{number}"))

    result = shop.copy()

    assert (result.considered, result.downloaded, result.uploaded, result.written_back) == (23, 23, 23, 23)
    assert [shop.shown(f"ITEM-{number}") for number in range(23)] == [
        path_of(draw(number, size=(8, 8))) for number in range(23)
    ]
    assert shop.copy().considered == 0


def test_pictures_that_are_as_they_were_are_settled_in_batches_and_not_due_again(shop: Shop) -> None:
    shop.limit(flush_urls=2, flush_confirmed=4, concurrency=3, concurrency_per_host=2)
    for number in range(11):
        shop.host.answers[f"/{number}"] = picture(draw(number, size=(8, 8)), etag=f'"{number}"')
        shop.add(f"ITEM-{number}", shop.host.url(f"/{number}"))
    shop.copy()
    before = [shop.ledger(shop.host.url(f"/{number}")) for number in range(11)]
    shop.host.answers["/5"] = picture(draw(50, size=(8, 8)), etag='"50"')
    shop.clock.pass_time(days=1)

    result = shop.copy()

    assert (result.not_modified, result.downloaded, result.written_back) == (10, 1, 1)
    after = [shop.ledger(shop.host.url(f"/{number}")) for number in range(11)]
    assert {entry.checked_at for entry in after} == {shop.clock()}
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        differing = {name for name, value in new._mapping.items() if old._mapping[name] != value}
        assert differing == ({"checked_at", "path", "etag"} if number == 5 else {"checked_at"})
    assert shop.copy().considered == 0


def test_a_host_never_gets_more_requests_at_once_than_allowed(shop: Shop) -> None:
    running, most = 0, 0

    async def counting(_: web.Request) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _pause in range(20):
            await asyncio.sleep(0.001)
        running -= 1
        return web.Response(body=draw())

    shop.limit(concurrency_per_host=2)
    for number in range(8):
        shop.host.answers[f"/{number}"] = counting
        shop.add(f"ITEM-{number}", shop.host.url(f"/{number}"))

    assert shop.copy().downloaded == 8
    assert most == 2


def test_a_copy_that_dies_before_the_write_back_is_repaired_by_the_next(shop: Shop) -> None:
    shop.host.answers["/latte"] = picture(draw())
    shop.add("LATTE", shop.host.url("/latte"))
    shop.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'disk on fire'; END $$"
    )
    shop.sql("CREATE TRIGGER refuse BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION refuse()")

    with pytest.raises(DatabaseError, match="disk on fire"):
        shop.copy()

    assert shop.shown("LATTE") is None
    assert list(shop.bucket.names("")) == [path_of(draw())]
    shop.sql("DROP TRIGGER refuse ON items")
    result = shop.copy()
    assert (result.considered, result.already_stored, result.uploaded, result.written_back) == (1, 1, 0, 1)
    assert shop.shown("LATTE") == path_of(draw())


def test_a_copy_that_dies_between_write_back_and_ledger_keeps_the_path_as_ours(shop: Shop) -> None:
    shop.host.answers["/latte"] = picture(draw(1))
    shop.add("LATTE", shop.host.url("/latte"))
    shop.copy()
    with shop.control.begin() as connection:
        connection.execute(sa.text("DELETE FROM image_urls"))
    shop.host.answers["/latte"] = picture(draw(2))

    result = shop.copy()

    assert (result.written_back, result.overridden) == (1, 0)
    assert shop.shown("LATTE") == path_of(draw(2))


@pytest.mark.parametrize("fault", ["no such bucket", "nobody listens"])
def test_a_bucket_that_does_not_answer_ends_the_copy_before_any_row_is_written(shop: Shop, fault: str) -> None:
    if fault == "no such bucket":
        shop.bucket.name = "no-such-bucket"
    else:
        shop.bucket._emulator = "http://127.0.0.1:9"
    for number in range(3):
        shop.host.answers[f"/{number}"] = picture(draw(number))
        shop.add(f"ITEM-{number}", shop.host.url(f"/{number}"))
    before = shop.row_versions()

    with pytest.raises(StorageError):
        shop.copy()

    assert shop.row_versions() == before


def test_a_tenant_on_an_engine_without_picture_copy_is_told_so(shop: Shop) -> None:
    shop.tenant_engine = sa.create_engine("sqlite://")

    with pytest.raises(DatabaseError, match="sqlite"):
        shop.copy()


def test_a_tenant_database_without_items_is_a_database_error(shop: Shop) -> None:
    shop.sql("ALTER TABLE items RENAME TO products")

    with pytest.raises(DatabaseError, match="items"):
        shop.copy()
