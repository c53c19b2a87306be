"""Tells by its first bytes what a file is, and names what we do not take.

Add a line to `_NOT_TAKEN` when merchants keep sending something that deserves a better reason than "not a picture".
Whether the rest of the file is sound is for `inspection.py`.
"""

from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.objects import PictureKind

WEB_PAGE = "the address leads to a web page, not to a picture"

_HEAD = 4096
_NOT_TAKEN: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"8BPS", "PSD"),
    (b"%PDF", "PDF"),
    (b"%!PS", "EPS"),
    (b"\x1f\x8b", "GZIP"),
    (b"PK\x03\x04", "ZIP"),
)
# The brands of an ISO media file, best known first: HEIC and AVIF share `mif1` as a major brand.
_BRANDS: tuple[tuple[frozenset[bytes], str], ...] = (
    (frozenset({b"avif", b"avis", b"avio"}), "AVIF"),
    (frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}), "HEIC"),
    (frozenset({b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"M4V ", b"qt  "}), "Video"),
)
_PAGE_STARTS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<title")


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
    # Without its zeros, UTF-16 reads like ASCII.
    text = head.replace(b"\x00", b"").lstrip(b"\xff\xfe\xef\xbb\xbf \t\r\n").lower()
    name = _media_name(head) or next((name for start, name in _NOT_TAKEN if head.startswith(start)), None)
    if name is None and text.startswith(b"<"):
        if text.startswith(_PAGE_STARTS):
            return WEB_PAGE
        if b"<svg" in text:
            name = "SVG"
        elif any(start in text for start in _PAGE_STARTS):
            return WEB_PAGE
    if name is None:
        return "the file is not a picture: use JPEG, PNG or WebP"
    return f"{name} is not supported: use JPEG, PNG or WebP"


def _media_name(head: bytes) -> str | None:
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), len(head))
    # The major brand, and after its version the compatible ones.
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
    return next((name for known, name in _BRANDS if brands & known), None)
