"""What is left of a description in HTML."""

import pytest

from cata_pipeline.providers.html_text import text_of_html


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("Plain  text, kept\nas it is ", "Plain  text, kept\nas it is "),
        ("<p>Strong &amp; sweet</p>", "Strong & sweet"),
        ("<p>One</p>\n<p>Two</p>", "One\nTwo"),
        ("One<br>Two<br/>Three", "One\nTwo\nThree"),
        ("<ul><li>Milk</li><li>Ice</li></ul>", "Milk\nIce"),
        ("a <b>bold</b>  <i>word</i>\n again", "a bold word again"),
        ("5 &lt; 6 &euro; &#x1F35C;", "5 < 6 € 🍜"),
        ("Kopi\u00a0Susu&nbsp;Ice<br>", "Kopi\u00a0Susu\u00a0Ice"),
        ("<style>p {color: red}</style><script>alert(1)</script>Teh", "Teh"),
        ("</style>Teh", "Teh"),
        ("<!-- note -->Teh", "Teh"),
        ("<p></p> <br/>", ""),
        ("A & B", "A & B"),
        ("3 < 4", "3 < 4"),
        ("&#0;&#xD800;", "\ufffd\ufffd"),
        ("&#99999999999;", "\ufffd"),
    ],
)
def test_tags_go_and_words_stay(html: str, text: str) -> None:
    assert text_of_html(html) == text


@pytest.mark.parametrize("piece", ["<b>", "<a ", "<!--", "<![", "</", "<script", "<style></style>", "&#", "&#1"])
def test_a_hostile_text_neither_fails_nor_takes_for_ever(piece: str) -> None:
    assert text_of_html("Teh<br>" + piece * 100_000).startswith("Teh")


@pytest.mark.parametrize("odd", ["<![if x]>", "<!DOCTYPE html>", "<?php x ?>", "</>", "<b/>", "<!-- never ends"])
def test_what_is_no_tag_of_a_text_goes_too(odd: str) -> None:
    assert text_of_html(f"Teh {odd}") == "Teh"


def test_a_number_beyond_all_characters_is_one_unknown_character() -> None:
    assert text_of_html("Teh &#" + "1" * 50_000 + ";") == "Teh \ufffd"
