"""One run at a time for each tenant: an advisory lock in the control database.

The lock belongs to a connection, so it is free as soon as its process is gone, however that ended. The holder's run
id is the connection's application name, where a waiting run reads it. A pooler in transaction mode would break this;
`CATA_DATABASE_URL` must reach the server itself or a pooler in session mode.
"""

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from cata_pipeline.errors import TenantBusyError

WAIT_SECONDS = 60.0
_PREFIX = "cata_pipeline "
_WORK = {"sync": "syncs", "images": "copies the pictures of", "token": "exchanges the refresh token of"}

_DEAD_MACHINE = {
    "tcp_keepalives_idle": "20",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30s",
}
"""When the holder's machine is gone, PostgreSQL ends its session within a minute, before its run is repeated."""

_HOLDER = sa.text("""
SELECT a.application_name, a.backend_start
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.classid = :high AND l.objid = :low
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")

_HOLDERS = sa.text("""
SELECT l.classid::bigint << 32 | l.objid::bigint AS key, a.application_name
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND starts_with(a.application_name, :prefix)
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")


@dataclass(frozen=True)
class TenantLock:
    """A lock that is held."""

    tenant_id: str
    _connection: Connection

    def verify(self) -> None:
        """Raise `TenantBusyError` when the connection that held the lock is gone, and with it the lock."""
        try:
            self._connection.execute(sa.text("SELECT 1"))
        except DBAPIError as error:
            raise TenantBusyError(_lost(self.tenant_id)) from error


@contextmanager
def tenant_lock(
    control: Engine, tenant_id: str, purpose: str, run_id: str, *, wait_seconds: float = WAIT_SECONDS
) -> Iterator[TenantLock]:
    """Hold `purpose` (sync, images or token) for a tenant; raises `TenantBusyError` naming the run that holds it."""
    key = _key(purpose, tenant_id)
    with control.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        _configure(connection, application_name=f"{_PREFIX}{run_id}"[:63], lock_timeout=_milliseconds(wait_seconds))
        try:
            try:
                connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": key})
            except OperationalError as error:
                if error.connection_invalidated:
                    raise TenantBusyError(_lost(tenant_id)) from error
                raise TenantBusyError(_busy(connection, key, tenant_id, purpose, wait_seconds)) from error
            yield TenantLock(tenant_id, connection)
        finally:
            _release(connection)


def lock_holders(control: Engine, tenant_ids: Collection[str]) -> dict[tuple[str, str], str]:
    """The run that holds each tenant at this moment, by (tenant id, purpose); one that nobody holds is absent."""
    with control.connect() as connection:
        held = {
            row.key: row.application_name.removeprefix(_PREFIX)
            for row in connection.execute(_HOLDERS, {"prefix": _PREFIX})
        }
    if not held:
        return {}
    wanted = ((tenant_id, purpose) for tenant_id in tenant_ids for purpose in _WORK)
    return {
        (tenant_id, purpose): held[key] for tenant_id, purpose in wanted if (key := _key(purpose, tenant_id)) in held
    }


def _key(purpose: str, tenant_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose}:{tenant_id}".encode()).digest()[:8]) >> 1


def _milliseconds(wait_seconds: float) -> str:
    return f"{max(1, int(wait_seconds * 1000))}ms"  # 0 would mean to wait for ever


def _configure(connection: Connection, *, application_name: str, lock_timeout: str) -> None:
    settings = {"application_name": application_name, "lock_timeout": lock_timeout} | _DEAD_MACHINE
    connection.execute(sa.select(*(sa.func.set_config(name, value, False) for name, value in settings.items())))


def _release(connection: Connection) -> None:
    """Give the connection back as it was; one that is broken has released its locks already."""
    if connection.invalidated:
        return
    try:
        connection.execute(sa.text("SELECT pg_advisory_unlock_all()"))
        _configure(connection, application_name=_PREFIX.strip(), lock_timeout="0")
    except DBAPIError:
        connection.invalidate()


def _lost(tenant_id: str) -> str:
    return (
        f"The lock on tenant {tenant_id} was lost with its connection to the control database, so another run may have"
        " started. Nothing was written. Start again."
    )


def _busy(connection: Connection, key: int, tenant_id: str, purpose: str, wait_seconds: float) -> str:
    holder = connection.execute(_HOLDER, {"high": key >> 32, "low": key & 0xFFFFFFFF}).first()
    who = f"run {holder.application_name.removeprefix(_PREFIX)}" if holder else "another run, which has just ended"
    return (
        f"{who} still {_WORK[purpose]} tenant {tenant_id} after {wait_seconds:.0f} seconds of waiting. Nothing was"
        " written. Wait for that run, or end it, then start again."
    )
