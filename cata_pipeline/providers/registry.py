"""Which providers there are, by the name that the tenants file uses.

Add a provider here once its module exists. Each is imported when it is first asked for, because loading
the definitions must not load an HTTP client.
"""

from collections.abc import Callable

from cata_pipeline.errors import UsageError
from cata_pipeline.providers.contract import Provider

KNOWN: tuple[str, ...] = ("iseller", "square", "loyverse", "feed")
"""The names a tenants file may use; not each of them exists yet."""


def _iseller() -> Provider:
    from cata_pipeline.providers.iseller import ISELLER

    return ISELLER


_EXISTING: dict[str, Callable[[], Provider]] = {"iseller": _iseller}


def provider_named(slug: str) -> Provider:
    """The provider of this name; raises `UsageError` that says which exist."""
    load = _EXISTING.get(slug)
    if load is None:
        found = "is not built yet" if slug in KNOWN else "is unknown"
        raise UsageError(f"The provider {slug!r} {found}; expected one of: {', '.join(_EXISTING)}.")
    return load()
