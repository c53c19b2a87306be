"""What the demo's dishes look like: their colours, and one drawing a vessel.

Add a palette or a vessel here when a menu needs one, and name the vessel in `DRAW`. Everything is drawn into a
square of 960 pixels. Table, caption, texture and file formats belong to `cata_pipeline.demo.pictures`.
"""

import functools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from PIL import ImageColor, ImageDraw

Shape = Literal["cup", "glass", "bowl", "plate", "board", "bag"]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """The colours of a dish: its body, what is mixed in, what lies on top, and the table under it."""

    body: str
    accent: str
    garnish: str
    table: str


PALETTES: Final[dict[str, Palette]] = {
    "kopi": Palette("#5b3620", "#8a5a35", "#e9d3b4", "#d9c3a5"),
    "susu": Palette("#b88a5d", "#d9b48a", "#f6e7d2", "#cfd8d3"),
    "cokelat": Palette("#4a2616", "#74402a", "#f0d9c0", "#e3d0c4"),
    "matcha": Palette("#7f9f4d", "#a9c274", "#eef3d8", "#e5dfcd"),
    "taro": Palette("#9678b6", "#b9a1d3", "#efe6f7", "#ded9e6"),
    "stroberi": Palette("#d65c6d", "#f09aa5", "#fdeef0", "#f1dcd8"),
    "teh": Palette("#a6571f", "#c9793a", "#f3d9a8", "#d6dccb"),
    "jeruk": Palette("#ee9a2b", "#f8bf5e", "#fff0c9", "#cfe0dc"),
    "kelapa": Palette("#eee6d4", "#fbf7ec", "#7fa35b", "#b9cdb5"),
    "pandan": Palette("#5f9a54", "#8fbd74", "#f5f2df", "#e4dcc8"),
    "nasi": Palette("#f3ecdb", "#ded0ae", "#5f9142", "#a9845f"),
    "goreng": Palette("#c98a3f", "#8f5323", "#6fa044", "#8c6a4f"),
    "mie": Palette("#dcae55", "#b67b2d", "#5e9444", "#7f8f8a"),
    "rendang": Palette("#5d2f1a", "#7f4526", "#c8362b", "#b79467"),
    "sambal": Palette("#b5261e", "#d9502f", "#7ba146", "#8b7a63"),
    "kuah": Palette("#e2ac43", "#f1cd7c", "#6f9b43", "#94806d"),
    "sayur": Palette("#5d8f3c", "#86b357", "#d8503c", "#b39b76"),
    "ikan": Palette("#9a6b43", "#c99564", "#f0c84b", "#7d95a0"),
    "roti": Palette("#d39a54", "#a96a2c", "#f4dcae", "#b9a58e"),
    "keju": Palette("#eebf4e", "#f8dc8b", "#fff4cf", "#a9b5ad"),
    "krim": Palette("#f4e6cf", "#e6cda6", "#d65c6d", "#b7b6c4"),
}


@functools.cache
def rgb(colour: str) -> Colour:
    """The red, green and blue of a colour written as #rrggbb, each 0 to 255."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return red, green, blue


def shade(colour: str, factor: float) -> Colour:
    """The colour made darker (`factor` below 1) or lighter (above 1, where 2 is white)."""
    red, green, blue = rgb(colour)
    if factor <= 1:
        return round(red * factor), round(green * factor), round(blue * factor)
    lift = factor - 1
    return round(red + (255 - red) * lift), round(green + (255 - green) * lift), round(blue + (255 - blue) * lift)


def _mixed(first: str, second: str, share: float) -> Colour:
    """The first colour with this share (0 to 1) of the second in it."""
    (r1, g1, b1), (r2, g2, b2) = rgb(first), rgb(second)
    return round(r1 + (r2 - r1) * share), round(g1 + (g2 - g1) * share), round(b1 + (b2 - b1) * share)


def _varied(colour: str, rng: random.Random) -> Colour:
    return shade(colour, rng.uniform(0.86, 1.14))


def _disc(x: float, y: float, radius: float) -> tuple[float, float, float, float]:
    return x - radius, y - radius, x + radius, y + radius


@functools.cache
def _circle(corners: int) -> tuple[tuple[float, float], ...]:
    return tuple((math.cos(math.tau * n / corners), math.sin(math.tau * n / corners)) for n in range(corners))


def _petal(x: float, y: float, length: float, width: float, angle: float) -> list[tuple[float, float]]:
    """A turned ellipse as a polygon, which `ImageDraw.ellipse` cannot draw."""
    cosine, sine = math.cos(angle), math.sin(angle)
    corners = _circle(14 if length < 60 else 64)  # noqa: PLR2004 pixels; more corners than the eye can see
    return [
        (x + length * u * cosine - width * v * sine, y + length * u * sine + width * v * cosine) for u, v in corners
    ]


def _scatter(rng: random.Random, radius: float) -> tuple[float, float]:
    angle, distance = rng.uniform(0, math.tau), radius * math.sqrt(rng.random())
    return distance * math.cos(angle), distance * math.sin(angle)


def _heap(pen: ImageDraw.ImageDraw, rng: random.Random, palette: Palette, radius: float, pieces: int) -> None:
    """A mound of food in the middle: many turned pieces, then a few leaves on top."""
    for index in range(pieces):
        x, y = _scatter(rng, radius * (1 - 0.45 * index / pieces))
        colour = palette.accent if rng.random() < 0.33 else palette.body  # noqa: PLR2004 a third is mixed in
        size, angle = rng.uniform(20, 44), rng.uniform(0, math.tau)
        shape = _petal(480 + x, 430 + y, size, size * rng.uniform(0.4, 0.75), angle)
        pen.polygon([(px + 4, py + 6) for px, py in shape], fill=shade(colour, 0.62))
        pen.polygon(shape, fill=_varied(colour, rng))
    for _ in range(rng.randint(9, 15)):
        x, y = _scatter(rng, radius * 0.6)
        leaf = _petal(480 + x, 430 + y, rng.uniform(14, 30), rng.uniform(5, 11), rng.uniform(0, math.tau))
        pen.polygon(leaf, fill=_varied(palette.garnish, rng))


def _draw_plate(pen: ImageDraw.ImageDraw, rng: random.Random, palette: Palette) -> None:
    pen.ellipse(_disc(480, 430, 372), fill="#f7f4ee", outline="#ddd6ca", width=6)
    pen.ellipse(_disc(480, 430, 278), fill="#fdfcf9", outline="#e6e0d6", width=5)
    _heap(pen, rng, palette, 235, 190)


def _draw_bowl(pen: ImageDraw.ImageDraw, rng: random.Random, palette: Palette) -> None:
    pen.ellipse(_disc(480, 430, 366), fill="#35495a", outline="#22303c", width=8)
    pen.ellipse(_disc(480, 430, 322), fill=shade(palette.body, 0.72))
    pen.ellipse(_disc(480, 436, 312), fill=rgb(palette.body))
    for _ in range(46):
        x, y = _scatter(rng, 290)
        pen.ellipse(_disc(480 + x, 436 + y, rng.uniform(6, 20)), outline=shade(palette.accent, 1.25), width=3)
    _heap(pen, rng, palette, 190, 90)


def _draw_cup(pen: ImageDraw.ImageDraw, rng: random.Random, palette: Palette) -> None:
    pen.ellipse(_disc(480, 430, 372), fill="#f4f1ea", outline="#d9d2c5", width=6)
    pen.ellipse(_disc(480, 430, 210), outline="#e3ddd2", width=8)
    pen.rounded_rectangle((690, 392, 860, 468), 38, fill="#fbfaf6", outline="#d3cbbd", width=6)
    pen.ellipse(_disc(480, 430, 262), fill="#fdfcf9", outline="#d3cbbd", width=6)
    pen.ellipse(_disc(480, 430, 228), fill=shade(palette.body, 0.7))
    pen.ellipse(_disc(480, 434, 220), fill=rgb(palette.body))
    pen.ellipse(_disc(480, 434, 196), fill=rgb(palette.accent))
    turn = rng.uniform(-0.5, 0.5)
    foam = shade(palette.garnish, 1.2)
    for step in range(7):  # a rosette: pairs of leaves that shrink towards the tip
        along, length = 110.0 - step * 36, 104.0 - step * 11
        for side in (-1, 1):
            x, y = side * length * 0.5, along
            leaf = (480 + x * math.cos(turn) - y * math.sin(turn), 434 + x * math.sin(turn) + y * math.cos(turn))
            pen.polygon(_petal(*leaf, length * 0.56, 11, turn + side * 0.5), fill=foam)
    for _ in range(60):
        x, y = _scatter(rng, 190)
        pen.ellipse(_disc(480 + x, 434 + y, rng.uniform(2, 5)), fill=_varied(palette.garnish, rng))


def _draw_glass(pen: ImageDraw.ImageDraw, rng: random.Random, palette: Palette) -> None:
    layers = 22
    for layer in range(layers):  # from the milk at the bottom to the drink on top
        low, high = 780.0 - layer * 25, 780.0 - (layer + 1) * 25
        colour = _mixed(palette.garnish, palette.body, layer / (layers - 1))
        inset = (780 - low) * 0.06
        pen.polygon([(372 - inset, low), (588 + inset, low), (590 + inset, high), (370 - inset, high)], fill=colour)
    for _ in range(9):
        x, y = rng.uniform(385, 560), rng.uniform(250, 470)
        cube = _square(x, y, rng.uniform(34, 46), rng.uniform(0, math.tau))
        pen.polygon(cube, fill=shade(palette.accent, 1.35), outline=shade(palette.accent, 1.75), width=4)
    lean = rng.choice((-1, 1)) * rng.uniform(40, 80)
    pen.line((480, 640, 480 + lean, 70), fill=shade(palette.garnish, 1.5), width=20)
    pen.line((484, 640, 484 + lean, 70), fill=rgb(palette.accent), width=6)
    for _ in range(70):
        x, y = rng.uniform(352, 608), rng.uniform(250, 760)
        pen.ellipse(_disc(x, y, rng.uniform(2, 6)), fill=shade(palette.garnish, 1.6))
    pen.line((330, 190, 366, 800), fill="#ffffff", width=9)
    pen.line((630, 190, 594, 800), fill="#eef3f4", width=9)
    pen.rounded_rectangle((362, 780, 598, 812), 12, fill="#eef3f4")
    pen.ellipse((328, 166, 632, 214), outline="#ffffff", width=7)


def _square(x: float, y: float, half: float, angle: float) -> list[tuple[float, float]]:
    return [
        (x + half * math.cos(angle + math.tau * corner / 4), y + half * math.sin(angle + math.tau * corner / 4))
        for corner in range(4)
    ]


def _draw_board(pen: ImageDraw.ImageDraw, rng: random.Random, palette: Palette) -> None:
    pen.rounded_rectangle((110, 120, 850, 760), 60, fill="#b58555", outline="#8f6238", width=8)
    for _ in range(34):
        y = rng.uniform(135, 745)
        pen.line((130, y, 830, y + rng.uniform(-14, 14)), fill=_varied("#a97848", rng), width=rng.randint(2, 6))
    pen.polygon(_petal(492, 456, 300, 205, -0.35), fill="#7d5530")
    for ring in range(12):  # from the crust to the crumb
        share = 1 - ring * 0.055
        colour = _mixed(palette.accent, palette.body, ring / 11)
        pen.polygon(_petal(480, 436 - ring * 2, 296 * share, 200 * share, -0.35), fill=colour)
    for stripe in range(-2, 3):
        score = _petal(480 + stripe * 88, 432 - stripe * 32, 96, 13, 1.0)
        pen.polygon(score, fill=shade(palette.garnish, 1.1))
    for _ in range(130):
        x, y = _scatter(rng, 180)
        pen.polygon(_petal(480 + x * 1.3, 430 + y * 0.8, 8, 4, rng.uniform(0, 6)), fill=_varied(palette.garnish, rng))
    for _ in range(50):
        pen.ellipse(_disc(rng.uniform(150, 810), rng.uniform(620, 740), rng.uniform(2, 6)), fill=rgb(palette.body))


def _draw_bag(pen: ImageDraw.ImageDraw, rng: random.Random, palette: Palette) -> None:
    pen.polygon([(290, 190), (670, 190), (700, 800), (260, 800)], fill=shade(palette.body, 0.9))
    pen.polygon([(290, 190), (345, 190), (330, 800), (260, 800)], fill=shade(palette.body, 0.7))
    pen.polygon([(284, 120), (676, 120), (670, 200), (290, 200)], fill=shade(palette.body, 1.15))
    pen.rounded_rectangle((360, 330, 640, 640), 26, fill=shade(palette.garnish, 1.3))
    pen.ellipse(_disc(500, 440, 66), fill=rgb(palette.accent))
    pen.polygon(_petal(500, 440, 50, 13, 0.9), fill=shade(palette.garnish, 1.3))
    for row in range(3):
        pen.line((400, 545 + row * 28, 600 - row * 40, 545 + row * 28), fill=rgb(palette.accent), width=9)
    for _ in range(60):
        x, y = rng.uniform(130, 830), rng.uniform(770, 830)
        angle = rng.uniform(0, math.tau)
        pen.polygon(_petal(x, y, 22, 14, angle), fill=_varied(palette.body, rng))
        pen.line(
            (x - 16 * math.cos(angle), y - 16 * math.sin(angle), x + 16 * math.cos(angle), y + 16 * math.sin(angle)),
            fill=shade(palette.body, 0.5),
            width=3,
        )


DRAW: Final[dict[Shape, Callable[[ImageDraw.ImageDraw, random.Random, Palette], None]]] = {
    "cup": _draw_cup,
    "glass": _draw_glass,
    "bowl": _draw_bowl,
    "plate": _draw_plate,
    "board": _draw_board,
    "bag": _draw_bag,
}
