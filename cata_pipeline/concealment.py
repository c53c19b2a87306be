"""Secrets in play, and what is left of a text once none of them is told by it.

Add a spelling here when somebody repeats a secret in yet another one. Which texts are secrets, and which texts leave
this process, is decided elsewhere.
"""

import base64
import html
import json
import re
import threading
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

_SHORTEST = 8
"""Anything shorter is met by chance, too."""
_CUT = 2 * _SHORTEST
_WITHHELD = "(a secret)"


class Concealed:
    """The secrets that one tenant's work has met so far; safe to share between threads.

    A secret is recognised as it is, and as JSON, a URL, a form, HTML, Python, base64 or hexadecimal digits spell it, in
    whatever case, and so is any 15 characters of a long one: what is repeated is often cut. One of less than 8
    characters is recognised only as it is, and not taken out of a text, which it would make unreadable.
    """

    def __init__(self, *secrets: str) -> None:
        self._secrets: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """These are secrets from now on."""
        with self._lock:
            self._secrets.update(filter(None, secrets))
            self._pattern = None

    def is_told_by(self, text: str) -> bool:
        """Whether `text` holds any of them."""
        with self._lock:
            short = [secret for secret in self._secrets if len(secret) < _SHORTEST]
        return any(secret in text for secret in short) or self.without(text) != text

    def without(self, text: str) -> str:
        """`text` with each of them withheld."""
        return self._compiled().sub(_WITHHELD, text)

    def _compiled(self) -> re.Pattern[str]:
        """Made when first asked for: a tenant that is served needs none, and long secrets take some milliseconds."""
        with self._lock:
            if self._pattern is None:
                found = {text for secret in self._secrets if len(secret) >= _SHORTEST for text in _spellings(secret)}
                longest_first = sorted(found, key=lambda spelling: (-len(spelling), spelling))
                # Without any, a pattern that nothing matches.
                told = "|".join(map(re.escape, longest_first)) or r"(?!)"
                self._pattern = re.compile(f"(?:{told})+", re.IGNORECASE)
            return self._pattern


def _spellings(secret: str) -> Iterator[str]:
    yield from _as_text(secret)
    if len(secret) >= _CUT:
        for start in (*range(0, len(secret) - _SHORTEST, _SHORTEST), len(secret) - _SHORTEST):
            yield from _as_text(secret[start : start + _SHORTEST])
    raw = secret.encode(errors="surrogatepass")
    yield from (text for text in _as_digits(raw) if len(text) >= _SHORTEST)


def _as_text(text: str) -> Iterator[str]:
    raw = text.encode(errors="surrogatepass")
    yield text
    # The marks that JavaScript leaves as they are; a path keeps its slashes.
    yield from (quote(raw, safe=safe) for safe in ("", "/", "!~*'()"))
    yield quote_plus(raw)
    yield html.escape(text)
    yield repr(text)[1:-1]
    yield repr(raw)[2:-1]
    for inner in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
        yield inner
        yield inner.replace("/", "\\/")


def _as_digits(raw: bytes) -> Iterator[str]:
    yield raw.hex()
    for shift in range(3):
        # What stands before a secret shifts its bits; digits that hold bits of its neighbours are cut off.
        digits = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        own = digits[(0, 2, 3)[shift] : len(digits) - bool((len(raw) + shift) % 3)]
        yield own
        yield own.replace("+", "-").replace("/", "_")
