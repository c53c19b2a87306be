"""The gallery's markdown: whole pictures only, and nothing in an item code means anything to markdown."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cata_pipeline.images.result import CopiedPicture
from cata_pipeline.orchestration.gallery import gallery

BASE = "https://cdn.example/images/"
IMAGE = re.compile(r"!\[((?:\\.|[^\\\[\]])*)\]\(([^\s()<>\\]*)\)")
"""An image as CommonMark reads it, whose text has no bracket and whose address has no mark without a backslash."""


def pictures(*codes: str, tenant: str = "kopi") -> list[CopiedPicture]:
    return [CopiedPicture(code, f"{tenant}/items/{number:064x}.jpg") for number, code in enumerate(codes)]


def test_pictures_are_shown_in_their_order_by_the_base_url() -> None:
    assert gallery(pictures("LAT", "TEA"), BASE, 1_000) == (
        f"![LAT]({BASE}kopi/items/{0:064x}.jpg) ![TEA]({BASE}kopi/items/{1:064x}.jpg)"
    )


def test_without_pictures_there_is_no_gallery() -> None:
    assert gallery([], BASE, 1_000) == ""


def test_a_picture_that_does_not_fit_is_dropped_whole() -> None:
    markdown = gallery(pictures(*"ABCDEF"), f"https://cdn.example/{'x' * 200}/", 1_000)
    assert 0 < len(markdown) < 1_000
    assert [code for code, _ in IMAGE.findall(markdown)] == ["A", "B", "C"]
    assert IMAGE.sub("", markdown).strip() == ""


def test_a_gallery_of_which_nothing_fits_is_none() -> None:
    assert gallery(pictures("A"), f"https://cdn.example/{'x' * 1_000}/", 1_000) == ""


@pytest.mark.parametrize(
    "code", ["](javascript:alert(1))![", "a\n\n# big", "`code`", "<img src=x>", "\\", "[a][b]", "&amp;", "*b*", "a|b"]
)
def test_markdown_in_an_item_code_stays_text(code: str) -> None:
    [(alt, url)] = IMAGE.findall(gallery(pictures(code), BASE, 1_000))
    assert re.sub(r"\\(.)", r"\1", alt) == " ".join(code.split())
    assert re.search(r"(?<!\\)(?:\\\\)*[\[\]<>`*&|#(]", alt) is None
    assert url.startswith(BASE)


def test_a_base_url_is_made_fit_for_markdown_and_stays_the_same_address() -> None:
    [(_, url)] = IMAGE.findall(gallery(pictures("A"), "https://cdn.example/(our) images%20here/", 1_000))
    assert url.startswith("https://cdn.example/%28our%29%20images%20here/kopi/items/")


@given(codes=st.lists(st.text(max_size=300), max_size=6), tenant=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True))
def test_whatever_the_codes_the_markdown_is_images_and_nothing_else(codes: list[str], tenant: str) -> None:
    shown = pictures(*codes, tenant=tenant)
    markdown = gallery(shown, BASE, 1_000)
    assert len(markdown) < 1_000
    assert IMAGE.sub("", markdown).strip() == ""
    urls = [unquote(url) for _, url in IMAGE.findall(markdown)]
    assert urls == [BASE + picture.path for picture in shown[: len(urls)]]
