"""One tenant's catalog with every kind of URL that nobody should ask for, and good ones between them."""

from collections.abc import Iterator

import pytest

from cata_pipeline_tests.images.conftest import Shop
from cata_pipeline_tests.images.hosts import Sentinel, picture, redirect, status
from cata_pipeline_tests.images.pictures import draw
from cata_pipeline_tests.images.test_copy import path_of
from cata_pipeline_tests.images.test_guard import LOOPBACKS, SPELLINGS

TRANSIENT = {"/429": status(429), "/503": status(503), "/500": status(500), "/401": status(401), "/403": status(403)}
PERMANENT = {
    "/404": status(404),
    "/410": status(410),
    "/204": status(204),
    "/206": status(206),
    "/300": status(300),
    "/304": status(304),
    "/empty": picture(b""),
    "/html": picture(b"<p>", content_type="text/html"),
    "/loop": redirect("/loop"),
    "/nowhere": status(302),
    "/ftp": redirect("ftp://127.0.0.1/a.jpg"),
    "/file": redirect("file:///etc/passwd"),
    "/data": redirect("data:image/png;base64,AA=="),
    "/metadata": redirect("http://169.254.169.254/latest/meta-data/"),
    "/userinfo": redirect("http://a:b@cdn.example/"),
    "/brackets": redirect("http://[::1]@/"),
}
UNUSABLE = (
    "   ",
    "nonsense",
    "a.jpg",
    "/a.jpg",
    "//",
    "data:image/png;base64,AA==",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "gopher://127.0.0.1/",
    "http://",
    "http:///a.jpg",
    "http://[::1",
    "http://[v1.x]/",
    "http://[::1]@/a.jpg",
    "//[]@/\u00fc.jpg",
    "http://a:port/",
    "http://a:99999/",
    "http://a:22/",
    "http://a:0/",
    "http://xn--/",
    "http://a..b/",
    f"http://{'a' * 64}.example/",
    f"http://{'a.' * 200}example/",
    f"http://a.example/{'x' * 70_000}",
    "http://good@evil.example/",
    "http://ex.com\\@evil.example/",
    "http://a b.example/",
    "http://a\r\nHost: b/",
    "http://a.example/\r\nX: y",
    "http://％３１/",  # noqa: RUF001 what a lenient parser would read as %31
    "http://loca\u00adlhost/",
)


@pytest.fixture
def sentinel() -> Iterator[Sentinel]:
    with Sentinel(LOOPBACKS) as sentinel:
        yield sentinel


def test_no_url_whatsoever_stops_the_pictures_before_and_after_it(shop: Shop, sentinel: Sentinel) -> None:
    shop.host.answers |= TRANSIENT | PERMANENT | {"/good": picture(draw(1)), "/better": picture(draw(2))}
    private = [f"http://{spelling}:{sentinel.port}/x.jpg" for spelling in SPELLINGS]
    bad = [*UNUSABLE, *private, *(shop.host.url(path) for path in (*TRANSIENT, *PERMANENT))]
    shop.add("000", shop.host.url("/good"))
    for number, url in enumerate(bad):
        shop.add(f"BAD-{number:03}", url)
    shop.add("ZZZ", shop.host.url("/better"))

    result = shop.copy()

    assert (result.considered, result.failed, result.written_back) == (len(bad) + 2, len(bad), 2)
    assert (shop.shown("000"), shop.shown("ZZZ")) == (path_of(draw(1)), path_of(draw(2)))
    assert sentinel.visits == 0
    assert shop.copy().considered == 0
    shop.clock.pass_time(hours=1)
    again = shop.copy()
    assert again.considered == len(TRANSIENT)
