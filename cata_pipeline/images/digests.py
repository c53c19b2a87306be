"""Compares a body with the digest that its host sent along (`Content-Digest`, RFC 9530).

A flipped bit in the middle of a JPEG or WebP decodes all the same, so only this can find it. `Content-MD5` and ETags
are not looked at: hosts in between that shrink pictures pass on those of the original.
"""

import base64
import binascii
import hashlib
import re

# Algorithms that the RFC registers as secure; a digest by any other says nothing.
_DIGEST = re.compile(r"(sha-256|sha-512)=:([A-Za-z0-9+/=]+):")


def is_altered(content_digest: str, content: bytes | bytearray) -> bool:
    """Whether a header's digest contradicts the content; an absent or unreadable one does not."""
    # A header can repeat a right digest a thousand times: hashing for each held the event loop for six seconds.
    ours: dict[str, bytes] = {}
    for algorithm, text in _DIGEST.findall(content_digest):
        try:
            expected = base64.b64decode(text, validate=True)
        except binascii.Error:
            continue
        if algorithm not in ours:
            ours[algorithm] = hashlib.new(algorithm.replace("-", ""), content).digest()
        if ours[algorithm] != expected:
            return True
    return False
