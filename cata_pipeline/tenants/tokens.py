"""Refresh tokens that change with each use: sealed in the control database, exchanged by one run at a time.

A provider that rotates its refresh token makes the old one worthless, so the new one is on record, committed, before
anything is done with what came with it; and two runs never exchange at once. Tokens are sealed with a key from the
environment: a copy of the control database alone opens no shop. When a token is exchanged belongs to the provider.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.engine import Engine
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from cata_pipeline.control.schema import provider_tokens as table
from cata_pipeline.errors import TenantError
from cata_pipeline.tenants.lock import tenant_lock

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

KEYS_VARIABLE = "CATA_TOKEN_KEYS"
_WRITE_SECONDS = 60.0
_NEW_KEY = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'


class TokenError(TenantError):
    """A refresh token cannot be kept or read; without it the tenant's POS account has to be connected again."""

    kind = "token"


class TenantToken:
    """One tenant's refresh token, held: nobody else exchanges it meanwhile."""

    def __init__(self, store: "TokenStore", tenant_id: str, first: str, current: str) -> None:
        self._store = store
        self._tenant_id = tenant_id
        self._first = first
        self.current = current

    def keep(self, following: str) -> None:
        """Seal and commit the token that came in exchange; it is the current one from then on."""
        self._store.write(self._tenant_id, self._first, following)
        self.current = following


class TokenStore:
    """The sealed tokens of one control database.

    `keys` are Fernet keys (URL-safe base64 of 32 bytes): the first one seals, all of them open, so that a key is
    replaced by putting the new one in front.
    """

    def __init__(self, control: Engine, keys: tuple[str, ...]) -> None:
        self._control = control
        self._keys = keys

    @contextmanager
    def held(self, tenant_id: str, first: str, run_id: str) -> Iterator[TenantToken]:
        """The token of a tenant whose credentials hold `first`, the one that its account was connected with.

        What was kept since is used, unless the account was connected anew (`first` is another one). Raises
        `TokenError` without usable key, and `TenantBusyError` when another run holds the token for a minute.
        """
        self._box()
        with tenant_lock(self._control, tenant_id, "token", run_id):
            yield TenantToken(self, tenant_id, first, self._kept(tenant_id, first) or first)

    def write(self, tenant_id: str, first: str, token: str) -> None:
        """Seal `token` and commit it."""
        values = {"sealed": self._box().encrypt(token.encode()), "first_sha256": _digest(first)}
        insert = pg.insert(table).values(tenant_id=tenant_id, **values)
        changed = insert.on_conflict_do_update(
            index_elements=[table.c.tenant_id], set_={**values, "updated_at": sa.func.now()}
        )
        # The old token is worthless by now: a database that is away for a moment must not lock the tenant out.
        for attempt in Retrying(
            stop=stop_after_delay(_WRITE_SECONDS),
            wait=wait_random_exponential(max=5),
            retry=retry_if_exception_type(sa.exc.DBAPIError),
            reraise=True,
        ):
            with attempt, self._control.begin() as connection:
                connection.execute(changed)

    def _kept(self, tenant_id: str, first: str) -> str | None:
        from cryptography.fernet import InvalidToken

        statement = sa.select(table.c.sealed).where(
            table.c.tenant_id == tenant_id, table.c.first_sha256 == _digest(first)
        )
        with self._control.connect() as connection:
            sealed = connection.scalar(statement)
        if sealed is None:
            return None
        try:
            return self._box().decrypt(bytes(sealed)).decode()
        except InvalidToken:
            raise TokenError(
                f"The refresh token of tenant {tenant_id} was sealed with a key that {KEYS_VARIABLE} does not hold. Add"
                " that key behind the others, or connect the tenant's POS account again."
            ) from None

    def _box(self) -> "MultiFernet":
        from cryptography.fernet import Fernet, MultiFernet

        if not self._keys:
            raise TokenError(
                f"This tenant's refresh token changes with each use and is kept sealed, but {KEYS_VARIABLE} is not set."
                f" Nothing was sent. Set it to a key, such as {_NEW_KEY} prints."
            )
        return MultiFernet([Fernet(key) for key in self._keys])


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
