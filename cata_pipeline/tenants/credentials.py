"""Turns a reference from the registry into the secret it names, at run time.

`env:NAME` reads an environment variable, `gcp-secret:projects/P/secrets/S[/versions/V]` reads Google Secret
Manager. Add a scheme here when secrets live somewhere else. A secret never leaves as part of a message.
"""

import json
import os
import re
from collections.abc import Mapping

from cata_pipeline.errors import TenantError
from cata_pipeline.tenants.secret_manager import SecretManager, SecretUnreadableError, secret_manager_of_this_machine

_ENVIRONMENT = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
# Only what Google's names are made of: nothing in a reference may lead to another path.
_GCP_SECRET = re.compile(r"gcp-secret:(projects/[A-Za-z0-9][\w.:-]*/secrets/[\w-]+)(/versions/[\w-]+)?", re.ASCII)
EXPECTED = "env:NAME or gcp-secret:projects/PROJECT/secrets/SECRET"


class CredentialsError(TenantError):
    """A reference names nothing, or what it names is not what the provider needs."""

    kind = "credentials"


def is_reference(text: str) -> bool:
    """Whether `text` has the form of a reference; says nothing about what it names."""
    return bool(_ENVIRONMENT.fullmatch(text) or _GCP_SECRET.fullmatch(text))


def resolve(
    reference: str, environ: Mapping[str, str] | None = None, *, secret_manager: SecretManager | None = None
) -> str:
    """The secret text that `reference` names, from this process's environment or Secret Manager unless told otherwise.

    Raises `CredentialsError` when it names nothing; the message holds the reference, never the secret.
    """
    if match := _ENVIRONMENT.fullmatch(reference):
        value = (os.environ if environ is None else environ).get(match[1], "").strip()
        if not value:
            raise CredentialsError(f"{reference} names an environment variable that is not set here. Set {match[1]}.")
        return value
    if match := _GCP_SECRET.fullmatch(reference):
        try:
            return (secret_manager or secret_manager_of_this_machine()).read(
                match[1] + (match[2] or "/versions/latest")
            )
        except SecretUnreadableError as error:
            raise CredentialsError(f"{reference} cannot be read: {error}") from error
    raise CredentialsError(f"The reference has none of the known forms; expected {EXPECTED}.")


def resolve_keys(
    reference: str,
    keys: tuple[str, ...],
    environ: Mapping[str, str] | None = None,
    *,
    optional: tuple[str, ...] = (),
    secret_manager: SecretManager | None = None,
) -> dict[str, str]:
    """The secret as a JSON object with at least these keys, each a non-empty text, and the optional ones it has.

    Raises `CredentialsError` that lists every missing key.
    """
    text = resolve(reference, environ, secret_manager=secret_manager)
    try:
        secret = json.loads(text)
    except ValueError:
        secret = None
    if not isinstance(secret, dict):
        wanted = f"the keys {', '.join(keys)}" if keys else "{} where no key is needed"
        raise CredentialsError(f"{reference} does not hold a JSON object; expected {wanted}.")
    needed = (*keys, *(key for key in optional if key in secret))
    missing = [key for key in needed if not isinstance(secret.get(key), str) or not secret[key]]
    if missing:
        raise CredentialsError(
            f"{reference} lacks {', '.join(missing)}; expected a JSON object with {', '.join(keys)}."
        )
    return {key: secret[key] for key in needed}
