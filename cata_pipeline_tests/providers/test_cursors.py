"""How cursors are followed: to the explicit end, never in a circle, never beyond the cap."""

import pytest

from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.cursors import CursorGuard

WHAT = "Catalog at https://pos.example"


@pytest.mark.parametrize("end", [None, ""])
def test_a_page_without_cursor_is_the_end(end: str | None) -> None:
    guard = CursorGuard(WHAT, 10)
    assert [guard.next("a"), guard.next("b"), guard.next(end)] == ["a", "b", None]


@pytest.mark.parametrize("cursors", [["a", "a"], ["a", "b", "a"], ["a", "b", "c", "b"]])
def test_a_cursor_that_came_before_ends_the_walk_with_an_error(cursors: list[str]) -> None:
    guard = CursorGuard(WHAT, 10)
    for cursor in cursors[:-1]:
        assert guard.next(cursor) == cursor
    with pytest.raises(ProviderError, match=f"^{WHAT}: the cursor of page {len(cursors)} came before"):
        guard.next(cursors[-1])


def test_as_many_pages_as_allowed_and_no_more() -> None:
    guard = CursorGuard(WHAT, 3)
    assert [guard.next("a"), guard.next("b"), guard.next(None)] == ["a", "b", None]
    guard = CursorGuard(WHAT, 3)
    assert [guard.next("a"), guard.next("b")] == ["a", "b"]
    with pytest.raises(ProviderError, match=r"no end after 3 pages.* Raise max_pages"):
        guard.next("c")


@pytest.mark.parametrize(
    "cursor",
    [5, True, ["a"], {}, "x" * 20_000, "é" * 10_000, "half \ud800", "nul \x00"],
    ids=["5", "true", "list", "object", "long", "long when encoded", "half a character", "nul"],
)
def test_what_cannot_be_sent_back_is_an_error_and_no_end(cursor: object) -> None:
    with pytest.raises(ProviderError, match="page 1 has a cursor that is none"):
        CursorGuard(WHAT, 3).next(cursor)
