"""Errors are told apart by a word."""

from collections import Counter
from collections.abc import Iterator

from cata_pipeline import errors
from cata_pipeline.errors import CataError


def below(error: type[CataError]) -> Iterator[type[CataError]]:
    yield error
    for each in error.__subclasses__():
        yield from below(each)


def test_every_class_of_the_tree_has_a_word_of_its_own() -> None:
    kinds = Counter(error.kind for error in below(CataError) if error.__module__ == errors.__name__)
    assert set(kinds.values()) == {1}
    assert errors.UNFORESEEN not in kinds
