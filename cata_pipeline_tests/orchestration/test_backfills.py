"""What Dagster makes of a backfill that a person asks for in the UI: how many runs, each for whom."""

import logging
from collections.abc import Callable, Iterator, Sequence

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.backfill import execute_backfill_iteration
from sqlalchemy.engine import URL

from cata_pipeline.definitions import defs
from cata_pipeline.orchestration.metadata import RECONCILED, SNAPSHOT
from cata_pipeline.orchestration.partitions import partitions_of_run
from cata_pipeline_tests.orchestration.conftest import overrides

# Dagster's own call.
pytestmark = pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources` is deprecated")

FLEET = [f"tenant-{number}" for number in range(250, 0, -1)]
"""In the order they joined, which is not the alphabet's."""


@pytest.fixture
def queueing(dagster_database: URL) -> Iterator[dg.DagsterInstance]:
    """An instance whose runs stay in the queue."""
    queue = {"module": "dagster._core.run_coordinator", "class": "QueuedRunCoordinator"}
    with dg.instance_for_test(overrides={**overrides(dagster_database), "run_coordinator": queue}) as instance:
        instance.add_dynamic_partitions("tenants", FLEET)
        yield instance


@pytest.fixture
def backfilled(queueing: dg.DagsterInstance) -> Callable[[Sequence[str]], list[list[str]]]:
    """Has the daemon serve a backfill of both sync assets for these tenants; returns each run's tenants."""

    def serve(tenant_ids: Sequence[str]) -> list[list[str]]:
        asked = PartitionBackfill.from_asset_partitions(
            backfill_id="repair",
            asset_graph=defs.resolve_asset_graph(),
            partition_names=list(tenant_ids),
            asset_selection=[SNAPSHOT, RECONCILED],
            backfill_timestamp=1_700_000_000.0,
            tags={},
            dynamic_partitions_store=queueing,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
        queueing.add_backfill(asked)
        target = ModuleTarget("cata_pipeline.definitions", None, None, "cata_pipeline")
        with create_test_daemon_workspace_context(target, queueing) as workspace:
            for error in execute_backfill_iteration(workspace, logging.getLogger("backfill")):
                assert error is None, error
        backfill = queueing.get_backfill("repair")
        assert backfill is not None
        assert backfill.status is BulkActionStatus.REQUESTED
        runs = queueing.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
        assert all(run.asset_selection == {SNAPSHOT, RECONCILED} for run in runs)
        return [list(partitions_of_run(FLEET, run.tags) or []) for run in reversed(runs)]

    return serve


def test_a_backfill_of_everybody_is_cut_into_runs_of_a_hundred_neighbours(
    backfilled: Callable[[Sequence[str]], list[list[str]]],
) -> None:
    assert sorted(backfilled(FLEET), reverse=True) == sorted([FLEET[:100], FLEET[100:200], FLEET[200:]], reverse=True)


def test_a_backfill_of_scattered_tenants_takes_one_run_for_each_stretch_of_neighbours(
    backfilled: Callable[[Sequence[str]], list[list[str]]],
) -> None:
    chosen = [*FLEET[5:9], FLEET[20], *FLEET[120:122]]
    assert sorted(map(tuple, backfilled(chosen))) == sorted([tuple(FLEET[5:9]), (FLEET[20],), tuple(FLEET[120:122])])
