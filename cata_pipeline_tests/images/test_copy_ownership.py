import pytest
import sqlalchemy as sa
from aiohttp import web

from cata_pipeline_tests.images.conftest import Shop
from cata_pipeline_tests.images.hosts import picture
from cata_pipeline_tests.images.pictures import draw
from cata_pipeline_tests.images.test_copy import path_of

OWN = "uploads/own.jpg"


def test_an_own_picture_set_before_the_first_copy_is_kept_and_counted(shop: Shop) -> None:
    shop.host.answers["/latte"] = picture(draw())
    shop.add("LATTE", shop.host.url("/latte"), OWN)

    result = shop.copy()

    assert (result.considered, result.overridden, result.written_back) == (1, 1, 0)
    assert shop.shown("LATTE") == OWN


def test_an_own_picture_set_during_the_download_is_kept_and_counted(shop: Shop) -> None:
    async def interrupted(_: web.Request) -> web.Response:
        shop.upload_own("LATTE")
        return web.Response(body=draw())

    shop.host.answers["/latte"] = interrupted
    shop.add("LATTE", shop.host.url("/latte"))

    result = shop.copy()

    assert (result.considered, result.overridden, result.written_back) == (1, 1, 0)
    assert shop.shown("LATTE") == OWN


@pytest.mark.parametrize("answer", ["not modified", "same bytes", "new bytes"])
def test_an_own_picture_set_after_the_copy_is_kept_and_counted(shop: Shop, answer: str) -> None:
    shop.host.answers["/latte"] = picture(draw(1), etag='"1"' if answer == "not modified" else None)
    shop.add("LATTE", shop.host.url("/latte"))
    shop.copy()
    shop.upload_own("LATTE")
    assert shop.copy().considered == 0
    if answer == "new bytes":
        shop.host.answers["/latte"] = picture(draw(2))
    shop.clock.pass_time(days=1)

    result = shop.copy()

    assert (result.considered, result.overridden, result.written_back) == (1, 1, 0)
    assert shop.shown("LATTE") == OWN


def test_an_own_picture_that_lies_where_ours_lie_is_still_an_own_picture(shop: Shop) -> None:
    shop.host.answers |= {"/a": picture(draw(1)), "/b": picture(draw(2))}
    shop.add("A", shop.host.url("/a"))
    shop.add("B", shop.host.url("/b"), path_of(draw(1)))

    result = shop.copy()

    assert (result.written_back, result.overridden) == (1, 1)
    assert shop.shown("B") == path_of(draw(1))


def test_a_path_of_ours_from_an_older_picture_is_replaced(shop: Shop) -> None:
    shop.host.answers["/latte"] = picture(draw(1))
    shop.add("LATTE", shop.host.url("/latte"))
    shop.copy()
    for day in (2, 3):
        shop.host.answers["/latte"] = picture(draw(day))
        shop.clock.pass_time(days=1)
        shop.copy()
    shop.upload_own("LATTE", path_of(draw(1)))

    result = shop.copy()

    assert (result.considered, result.written_back, result.overridden) == (1, 1, 0)
    assert shop.shown("LATTE") == path_of(draw(3))


def test_a_row_that_shows_the_computed_path_already_is_adopted_without_a_write(shop: Shop) -> None:
    shop.host.answers["/latte"] = picture(draw(1))
    shop.add("LATTE", shop.host.url("/latte"), path_of(draw(1)))
    before = shop.row_versions()

    result = shop.copy()

    assert (result.considered, result.written_back, result.overridden, result.failed) == (1, 0, 0, 0)
    assert before[0] in shop.row_versions()
    shop.host.answers["/latte"] = picture(draw(2))
    shop.clock.pass_time(days=1)
    assert shop.copy().written_back == 1


def test_a_row_that_shows_the_path_of_a_picture_that_is_as_it_was_is_adopted(shop: Shop) -> None:
    shop.host.answers["/latte"] = picture(draw(1), etag='"1"')
    shop.add("LATTE", shop.host.url("/latte"))
    shop.copy()
    shop.add("DOUBLE", shop.host.url("/latte"), path_of(draw(1)))
    shop.clock.pass_time(days=1)
    assert shop.copy().not_modified == 1
    shop.host.answers["/latte"] = picture(draw(2), etag='"2"')
    shop.clock.pass_time(days=1)

    assert shop.copy().written_back == 2
    assert shop.shown("DOUBLE") == path_of(draw(2))


def test_a_row_whose_picture_was_cleared_gets_ours_again(shop: Shop) -> None:
    shop.host.answers["/latte"] = picture(draw())
    shop.add("LATTE", shop.host.url("/latte"))
    shop.copy()
    shop.upload_own("LATTE", None)

    assert shop.copy().written_back == 1
    assert shop.shown("LATTE") == path_of(draw())


def test_the_same_picture_under_a_new_url_changes_nothing_but_the_ledger(shop: Shop) -> None:
    shop.host.answers |= {"/old": picture(draw(1)), "/new": picture(draw(1))}
    shop.add("LATTE", shop.host.url("/old"))
    shop.copy()
    shop.point("LATTE", shop.host.url("/new"))

    result = shop.copy()

    assert (result.downloaded, result.uploaded, result.already_stored, result.written_back) == (1, 0, 1, 0)
    assert shop.shown("LATTE") == path_of(draw(1))
    assert shop.ledger(shop.host.url("/new")).path == path_of(draw(1))


def test_a_lost_ledger_is_rebuilt_from_equal_paths_and_a_path_that_differs_counts_as_an_own_picture(shop: Shop) -> None:
    shop.host.answers |= {"/same": picture(draw(1)), "/other": picture(draw(2))}
    shop.add("SAME", shop.host.url("/same"))
    shop.add("OTHER", shop.host.url("/other"))
    shop.copy()
    with shop.control.begin() as connection:
        connection.execute(sa.text("TRUNCATE image_urls, image_paths"))
    shop.host.answers["/other"] = picture(draw(3))

    rebuilt = shop.copy()

    assert (rebuilt.already_stored, rebuilt.uploaded, rebuilt.written_back, rebuilt.overridden) == (1, 1, 0, 1)
    assert (shop.shown("SAME"), shop.shown("OTHER")) == (path_of(draw(1)), path_of(draw(2)))
    shop.host.answers |= {"/same": picture(draw(4)), "/other": picture(draw(4))}
    shop.clock.pass_time(days=1)
    again = shop.copy()
    assert (again.written_back, again.overridden) == (1, 1)
    assert (shop.shown("SAME"), shop.shown("OTHER")) == (path_of(draw(4)), path_of(draw(2)))
