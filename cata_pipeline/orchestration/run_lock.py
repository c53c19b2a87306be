"""Whether a run is alive: a lock in Dagster's storage that ends with the process that works on the run.

The process holds the lock in an open transaction on a connection of its own. PostgreSQL releases it when the process
ends, because its connection ends too. When the machine or the network is gone, PostgreSQL ends the session by itself
after `_SILENCE`. A transaction, not a session, holds the lock, so that a pooler in transaction mode keeps it as well;
the transaction reads no table, so it holds no snapshot and delays no vacuum.
The lock is taken by `executor` (launched runs) and `in_process` (the command line); `run_launchers` looks at it.
"""

import hashlib
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from cata_pipeline.orchestration.dagster_internals import postgresql_engine

if TYPE_CHECKING:
    from dagster_postgres import PostgresRunStorage

_HEARTBEAT_SECONDS = 5.0
"""How often the holder uses its connection: how soon it finds a lost one, and what keeps `_SILENCE` from ending it."""

_RECONNECT_SECONDS = 1.0
_JOIN_SECONDS = 5.0

_SILENCE = "60s"
"""PostgreSQL ends a session without a heartbeat for this long: the rule that also holds behind proxies and poolers,
whose own connection to PostgreSQL survives the machine of the run."""

_SETTINGS = {
    "idle_in_transaction_session_timeout": _SILENCE,
    # On a direct connection, PostgreSQL finds a dead machine by the same time.
    "tcp_keepalives_idle": "20",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30s",
}
_CLIENT = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    # A heartbeat into a network that is gone fails by then, and the holder connects again.
    "tcp_user_timeout": 30_000,
}
_HELD = """
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND classid = :high AND objid = :low
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
"""

_log = logging.getLogger(__name__)


@contextmanager
def held_run_lock(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Hold the lock of a run; a thread takes it, and takes it again when its connection is lost.

    Does nothing where Dagster's storage is not PostgreSQL.
    """
    storage = _postgresql(instance)
    if storage is None:
        yield
        return
    over = threading.Event()
    # A daemon thread: a process that ends does not wait for a connection that hangs.
    holder = threading.Thread(target=_hold, args=(storage, run_id, over), name=f"lock of run {run_id}", daemon=True)
    holder.start()
    try:
        yield
    finally:
        over.set()
        holder.join(_JOIN_SECONDS)


def run_lock_is_held(instance: dg.DagsterInstance, run_id: str) -> bool | None:
    """Return whether a process holds the lock of a run; None where Dagster's storage is not PostgreSQL."""
    import sqlalchemy as sa

    storage = _postgresql(instance)
    if storage is None:
        return None
    key = _key(run_id)
    with storage.connect() as connection:
        return bool(connection.scalar(sa.text(_HELD), {"high": key >> 32, "low": key & 0xFFFFFFFF}))


def _hold(storage: "PostgresRunStorage", run_id: str, over: threading.Event) -> None:
    import sqlalchemy as sa

    engine = postgresql_engine(storage, poolclass=sa.NullPool, connect_args=_CLIENT)
    settings = _SETTINGS | {"application_name": f"cata_pipeline run {run_id}"}
    # Local to the transaction, so that a pooler hands no setting on to the next client.
    configure = sa.select(*(sa.func.set_config(name, value, True) for name, value in settings.items()))
    # Shared: a session that PostgreSQL has not yet found dead must not keep the next one waiting.
    take = sa.select(sa.func.pg_advisory_xact_lock_shared(sa.literal(_key(run_id), sa.BigInteger)))
    lost = ""
    while not over.is_set():
        try:
            with engine.begin() as connection:
                connection.execute(configure)
                connection.execute(take)
                # Only now: the log of a run is in the same database.
                if lost:
                    _log.warning(
                        "The connection with the lock of this run was lost (%s); the lock is held again.", lost
                    )
                while not over.wait(_HEARTBEAT_SECONDS):
                    connection.execute(sa.select(1))
        except Exception as error:  # noqa: BLE001 whatever it is, a run without its lock would be taken for dead
            lost = type(getattr(error, "orig", None) or error).__name__
            over.wait(_RECONNECT_SECONDS)


def _key(run_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"run:{run_id}".encode()).digest()[:8]) >> 1


def _postgresql(instance: dg.DagsterInstance) -> "PostgresRunStorage | None":
    from dagster_postgres import PostgresRunStorage

    storage = instance.run_storage
    return storage if isinstance(storage, PostgresRunStorage) else None
