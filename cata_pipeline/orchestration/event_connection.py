"""Keeps one connection to Dagster's storage while a run serves its tenants.

Dagster's own engine connects anew for each log line, and twice for each materialization: measured, six connections a
tenant, a quarter of the CPU that a small unchanged one takes. What is written stays Dagster's business.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from cata_pipeline.orchestration.dagster_internals import postgresql_engine

if TYPE_CHECKING:
    from dagster_postgres import PostgresEventLogStorage
    from sqlalchemy.engine import Engine


@dataclass
class _Kept:
    """The engine of a storage while runs use it, and the one that it had before."""

    engine: "Engine"
    before: "Engine"
    users: int = 0


_kept: "dict[PostgresEventLogStorage, _Kept]" = {}
_changing = threading.Lock()


@contextmanager
def kept_event_connection(instance: dg.DagsterInstance) -> Iterator[None]:
    """Write events over one connection, tested before each use; a thread that finds it in use gets one of its own.

    Runs that overlap on one instance share it, and the last to end gives Dagster's own engine back.
    """
    from dagster_postgres import PostgresEventLogStorage

    storage = instance.event_log_storage
    if not isinstance(storage, PostgresEventLogStorage):
        yield
        return
    with _changing:
        kept = _kept.get(storage) or _replaced(storage)
        kept.users += 1
    try:
        yield
    finally:
        with _changing:
            kept.users -= 1
            if not kept.users:
                del _kept[storage]
                storage._engine = kept.before  # noqa: SLF001
                kept.engine.dispose()


def _replaced(storage: "PostgresEventLogStorage") -> _Kept:
    engine = postgresql_engine(storage, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=-1, pool_pre_ping=True)
    # Dagster offers a pool to its web server only, and that one does not test its connections.
    kept = _kept[storage] = _Kept(engine, storage._engine)  # noqa: SLF001
    storage._engine = engine  # noqa: SLF001
    return kept
