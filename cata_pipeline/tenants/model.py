"""What the registry knows of a tenant."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

TENANT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
RESERVED_IDS = frozenset({"all", "failed", "none", "null", "true", "false"})
"""Words that a command's option or a configuration file reads as something else; in any case."""


@dataclass(frozen=True)
class Tenant:
    """One tenant: whose catalog, from which provider, into which database.

    `credentials` is a reference resolved at run time; `database_url` is None (the template serves), a
    reference, or a URL, which may hold a password and is therefore never part of `repr`. `options` has
    the provider's own keys and was checked at import.
    """

    id: str
    provider: str
    credentials: str
    database_url: str | None = field(default=None, repr=False)
    options: Mapping[str, object] = field(default_factory=dict)
