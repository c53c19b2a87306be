import io

import pytest
from PIL import Image

from cata_pipeline.demo import pictures
from cata_pipeline.demo.menus import MENUS
from cata_pipeline.demo.pictures import SIDE, SMALL_SIDE, Format, Look, draw, truncated
from cata_pipeline.demo.vessels import DRAW, PALETTES, Shape

_LATTE = Look("cup", "susu")
_LOOKS = sorted({(p.look.shape, p.look.palette) for menu in MENUS for p in menu.products})


def _decoded(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


@pytest.mark.parametrize(
    ("kind", "expected", "side"), [("jpg", "JPEG", SIDE), ("png", "PNG", SMALL_SIDE), ("webp", "WEBP", SIDE)]
)
def test_each_format_is_what_it_says(kind: Format, expected: str, side: int) -> None:
    picture = _decoded(draw("Kopi Susu", 0, _LATTE, kind))
    assert (picture.format, picture.size) == (expected, (side, side))


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_drawing_the_same_again_gives_the_same_bytes(kind: Format) -> None:
    afresh = draw.__wrapped__
    assert afresh("Kopi Susu", 3, _LATTE, kind) == afresh("Kopi Susu", 3, _LATTE, kind)


@pytest.mark.parametrize("shape", DRAW)
def test_another_revision_or_text_gives_another_picture(shape: Shape) -> None:
    look = Look(shape, "roti")
    assert len({draw("Roti", 0, look, "jpg"), draw("Roti", 1, look, "jpg"), draw("Kue", 0, look, "jpg")}) == 3


@pytest.mark.parametrize(("shape", "palette"), _LOOKS)
def test_a_photo_of_every_look_on_the_menus_weighs_what_a_photo_weighs(shape: Shape, palette: str) -> None:
    assert 15_000 <= len(draw("Nasi Goreng Kampung", 0, Look(shape, palette), "jpg")) <= 80_000


def test_every_palette_is_used_by_a_menu() -> None:
    assert {palette for _, palette in _LOOKS} == set(PALETTES)


def test_a_truncated_photo_is_recognised_but_cannot_be_decoded() -> None:
    picture = Image.open(io.BytesIO(truncated(draw("Kopi Susu", 0, _LATTE, "jpg"))))
    assert (picture.format, picture.size) == ("JPEG", (SIDE, SIDE))
    with pytest.raises(OSError, match="truncated"):
        picture.load()


def test_a_caption_drops_what_the_font_does_not_have() -> None:
    blank = (SIDE, SIDE)
    accented, plain = Image.new("RGB", blank), Image.new("RGB", blank)
    pictures._caption(accented, "Crème Brûlée ☕")
    pictures._caption(plain, "Creme Brulee")
    assert accented.tobytes() == plain.tobytes()
    assert plain.tobytes() != Image.new("RGB", blank).tobytes()


def test_a_long_caption_is_made_to_fit() -> None:
    picture = Image.new("RGB", (SIDE, SIDE))
    pictures._caption(picture, "Paket Liwetan Keluarga dengan Ayam Goreng Kremes")
    bright = picture.convert("L").point([0] * 200 + [255] * 56).getbbox()
    assert bright is not None
    assert bright[0] > 0
    assert bright[2] < SIDE
