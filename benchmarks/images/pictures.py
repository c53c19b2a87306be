"""The pictures that are copied: distinct JPEGs of about 80 kB, made once and kept, the same ones for every client.

Add here what a picture looks like and how it changes. How pictures are served is in `picture_host.py`.
"""

import hashlib
import os
import random
import shutil
import struct
import tempfile
from pathlib import Path

from PIL import Image

DRAWN = 1_000
_CHANGED_EACH = 20  # 5 %
_SIZE = (640, 480)
_NOISE_SIZE = (160, 120)
_QUALITY = 88  # gives 78 to 83 kB
_LONG_AGO = 1_700_000_000  # nginx and rclone see whole seconds, so a change must not fall into the second of creation
_OTHER = 1_000_000
_MAKING = f"cata-bench-pictures-{os.geteuid()}"


def lay_out(folder: Path, count: int) -> None:
    """Fill a new folder with `count` pictures; beyond `DRAWN` they are the same drawings with a number inside."""
    drawn = _drawn()
    folder.mkdir()
    for number in range(count):
        original, target = drawn / _name(number % DRAWN), folder / _name(number)
        if number < DRAWN:
            shutil.copyfile(original, target)
        else:
            target.write_bytes(_numbered(original.read_bytes(), number))
        os.utime(target, (_LONG_AGO, _LONG_AGO))


def change(folder: Path) -> int:
    """Replace 5 % of the pictures by others of another date, as a merchant's new photos would; returns how many."""
    changed = sorted(folder.iterdir())[::_CHANGED_EACH]
    for number, path in enumerate(changed):
        _draw(_OTHER + number).save(path, "JPEG", quality=_QUALITY)
    return len(changed)


def digests(folder: Path) -> set[str]:
    """The MD5 of every picture, as hex digits: what the storage server says of an object it was sent."""
    return {hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for path in folder.rglob("*.jpg")}


def _drawn() -> Path:
    """The folder of the drawings; made under another name first, so that a broken-off making leaves nothing half."""
    kept = Path(tempfile.gettempdir()) / _MAKING
    if not kept.exists():
        making = Path(tempfile.mkdtemp(prefix=f"{_MAKING}-"))
        for number in range(DRAWN):
            _draw(number).save(making / _name(number), "JPEG", quality=_QUALITY)
        making.rename(kept)
    return kept


def _draw(seed: int) -> Image.Image:
    chance = random.Random(seed)  # noqa: S311 noise that can be drawn again
    noise = Image.frombytes("RGB", _NOISE_SIZE, chance.randbytes(_NOISE_SIZE[0] * _NOISE_SIZE[1] * 3))
    shade = Image.linear_gradient("L").resize(_SIZE).rotate(chance.randrange(360))
    mirrored = shade.transpose(Image.Transpose.FLIP_LEFT_RIGHT), shade.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return Image.blend(Image.merge("RGB", (shade, *mirrored)), noise.resize(_SIZE, Image.Resampling.BICUBIC), 0.3)


def _numbered(jpeg: bytes, number: int) -> bytes:
    """The same picture with a comment segment, hence other bytes."""
    comment = str(number).encode()
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + jpeg[2:]


def _name(number: int) -> str:
    return f"{number:05d}.jpg"
