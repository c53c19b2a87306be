"""Count the scans of a JPEG without decoding it.

Each scan of a progressive JPEG is a pass over the whole image: thousands of scans in 800 kB take 20 seconds to decode,
and 50 scans of 50 megapixels six. Encoders write about ten.
"""

import re

_START_OF_SCAN = b"\xff\xda"
_END_OF_IMAGE = 0xD9
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
# Fill bytes may precede a marker; FF 00 is a byte of image data, and restarts are part of it.
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_MARKER_AFTER_SCAN = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)


def has_more_scans(jpeg: bytes, most: int) -> bool:
    """Whether a JPEG's first image has more than `most` scans; counts as decoders do, also in a damaged file."""
    # Nearly all files end here. The two bytes also occur in metadata, so more of them prove nothing.
    if jpeg.count(_START_OF_SCAN) <= most:
        return False
    scans, at, pattern = 0, 2, _MARKER
    while found := pattern.search(jpeg, at):
        code, at = found[1][0], found.end()
        if code == _END_OF_IMAGE:
            return False
        if code in _STANDALONE:
            continue
        pattern = _MARKER
        if code == _START_OF_SCAN[1]:
            pattern = _MARKER_AFTER_SCAN
            scans += 1
            if scans > most:
                return True
        at += int.from_bytes(jpeg[at : at + 2], "big")
    return False
