"""Real pictures for the tests of this folder."""

import io
import random

from PIL import Image


def draw(seed: int = 0, kind: str = "JPEG", size: tuple[int, int] = (64, 48), mode: str = "RGB") -> bytes:
    """A small noisy picture; equal arguments give equal bytes."""
    width, height = size
    noise = random.Random(seed).randbytes(width * height * len(Image.new(mode, (1, 1)).getbands()))  # noqa: S311 noise, not a secret
    out = io.BytesIO()
    Image.frombytes(mode, size, noise).save(out, kind)
    return out.getvalue()


def blank(kind: str, size: tuple[int, int], mode: str = "L") -> bytes:
    """A picture of one colour, whose file is small however large it is."""
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind)
    return out.getvalue()


def phone_picture() -> bytes:
    """A JPEG with a second frame, as phone cameras write them."""
    out = io.BytesIO()
    Image.new("RGB", (32, 32)).save(out, "MPO", save_all=True, append_images=[Image.new("RGB", (32, 32), "red")])
    return out.getvalue()
