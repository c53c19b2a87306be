"""What is said of a tenant's options, whatever a provider's own checks do."""

from cata_pipeline.providers.option_checks import Option, checked_options, one_of, whole_number


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


def test_a_value_may_need_another_option() -> None:
    table = {
        "sold_out": Option(one_of("hide", "show"), "sold out; show", needs={"hide": "location"}),
        "location": Option(whole_number(9), "the location"),
    }
    for fine in ({}, {"sold_out": "show"}, {"sold_out": "hide", "location": 1}, {"location": 1}):
        assert checked_options("moka", table, fine) == (fine, [])
    assert checked_options("moka", table, {"sold_out": "hide"})[1] == [
        "sold_out = 'hide' needs location, which is missing; give it too."
    ]
    assert checked_options("moka", table, {"sold_out": "hide", "location": 0})[1] == [
        "location is 0; expected a whole number from 1 to 9."
    ]


def test_a_check_that_breaks_is_told_as_its_packages_fault_without_the_value() -> None:
    table = {"key": Option(_careless, "a key"), "size": Option(whole_number(9), "rows a page; 5")}
    values, problems = checked_options("moka", table, {"key": "s3cret", "size": 3})
    assert values == {"size": 3}
    assert problems == ["key cannot be checked (AttributeError): repair the package of moka."]
