"""The program a worker process runs: decodes pictures it is sent, one after the other, and says what it found.

Decoders written in C meet hostile bytes here, so this process has limits on memory and time, an empty environment, and
is confined by `sandbox.py`. It is started as a file, isolated: it imports the standard library, Pillow and that module,
and must import nothing else of this package. The other end is `inspection.py`.

Argument: the `Limits` as JSON. Standard input: for each picture an 8-byte big-endian length and the bytes. Standard
output: one line `{"missing": ""}` when ready, with the measures of the sandbox that this system refused; then for each
picture `{"format": "PNG"}` or `{"reason": "…"}`.
"""

import contextlib
import io
import json
import resource
import struct
import sys
import warnings
from dataclasses import dataclass
from math import ceil
from typing import BinaryIO

# All that Pillow would import when it meets a picture: by then this process can open no file.
from PIL import Image, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401

from cata_pipeline.images import sandbox

LENGTH = struct.Struct(">Q")
FORMATS = ("JPEG", "PNG", "WEBP")
_EIGHTH = 8


@dataclass(frozen=True)
class Limits:
    """What a picture may be (pixels, frames), and what one may cost (bytes of address space, seconds)."""

    max_pixels: int
    min_side: int
    max_side: int
    max_frames: int
    address_space: int
    seconds: float


class _RefusedError(Exception):
    """The picture is sound but not wanted."""


def verdict(content: bytes, limits: Limits) -> dict[str, str]:
    """What is in `content`: its format, or the reason why it is refused."""
    try:
        return {"format": _decoded_format(content, limits)}
    except Exception as error:  # noqa: BLE001 decoders raise anything on hostile bytes; each means "not decodable"
        return {"reason": _reason(error, content, limits)}


def _reason(error: Exception, content: bytes, limits: Limits) -> str:
    if isinstance(error, _RefusedError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return _too_large(limits)
    if isinstance(error, MemoryError):
        return "the picture takes too much memory to decode"
    said = str(error).lower()
    if "truncated" in said or _webp_is_short(content):
        return "the file ends early"
    # So Pillow calls texts and colour profiles that unpack to more than a megabyte.
    if "too large" in said:
        return "the picture carries too much text or too large a colour profile"
    return "the picture is damaged and cannot be decoded"


def _decoded_format(content: bytes, limits: Limits) -> str:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        width, height = image.size
        frames = getattr(image, "n_frames", 1)
        _check_header(width, height, frames, limits)
        # Reads every byte all the same, but skips most of the arithmetic; only JPEG heeds it.
        image.draft(image.mode, (max(1, width // _EIGHTH), max(1, height // _EIGHTH)))
        image.load()
        # An animation may well begin with nothing.
        if frames == 1 and _is_invisible(image):
            raise _RefusedError("the picture is wholly transparent")
        # Phone cameras append a second frame; Pillow then calls the JPEG "MPO".
        return "JPEG" if image.format == "MPO" else str(image.format)


def _check_header(width: int, height: int, frames: int, limits: Limits) -> None:
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise _RefusedError(_too_large(limits))
    if min(width, height) < limits.min_side:
        raise _RefusedError(f"the picture is only {width} x {height} pixels")
    # Only the first frame is ever decoded here; a shop's visitors would have to decode all of them.
    if frames > limits.max_frames:
        raise _RefusedError(f"the picture is an animation of more than {limits.max_frames} frames")


def _too_large(limits: Limits) -> str:
    return f"the picture is larger than {limits.max_pixels // 1_000_000} megapixels or {limits.max_side:,} a side"


def _is_invisible(image: Image.Image) -> bool:
    seen = image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image
    bands = seen.getbands()
    return "A" in bands and seen.getchannel("A").getextrema() == (0, 0)


def _webp_is_short(content: bytes) -> bool:
    return content[:4] == b"RIFF" and len(content) < 8 + int.from_bytes(content[4:8], "little")


def confine(limits: Limits) -> list[str]:
    """Take from this process what decoding does not need; returns the measures that this system refused."""
    Image.preinit()
    # macOS refuses this limit; there the limits on pixels have to do.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (limits.address_space, limits.address_space))
    # Between one and two times this number Pillow only warns.
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    return sandbox.confine()


def serve(source: BinaryIO, sink: BinaryIO, limits: Limits) -> None:
    """Answer until the other end closes."""
    while len(head := source.read(LENGTH.size)) == LENGTH.size:
        content = source.read(LENGTH.unpack(head)[0])
        _allow_seconds(limits.seconds)
        _answer(sink, verdict(content, limits))


def _allow_seconds(seconds: float) -> None:
    """End this process when it computes for longer from now on: the other end, which watches the clock, may be gone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (ceil(used.ru_utime + used.ru_stime + seconds) + 1, hard))


def _answer(sink: BinaryIO, answer: dict[str, str]) -> None:
    sink.write(json.dumps(answer).encode() + b"\n")
    sink.flush()


def main(arguments: list[str]) -> None:
    """Limit this process and serve."""
    limits = Limits(**json.loads(arguments[0]))
    _answer(sys.stdout.buffer, {"missing": ", ".join(confine(limits))})
    serve(sys.stdin.buffer, sys.stdout.buffer, limits)


if __name__ == "__main__":
    main(sys.argv[1:])
