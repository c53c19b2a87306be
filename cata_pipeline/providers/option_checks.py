"""What a tenant's provider options may be: named checks, put together by each provider into one table.

Add a check here when a second provider can use it. Which options a provider has, and what they do, is its own module's.
A check returns the value as it will be used, or raises `ValueError` with the end of a sentence that begins with the
option's name; a value is repeated only where it cannot be a secret.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cata_pipeline.errors import ProviderError

Options = Mapping[str, object]
Check = Callable[[object], object]
Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Option:
    """One option: its check, what it means in a sentence, and whether a tenant must give it.

    `needs` names, for a value, another option that must then be given too.
    """

    check: Check
    meaning: str
    required: bool = False
    needs: Mapping[object, str] = field(default_factory=dict)


def checked_options(slug: str, table: Mapping[str, Option], options: Options) -> tuple[dict[str, Any], list[str]]:
    """The values that are given and right, and one sentence for each option that is missing, unknown or wrong."""
    known = ", ".join(table)
    problems = [f"{key} is no option of {slug}; known are {known}." for key in options if key not in table]
    values: dict[str, Any] = {}
    for key, option in table.items():
        if key not in options:
            if option.required:
                problems.append(f"{key} is missing; expected {option.meaning}.")
            continue
        try:
            values[key] = option.check(options[key])
        except ValueError as error:
            problems.append(f"{key} {error}")
        except Exception as error:  # noqa: BLE001 a package of somebody else's must not stop a whole tenants file
            # Only the kind: its words may repeat a value that is a secret.
            problems.append(f"{key} cannot be checked ({type(error).__name__}): repair the package of {slug}.")
    for key, option in table.items():
        needed = option.needs.get(values.get(key)) if option.needs else None
        if needed is not None and needed not in options:
            problems.append(f"{key} = {values[key]!r} needs {needed}, which is missing; give it too.")
    return values, problems


def parsed_options(slug: str, table: Mapping[str, Option], options: Options) -> dict[str, Any]:
    """The values that are given; raises `ValueError` with every problem in one text."""
    values, problems = checked_options(slug, table, options)
    if problems:
        raise ValueError(" ".join(problems))
    return values


def tenant_options(parse: Callable[[Options], Parsed], options: Options) -> Parsed:
    """What `parse` makes of a registered tenant's options; raises `ProviderError` with what it finds wrong."""
    try:
        return parse(options)
    except ValueError as error:
        raise ProviderError(f"The tenant's options are wrong: {error} Import the tenant again.") from None


def whole_number(most: int) -> Check:
    """A whole number from 1 to `most`."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ValueError(f"is {value!r}; expected a whole number from 1 to {most}.")
        return value

    return check


def seconds(most: int) -> Check:
    """A number of seconds from 1 to `most`."""

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= most:
            raise ValueError(f"is {value!r}; expected a number of seconds from 1 to {most}.")
        return float(value)

    return check


def one_of(*words: str) -> Check:
    """One of these words."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"is {value!r}; expected {' or '.join(words)}.")
        return value

    return check
