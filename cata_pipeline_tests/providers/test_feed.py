"""Whole feeds: from a URL and from a file, in both formats, right and wrong."""

import asyncio
import csv
import gzip
import io
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.catalog.model import Catalog
from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.conformance.pos_server import Sold
from cata_pipeline.providers.conformance.scripted_server import answer, running
from cata_pipeline.providers.contract import Sample
from cata_pipeline.providers.feed import FEED
from cata_pipeline.providers.http import Patience
from cata_pipeline.providers.pacing import Pacing
from cata_pipeline.providers.secrets import Secrets
from cata_pipeline_tests.providers.feed_pos import COLUMNS, CsvFeedPos, FeedPos, csv_text, json_lines
from cata_pipeline_tests.providers.test_feed_rows import DOCUMENT

A, B = {"item_code": "A", "name": "Kopi"}, {"item_code": "B", "name": "Teh"}
BLOCKS = dict(re.findall(r"```(\w+)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL))
Fetch = Callable[..., Catalog]


@pytest.fixture
def fetch(feed_folder: Path) -> Fetch:
    """The catalog of a file with this content."""

    def fetched(content: str | bytes, format_: str = "jsonl", **options: object) -> Catalog:
        (feed_folder / "items").write_bytes(content if isinstance(content, bytes) else content.encode())
        return from_file("items", format_, **options)

    return fetched


@pytest.fixture
def pos() -> Iterator[FeedPos]:
    with running(FeedPos()) as server:
        yield server


def from_file(path: str, format_: str = "jsonl", **options: object) -> Catalog:
    return FEED.fetch({"source": path, "format": format_, **options}, Secrets({}), AddressPolicy())


def from_url(pos: FeedPos, secrets: dict[str, str] | None = None) -> Catalog:
    async def no_rest(_: float) -> None:
        await asyncio.sleep(0)

    patience = Patience(pacing=Pacing(0), sleep=no_rest)
    given = pos.secrets() if secrets is None else secrets
    return FEED.fetch(pos.options(), Secrets(given), pos.policy, patience)


def codes(catalog: Catalog) -> list[str]:
    return [item.item_code for item in catalog.items]


@pytest.mark.parametrize(("kind", "expected"), [("jsonl", ["007", "DUO", "KS-L"]), ("csv", ["007", "KS-L"])])
def test_the_examples_of_the_document_are_feeds(fetch: Fetch, kind: str, expected: list[str]) -> None:
    catalog = fetch(BLOCKS[kind], kind)
    assert codes(catalog) == expected
    assert catalog.rejections == ()
    by_code = {item.item_code: item for item in catalog.items}
    assert by_code["007"].is_active is False
    assert [option.value for option in by_code["KS-L"].variant_options] == ["Large"]
    if kind == "jsonl":
        assert [part.quantity for part in by_code["DUO"].bundle_components or ()] == ["2"]


def test_the_tenant_of_the_document_has_right_options() -> None:
    [tenant] = tomllib.loads(BLOCKS["toml"])["tenants"]
    assert FEED.option_problems(tenant["options"]) == []
    assert FEED.option_problems({"source": "kopi-kita/items.csv", "format": "csv"}) == []


def test_a_csv_feed_from_a_url_says_the_same_as_json_lines() -> None:
    sold = Sold('K, "1"', "Two\nlines", active=False, description="Strong", category="Coffee", image="https://x/y")
    told = []
    for kind in (FeedPos, CsvFeedPos):
        with running(kind()) as server:
            server.sell([sold, Sold("B")])
            catalog = from_url(server)
        told.append([(item.item_code, item.name, item.is_active, item.description) for item in catalog.items])
        assert catalog.rejections == ()
    assert told[0] == told[1]
    assert told[0][1] == ('K, "1"', "Two\nlines", False, "Strong")


def test_absent_columns_say_nothing_and_empty_cells_say_none(fetch: Fetch) -> None:
    [without] = fetch(csv_text(["item_code", "name"], [["A", "Kopi"]]), "csv").items
    [empty] = fetch(csv_text(["item_code", "name", "modifier_groups"], [["A", "Kopi", ""]]), "csv").items
    assert (without.modifier_groups, empty.modifier_groups) == (None, ())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"item_code": "X"}', "line 2 has no name"),
        ('{"item_code": "X", "name": "x", "price": 1}', "line 2 has the unknown price: prices belong to Cata"),
        ('{"item_code": "X", "name"', "line 2 is not JSON ("),
        ('{"item_code": "X", "name": "x", "name": "y"}', "line 2 is not JSON (a key stands there twice"),
        ('{"item_code": "X", "name": NaN}', "line 2 is not JSON (NaN is no JSON number"),
        ('{"item_code": ' + "9" * 5_000 + "}", "line 2 is not JSON (Exceeds the limit"),
        ("[" * 100_000, "line 2 is not JSON (it is nested too deeply)"),
        (f"{json.dumps(A)},", "line 2 is not JSON (more than one value, from character 35)"),
        ('  {"item_code": "a\x00"}  ', "line 2 is not JSON (Invalid control character at character 19)"),
        ('{"item_code": "X", "name": "x", "\\u001b": 1}', "line 2 has the unknown '\\x1b'; known are"),
        ("1e9999999999999999999", "line 2 is not JSON (it holds a number that no catalog has)"),
        ("[]", "line 2 is JSON, but no object"),
        ("null", "line 2 is JSON, but no object"),
    ],
    ids=lambda text: text[:30],
)
def test_a_wrong_line_of_json_costs_itself_and_is_named(fetch: Fetch, line: str, reason: str) -> None:
    catalog = fetch(f'{json.dumps(A)}\n{line}\n\n{json.dumps(B)}\n{{"end": true, "items": 3}}\n')
    assert codes(catalog) == ["A", "B"]
    [rejection] = catalog.rejections
    assert rejection.reason.startswith(reason)
    assert rejection.provider_id == "line 2"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("X", "line 4 has 1 cells; the header has 4"),
        ("X,x,true,,", "line 4 has 5 cells; the header has 4"),
        (",x,true,", "line 4 has no item_code"),
        ("X,x,yes,", "line 4 has a text as is_active; expected true or false"),
        ("X,x,true,[", "line 4 has a variant_options that is not JSON ("),
        ('X,"x"y,true,', "line 4 is not CSV ("),
        ('X,5" x,"true,', "line 4 is not CSV (unexpected end of data)"),
        (f"X,{'x' * 140_000},true,", "line 4 is not CSV (field larger than field limit (131072))"),
    ],
)
def test_a_wrong_line_of_csv_costs_itself_and_is_named(fetch: Fetch, line: str, reason: str) -> None:
    head = 'item_code,name,is_active,variant_options\nA,"Kopi\nSusu",true,\n'
    catalog = fetch(f"{head}{line}\nB,Teh,,\n#end,3\n", "csv")
    assert codes(catalog) == ["A", "B"]
    [rejection] = catalog.rejections
    assert rejection.reason.startswith(reason)


WHOLE = json_lines([A, B])
NAMES = st.text(
    st.sampled_from('",\r\n\\ a#é🍜\u2028\x85\x1f')
    | st.characters(exclude_characters="\x00", exclude_categories=["Cs"]),
    min_size=1,
).filter(lambda name: not name.isspace())
END = '{"end": true, "items": N}'
CSV = "item_code,name\nA,Kopi\nB,Teh\n#end,2\n"


@pytest.mark.parametrize(
    ("content", "kind", "told"),
    [
        ("", "jsonl", "ends after line 0 without its end line"),
        (WHOLE.rpartition("{")[0], "jsonl", "ends after line 2 without its end line, as if it were cut"),
        (WHOLE[:-5], "jsonl", "ends after line 3 without its end line"),
        (WHOLE.partition("\n")[2], "jsonl", "says on line 2 that it has 2 items, and has 1"),
        (WHOLE + json.dumps(A), "jsonl", "goes on after its end line, on line 4"),
        (WHOLE + WHOLE, "jsonl", "goes on after its end line, on line 4"),
        (WHOLE + WHOLE.splitlines()[-1], "jsonl", "goes on after its end line, on line 4"),
        (WHOLE + "\x1a", "jsonl", "goes on after its end line, on line 4"),
        (
            f"[\n{json.dumps(A)},\n{json.dumps(B)}\n]\n",
            "jsonl",
            f"ends after line 4 without its end line, as if it were cut; expected {END}; before that, line 1 is not",
        ),
        (WHOLE.replace("\n", "\r"), "jsonl", "ends after line 1 without its end line"),
        (
            WHOLE.replace("\n", "\n\x00\n", 1),
            "jsonl",
            "says on line 4 that it has 2 items, and has 3; before that, line 2",
        ),
        (WHOLE.encode("utf-16-le"), "jsonl", "ends after line 4 without its end line"),
        (gzip.compress(WHOLE.encode(), mtime=0)[:-5], "jsonl", "ends in the middle of its gzip stream"),
        (gzip.compress(gzip.compress(WHOLE.encode(), mtime=0), mtime=0), "jsonl", "is not UTF-8 on line 1"),
        (gzip.compress(b"", mtime=0), "jsonl", "ends after line 0 without its end line"),
        (WHOLE.replace("Teh", "T" * 2**20), "jsonl", "has more than 1048576 bytes on line 2"),
        ('{"end": true}', "jsonl", "has an end line that is none, on line 1; expected {"),
        ('{"end": true, "items": true}', "jsonl", "has an end line that is none"),
        ('{"end": true, "items": 0, "more": 1}', "jsonl", "has an end line that is none"),
        ('{"end": true, "items": "0"}', "jsonl", "has an end line that is none"),
        ('{"end": true, "items": -1}', "jsonl", "says on line 1 that it has -1 items, and has 0"),
        ('{"end": true, "items": 1.5}', "jsonl", "says on line 1 that it has 1.5 items, and has 0"),
        (f'{{"end": true, "items": {"9" * 4_000}}}', "jsonl", f"says on line 1 that it has {'9' * 80} items, and"),
        ('{"item_code": "A", "name": "a", "end": true}', "jsonl", "has an end line that is none, on line 1"),
        (WHOLE.encode("utf-16"), "jsonl", "is not UTF-8 on line 1"),
        (b'{"item_code": "A"}\n\xff\n', "jsonl", "is not UTF-8 on line 2"),
        ("<!doctype html>\n", "jsonl", "is HTML or XML"),
        ("", "csv", "ends after line 0 without its end line"),
        ("A,Kopi\n#end,1\n", "csv", "has a header with the unknown A, Kopi; known are"),
        ("item_code,name,price\n#end,0\n", "csv", "has a header with the unknown price: prices belong to Cata"),
        ("item_code,name,name\n#end,0\n", "csv", "has a header with name more than once"),
        ("item_code,category\n#end,0\n", "csv", "has a header without name"),
        ("item_code;name\n#end;0\n", "csv", "has a header with the unknown item_code;name"),
        (CSV.replace("#end,2\n", ""), "csv", "ends after line 3 without its end line"),
        (CSV.replace("#end,2", "#end,3"), "csv", "says on line 4 that it has 3 items, and has 2"),
        (CSV.replace("#end,2", "#end"), "csv", "has an end line that is none, on line 4; expected #end,N"),
        (CSV.replace("#end,2", "#end,2,x"), "csv", "has an end line that is none"),
        (CSV + "C,Susu\n", "csv", "goes on after its end line, on line 5"),
        (CSV.replace("Teh", '"Teh'), "csv", "ends inside the quotes that are opened on line 3"),
        (
            CSV.replace("Kopi", 'Ko"pi').replace("Teh", 'Te"h'),
            "csv",
            "says on line 4 that it has 2 items, and has 1; before that, line 2 is not CSV (new-line character seen",
        ),
        (CSV.replace("Kopi", '1/2" pipe'), "csv", "ends inside the quotes that are opened on line 2"),
        (CSV.replace("\n", "\r"), "csv", "has a header that is not CSV (new-line character seen in unquoted field)."),
        (CSV.encode("utf-8-sig").decode("latin-1"), "csv", "has a header with the unknown ï»¿item_code; known"),
        ("\ufeff\ufeff" + CSV, "csv", r"has a header with the unknown '\ufeffitem_code'; known"),
        (CSV.replace(",", "\t"), "csv", r"has a header with the unknown 'item_code\tname'; known"),
        (CSV.replace(",", ", "), "csv", "has a header with the unknown ' name'; known"),
        (CSV.replace("\n", ",\n"), "csv", "has a header with the unknown ''; known"),
        (CSV.replace("#end,2", "#end,two"), "csv", "has an end line that is none, on line 4"),
        (CSV.replace("#end,2", "#end," + "2" * 50), "csv", "has an end line that is none, on line 4"),
        (b"item_code,name\n\xed\xa0\x80,x\n#end,1\n", "csv", "is not UTF-8 on line 2"),
        (CSV.encode("utf-16-le"), "csv", r"has a header with the unknown 'i\x00t\x00e"),
        (b"\n" + CSV.replace("Teh", "Caf\u00e9").encode("latin-1"), "csv", "is not UTF-8 on line 4"),
    ],
)
def test_a_feed_that_is_not_whole_is_no_catalog(fetch: Fetch, content: str | bytes, kind: str, told: str) -> None:
    with pytest.raises(ProviderError) as caught:
        fetch(content, kind)
    assert str(caught.value).startswith(f"The feed items {told}")
    assert str(caught.value).endswith("correct the feed (docs/feed-format.md), then sync again.")


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_no_part_of_a_feed_is_taken_for_a_whole(fetch: Fetch, kind: str) -> None:
    whole = {"jsonl": WHOLE, "csv": CSV.replace("Teh", '"T\n""e""h"')}[kind].rstrip("\n")
    assert codes(fetch(whole, kind)) == ["A", "B"]
    for length in range(len(whole)):
        with pytest.raises(ProviderError):
            fetch(whole[:length], kind)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_feed_of_nothing_is_a_complete_catalog_of_nothing(fetch: Fetch, kind: str) -> None:
    assert fetch(json_lines([]) if kind == "jsonl" else csv_text(COLUMNS, []), kind) == Catalog(())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES, max_size=6), kind=st.sampled_from(["jsonl", "csv"]), is_packed=st.booleans())
def test_whatever_the_names_are_they_arrive_and_the_lines_are_counted_right(
    fetch: Fetch, names: list[str], kind: str, *, is_packed: bool
) -> None:
    rows = [[f"K-{number}", name] for number, name in enumerate(names)]
    text = io.StringIO(newline="")
    if kind == "csv":
        csv.writer(text).writerows([["item_code", "name"], *rows])
    else:
        text.writelines(f"{json.dumps(dict(zip(A, row, strict=True)), ensure_ascii=False)}\n" for row in rows)
    line = text.getvalue().count("\n") + 1
    end = f"#end,{len(rows) + 1}" if kind == "csv" else json.dumps({"end": True, "items": len(rows) + 1})
    feed = f"{text.getvalue()}wrong\n{end}\n".encode()
    catalog = fetch(gzip.compress(feed) if is_packed else feed, kind)
    assert [(item.item_code, item.name) for item in catalog.items] == [tuple(row) for row in rows]
    assert [rejection.provider_id for rejection in catalog.rejections] == [f"line {line}"]


def test_byte_order_marks_line_ends_and_gzip_change_nothing(fetch: Fetch) -> None:
    expected = fetch(WHOLE)
    assert fetch(b"\xef\xbb\xbf" + WHOLE.replace("\n", "\r\n").encode()) == expected
    assert fetch(gzip.compress(WHOLE.encode())) == expected


def test_what_spreadsheets_make_of_a_flag_is_one(fetch: Fetch) -> None:
    cells = ["true", "TRUE", "", "false", "FALSE"]
    rows = [[f"K-{number}", "Kopi", cell] for number, cell in enumerate(cells)]
    items = fetch(csv_text(["item_code", "name", "is_active"], rows), "csv").items
    assert [item.is_active for item in items] == [True, True, None, False, False]


def test_there_is_an_end_to_items_although_each_is_small(fetch: Fetch) -> None:
    assert codes(fetch(WHOLE, max_rows=2)) == ["A", "B"]
    for content in (json_lines([A, B, A]), "x\nx\nx\n"):
        with pytest.raises(ProviderError, match=r"The feed items has more than 2 rows, .* option max_rows"):
            fetch(content, max_rows=2)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_is_read_no_further_than_its_limit_however_it_is_packed(
    fetch: Fetch, pack: Callable[[bytes], bytes]
) -> None:
    content = json_lines([{**A, "description": "x" * 1_000}]).encode()
    assert codes(fetch(pack(content), max_bytes=len(content))) == ["A"]
    with pytest.raises(ProviderError, match=rf"larger than {len(content) - 1} bytes, .* option max_bytes"):
        fetch(pack(content), max_bytes=len(content) - 1)


def test_of_two_lines_with_one_code_the_loser_is_told_by_its_line(fetch: Fetch) -> None:
    catalog = fetch(json_lines([A, {**A, "name": "Second"}, *([B] * 8), {**A, "is_active": False}]))
    assert [(item.name, item.provider_id) for item in catalog.items] == [("Kopi", "A"), ("Teh", "B")]
    lost = [(d.item_code, d.provider_id, d.kept_provider_id) for d in catalog.duplicates if d.item_code == "A"]
    assert lost == [("A", "line 0000002", "line 0000001"), ("A", "line 0000011", "line 0000001")]


@pytest.mark.parametrize(
    "url", ["http://exports.example.com/x", "ftp://x/y", "file:///etc/passwd", "https://u:p@x/y", "https://x/y?token=1"]
)
def test_a_url_that_may_not_be_asked_is_no_option(url: str) -> None:
    [problem] = FEED.option_problems({"source": url, "format": "jsonl"})
    assert problem.startswith("source ")
    assert url not in problem


def test_a_url_without_token_is_asked_without(pos: FeedPos) -> None:
    pos.misbehave(1, answer(WHOLE, content_type="text/plain"))
    assert codes(from_url(pos, {})) == ["A", "B"]
    assert "Authorization" not in pos.received[0].headers


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}])
def test_a_packed_feed_is_read_from_a_url(pos: FeedPos, headers: dict[str, str]) -> None:
    packed = gzip.compress(WHOLE.encode())
    pos.misbehave(1, answer(packed, content_type="application/gzip", headers=headers))
    assert codes(from_url(pos)) == ["A", "B"]


def test_a_feed_that_was_cut_is_asked_for_again(pos: FeedPos) -> None:
    pos.misbehave(1, *(answer(WHOLE[:length], content_type="text/plain") for length in (0, 20, len(WHOLE) - 4)))
    pos.sell([Sold("A"), Sold("B")])
    assert codes(from_url(pos)) == ["A", "B"]


def test_why_a_feed_was_given_up_is_told_with_its_line(pos: FeedPos) -> None:
    pos.misbehave_for_ever(1, answer({"error": "export failed"}))
    with pytest.raises(ProviderError, match=r"gave up after 5 tries; .* before that, line 1 has the unknown error"):
        from_url(pos)


@pytest.mark.parametrize("status", [203, 204, 206, 304])
def test_only_200_is_a_feed(pos: FeedPos, status: int) -> None:
    pos.misbehave_for_ever(1, answer(b"" if status in {204, 304} else WHOLE, status=status))
    with pytest.raises(ProviderError, match=rf"HTTP {status} .*Expected 200"):
        from_url(pos)
    assert pos.pages_asked_for() == [1]


def test_a_feed_that_is_broken_is_asked_for_once(pos: FeedPos) -> None:
    pos.misbehave_for_ever(1, answer(WHOLE + WHOLE, content_type="text/plain"))
    with pytest.raises(ProviderError, match=r"^The feed at http://127.0.0.1:\d+ goes on after its end line, on line 4"):
        from_url(pos)
    assert pos.pages_asked_for() == [1]


def test_a_sample_is_the_first_rows_and_needs_no_end(feed_folder: Path, pos: FeedPos) -> None:
    rows = [{"item_code": f"{number:04}", "name": "Kopi"} for number in range(5_000)]
    (feed_folder / "items").write_text(json_lines(rows)[:-20])
    from_path = FEED.sample({"source": "items", "format": "jsonl"}, Secrets({}), AddressPolicy())
    pos.sell([Sold(f"{number:04}") for number in range(5_000)])
    sampled = FEED.sample(pos.options(), Secrets(pos.secrets()), pos.policy, Patience(pacing=Pacing(0)))
    for sample in (from_path, sampled):
        assert isinstance(sample, Sample)
        assert [item.item_code for item in sample.items] == [f"{number:04}" for number in range(100)]
