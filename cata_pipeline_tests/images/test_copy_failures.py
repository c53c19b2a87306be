from datetime import timedelta

import pytest
import sqlalchemy as sa

from cata_pipeline_tests.images.conftest import Canary, Shop
from cata_pipeline_tests.images.hosts import Answer, picture, redirect, status
from cata_pipeline_tests.images.pictures import draw
from cata_pipeline_tests.images.test_copy import path_of

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def test_one_bad_picture_never_stops_the_others(shop: Shop) -> None:
    bad = {
        "TRUNCATED": picture(draw()[:-200]),
        "HTML": picture(b"<!DOCTYPE html><p>Log in", content_type="text/html"),
        "HTML-AS-JPEG": picture(b"<!DOCTYPE html><p>Log in"),
        "GIF": picture(draw(kind="GIF", mode="P")),
        "LARGE": picture(draw(size=(200, 200), kind="PNG")),
        "MISSING": status(404),
        "BROKEN": status(500),
        "EMPTY": picture(b""),
        "PARTIAL": status(206),
    }
    urls = {
        "LONG": f"{shop.host.url('/')}{'x' * 70_000}",
        "DATA": "data:image/png;base64,iVBORw0KGgo=",
        "USERINFO": "http://good@127.0.0.1/x.jpg",
        "LABEL": "http://xn--/",
        "RELATIVE": "/pictures/x.jpg",
        "BLANK": "  ",
        "FTP": "ftp://127.0.0.1/x.jpg",
        "BRACKET": "http://[::1/x.jpg",
    }
    shop.limit(max_bytes=50_000)
    for code, answer in bad.items():
        shop.host.answers[f"/{code}"] = answer
        shop.add(code, shop.host.url(f"/{code}"))
    for code, url in urls.items():
        shop.add(code, url)
    shop.host.answers["/good"] = picture(draw(5))
    shop.add("GOOD", shop.host.url("/good"))

    result = shop.copy()

    assert shop.shown("GOOD") == path_of(draw(5))
    assert (result.considered, result.written_back) == (len(bad) + len(urls) + 1, 1)
    assert result.failed == len(bad) + len(urls)
    assert len(result.failures) == 10
    assert list(shop.bucket.names("")) == [path_of(draw(5))]
    assert shop.copy().considered == 0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (picture(draw()[:-200]), "ends early"),
        (picture(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"), "HEIC is not supported: use JPEG, PNG or WebP"),
        (status(404), "no picture at this address any more"),
        (redirect("http://127.0.0.1:1/x.jpg"), "port other than 80 or 443"),
    ],
)
def test_a_failure_names_item_host_reason_and_next_try(shop: Shop, answer: Answer, reason: str) -> None:
    shop.host.answers["/latte"] = answer
    shop.add("LATTE", shop.host.url("/latte"))

    [failure] = shop.copy().failures

    assert (failure.item_code, failure.host) == ("LATTE", "127.0.0.1")
    assert reason in failure.reason
    assert failure.next_try_at == shop.clock() + DAY
    entry = shop.ledger(shop.host.url("/latte"))
    assert (entry.failure, entry.failures, entry.failing_since) == (failure.reason, 1, shop.clock())


@pytest.mark.parametrize(
    ("answer", "waits"),
    [
        (status(503), [HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 16 * HOUR, DAY, DAY]),
        (status(404), [DAY, 2 * DAY, 4 * DAY, 7 * DAY, 7 * DAY]),
    ],
)
def test_a_failing_picture_is_tried_again_at_doubling_distances(
    shop: Shop, answer: Answer, waits: list[timedelta]
) -> None:
    shop.host.answers["/latte"] = answer
    shop.add("LATTE", shop.host.url("/latte"))
    since = shop.clock()
    for wait in waits:
        assert shop.copy().failed == 1
        shop.clock.time += wait - timedelta(seconds=1)
        assert shop.copy().considered == 0
        shop.clock.pass_time(seconds=1)

    assert len(shop.host.seen) == len(waits)
    entry = shop.ledger(shop.host.url("/latte"))
    assert (entry.failures, entry.failing_since) == (len(waits), since)


def test_a_success_ends_the_row_of_failures(shop: Shop) -> None:
    shop.host.answers["/latte"] = status(503)
    shop.add("LATTE", shop.host.url("/latte"))
    shop.copy()
    shop.host.answers["/latte"] = picture(draw())
    shop.clock.pass_time(hours=1)

    assert shop.copy().written_back == 1
    entry = shop.ledger(shop.host.url("/latte"))
    assert (entry.failures, entry.failure, entry.failing_since, entry.next_try_at) == (0, None, None, None)


def test_a_picture_that_is_as_it_was_ends_the_row_of_failures(shop: Shop) -> None:
    shop.host.answers["/latte"] = picture(draw(), etag='"1"')
    shop.add("LATTE", shop.host.url("/latte"))
    shop.copy()
    shop.clock.pass_time(days=1)
    shop.host.answers["/latte"] = status(503)
    assert shop.copy().failed == 1
    shop.clock.pass_time(hours=1)
    shop.host.answers["/latte"] = picture(draw(), etag='"1"')

    assert shop.copy().not_modified == 1
    entry = shop.ledger(shop.host.url("/latte"))
    assert (entry.failures, entry.failure, entry.failing_since, entry.next_try_at) == (0, None, None, None)
    assert entry.checked_at == shop.clock()


def test_the_last_good_copy_stays_while_its_url_fails(shop: Shop) -> None:
    shop.host.answers["/latte"] = picture(draw())
    shop.add("LATTE", shop.host.url("/latte"))
    shop.copy()
    shop.host.answers["/latte"] = status(410)
    shop.clock.pass_time(days=1)

    result = shop.copy()

    assert (result.considered, result.failed) == (1, 1)
    assert shop.shown("LATTE") == path_of(draw())
    assert shop.ledger(shop.host.url("/latte")).path == path_of(draw())


def test_a_new_item_gets_the_last_good_copy_of_a_failing_url(shop: Shop) -> None:
    shop.host.answers["/cup"] = picture(draw())
    shop.add("SMALL", shop.host.url("/cup"))
    shop.copy()
    shop.host.answers["/cup"] = status(410)
    shop.clock.pass_time(days=1)
    shop.copy()
    shop.add("LARGE", shop.host.url("/cup"))

    result = shop.copy()

    assert (result.considered, result.failed, result.written_back) == (1, 0, 1)
    assert shop.shown("LARGE") == path_of(draw())


def test_the_last_good_copy_serves_new_items_in_the_very_run_that_fails(shop: Shop) -> None:
    shop.host.answers["/cup"] = picture(draw())
    shop.add("SMALL", shop.host.url("/cup"))
    shop.copy()
    shop.add("LARGE", shop.host.url("/cup"))
    shop.host.answers["/cup"] = status(503)
    shop.clock.pass_time(days=1)

    result = shop.copy()

    assert (result.considered, result.failed, result.written_back) == (2, 2, 1)
    assert shop.shown("LARGE") == path_of(draw())


def test_failures_of_a_shared_url_count_every_item_and_sample_one(shop: Shop) -> None:
    for code in ("A", "B", "C"):
        shop.add(code, shop.host.url("/missing"))

    result = shop.copy()

    assert (result.considered, result.failed, len(result.failures)) == (3, 3, 1)
    assert len(shop.host.seen) == 1


def test_a_private_address_is_never_connected_to(shop: Shop, canary: Canary) -> None:
    shop.host.answers["/hop"] = redirect(canary.url())
    shop.host.answers["/metadata"] = redirect("http://169.254.169.254/computeMetadata/v1/")
    for number, url in enumerate(
        [
            canary.url(),
            canary.url("localhost"),
            canary.url("[::ffff:127.0.0.1]"),
            "http://127.0.0.1/x.jpg",
            "http://localhost/x.jpg",
            shop.host.url("/hop"),
            shop.host.url("/metadata"),
        ]
    ):
        shop.add(f"ITEM-{number}", url)

    result = shop.copy()

    assert (result.considered, result.failed) == (7, 7)
    assert canary.visits == []
    assert {failure.next_try_at for failure in result.failures} == {shop.clock() + DAY}


def test_no_failure_keeps_anything_a_database_refuses(shop: Shop) -> None:
    shop.add("LONG", "http://127.0.0.1/" + "é" * 3000)
    shop.copy()

    with shop.control.connect() as connection:
        stored = connection.execute(sa.text("SELECT url FROM image_urls")).scalar_one()

    assert len(stored) == shop.limits.url_characters + 1
