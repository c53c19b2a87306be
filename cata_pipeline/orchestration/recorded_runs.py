"""What a run of this process did for each tenant, kept in memory beside Dagster's storage.

The command line reads a run's events back, so that it shows what the UI shows. Where the storage fails after rows were
written, it answers from here.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg


@dataclass
class RecordedRun:
    """By tenant: the metadata of each asset that was served, by its key, and why a tenant failed."""

    metadata: dict[tuple[str, dg.AssetKey], Mapping[str, Any]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


_runs: dict[str, RecordedRun] = {}


@contextmanager
def recorded_run(run_id: str) -> Iterator[RecordedRun]:
    """Keep what the run of this id does until the block ends."""
    _runs[run_id] = RecordedRun()
    try:
        yield _runs[run_id]
    finally:
        del _runs[run_id]


def note_event(run_id: str, event: dg.AssetMaterialization | dg.AssetObservation) -> None:
    """Keep an event where `recorded_run` records that run."""
    if run_id in _runs and event.partition:
        values = {key: value.value for key, value in event.metadata.items()}
        _runs[run_id].metadata[event.partition, event.asset_key] = values


def note_errors(run_id: str, errors: Mapping[str, str]) -> None:
    """Keep why tenants failed where `recorded_run` records that run."""
    if run_id in _runs:
        _runs[run_id].errors.update(errors)
