"""Reads the text out of a description that is HTML, for every POS that has only that.

Tags go, what they set apart stays apart, and nothing is fetched or interpreted. Which field is HTML is each provider's
own business. Not `html.parser`: it takes two minutes for 60 kB of `<a ` and raises on `<![x y]>`.
"""

import html
import re

_BREAKS = frozenset({"br", "p", "div", "li", "ul", "ol", "tr", "table", "h1", "h2", "h3", "h4", "h5", "h6", "hr"})
_UNSEEN = re.compile(r"<!--|<(script|style)\b", re.IGNORECASE)
# No `<` inside: each character is then looked at once, however many tags never end.
_TAG = re.compile(r"</?([a-z][a-z0-9]*)?[!?]?(?<!<)[^<>]*>", re.IGNORECASE)
# Ten digits are no character, and more than 4,300 no number that Python reads.
_NO_CHARACTER = re.compile(r"&#[0-9]{10,};?")
_SPACES = re.compile(r"[ \t\r\n\f]+")


def text_of_html(text: str) -> str:
    """The words of an HTML text, a line for each paragraph; one without tags or entities comes back as it is."""
    if "<" not in text and "&" not in text:
        return text
    seen = _seen(text)
    # Looking first takes a tenth of the time of replacing every single space by itself.
    is_flat = not ("  " in seen or "\n" in seen or "\t" in seen or "\r" in seen or "\f" in seen)
    flat = seen if is_flat else _SPACES.sub(" ", seen)
    words = _TAG.sub(_break_or_nothing, flat)
    if "&" in words:
        words = html.unescape(_NO_CHARACTER.sub("\ufffd", words))
    lines = [line.strip(" ") for line in words.split("\v")]
    return "\n".join([line for line in lines if line]).strip(" \n")


def _break_or_nothing(tag: re.Match[str]) -> str:
    # A vertical tab until the end, because a line end in HTML is only a space.
    return "\v" if (tag[1] or "").lower() in _BREAKS else ""


def _seen(text: str) -> str:
    """Without comments, scripts and styles; one that never ends lasts to the end."""
    pieces, at = [], 0
    while start := _UNSEEN.search(text, at):
        pieces.append(text[at : start.start()])
        end = re.compile(f"</{start[1]}[^<>]*>" if start[1] else "-->", re.IGNORECASE).search(text, start.end())
        if end is None:
            return "".join(pieces)
        at = end.end()
    return "".join([*pieces, text[at:]])
