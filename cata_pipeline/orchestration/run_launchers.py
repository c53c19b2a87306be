"""Finds dead runs for Dagster's run monitoring, the same way whatever launched them: nobody holds the lock of the run.

`WatchedRuns` is the base of every launcher of ours; `LocalRunLauncher` launches on one machine (`dagster.yaml`). Celery
and Kubernetes have modules of their own, because neither library need be installed elsewhere. The lock is `run_lock`.
"""

from collections.abc import Mapping
from time import monotonic
from types import MappingProxyType
from typing import NamedTuple

import dagster as dg
from typing_extensions import override

from cata_pipeline.orchestration.dagster_internals import CheckRunHealthResult, RunLauncher, WorkerStatus
from cata_pipeline.orchestration.run_lock import run_lock_is_held

GRACE_SECONDS = 30.0
"""How long nobody may hold the lock of a living run: its connection may drop, and it takes seconds to be back."""

LOOKS = 3
"""How many looks in a row have to find no holder."""


class _Missing(NamedTuple):
    """What the looks since the last holder found: none, from `first` to `last`."""

    first: float
    last: float
    looks: int

    def seconds(self) -> float:
        return self.last - self.first


class WatchedRuns(RunLauncher[dg.DagsterInstance]):
    """A launcher that tells a dead run by its lock. First among the bases of a class."""

    _missing: Mapping[str, _Missing] = MappingProxyType({})

    @property
    @override
    def supports_check_run_worker_health(self) -> bool:
        return True

    @override
    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return FAILED once nobody has held the run's lock for `GRACE_SECONDS`; run monitoring calls it for each run.

        An error of the storage is raised, and counts neither way.
        """
        others = {run_id: missing for run_id, missing in self._missing.items() if run_id != run.run_id}
        if run_lock_is_held(self._instance, run.run_id) is not False:
            self._missing = others
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        missing = self._look(run.run_id, monotonic())
        self._missing = others | {run.run_id: missing}
        if missing.seconds() < GRACE_SECONDS or missing.looks < LOOKS:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.FAILED,
            f"No process has held the lock of this run for {missing.seconds():.0f} seconds: its process or machine is"
            " gone.",
        )

    def _look(self, run_id: str, now: float) -> _Missing:
        """Count one more look without a holder.

        After a gap between looks it counts from one: in a gap the storage may have been away and all locks with it, and
        living runs need time to take them again.
        """
        gap = max(GRACE_SECONDS, LOOKS * self._instance.run_monitoring_poll_interval_seconds)
        before = self._missing.get(run_id)
        if before is None or now - before.last > gap:
            return _Missing(now, now, 1)
        return _Missing(before.first, now, before.looks + 1)


class LocalRunLauncher(WatchedRuns, dg.DefaultRunLauncher):
    """Launches each run in a process of its own on the machine of the code location, as Dagster's default does."""
