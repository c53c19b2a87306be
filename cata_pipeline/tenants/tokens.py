"""Refresh tokens that change with each use: sealed in the control database, exchanged by one run at a time.

A provider that rotates its refresh token makes the old one worthless, so the new one is on record, committed, before
anything is done with what came with it; and two runs never exchange at once. Each connection of an account begins a
chain of tokens of its own, and chains never touch each other. Tokens are sealed with a key from the environment: a copy
of the control database alone opens no shop. When a token is exchanged belongs to the provider.
"""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.engine import Engine
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from cata_pipeline.control.clock import ControlClock
from cata_pipeline.control.schema import refresh_tokens as table
from cata_pipeline.errors import TenantError
from cata_pipeline.tenants.lock import tenant_lock

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

logger = logging.getLogger(__name__)

KEYS_VARIABLE = "CATA_TOKEN_KEYS"
WRITE_SECONDS = 60.0
_NEW_KEY = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
_OWNER_END = "\n"


class TokenError(TenantError):
    """A refresh token cannot be kept or read; without it the tenant's POS account has to be connected again."""

    kind = "token"


@dataclass(frozen=True)
class Chain:
    """The tokens that came of one connection of a tenant's account; its first one names it."""

    tenant_id: str
    first_sha256: bytes

    @property
    def owner(self) -> str:
        """What is sealed along with a token, so that a row copied to another tenant or chain opens nothing there."""
        return f"{self.tenant_id} {self.first_sha256.hex()}"


class TenantToken:
    """One tenant's refresh token, held: nobody else exchanges it meanwhile."""

    def __init__(self, store: "TokenStore", chain: Chain, generation: int, current: str, clock: ControlClock) -> None:
        self._store = store
        self._clock = clock
        self._chain = chain
        self._generation = generation
        self.current = current

    def keep(self, following: str) -> None:
        """Seal and commit the token that came in exchange; it is the current one from then on.

        Done even when the lock was lost meanwhile: the old token is spent, and this one may be all there is.
        """
        self._generation += 1
        self._store.write(self._chain, self._generation, following, self._clock.now())
        self.current = following


class TokenStore:
    """The sealed tokens of one control database.

    `keys` are Fernet keys (URL-safe base64 of 32 bytes): the first one seals, all of them open, so that a key is
    replaced by putting the new one in front. A write is repeated for `write_seconds`.
    """

    def __init__(self, control: Engine, keys: tuple[str, ...], *, write_seconds: float = WRITE_SECONDS) -> None:
        self._control = control
        self._keys = keys
        self._write_seconds = write_seconds

    @contextmanager
    def held(self, tenant_id: str, first: str, run_id: str) -> Iterator[TenantToken]:
        """The token of a tenant whose credentials hold `first`, the one that its account was connected with.

        What was kept since is used; an account that was connected anew has another `first`, and with it a chain of its
        own. Raises `TokenError` where nothing may be sent, and `TenantBusyError` when another run holds the token for
        a minute.
        """
        self._box()
        chain = Chain(tenant_id, hashlib.sha256(first.encode()).digest())
        with tenant_lock(self._control, tenant_id, "token", run_id):
            generation, kept = self.kept(chain) or (0, first)
            yield TenantToken(self, chain, generation, kept, ControlClock(self._control))

    def write(self, chain: Chain, generation: int, token: str, given_at: datetime) -> None:
        """Seal `token` and commit it, unless a newer one of its chain is there.

        Newer is what came of more exchanges; of two that were given for the same token, the one given last.
        """
        values = {"generation": generation, "given_at": given_at, "sealed": self._seal(chain, token)}
        insert = pg.insert(table).values(tenant_id=chain.tenant_id, first_sha256=chain.first_sha256, **values)
        changed = insert.on_conflict_do_update(
            index_elements=[table.c.tenant_id, table.c.first_sha256],
            set_=values,
            where=sa.tuple_(table.c.generation, table.c.given_at)
            <= sa.tuple_(insert.excluded.generation, insert.excluded.given_at),
        ).returning(table.c.generation)
        # The old token is worthless by now: a database that is away for a moment must not lock the tenant out.
        try:
            for attempt in Retrying(
                stop=stop_after_delay(self._write_seconds),
                wait=wait_random_exponential(max=5),
                retry=retry_if_exception_type(sa.exc.DBAPIError),
                reraise=True,
            ):
                with attempt, self._control.begin() as connection:
                    written = connection.scalar(changed)
        except sa.exc.DBAPIError as error:
            raise TokenError(
                "The POS gave a new refresh token, and the control database did not take it within"
                f" {self._write_seconds:g} s ({type(error.orig).__name__}): the token is lost. Check that database,"
                " then connect the tenant's POS account again."
            ) from error
        if written is None:
            logger.warning(
                "Tenant %s: a newer refresh token was on record already, and stays: another run exchanged it after this"
                " one had lost its lock.",
                chain.tenant_id,
            )

    def kept(self, chain: Chain) -> tuple[int, str] | None:
        """The newest token of a chain and how many exchanges it came of; None before the first exchange."""
        statement = sa.select(table.c.tenant_id, table.c.generation, table.c.sealed).where(
            table.c.first_sha256 == chain.first_sha256
        )
        with self._control.connect() as connection:
            rows = {row.tenant_id: row for row in connection.execute(statement)}
        if row := rows.get(chain.tenant_id):
            return row.generation, self._unseal(chain, bytes(row.sealed))
        if rows:
            # Exchanged again, it would be refused, and a strict provider would end the other tenant's chain with it.
            raise TokenError(
                f"The refresh token of tenant {chain.tenant_id} is the one that tenant {min(rows)} was connected with,"
                " and is spent. Nothing was sent. Connect this tenant's POS account by itself."
            )
        return None

    def _seal(self, chain: Chain, token: str) -> bytes:
        return self._box().encrypt(f"{chain.owner}{_OWNER_END}{token}".encode())

    def _unseal(self, chain: Chain, sealed: bytes) -> str:
        from cryptography.fernet import InvalidToken

        try:
            text = self._box().decrypt(sealed).decode()
        except InvalidToken:
            raise TokenError(
                f"The kept refresh token of tenant {chain.tenant_id} cannot be opened: it was sealed with a key that"
                f" {KEYS_VARIABLE} does not hold, or its row was damaged. Nothing was sent. Add that key behind the"
                " others, or connect the tenant's POS account again."
            ) from None
        owner, bound, token = text.partition(_OWNER_END)
        if not bound:
            return text  # sealed before owners were: bound to this one at its next exchange
        if owner != chain.owner:
            raise TokenError(
                f"The kept refresh token of tenant {chain.tenant_id} belongs to another tenant or connection, as if its"
                " row had been copied. Nothing was sent. Restore the row, or connect the tenant's POS account again."
            )
        return token

    def _box(self) -> "MultiFernet":
        from cryptography.fernet import Fernet, MultiFernet

        if not self._keys:
            raise TokenError(
                f"This tenant's refresh token changes with each use and is kept sealed, but {KEYS_VARIABLE} is not set."
                f" Nothing was sent. Set it to a key, such as {_NEW_KEY} prints."
            )
        return MultiFernet([Fernet(key) for key in self._keys])
