"""What a tenant's provider options may be: a model for each provider, and checks that several of them use.

Add a check here when a second provider can use it. Which options a provider has, and what they do, is its own module's.
A check returns the value as it will be used, or raises `ValueError` with the end of a sentence that begins with the
option's name; a value is repeated only where it cannot be a secret.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    PlainValidator,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic.fields import FieldInfo

from cata_pipeline.errors import ProviderError

Options = Mapping[str, object]


class Option(NamedTuple):
    """What an option means, in a sentence that ends with its default, and whether a tenant must give it."""

    meaning: str
    required: bool


class ProviderOptions(BaseModel):
    """The options of one provider: each field has a check and, as its description, what it means."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True)

    slug: ClassVar[str]

    @classmethod
    def described(cls) -> dict[str, Option]:
        """Every option by its name, the provider's own before those that it inherits."""
        owners = [owner for owner in cls.__mro__ if issubclass(owner, ProviderOptions)]
        names = sorted(cls.model_fields, key=lambda name: sum(name in owner.model_fields for owner in owners))
        return {name: _described(cls.model_fields[name]) for name in names}

    @classmethod
    def problems(cls, options: Options) -> list[str]:
        """One sentence for each option that is missing, unknown or wrong."""
        try:
            cls.model_validate(dict(options))
        except ValidationError as error:
            return list(map(cls._problem, sorted(error.errors(), key=lambda found: found["type"] != "extra_forbidden")))
        return []

    @classmethod
    def of_tenant(cls, options: Options) -> Self:
        """The options of a registered tenant; raises `ProviderError` with every problem."""
        if problems := cls.problems(options):
            raise ProviderError(f"The tenant's options are wrong: {' '.join(problems)} Import the tenant again.")
        return cls.model_validate(dict(options))

    @classmethod
    def _problem(cls, error: Mapping[str, Any]) -> str:
        name = error["loc"][0]
        match error["type"]:
            case "extra_forbidden":
                return f"{name} is no option of {cls.slug}; known are {', '.join(cls.described())}."
            case "missing":
                return f"{name} is missing; expected {cls.described()[name].meaning}."
            case "literal_error":
                words = get_args(cls.model_fields[name].annotation)
                return f"{name} is {error['input']!r}; expected {' or '.join(words)}."
            case "value_error":
                return f"{name} {error['ctx']['error']}"
        return f"{name} is wrong: {error['msg']}."

    @field_validator("*", mode="wrap")
    @classmethod
    def _checked(cls, value: object, check: ValidatorFunctionWrapHandler) -> object:
        try:
            return check(value)
        except ValueError:
            raise
        except Exception as error:  # noqa: BLE001 another package must not stop a whole tenants file
            # Only the kind: its words may repeat a value that is a secret.
            text = f"cannot be checked ({type(error).__name__}): repair the package of {cls.slug}."
            raise ValueError(text) from None


def _described(field: FieldInfo) -> Option:
    default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
    has_default = not field.is_required() and field.default is not None
    return Option(f"{field.description}; {default}" if has_default else str(field.description), field.is_required())


def whole_number(most: int) -> PlainValidator:
    """A whole number from 1 to `most`."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ValueError(f"is {value!r}; expected a whole number from 1 to {most}.")
        return value

    return PlainValidator(check)


def seconds(most: int) -> PlainValidator:
    """A number of seconds from 1 to `most`."""

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= most:
            raise ValueError(f"is {value!r}; expected a number of seconds from 1 to {most}.")
        return float(value)

    return PlainValidator(check)
