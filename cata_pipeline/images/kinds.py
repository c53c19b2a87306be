"""Tells by its first bytes what a file is, and names what we do not take.

Add a line to `_NOT_TAKEN` when merchants keep sending something that deserves a better reason than "not a picture".
Whether the rest of the file is sound is for `inspection.py`.
"""

from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.objects import PictureKind

_HEAD = 1024
_NOT_TAKEN: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
)
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIC"}


def sniffed_kind(content: bytes) -> PictureKind:
    """The kind that the first bytes announce; raises `PictureError` for anything we do not take."""
    if content.startswith(b"\xff\xd8\xff"):
        return PictureKind.JPEG
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return PictureKind.PNG
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return PictureKind.WEBP
    raise PictureError(_refusal(content[:_HEAD]))


def _refusal(head: bytes) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "the address leads to a web page, not to a picture"
    name = _BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None
    if text.startswith(b"<") and b"<svg" in text:
        name = "SVG"
    for start, known in _NOT_TAKEN:
        if head.startswith(start):
            name = known
    if name is None:
        return "the file is not a picture: use JPEG, PNG or WebP"
    return f"{name} is not supported: use JPEG, PNG or WebP"
