"""The program a worker process runs: decodes pictures it is sent, one after the other, and says what it found.

Decoders written in C meet hostile bytes here, so this process has a memory limit, an empty environment and nothing to
lose. It is started as a file, isolated: it imports the standard library and Pillow, and must import nothing of this
package. The other end is `inspection.py`.

Arguments: the largest number of pixels, the longest side, the address space in bytes. Standard input: for each
picture an 8-byte big-endian length and the bytes. Standard output: one line `{}` when ready, then for each picture
`{"format": "PNG"}` or `{"reason": "…"}`.
"""

import contextlib
import io
import json
import resource
import struct
import sys
import warnings
from typing import BinaryIO

# WebP is imported by name because Pillow would otherwise load all of its decoders when it meets an unknown file.
from PIL import Image, WebPImagePlugin  # noqa: F401 the import registers the decoder

LENGTH = struct.Struct(">Q")
FORMATS = ("JPEG", "PNG", "WEBP")
_EIGHTH = 8


class _TooLargeError(Exception):
    pass


def verdict(content: bytes, max_pixels: int, max_side: int) -> dict[str, str]:
    """What is in `content`: its format, or the reason why it is refused."""
    try:
        return {"format": _decoded_format(content, max_pixels, max_side)}
    except (_TooLargeError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return {"reason": f"the picture is larger than {max_pixels // 1_000_000} megapixels or {max_side:,} a side"}
    except MemoryError:
        return {"reason": "the picture takes too much memory to decode"}
    except Exception as error:  # noqa: BLE001 decoders raise anything on hostile bytes; each means "not decodable"
        if "truncated" in str(error).lower() or _webp_is_short(content):
            return {"reason": "the file ends early"}
        return {"reason": "the picture is damaged and cannot be decoded"}


def _decoded_format(content: bytes, max_pixels: int, max_side: int) -> str:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels or max(width, height) > max_side:
            raise _TooLargeError
        # Reads every byte all the same, but skips most of the arithmetic; only JPEG heeds it.
        image.draft(image.mode, (max(1, width // _EIGHTH), max(1, height // _EIGHTH)))
        image.load()
        # Phone cameras append a second frame; Pillow then calls the JPEG "MPO".
        return "JPEG" if image.format == "MPO" else str(image.format)


def _webp_is_short(content: bytes) -> bool:
    return content[:4] == b"RIFF" and len(content) < 8 + int.from_bytes(content[4:8], "little")


def serve(source: BinaryIO, sink: BinaryIO, max_pixels: int, max_side: int) -> None:
    """Answer until the other end closes."""
    _answer(sink, {})
    while len(head := source.read(LENGTH.size)) == LENGTH.size:
        content = source.read(LENGTH.unpack(head)[0])
        _answer(sink, verdict(content, max_pixels, max_side))


def _answer(sink: BinaryIO, answer: dict[str, str]) -> None:
    sink.write(json.dumps(answer).encode() + b"\n")
    sink.flush()


def main(arguments: list[str]) -> None:
    """Limit this process and serve."""
    max_pixels, max_side, address_space = (int(argument) for argument in arguments)
    # macOS refuses this limit; there the limits on pixels have to do.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Between one and two times this number Pillow only warns.
    Image.MAX_IMAGE_PIXELS = max_pixels
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    serve(sys.stdin.buffer, sys.stdout.buffer, max_pixels, max_side)


if __name__ == "__main__":
    main(sys.argv[1:])
