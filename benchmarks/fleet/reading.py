"""What a site's meters say at a moment: CPU of every party, rows and bytes of the databases, connections.

Everything here only grows, so that a night is the difference of two readings. Add a meter here; when they are read is
`nights.py`.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from benchmarks.fleet.daemon import Daemon
from benchmarks.fleet.site import CONTROL, DAGSTER, Site

DAEMON, CODE_SERVER, RUNS = "daemon", "code server", "run processes"
POSTGRESQL, STORAGE, POS = "PostgreSQL", "fake GCS", "POS"
RUN_ROWS, EVENT_ROWS, TAG_ROWS = "runs", "event rows", "tag rows"
SECONDS, DAGSTER_BYTES, CONTROL_BYTES = "seconds", "Dagster bytes", "control bytes"
OURS = (DAEMON, CODE_SERVER, RUNS)
"""The CPU that the project is answerable for; servers and POS are counted apart."""

_COUNTS = "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM event_logs), (SELECT count(*) FROM run_tags)"
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
_SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class Reading:
    """Seconds, CPU seconds, rows and bytes so far, by name."""

    values: Mapping[str, float]

    def since(self, earlier: "Reading") -> dict[str, float]:
        """What was added."""
        return {name: value - earlier.values[name] for name, value in self.values.items()}


def read_meters(site: Site, daemon: Daemon) -> Reading:
    """Now."""
    spent = daemon.spent()
    values = {
        SECONDS: time.monotonic(),
        DAEMON: spent.daemon,
        CODE_SERVER: spent.code_server,
        RUNS: spent.runs,
        POSTGRESQL: site.postgresql_cpu_seconds(),
        STORAGE: site.storage_cpu_seconds(),
        POS: site.pos.cpu_seconds(),
        DAGSTER_BYTES: _size(site, DAGSTER),
        CONTROL_BYTES: _size(site, CONTROL),
    }
    with site.connect(DAGSTER) as connection:
        counts = connection.execute(_COUNTS).fetchone()
    assert counts is not None
    return Reading(values | dict(zip((RUN_ROWS, EVENT_ROWS, TAG_ROWS), map(float, counts), strict=True)))


def _size(site: Site, database: str) -> float:
    with site.connect(database) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return float(row[0])


class ConnectionWatch:
    """The most connections that PostgreSQL had at once inside a `with` block, looked at twice a second."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._ending = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self.peak = 0

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._watcher.join()

    def _watch(self) -> None:
        with self._site.connect(DAGSTER) as connection:
            while not self._ending.wait(_SAMPLE_SECONDS):
                row = connection.execute(_CONNECTIONS).fetchone()
                self.peak = max(self.peak, int(row[0]) if row else 0)
