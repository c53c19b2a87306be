"""The newest pictures of a copy as markdown, small enough for the UI to show them where the counts are."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from cata_pipeline.images.result import CopiedPicture

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_CODE_CHARACTERS = 40
# What a base URL may hold without meaning anything to markdown.
_KEPT = ":/?#[]@$&+,;=%~"


def gallery(pictures: "Sequence[CopiedPicture]", base_url: str, longest: int) -> str:
    """As many whole pictures as fit below `longest` characters, in their order; empty when there are none.

    The UI shows them as large as they are, in a table too, and takes no HTML that could say otherwise: only a base URL
    behind which a CDN makes them smaller does.
    """
    shown: list[str] = []
    room = longest - 1
    for picture in pictures:
        image = f"![{_literal(picture.item_code)}]({quote(base_url, safe=_KEPT)}{quote(picture.path)})"
        if len(image) > room:
            break
        shown.append(image)
        room -= len(image) + 1
    return " ".join(shown)


def _literal(item_code: str) -> str:
    """An item code as markdown shows it and never obeys it: every mark with a backslash, one line."""
    words = "".join(character if character.isprintable() else " " for character in item_code).split()
    return _PUNCTUATION.sub(r"\\\1", " ".join(words)[:_CODE_CHARACTERS])
