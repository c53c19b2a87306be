"""Escapes text that merchants, providers and databases wrote, where it becomes part of what people read.

A control character would clear or recolour a terminal, a format character reorders a line (U+202E) or hides in it
(U+200B), and a line break forges a line of a log. Whatever builds a message from foreign text calls `one_line`; every
error of ours and both standard streams apply `printable` as well. What a sink reads as markup (Slack's links, Markdown)
is escaped by that sink.
"""

import re
import unicodedata
from collections.abc import Callable

_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
"""Characters of other categories that draw nothing: Unicode's Default_Ignorable_Code_Point."""
_NOT_PLAIN = re.compile(r"[^\n -~]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def printable(text: str, escape: Callable[[str], str] = ascii) -> str:
    r"""Return `text` with each control, format and invisible character but the line break as an escape, such as \u202e.

    `escape` returns a character's escape between two quotation marks.
    """
    return _escaped(_NOT_PLAIN, text, escape)


def one_line(text: str) -> str:
    r"""Return `text` as `printable` does, its line breaks as \n."""
    return printable(text).replace("\n", "\\n")


def drawable(text: str) -> str:
    """Return `text` with invisible characters escaped that are not ASCII: a program that draws writes the others."""
    return _escaped(_NOT_ASCII, text, ascii)


def _escaped(suspects: re.Pattern[str], text: str, escape: Callable[[str], str]) -> str:
    def shown(suspect: re.Match[str]) -> str:
        character = suspect[0]
        unseen = unicodedata.category(character) in _UNSEEN or _IGNORABLE.match(character)
        return escape(character)[1:-1] if unseen else character

    return suspects.sub(shown, text)
