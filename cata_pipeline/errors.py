"""The one tree of errors this project raises on purpose.

    CataError
    ├── SettingsError          an environment variable is missing or wrong; names every one of them
    ├── UsageError             a command, file or run config is wrong; nothing was done
    └── TenantError            one tenant could not be served; the other tenants of a batch go on
        ├── ProviderError      the POS did not deliver a complete catalog
        ├── ContractError      the tenant database lacks what a sync needs
        ├── GuardRefusedError  the plan is implausible; nothing was written
        ├── TenantBusyError    another run holds the tenant
        ├── StorageError       the bucket did not take or return an object
        ├── DatabaseOwnerError the tenant database belongs to another tenant, or is another one than before
        ├── StoppedError       the run was ended while the tenant was being served
        └── DatabaseError      the tenant database refused or could not be reached

A message names what was expected, what was found, and the next step. A `TenantError` need not name
its tenant: whoever reports it does. No message may hold a password, a token or a whole URL with
credentials. Errors that concern a single image live in `cata_pipeline.images`.

Each class bears a word, its `kind`, by which failures are counted; it is kept in the control database, so a word in use
is never changed.
"""

import errno
from typing import ClassVar

from cata_pipeline.foreign_text import printable

UNFORESEEN = "unforeseen"
"""The word of an error that is none of these."""

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def disk_full(error: BaseException) -> str | None:
    """Return the message for an error that means a full disk of this machine; None for any other error."""
    if not isinstance(error, OSError):
        return None
    # `tempfile` names no errno of a full disk where it can write to none of the folders it knows.
    if error.errno not in _DISK_FULL and not str(error.strerror).startswith("No usable temporary directory"):
        return None
    file = f" ({error.filename})" if error.filename else ""
    return f"This machine cannot write a file: {error.strerror}{file}. Make room on its disk, then start again."


class CataError(Exception):
    """Something went wrong that an operator can understand and act on."""

    kind: ClassVar[str] = "other"

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class SettingsError(CataError):
    """The environment is incomplete or wrong.

    `problems` holds one sentence a variable; the message joins them, one a line.
    """

    kind = "settings"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class UsageError(CataError):
    """A command, a tenants file or a run configuration is wrong; nothing was done."""

    kind = "usage"


class TenantError(CataError):
    """One tenant could not be served; nothing half written remains."""

    kind = "tenant"


class ProviderError(TenantError):
    """The POS did not deliver a complete catalog, so there is no snapshot."""

    kind = "provider"


class ContractError(TenantError):
    """The tenant database lacks tables, columns, types, keys or privileges that a sync needs."""

    kind = "contract"


class GuardRefusedError(TenantError):
    """The plan is implausible; nothing was written."""

    kind = "guard"


class TenantBusyError(TenantError):
    """Another run holds this tenant's lock."""

    kind = "busy"


class StorageError(TenantError):
    """The bucket did not take or return an object."""

    kind = "storage"


class DatabaseOwnerError(TenantError):
    """The URL of the tenant leads to the table of another tenant, or away from its own; nothing was written."""

    kind = "owner"


class StoppedError(TenantError):
    """The run was ended before this tenant was served completely; what was finished until then stays."""

    kind = "stopped"


class DatabaseError(TenantError):
    """The tenant database refused a statement or could not be reached."""

    kind = "database"
