"""Reads a tenants file: TOML, checked whole before anybody writes anything.

Every mistake is found in one pass and told with its place; no value of `credentials` or `database_url` is ever
repeated, because people paste secrets where references belong. Add a check here when a tenant can be wrong in a way
that needs neither network nor database. What a provider's options mean is the provider's business; storing the
tenants is the registry's.
"""

import math
import tomllib
from collections.abc import Iterator
from pathlib import Path

from cata_pipeline.catalog.model import text_problem
from cata_pipeline.errors import UsageError
from cata_pipeline.providers.registry import provider_named
from cata_pipeline.settings import parse_tenant_database_url
from cata_pipeline.tenants import credentials
from cata_pipeline.tenants.model import RESERVED_IDS, TENANT_ID, Tenant

_REQUIRED = ("id", "provider", "credentials")
_KEYS = (*_REQUIRED, "database_url", "options")
_SHOWN = 70  # characters of a wrong value
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def read_tenants(path: Path) -> list[Tenant]:
    """The tenants of a file, in its order.

    Raises `UsageError` with every mistake, one a line: the file, which tenant, the key, what is wrong and what is
    expected.
    """
    document = _document(path)
    problems = [
        f"{path}: {key}: unknown key; expected only [[tenants]] tables." for key in document if key != "tenants"
    ]
    tables = document.get("tenants", [])
    if not isinstance(tables, list):
        problems.append(f"{path}: tenants: is {_kind(tables)}; expected a list, each tenant under [[tenants]].")
        tables = []
    elif not tables:
        problems.append(f"{path}: tenants: holds no tenant; expected at least one [[tenants]] table.")
    first: dict[str, tuple[int, str]] = {}
    for number, table in enumerate(tables, 1):
        place = f"{path}: tenant {number}"
        if not isinstance(table, dict):
            problems.append(f"{place}: is {_kind(table)}; expected a table under [[tenants]].")
            continue
        if isinstance(table.get("id"), str):
            place += f" ({_shown(table['id'])})"
        problems.extend(f"{place}: {problem}" for problem in _problems(table, first))
        if isinstance(table.get("id"), str):
            first.setdefault(table["id"].lower(), (number, table["id"]))
    if problems:
        raise UsageError("\n".join(problems))
    return [Tenant(**table) for table in tables]


def _document(path: Path) -> dict[str, object]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); expected a tenants file.") from error
    if content.startswith(_BYTE_ORDER_MARKS):
        raise UsageError(f"{path}: begins with a byte order mark; expected UTF-8 without one. Save it again that way.")
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}: line {line} is not UTF-8; expected UTF-8. Save the file in that encoding.") from None
    except ValueError as error:
        raise UsageError(f"{path}: is not TOML: {error}. Correct the syntax there.") from None
    except RecursionError:
        raise UsageError(f"{path}: is nested too deeply; expected [[tenants]] tables.") from None


def _problems(table: dict[str, object], taken: dict[str, tuple[int, str]]) -> Iterator[str]:
    yield from (f"{key}: is missing." for key in _REQUIRED if key not in table)
    for key, value in table.items():
        if key not in _KEYS:
            yield f"{key}: unknown key; expected {', '.join(_KEYS[:-1])} or {_KEYS[-1]}."
        elif key == "options":
            continue
        elif not isinstance(value, str):
            yield f"{key}: is {_kind(value)}; expected a text in quotes."
        elif problem := text_problem(value):
            yield f"{key}: {problem}; expected a text without."
        elif problem := _text_problem(key, value, taken):
            yield f"{key}: {problem}"
    yield from (f"options: {problem}" for problem in _option_problems(table.get("options", {}), table.get("provider")))


def _text_problem(key: str, text: str, taken: dict[str, tuple[int, str]]) -> str | None:
    match key:
        case "id":
            return _id_problem(text, taken)
        case "provider":
            return _provider_problem(text)
        case "credentials" if not credentials.is_reference(text):
            return f"is no reference (its value is not shown: it may be a secret); expected {credentials.EXPECTED}."
        case "database_url" if not credentials.is_reference(text):
            return _database_problem(text)
    return None


def _id_problem(text: str, taken: dict[str, tuple[int, str]]) -> str | None:
    if not TENANT_ID.fullmatch(text):
        return f"is {_shown(text)}; expected 1 to 64 letters, digits, hyphens or underscores."
    if text.startswith("-") or text.lower() in RESERVED_IDS:
        return f"is {_shown(text)}, which commands read as an option or a reserved word; expected another id."
    number, other = taken.get(text.lower(), (0, ""))
    if other == text:
        return f"is the id of tenant {number} already; expected each id once."
    if other:
        return f"differs only in letter case from {other!r}, the id of tenant {number}; expected another id."
    return None


def _provider_problem(slug: str) -> str | None:
    try:
        provider_named(slug)
    except UsageError as error:
        return str(error)
    return None


def _database_problem(text: str) -> str | None:
    try:
        parse_tenant_database_url(text)
    except ValueError as error:
        return f"{error} A reference ({credentials.EXPECTED}) does as well."
    return None


def _option_problems(options: object, slug: object) -> Iterator[str]:
    if not isinstance(options, dict):
        yield f"is {_kind(options)}; expected a table under [tenants.options]."
    elif problem := next(_unstorable(options), None):
        yield f"{problem}."
    elif isinstance(slug, str) and _provider_problem(slug) is None:
        yield from provider_named(slug).option_problems(options)


def _unstorable(value: object) -> Iterator[str]:
    """Why a value cannot be kept as text or JSON in the registry."""
    match value:
        case str():
            if problem := text_problem(value):
                yield f"{problem}; expected a text without"
        case bool() | int():
            pass
        case float():
            if not math.isfinite(value):
                yield f"holds {value}; expected a finite number"
        case dict():
            for key, inner in value.items():
                yield from _unstorable(key)
                yield from _unstorable(inner)
        case list():
            for inner in value:
                yield from _unstorable(inner)
        case _:
            yield f"holds {_kind(value)}; expected texts, numbers, true, false, lists or tables"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "a table"
    return "a date or time"
