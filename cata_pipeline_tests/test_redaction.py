"""Secrets that a text contains, in every spelling that libraries give them, and texts that contain none."""

import base64
import html
import json
import re
import string
import threading
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cata_pipeline.redaction import Redactor

SECRET = 'hunter2/hunter2+"of kopi"&<roti>\\é'
KEY = "kopi-kita-iseller-key-2026"
PUBLIC = ("kopi-kita", "warung-nusantara", "iseller")


def all_percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def all_codes(text: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in text)


def html_safe(text: str, marks: str = "<>&") -> str:
    """As encoders write JSON that may stand in HTML: Go by default, PHP and .NET with more marks."""
    inner = json.dumps(text)[1:-1].replace('\\"', '"' if '"' in marks else '\\"')
    return re.sub(f"[{marks}]", lambda found: f"\\u{ord(found[0]):04X}", inner)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in a URL": quote,
    "in a URL, all marks": lambda text: quote(text, safe=""),
    "in a URL, all characters": all_percent,
    "in a URL, all characters, in lower case": lambda text: all_percent(text).lower(),
    "by encodeURIComponent": lambda text: quote(text, safe="!~*'()"),
    "by encodeURI": lambda text: quote(text, safe=";,/?:@&=+$#!~*'()"),
    "in a form": quote_plus,
    "in a form by Java": lambda text: quote_plus(text, safe="*"),
    "in a form with others": lambda text: urlencode({"client_id": "kopi", "client_secret": text}),
    "in HTML": html.escape,
    "in JSON": lambda text: json.dumps({"secret": text}),
    "in JSON as UTF-8": lambda text: json.dumps({"secret": text}, ensure_ascii=False),
    "in JSON by PHP": lambda text: json.dumps(text).replace("/", "\\/"),
    "in JSON by Go": html_safe,
    "in JSON by .NET": lambda text: html_safe(text, "<>&'+`\""),
    "in JSON, all marks as codes": lambda text: re.sub("[^0-9a-zA-Z]", lambda found: all_codes(found[0]), text),
    "in a URL, all but letters and digits": lambda text: re.sub("[^0-9a-zA-Z]", lambda m: all_percent(m[0]), text),
    "in a URL within a URL": lambda text: quote(f"https://pos.example/?secret={quote(text, safe='')}", safe=""),
    "in JSON within JSON": lambda text: json.dumps(json.dumps({"secret": text})),
    "in JSON shown by repr": lambda text: repr(json.dumps({"secret": text})),
    "by repr beside both quotation marks": lambda text: repr(f"it's \" {text}"),
    "in JSON, all codes": all_codes,
    "in JSON, all codes, in capitals": lambda text: all_codes(text).upper().replace("\\U", "\\u"),
    "by repr": lambda text: repr({"secret": text}),
    "by repr of bytes": lambda text: repr({"secret": text.encode()}),
    "in hexadecimal": lambda text: text.encode().hex(),
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "in base64 behind a letter": lambda text: base64.b64encode(f"a{text}z".encode()).decode(),
    "in base64 behind two": lambda text: base64.b64encode(f"ab{text}z".encode()).decode(),
    "in base64 for URLs": lambda text: base64.urlsafe_b64encode(f"kopi:{text}".encode()).decode(),
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS.keys())
@pytest.mark.parametrize("secret", [SECRET, KEY, "p@ss/w0rd", "k3y+of~kopi", "šifra-ključ-2026-šifra"])
def test_a_whole_secret_is_found_and_redacted_in_every_spelling(secret: str, spell: Callable[[str], str]) -> None:
    redactor = Redactor(secret)
    text = f"before {spell(secret)} after"
    assert redactor.finds_in(text)
    redacted = redactor.redact(text)
    assert not redactor.finds_in(redacted)
    assert redacted.startswith("before ")
    assert redacted.endswith(" after")
    assert "(redacted)" in redacted


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS.keys())
@pytest.mark.parametrize("secret", [SECRET, KEY, f"{SECRET}-{KEY}", "šifra-ključ-2026-šifra"])
def test_half_of_a_secret_and_16_characters_are_redacted_wherever_it_was_cut(
    secret: str, spell: Callable[[str], str]
) -> None:
    least, redactor = max(16, (len(secret) + 1) // 2), Redactor(secret)
    for start in range(len(secret) - least + 1):
        assert redactor.finds_in(f"it was {spell(secret[start : start + least])}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lock on tenant kopi-kita",
        "tenant warung-nusantara",
        "lock on tenant warung-nusantara: iSeller is too slow",
        "the provider iseller, the key of 2026",
        "kopi-kita-iselle",
        "(HTTP 400) kopi-kita-outlet-key-2025",
    ],
)
@pytest.mark.parametrize("secret", [f"{KEY}-of-the-shop", "warung-nusantara-iseller-key"])
def test_tenant_ids_provider_names_and_ordinary_words_stay(secret: str, text: str) -> None:
    redactor = Redactor(secret, public=PUBLIC)
    assert redactor.redact(text) == text
    assert not redactor.finds_in(text)


def test_a_fragment_of_less_than_half_or_16_characters_stays() -> None:
    for text in (KEY[:15], KEY[-15:], SECRET[: len(SECRET) // 2 - 1], "Kopi-Kita"):
        assert Redactor(SECRET, KEY).redact(text) == text


def test_a_public_word_is_not_a_secret_although_credentials_hold_it() -> None:
    redactor = Redactor("kopi-kita", "Loyverse", public=("kopi-kita", "loyverse"))
    assert redactor.redact("lock on tenant kopi-kita of loyverse") == "lock on tenant kopi-kita of loyverse"


def test_without_secrets_every_text_stays_as_it_is() -> None:
    for redactor in (Redactor(), Redactor("")):
        assert not redactor.finds_in(SECRET)
        assert redactor.redact(SECRET) == SECRET


def test_a_short_secret_is_found_but_makes_no_message_unreadable() -> None:
    redactor = Redactor("shop")
    assert redactor.finds_in("no such shop")
    assert redactor.redact("shop is no option") == "shop is no option"


def test_a_secret_that_comes_later_is_redacted_too() -> None:
    redactor = Redactor("another-secret")
    assert redactor.redact(SECRET) == SECRET
    redactor.add(SECRET)
    assert redactor.redact(f"{SECRET} another-secret") == "(redacted) (redacted)"


def test_the_longer_of_two_secrets_leaves_nothing_over() -> None:
    redactor = Redactor("hunter2-hunter2", "hunter2-hunter2-of-kopi")
    assert redactor.redact("x hunter2-hunter2-of-kopi") == "x (redacted)"


@settings(deadline=None)
@given(st.text(min_size=8), st.text(), st.text())
def test_no_text_keeps_a_secret(secret: str, before: str, after: str) -> None:
    redactor = Redactor(secret)
    assert secret not in redactor.redact(f"{before}{secret}{after}").replace("(redacted)", "\0")
    assert redactor.finds_in(f"{before}{quote(secret.encode(errors='surrogatepass'))}{after}")


@settings(deadline=None)
@given(
    st.text(string.ascii_letters + string.digits + "-_+/=", min_size=8, max_size=80),
    st.sampled_from(sorted(SPELLINGS)),
    st.data(),
)
def test_what_is_left_around_a_secret_are_the_words_around_it(secret: str, name: str, data: st.DataObject) -> None:
    least = max(16, (len(secret) + 1) // 2)
    start = data.draw(st.integers(0, max(len(secret) - least, 0)))
    text = f"ä{SPELLINGS[name](secret[start : start + least])}ö"
    redacted = Redactor(secret).redact(text)
    assert "(redacted)" in redacted
    assert redacted[0] + redacted[-1] == "äö"


def test_secrets_may_be_added_while_others_are_looked_for() -> None:
    redactor, wrong = Redactor(), []

    def work(number: int) -> None:
        for step in range(30):
            secret = f"secret-{number}-{step}"
            redactor.add(secret)
            if not redactor.finds_in(f"x {secret} x"):
                wrong.append(secret)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
