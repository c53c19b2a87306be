"""Draws the demo's food pictures: nothing is shipped as a file, everything is made when it is first asked for.

Add a file format or a texture here; vessels and colours are drawn in `cata_pipeline.demo.vessels`. Which
product shows which picture is decided in the menus; addresses, ETags and HTTP belong to the demo POS.
"""

import functools
import io
import random
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

from cata_pipeline.demo.vessels import DRAW, PALETTES, Shape, rgb, shade

Format = Literal["jpg", "png", "webp"]

CONTENT_TYPES: Final[dict[Format, str]] = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
SIDE = 640
SMALL_SIDE = 240
"""PNG keeps every grain of the texture, so these are small."""

_DRAWN_SIDE = 960  # drawn larger and shrunk: Pillow's shapes have hard edges
_CACHED = 1024  # more than three menus have; about 35 kB each


@dataclass(frozen=True)
class Look:
    """What a product looks like: the vessel it comes in and a name out of `PALETTES`."""

    shape: Shape
    palette: str


@functools.lru_cache(maxsize=_CACHED)
def draw(text: str, revision: int, look: Look, kind: Format) -> bytes:
    """An encoded picture with `text` as its caption: 640x640, or 240x240 as PNG.

    The same arguments give the same bytes; another `revision` gives another arrangement of the same dish.
    """
    rng = random.Random(f"{text}#{revision}")
    palette = PALETTES[look.palette]
    canvas = _table(palette.table, look.shape).copy()
    DRAW[look.shape](ImageDraw.Draw(canvas), rng, palette)
    side = SMALL_SIDE if kind == "png" else SIDE
    picture = _grain(canvas.resize((side, side), Image.Resampling.BOX), rng)
    _caption(picture, text)
    return _encode(picture, kind)


def truncated(content: bytes) -> bytes:
    """The first two thirds of a picture, as an upload that broke off leaves it: recognisable, not decodable."""
    return content[: len(content) * 2 // 3]


def _encode(picture: Image.Image, kind: Format) -> bytes:
    target = io.BytesIO()
    match kind:
        case "jpg":
            picture.save(target, "JPEG", quality=84)
        case "webp":
            picture.save(target, "WEBP", quality=84, method=0)
        case "png":
            picture.quantize(128, Image.Quantize.FASTOCTREE).save(target, "PNG", compress_level=6)
    return target.getvalue()


@functools.lru_cache(maxsize=8)  # neighbours on a menu share their table; one takes 2.8 MB
def _table(colour: str, shape: Shape) -> Image.Image:
    light = ImageOps.colorize(Image.radial_gradient("L"), shade(colour, 1.45), shade(colour, 0.72), mid=rgb(colour))
    table = light.resize((_DRAWN_SIDE, _DRAWN_SIDE), Image.Resampling.BILINEAR)
    table.paste(shade(colour, 0.45), mask=_shadow(shape))
    return table


@functools.cache
def _shadow(shape: Shape) -> Image.Image:
    mask = Image.new("L", (160, 160))
    box = (52, 118, 112, 138) if shape in {"glass", "bag"} else (21, 24, 147, 146)
    ImageDraw.Draw(mask).ellipse(box, fill=150)
    return mask.filter(ImageFilter.GaussianBlur(6)).resize((_DRAWN_SIDE, _DRAWN_SIDE), Image.Resampling.BILINEAR)


@functools.cache
def _grain_tile(side: int) -> Image.Image:
    rng = random.Random("grain")
    noise = Image.frombytes("L", (side, side), rng.randbytes(side * side)).filter(ImageFilter.GaussianBlur(0.7))
    calm = noise.point([round(128 + (value - 128) * 0.26) for value in range(256)])
    return Image.merge("RGB", (calm, calm, calm))


def _grain(picture: Image.Image, rng: random.Random) -> Image.Image:
    side = picture.width
    return ImageChops.soft_light(
        picture, ImageChops.offset(_grain_tile(side), rng.randrange(side), rng.randrange(side))
    )


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _caption(picture: Image.Image, text: str) -> None:
    side = picture.width
    # Pillow's built-in font has ASCII only; an accent would become a box.
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().strip()
    pen = ImageDraw.Draw(picture, "RGBA")
    size = side // 20
    while size > side // 40 and pen.textlength(plain, font=_font(size)) > side * 0.88:
        size -= 2
    pen.rectangle((0, side * 0.875, side, side), fill=(38, 30, 26, 190))
    pen.text((side / 2, side * 0.937), plain, font=_font(size), fill=(255, 250, 240, 255), anchor="mm")
