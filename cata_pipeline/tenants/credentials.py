"""Turns a reference from the registry into the secret it names, at run time.

`env:NAME` reads an environment variable, `gcp-secret:projects/P/secrets/S[/versions/V]` reads Google Secret
Manager. Add a scheme here when secrets live somewhere else. A secret never leaves as part of a message.
"""

import base64
import json
import os
import re
from collections.abc import Mapping

from cata_pipeline.errors import TenantError

_ENVIRONMENT = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
_GCP_SECRET = re.compile(r"gcp-secret:(projects/[^/\s]+/secrets/[^/\s]+)(/versions/[^/\s]+)?")
_SECRET_MANAGER = "https://secretmanager.googleapis.com/v1"  # noqa: S105 an address, not a secret
EXPECTED = "env:NAME or gcp-secret:projects/PROJECT/secrets/SECRET"


class CredentialsError(TenantError):
    """A reference names nothing, or what it names is not what the provider needs."""

    kind = "credentials"


def is_reference(text: str) -> bool:
    """Whether `text` has the form of a reference; says nothing about what it names."""
    return bool(_ENVIRONMENT.fullmatch(text) or _GCP_SECRET.fullmatch(text))


def resolve(reference: str, environ: Mapping[str, str] | None = None) -> str:
    """The secret text that `reference` names.

    Raises `CredentialsError` when it names nothing; the message holds the reference, never the secret.
    """
    if match := _ENVIRONMENT.fullmatch(reference):
        value = (os.environ if environ is None else environ).get(match[1], "").strip()
        if not value:
            raise CredentialsError(f"{reference} names an environment variable that is not set here. Set {match[1]}.")
        return value
    if match := _GCP_SECRET.fullmatch(reference):
        return _gcp_secret(match[1] + (match[2] or "/versions/latest"))
    raise CredentialsError(f"The reference has none of the known forms; expected {EXPECTED}.")


def resolve_keys(
    reference: str, keys: tuple[str, ...], environ: Mapping[str, str] | None = None, *, optional: tuple[str, ...] = ()
) -> dict[str, str]:
    """The secret as a JSON object with at least these keys, each a non-empty text, and the optional ones it has.

    Raises `CredentialsError` that lists every missing key.
    """
    text = resolve(reference, environ)
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


def _gcp_secret(version: str) -> str:
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import AuthorizedSession
    from requests import RequestException

    try:
        default_credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        with AuthorizedSession(default_credentials) as session:
            reply = session.get(f"{_SECRET_MANAGER}/{version}:access", timeout=30)
    except (GoogleAuthError, RequestException) as error:
        raise CredentialsError(f"gcp-secret:{version} cannot be read: {type(error).__name__}.") from error
    if not reply.ok:
        raise CredentialsError(
            f"gcp-secret:{version} cannot be read: Secret Manager answered {reply.status_code}."
            " Check that it exists and that this service account has roles/secretmanager.secretAccessor."
        )
    return base64.b64decode(reply.json()["payload"]["data"]).decode().strip()
