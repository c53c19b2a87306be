"""The executor of every job: Dagster's in-process executor, which holds the lock of its run meanwhile.

What the lock is for is `run_lock`. Runs that the command line serves in its own process do not come here; `in_process`
takes the lock for them.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg
from typing_extensions import override

from cata_pipeline.orchestration.dagster_internals import IN_PROC_CONFIG
from cata_pipeline.orchestration.run_lock import held_run_lock

if TYPE_CHECKING:
    from cata_pipeline.orchestration.dagster_internals import (
        ExecutionPlan,
        PlanOrchestrationContext,
        RetryMode,
        StepDependencyConfig,
    )


class LockedExecutor(dg.Executor):
    """Runs a plan with another executor while it holds the lock of the run."""

    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

    @property
    @override
    def retries(self) -> "RetryMode":
        return self._executor.retries

    @property
    @override
    def step_dependency_config(self) -> "StepDependencyConfig":
        return self._executor.step_dependency_config

    @override
    def execute(
        self, plan_context: "PlanOrchestrationContext", execution_plan: "ExecutionPlan"
    ) -> Iterator[dg.DagsterEvent]:
        with held_run_lock(plan_context.instance, plan_context.run_id):
            yield from self._executor.execute(plan_context, execution_plan)


@dg.executor(name="in_process", config_schema=IN_PROC_CONFIG)
def locked_in_process_executor(context: dg.InitExecutorContext) -> LockedExecutor:
    """Runs all steps in the run's process, which holds the lock of the run."""
    create = dg.in_process_executor.executor_creation_fn
    assert create is not None
    return LockedExecutor(create(context))
