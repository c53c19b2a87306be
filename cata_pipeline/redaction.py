"""Redact secrets from texts, in every spelling that a library gives them.

Add a spelling to `_spellings`. Which texts are secrets, and which texts leave the process, is decided elsewhere.
"""

import functools
import html
import itertools
import json
import operator
import re
import threading
from base64 import b64encode, urlsafe_b64encode
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from urllib.parse import quote, quote_plus

_SHORTEST = 8  # a shorter secret occurs in ordinary text by chance
_FRAGMENT = 16
_GRAM = 8
_HTML_MARKS = ("[<>&]", "[<>&=']", r"[<>&']|\\\"", r"[<>&'+`]|\\\"")


class Redactor:
    """The secrets that one tenant's run has used so far; safe to share between threads.

    Case is ignored. A fragment is redacted if it has half of its secret and at least 16 characters. A secret of less
    than 8 characters is found, but not redacted. The words in `public`, such as the tenant's id, are never secrets.
    """

    def __init__(self, *secrets: str, public: Collection[str] = ()) -> None:
        self._public = {_folded(word) for word in public}
        self._secrets: set[str] = set()
        self._index: _Index | None = None
        self._lock = threading.Lock()
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Redact these from now on."""
        with self._lock:
            self._secrets |= {secret for secret in secrets if secret and _folded(secret) not in self._public}
            self._index = None

    def finds_in(self, text: str) -> bool:
        """Whether `text` contains any of them."""
        with self._lock:
            short = [secret for secret in self._secrets if len(secret) < _SHORTEST]
        return any(secret in text for secret in short) or self.redact(text) != text

    def redact(self, text: str) -> str:
        """`text` with each of them replaced, in time proportional to its length."""
        with self._lock:
            index = self._index = self._index or _Index(self._secrets)
        pieces: list[str] = []
        done = 0
        for start, end in sorted(index.found_in(_folded(text), self._public)):
            if start > done or not done:
                pieces += [text[done:start], "(redacted)"]
            done = max(done, end)
        return "".join([*pieces, text[done:]])


class _Index:
    """Spellings by their runs of 8 characters: any 15 characters of a text contain one at a multiple of 8."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._short: list[str] = []
        self._grams: dict[str, list[tuple[str, str, int, int]]] = defaultdict(list)
        long = (secret for secret in secrets if len(secret) >= _SHORTEST)
        spelled = set(itertools.chain.from_iterable(map(_spelled, long)))
        for spelling, fragment in sorted(spelled, key=lambda pair: (-len(pair[0]), pair)):
            if len(spelling) < 2 * _GRAM - 1:
                self._short.append(spelling)
                continue
            least = min(fragment, len(spelling))
            # Every fragment has this many characters from its first such run on.
            size = least - _GRAM + 1
            for start in range(len(spelling) - size + 1):
                follows = spelling[start : start + size]
                self._grams[follows[:_GRAM]].append((follows, spelling, start, least))

    def found_in(self, text: str, public: Collection[str]) -> Iterator[tuple[int, int]]:
        for spelling in self._short:
            if spelling in text:
                yield from (found.span() for found in re.finditer(re.escape(spelling), text))
        done, grams = 0, dict(self._grams)
        for at in [at for at in range(0, len(text), _GRAM) if text[at : at + _GRAM] in grams]:
            if at < done:
                continue
            near = [entry[1:] for entry in grams[text[at : at + _GRAM]] if text.startswith(entry[0], at)]
            for spelling, start, _ in near:
                if at >= start and text.startswith(spelling, at - start):
                    done = at - start + len(spelling)
                    yield at - start, done
                    break
            else:
                for spelling, start, least in near:
                    begin = at - _equal(text[max(at - start, 0) : at][::-1], spelling[:start][::-1])
                    end = at + _equal(text[at : at + len(spelling)], spelling[start:])
                    if end - begin >= least and not _is_public(text[begin:end], public):
                        done = max(done, end)
                        yield begin, end


def _equal(one: str, other: str) -> int:
    """How many characters at their beginning are the same."""
    return len(list(itertools.takewhile(bool, map(operator.eq, one, other))))


def _is_public(fragment: str, words: Collection[str]) -> bool:
    for word in words:
        fragment = fragment.replace(word, "")
    return not re.search(r"\w", fragment)


def _folded(text: str) -> str:
    """In lower case and of the same length, which only İ would change."""
    return text.replace("İ", "i").lower()


def _spelled(secret: str) -> Iterator[tuple[str, int]]:
    """Each spelling, and the least length of a fragment in it."""
    least = max(_FRAGMENT, (len(secret) + 1) // 2)
    for spelling, *of_characters in zip(_spellings(secret), *map(_of_character, set(secret)), strict=True):
        yield _folded(spelling), least * min(of_characters)
    raw = secret.encode(errors="surrogatepass")
    for shift in range(3):
        for encode in (b64encode, urlsafe_b64encode):
            # What stands before a secret shifts its bits; digits that hold bits of its neighbours are cut off.
            digits = encode(b"\0" * shift + raw).decode().rstrip("=")
            own = digits[(0, 2, 3)[shift] : len(digits) - bool((len(raw) + shift) % 3)]
            yield _folded(own), (4 * least - 2) // 3


@functools.lru_cache(1024)
def _of_character(character: str) -> list[int]:
    return list(map(len, _spellings(character)))


def _spellings(text: str) -> list[str]:
    json_texts = [json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]]
    raw = text.encode(errors="surrogatepass")
    once = [
        *(text, html.escape(text), raw.hex()),
        # Python shows a quotation mark with a backslash where the whole text has both kinds.
        *(repr(text)[1:-1], repr(raw)[2:-1], repr(f"\"'{text}")[4:-1], repr(b"\"'" + raw)[5:-1]),
        *(quote(raw, safe) for safe in ("", "/", "!~*'()", ";,/?:@&=+$#!~*'()")),  # Python and JavaScript
        *(quote_plus(raw), quote_plus(raw, "*").replace("~", "%7e")),  # Python and Java
        *(re.sub(marks, _as_percent, text) for marks in ("(?s).", r"[^0-9A-Za-z]")),
        *(re.sub(marks, _as_code, text) for marks in ("(?s).", r"[^0-9A-Za-z]")),
        *json_texts,
        *(inner.replace("/", r"\/") for inner in json_texts),
        # What Go, Java's Gson, PHP and .NET escape so that JSON may stand in HTML.
        *(re.sub(marks, _as_code, inner) for marks in _HTML_MARKS for inner in json_texts),
    ]
    # What is quoted may be quoted again, such as JSON that Python shows, or a URL in a URL.
    again = [
        [inner.replace("\\", r"\\"), json.dumps(inner)[1:-1], quote(inner, "", errors="surrogatepass")]
        for inner in once
    ]
    return [*once, *itertools.chain.from_iterable(again)]


def _as_percent(found: re.Match[str]) -> str:
    return re.sub("(..)", r"%\1", found[0].encode(errors="surrogatepass").hex())


def _as_code(found: re.Match[str]) -> str:
    return re.sub("(....)", r"\\u\1", found[0][-1].encode("utf-16-be", "surrogatepass").hex())
