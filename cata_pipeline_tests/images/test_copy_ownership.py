from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp import web

from cata_pipeline.images.image_paths import ImagePaths
from cata_pipeline.images.ledger import Ledger
from cata_pipeline.images.result import ImageResult
from cata_pipeline.images.tenant_images import TenantImages
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


def change(shop: Shop, seed: int) -> ImageResult:
    """A day later, the provider's image is another one."""
    shop.host.answers["/latte"] = picture(draw(seed))
    shop.clock.pass_time(days=1)
    return shop.copy()


def states(shop: Shop, item_code: str = "LATTE") -> dict[str, str]:
    with shop.control.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT path, state FROM image_paths WHERE tenant_id = :tenant AND item_code = :code"),
            {"tenant": shop.tenant_id, "code": item_code},
        )
        return {row.path: row.state for row in rows}


def test_a_former_copy_that_a_merchant_selects_again_stays_at_once_and_at_the_next_change(shop: Shop) -> None:
    shop.add("LATTE", shop.host.url("/latte"))
    for seed in (1, 2, 3):
        change(shop, seed)
    shop.upload_own("LATTE", path_of(draw(1)))

    assert shop.copy().considered == 0
    result = change(shop, 4)

    assert (result.written_back, result.overridden) == (0, 1)
    assert shop.shown("LATTE") == path_of(draw(1))


def test_the_path_written_last_is_replaced_also_after_a_merchant_showed_something_else_meanwhile(shop: Shop) -> None:
    shop.add("LATTE", shop.host.url("/latte"))
    change(shop, 1)
    shop.upload_own("LATTE")
    assert change(shop, 2).overridden == 1
    shop.upload_own("LATTE", path_of(draw(1)))

    assert change(shop, 3).written_back == 1
    assert shop.shown("LATTE") == path_of(draw(3))


def test_an_image_that_the_provider_returns_to_is_written_and_managed_again(shop: Shop) -> None:
    shop.add("LATTE", shop.host.url("/latte"))
    for seed in (1, 2, 1, 3):
        assert change(shop, seed).written_back == 1
    assert states(shop) == {path_of(draw(1)): "former", path_of(draw(2)): "former", path_of(draw(3)): "current"}


@pytest.mark.parametrize("before", ["own image", "nothing"])
def test_an_upload_identical_to_the_providers_image_stays_at_the_next_change(shop: Shop, before: str) -> None:
    identical = path_of(draw(1))
    shop.add("LATTE", shop.host.url("/latte"), OWN if before == "own image" else identical)
    change(shop, 1)
    shop.upload_own("LATTE", identical)

    confirmed = change(shop, 1)

    assert (confirmed.written_back, confirmed.overridden, confirmed.failed) == (0, 0, 0)
    assert states(shop) == {identical: "former"}
    result = change(shop, 2)
    assert (result.written_back, result.overridden) == (0, 1)
    assert shop.shown("LATTE") == identical


def test_an_upload_identical_to_the_image_that_is_being_copied_is_not_managed(shop: Shop) -> None:
    async def interrupted(_: web.Request) -> web.Response:
        shop.upload_own("LATTE", path_of(draw(1)))
        return web.Response(body=draw(1))

    shop.host.answers["/latte"] = interrupted
    shop.add("LATTE", shop.host.url("/latte"))
    assert shop.copy().written_back == 0

    assert change(shop, 2).overridden == 1
    assert shop.shown("LATTE") == path_of(draw(1))


def test_a_path_that_was_never_written_because_the_url_moved_is_not_managed(shop: Shop) -> None:
    async def moving(_: web.Request) -> web.Response:
        shop.point("LATTE", shop.host.url("/latte"))
        return web.Response(body=draw(1))

    shop.host.answers["/moved"] = moving
    shop.add("LATTE", shop.host.url("/moved"))
    assert shop.copy().written_back == 0
    assert states(shop) == {path_of(draw(1)): "former"}
    shop.upload_own("LATTE", path_of(draw(1)))

    assert change(shop, 2).overridden == 1
    assert shop.shown("LATTE") == path_of(draw(1))


def test_a_row_that_shows_the_computed_path_already_is_not_written(shop: Shop) -> None:
    shop.host.answers["/latte"] = picture(draw(1))
    shop.add("LATTE", shop.host.url("/latte"), path_of(draw(1)))
    before = shop.row_versions()

    result = shop.copy()

    assert (result.considered, result.written_back, result.overridden, result.failed) == (1, 0, 0, 0)
    assert before[0] in shop.row_versions()


class CrashError(Exception):
    """The process ends here."""


@contextmanager
def crashing(monkeypatch: pytest.MonkeyPatch, step: type, name: str, *, after: bool = False) -> Iterator[None]:
    """Copies end at this step, before it takes effect or after."""
    undisturbed = getattr(step, name)

    def crash(*arguments: Any) -> None:
        if after:
            undisturbed(*arguments)
        raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(step, name, crash)
        yield


CRASHES = [
    (TenantImages, "write_back", False),
    (TenantImages, "write_back", True),
    (ImagePaths, "settle", False),
    (ImagePaths, "settle", True),
    (Ledger, "settle", False),
]


@pytest.mark.parametrize(("step", "name", "after"), CRASHES)
@pytest.mark.parametrize("crashes", [1, 2])
@pytest.mark.parametrize("changes", [False, True])
def test_a_path_whose_write_back_has_an_unknown_outcome_is_managed_until_it_is_known(
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
    step: type,
    name: str,
    after: bool,  # noqa: FBT001
    crashes: int,
    changes: bool,  # noqa: FBT001
) -> None:
    shop.add("LATTE", shop.host.url("/latte"))
    change(shop, 1)
    for seed in range(2, 2 + crashes):
        with crashing(monkeypatch, step, name, after=after), pytest.raises(CrashError):
            change(shop, seed)
    newest = 2 + crashes if changes else 1 + crashes

    assert change(shop, newest).overridden == 0

    assert shop.shown("LATTE") == path_of(draw(newest))
    assert {path for path, state in states(shop).items() if state != "former"} == {path_of(draw(newest))}
    assert shop.copy().considered == 0
    shop.upload_own("LATTE", path_of(draw(1)))
    assert change(shop, newest + 1).overridden == 1
    assert shop.shown("LATTE") == path_of(draw(1))


def test_a_choice_made_after_a_crash_is_kept(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.add("LATTE", shop.host.url("/latte"))
    change(shop, 1)
    with crashing(monkeypatch, ImagePaths, "settle"), pytest.raises(CrashError):
        change(shop, 2)
    shop.upload_own("LATTE")

    assert change(shop, 3).overridden == 1
    assert states(shop) == {path_of(draw(1)): "current", path_of(draw(2)): "former", path_of(draw(3)): "former"}
    for chosen in (2, 3):
        shop.upload_own("LATTE", path_of(draw(chosen)))
        assert change(shop, 4).overridden == 1
        assert shop.shown("LATTE") == path_of(draw(chosen))


def test_paths_recorded_before_their_states_were_known_stay_managed_until_the_next_copy(shop: Shop) -> None:
    shop.add("LATTE", shop.host.url("/latte"))
    for seed in (1, 2):
        change(shop, seed)
    with shop.control.begin() as connection:
        connection.execute(sa.text("UPDATE image_paths SET state = DEFAULT"))

    assert change(shop, 2).written_back == 0

    assert states(shop) == {path_of(draw(1)): "former", path_of(draw(2)): "current"}


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


def test_without_the_ledger_every_path_counts_as_an_own_picture_until_it_is_cleared(shop: Shop) -> None:
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
    shop.sql("UPDATE items SET main_image_url = NULL WHERE main_image_url LIKE 'kopi-kita/items/%'")
    assert (shop.copy().written_back, shop.copy().considered) == (2, 0)
    shop.host.answers |= {"/same": picture(draw(4)), "/other": picture(draw(4))}
    shop.clock.pass_time(days=1)
    assert shop.copy().written_back == 2
