"""Secrets that a text tells, however they are spelled, and texts that tell none."""

import base64
import html
import json
import threading
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cata_pipeline.concealment import Concealed

SECRET = 'hunter2/hunter2+"of kopi"&<roti>\\é'
RAW = SECRET.encode()
SPELLED = {
    "as it is": SECRET,
    "in capitals": SECRET.upper(),
    "in a URL": quote(SECRET),
    "in a URL, all of it": quote(SECRET, safe=""),
    "in a URL, in small letters": quote(SECRET, safe="").lower(),
    "by JavaScript": quote(SECRET, safe="!~*'()"),
    "in a form": quote_plus(SECRET),
    "in a form with others": urlencode({"client_id": "kopi", "client_secret": SECRET}),
    "in HTML": html.escape(SECRET),
    "in JSON": json.dumps({"secret": SECRET}),
    "in JSON as UTF-8": json.dumps({"secret": SECRET}, ensure_ascii=False),
    "in JSON by PHP": json.dumps({"secret": SECRET}).replace("/", "\\/"),
    "by Python": repr({"secret": SECRET}),
    "by Python as bytes": repr({"secret": RAW}),
    "in hexadecimal": RAW.hex(),
    "in base64": base64.b64encode(RAW).decode(),
    "in base64 behind a letter": base64.b64encode(b"a" + RAW + b"z").decode(),
    "in base64 behind two": base64.b64encode(b"ab" + RAW + b"z").decode(),
    "in base64 for URLs": base64.urlsafe_b64encode(b"kopi:" + RAW).decode(),
    "its first half": SECRET[: len(SECRET) // 2],
    "its last half": SECRET[len(SECRET) // 2 :],
    "all but the last letter": SECRET[:-1],
    "its last eight letters": SECRET[-8:],
}


@pytest.mark.parametrize("spelled", SPELLED.values(), ids=SPELLED.keys())
def test_a_secret_is_recognised_and_taken_out_however_it_is_spelled(spelled: str) -> None:
    concealed = Concealed(SECRET)
    text = f"before {spelled} after"
    assert concealed.is_told_by(text)
    without = concealed.without(text)
    assert not concealed.is_told_by(without)
    assert without.startswith("before ")
    assert without.endswith(" after")
    assert "(a secret)" in without


@pytest.mark.parametrize(
    "text", ["", "hunter", "hunter2", "The POS is too slow: try again later.", "hunter2 hunter2", "of kopi"]
)
def test_a_text_that_tells_none_stays_as_it_is(text: str) -> None:
    concealed = Concealed(SECRET)
    assert not concealed.is_told_by(text)
    assert concealed.without(text) == text


@given(st.text(min_size=16), st.data())
def test_most_of_a_piece_is_taken_out_wherever_a_secret_was_cut(secret: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(secret) - 15))
    piece = secret[start : data.draw(st.integers(start + 15, len(secret)))]
    assert Concealed(secret).is_told_by(piece)
    # What is left stands before or behind the pieces that were recognised.
    assert all(len(rest) < 8 for rest in Concealed(secret).without(piece).split("(a secret)"))


def test_without_secrets_every_text_stays_as_it_is() -> None:
    concealed = Concealed()
    assert not concealed.is_told_by(SECRET)
    assert concealed.without(SECRET) == SECRET
    assert not Concealed("").is_told_by(SECRET)


def test_a_short_secret_is_recognised_but_makes_no_message_unreadable() -> None:
    concealed = Concealed("shop")
    assert concealed.is_told_by("no such shop")
    assert concealed.without("shop is no option") == "shop is no option"


def test_a_secret_that_comes_later_is_one_too() -> None:
    concealed = Concealed("another-secret")
    assert concealed.without(SECRET) == SECRET
    concealed.add(SECRET)
    assert concealed.without(f"{SECRET} another-secret") == "(a secret) (a secret)"


def test_the_longer_of_two_secrets_leaves_no_rest() -> None:
    assert (
        Concealed("hunter2-hunter2", "hunter2-hunter2-of-kopi").without("x hunter2-hunter2-of-kopi") == "x (a secret)"
    )


@given(st.text(min_size=8), st.text(), st.text())
def test_no_text_keeps_a_secret(secret: str, before: str, after: str) -> None:
    concealed = Concealed(secret)
    assert secret not in concealed.without(f"{before}{secret}{after}").replace("(a secret)", "\0")
    assert concealed.is_told_by(f"{before}{quote(secret.encode(errors='surrogatepass'))}{after}")


def test_secrets_may_be_added_while_others_are_looked_for() -> None:
    concealed, wrong = Concealed(), []

    def work(number: int) -> None:
        for step in range(30):
            secret = f"secret-{number}-{step}"
            concealed.add(secret)
            if not concealed.is_told_by(f"x {secret} x"):
                wrong.append(secret)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
