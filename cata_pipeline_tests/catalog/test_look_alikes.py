"""Item codes that look the same on a screen, and what a catalog reports of them."""

import itertools
import unicodedata
from collections import Counter

import pytest

from cata_pipeline.catalog.look_alikes import look_alikes
from cata_pipeline.catalog.model import Catalog, Item, unite

INVISIBLE = {
    "zero width space": "\u200b",
    "zero width joiner": "\u200d",
    "byte order mark": "\ufeff",
    "word joiner": "\u2060",
    "soft hyphen": "\u00ad",
    "right-to-left mark": "\u200f",
    "bidirectional isolate": "\u2066",
    "Mongolian vowel separator": "\u180e",
    "combining grapheme joiner": "\u034f",
    "Hangul filler": "\u3164",
    "halfwidth Hangul filler": "\uffa0",
    "Hangul choseong filler": "\u115f",
    "Khmer inherent vowel": "\u17b4",
    "variation selector": "\ufe0f",
    "variation selector of ideographs": "\U000e0100",
    "Mongolian variation selector": "\u180b",
    "tag": "\U000e0041",
    "musical format character": "\U0001d173",
    "control character": "\x01",
    "delete": "\x7f",
    "C1 control character": "\x9f",
}
SPACES = ["\u00a0", "\u2009", "\u202f", "\u3000", "\u2800", "\t", "\n", "\x1f", "\x85", "  "]


def catalog(*codes: str, **warnings: int) -> Catalog:
    items, _ = unite(Item(code, f"id-{number}", "Kopi", is_active=True) for number, code in enumerate(codes))
    return Catalog(items, warnings=Counter(warnings))


@pytest.mark.parametrize("character", INVISIBLE.values(), ids=INVISIBLE)
def test_an_invisible_character_anywhere_makes_codes_look_alike(character: str) -> None:
    for odd in (f"{character}K1", f"K{character}1", f"K1{character}", f"K{character}{character}1"):
        assert look_alikes(["K1", "K2", odd]) == [["K1", odd]]
    assert look_alikes([f"K{character}1", f"{character}K1"]) == [[f"K{character}1", f"{character}K1"]]


@pytest.mark.parametrize("space", SPACES, ids=ascii)
def test_white_space_of_any_kind_is_one_space_within_a_code_and_none_around_it(space: str) -> None:
    assert look_alikes(["K 1", f"K{space}1", "K1"]) == [["K 1", f"K{space}1"]]
    assert look_alikes(["K1", f"{space}K1", f"K1{space}", "K 1"]) == [["K1", f"{space}K1", f"K1{space}"]]


def test_codes_that_differ_in_composition_alone_look_alike() -> None:
    composed = "Caf\u00e9-\uac00"
    decomposed = unicodedata.normalize("NFD", composed)
    assert look_alikes([composed, decomposed]) == [[composed, decomposed]]
    assert look_alikes(["e\u034f\u0301", "\u00e9"]) == [["e\u034f\u0301", "\u00e9"]]
    assert look_alikes(["\u212b", "\u00c5"]) == [["\u212b", "\u00c5"]]


def test_codes_of_nothing_visible_look_alike() -> None:
    assert look_alikes(["\u200b", "\u200c", "K"]) == [["\u200b", "\u200c"]]


def test_what_can_be_seen_is_no_look_alike() -> None:
    different = [
        "k1",
        "K1",
        "\uff2b1",
        "K-1",
        "K 1",
        "K\u00af1",
        "e",
        "\u00e9",
        "\u2460",
        "1",
        "007",
        "7",
        "\u901a\u5e38",
    ]
    assert look_alikes(different) == []
    assert look_alikes([f"{one} {other}" for one, other in itertools.permutations(different[2:8], 2)]) == []
    assert look_alikes(["K1\u200b", " K2", "K3\u00a0"]) == []
    assert look_alikes([]) == []


def test_a_catalog_reports_codes_that_look_alike_with_the_difference_escaped() -> None:
    codes = ["A1", "A1\u200b", "B 2", "B\u00a02", "C", "C ", "caf\u00e9", "cafe\u0301", "D"]
    found = catalog(*codes)
    assert {item.item_code for item in found.items} == set(codes)
    assert (found.rejections, found.duplicates) == ((), ())
    assert found.warnings == {
        r"item code that differs only invisibly from another: 'A1' and 'A1\u200b'; 'B 2' and 'B\xa02'; 'C' and 'C ';"
        r" 'cafe\u0301' and 'caf\xe9'": 8
    }


def test_the_warning_names_the_first_groups_and_counts_all() -> None:
    codes = [f"K{number:02}{' ' * spaces}" for number in range(12) for spaces in range(4)]
    [(sentence, count)] = catalog(*codes).warnings.items()
    assert count == 48
    assert sentence.endswith("; 'K09' and 'K09 ' and 'K09  '; 2 more")
    assert "K10" not in sentence


def test_the_providers_own_warnings_stay() -> None:
    found = catalog("A", "A ", left_out=3)
    assert found.warnings["left_out"] == 3
    assert len(found.warnings) == 2
    assert catalog("A", "B", left_out=3).warnings == {"left_out": 3}
