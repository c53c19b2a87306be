"""Which providers there are, by the name that the tenants file uses.

A provider is an entry point of the group `cata_pipeline.providers`, ours (in `pyproject.toml`) like anybody else's: a
package of its own can add one, and needs no change here. Each is imported when it is first asked for, because loading
the definitions must not load an HTTP client.
"""

import functools
from collections import defaultdict
from importlib.metadata import EntryPoint, entry_points

from cata_pipeline.errors import UsageError
from cata_pipeline.providers.contract import Provider

GROUP = "cata_pipeline.providers"


def provider_names() -> list[str]:
    """The names of all installed providers, sorted."""
    return sorted(_installed())


@functools.cache
def provider_named(slug: str) -> Provider:
    """The provider of this name; raises `UsageError` that says which exist, or why this one cannot be used."""
    found = _installed().get(slug, [])
    if not found:
        raise UsageError(f"The provider {slug!r} is unknown; expected one of: {', '.join(provider_names())}.")
    if len(found) > 1:
        packages = " and ".join(sorted(_package(entry) for entry in found))
        raise UsageError(f"The provider {slug!r} is defined by {packages}; uninstall all but one of them.")
    [entry] = found
    try:
        provider = entry.load()
    # A package that leaves at its import would end the whole batch, and not one tenant.
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"The provider {slug!r} of {_package(entry)} cannot be loaded ({type(error).__name__}: {error})."
            " Repair or uninstall that package."
        ) from error
    if not isinstance(provider, Provider) or provider.slug != slug:
        raise UsageError(
            f"The provider {slug!r} of {_package(entry)} is not what its name says: expected a Provider with that slug."
            " Repair or uninstall that package."
        )
    return provider


@functools.cache
def _installed() -> dict[str, list[EntryPoint]]:
    named: dict[str, list[EntryPoint]] = defaultdict(list)
    for entry in entry_points(group=GROUP):
        if entry not in named[entry.name]:
            named[entry.name].append(entry)
    return dict(named)


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
