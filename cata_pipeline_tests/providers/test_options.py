"""What is said of a tenant's options, whatever a provider's own checks do."""

from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field, PlainValidator

from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.fetch_limits import BudgetOptions
from cata_pipeline.providers.options import ProviderOptions, whole_number
from cata_pipeline.providers.square_options import SquareOptions


def _careless(value: object) -> object:
    raise AttributeError(f"{value} has no strip")


class MokaOptions(ProviderOptions):
    slug: ClassVar = "moka"

    size: Annotated[int, whole_number(9)] = Field(default=5, description="rows a page")
    store: str = Field(description="the store")
    sold_out: Literal["hide", "show"] = Field(default="show", description="sold out")
    key: Annotated[str | None, PlainValidator(_careless)] = Field(default=None, description="a key")


def test_every_option_that_is_missing_unknown_or_wrong_is_told() -> None:
    assert MokaOptions.problems({"size": 10, "sise": 1, "sold_out": "no"}) == [
        "sise is no option of moka; known are size, store, sold_out, key.",
        "size is 10; expected a whole number from 1 to 9.",
        "store is missing; expected the store.",
        "sold_out is 'no'; expected hide or show.",
    ]


def test_a_model_describes_its_options_with_their_defaults_before_those_it_inherits() -> None:
    assert MokaOptions.described() == {
        "size": ("rows a page; 5", False),
        "store": ("the store", True),
        "sold_out": ("sold out; show", False),
        "key": ("a key", False),
    }

    class WithBudgets(BudgetOptions):
        slug: ClassVar = "moka"

        store: str = Field(description="the store")

    names = ["store", "request_budget_seconds", "fetch_budget_seconds", "max_bytes", "max_rows"]
    assert list(WithBudgets.described()) == names
    assert WithBudgets.described()["fetch_budget_seconds"].meaning == "the longest that the whole fetch may take; 1800"


def test_a_value_may_need_another_option() -> None:
    for fine in ({}, {"sold_out": "show"}, {"sold_out": "hide", "location_id": "L1"}, {"location_id": "L1"}):
        assert SquareOptions.problems(fine) == []
    assert SquareOptions.problems({"sold_out": "hide", "page_size": 0}) == [
        "page_size is 0; expected a whole number from 1 to 1000.",
        "sold_out = 'hide' needs location_id, which is missing; give it too.",
    ]
    [problem] = SquareOptions.problems({"sold_out": "hide", "location_id": 0})
    assert problem.startswith("location_id is no location id")


def test_a_check_that_breaks_is_told_as_its_packages_fault_without_the_value() -> None:
    given = {"key": "s3cret", "size": 10, "store": "x"}
    problems = [
        "size is 10; expected a whole number from 1 to 9.",
        "key cannot be checked (AttributeError): repair the package of moka.",
    ]
    assert MokaOptions.problems(given) == problems
    with pytest.raises(ProviderError) as caught:
        MokaOptions.of_tenant(given)
    assert str(caught.value) == f"The tenant's options are wrong: {' '.join(problems)} Import the tenant again."


def test_what_pydantic_itself_refuses_is_told_in_a_sentence_without_the_value() -> None:
    assert MokaOptions.problems({"store": ["s3cret"]}) == ["store is wrong: Input should be a valid string."]
