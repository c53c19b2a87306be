"""Real pictures for the tests of this folder."""

import io
import random
import struct
import zlib
from typing import Any

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


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """An image as a file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def animation(kind: str, frames: int) -> bytes:
    """As many different frames as asked for, each of 16 by 16 pixels."""
    first, *others = [
        Image.new("RGB", (16, 16), (number * 97 % 256, number * 31 % 256, number * 7 % 256)) for number in range(frames)
    ]
    return saved(first, kind, save_all=True, append_images=others)


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(*chunks: bytes, size: tuple[int, int] = (16, 16), pixels: bytes | None = None) -> bytes:
    """A black PNG that carries `chunks`; `pixels` (compressed) may contradict its header."""
    width, height = size
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = zlib.compress(bytes((1 + 3 * width) * height)) if pixels is None else pixels
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", content), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg_that_says(width: int, height: int) -> bytes:
    """A JPEG whose header names another size than its pixels have."""
    content = draw()
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def webp_that_says(width: int, height: int) -> bytes:
    """An extended WebP whose canvas is as large as asked for, with a small picture inside."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    inner = draw(kind="WEBP")[12:]
    body = b"WEBP" + b"VP8X" + (10).to_bytes(4, "little") + bytes(4) + size + inner
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def with_scans(scans: int, size: tuple[int, int] = (64, 64)) -> bytes:
    """A progressive JPEG whose last pass is repeated until it has that many scans."""
    jpeg = saved(Image.new("L", size, 128), "JPEG", progressive=True)
    last, end = jpeg.rindex(b"\xff\xda"), jpeg.rindex(b"\xff\xd9")
    return jpeg[:end] + jpeg[last:end] * (scans - jpeg.count(b"\xff\xda")) + jpeg[end:]
