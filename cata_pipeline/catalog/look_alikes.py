"""Finds item codes that a reader cannot tell apart, because only characters that are not visible distinguish them.

Codes are opaque bytes: nothing here changes, unites or rejects one. What is done with a finding belongs to the caller.
"""

import unicodedata
from collections.abc import Sequence

# Unicode's Default_Ignorable_Code_Point, beyond the categories Cf and Cc.
_IGNORABLE = (
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation selectors
    (0x2065, 0x2065),
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFFA0, 0xFFA0),  # halfwidth Hangul filler
    (0xFFF0, 0xFFF8),
    (0xE0000, 0xE0FFF),  # tags, more variation selectors
)
_BLANK = {0x2800: " "}  # a Braille cell without dots, which Python does not take for white space


class _TranslationTable(dict[int, str | None]):
    """A table for `str.translate` without invisible characters; knows each character after it was met once."""

    def __missing__(self, code_point: int) -> str | None:
        self[code_point] = None if _is_invisible(code_point) else chr(code_point)
        return self[code_point]


def look_alikes(codes: Sequence[str]) -> list[list[str]]:
    """Return the groups of different codes that look alike; white space is compared as one space, outer as none."""
    changed = {code: shown for code in codes if (shown := _as_shown(code)) != code}
    groups: dict[str, list[str]] = {shown: [] for shown in changed.values()}
    for code in codes if groups else ():
        if (group := groups.get(changed.get(code, code))) is not None:
            group.append(code)
    return [group for group in groups.values() if len(group) > 1]


def _as_shown(code: str) -> str:
    # Nearly all codes end here: 100,000 of them take 10 ms.
    if code.isascii() and code.isprintable() and " " not in code:
        return code
    return " ".join(unicodedata.normalize("NFC", code.translate(_TABLE)).split())


def _is_invisible(code_point: int) -> bool:
    if unicodedata.category(chr(code_point)) in {"Cf", "Cc"}:
        return not chr(code_point).isspace()
    return any(first <= code_point <= last for first, last in _IGNORABLE)


_TABLE = _TranslationTable(_BLANK)
