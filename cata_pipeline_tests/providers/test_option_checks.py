"""What is said of a tenant's options, whatever a provider's own checks do."""

from cata_pipeline.providers.option_checks import Option, checked_options, whole_number


def _careless(value: object) -> object:
    raise AttributeError(f"{value} has no strip")


def test_every_option_that_is_missing_unknown_or_wrong_is_told() -> None:
    table = {"size": Option(whole_number(9), "rows a page; 5"), "store": Option(str, "the store", required=True)}
    values, problems = checked_options("moka", table, {"size": 10, "sise": 1})
    assert values == {}
    assert problems == [
        "sise is no option of moka; known are size, store.",
        "size is 10; expected a whole number from 1 to 9.",
        "store is missing; expected the store.",
    ]


def test_a_check_that_breaks_is_told_as_its_packages_fault_without_the_value() -> None:
    table = {"key": Option(_careless, "a key"), "size": Option(whole_number(9), "rows a page; 5")}
    values, problems = checked_options("moka", table, {"key": "s3cret", "size": 3})
    assert values == {"size": 3}
    assert problems == ["key cannot be checked (AttributeError): repair the package of moka."]
