"""The fleet at a glance: the asset where whoever is on call begins, its job and its schedule.

One light run looks at all tenants, and evaluates all checks (`fleet_checks`) with what it saw. What is looked at is
`cata_pipeline.tenants.fleet`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from cata_pipeline.orchestration.fleet_checks import CHECK_FLEET, CHECKS, FLEET, SPECS, check_results, minute
from cata_pipeline.orchestration.metadata import table
from cata_pipeline.orchestration.owners import OWNERS
from cata_pipeline.orchestration.resources import PipelineResource

if TYPE_CHECKING:
    from cata_pipeline.tenants.fleet import FleetHealth

_UNDER_WAY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_FIRST_STEPS = (
    "No tenant is registered yet. Register some with `cata-pipeline tenants import FILE.toml`; within a minute"
    " `tenant_registry_sensor` gives each its partition, and from then on they are counted here."
)

_TEXT = """How all tenants are, looked at twice an hour: whoever is on call begins here.

1. *Checks* of this asset: a red one (ERROR) concerns one tenant in a hundred or more, so its cause is probably ours
   and it cannot wait: `run_failure_alert` calls somebody, once. A yellow one (WARN) concerns single merchants and can
   wait for the morning.
2. In a check that failed, `reasons` tells one cause from many, `sample` names tenants, `recovery` says what to do.
3. The *Plots* of this asset's metadata show since when, and whether it grows.

| check | fails when |
| --- | --- |
| `no_tenant_failed` | a newest sync or image copy ended with an error |
| `no_tenant_stale` | no sync succeeded for 26 hours |
| `images_not_behind` | new pictures wait for their copy for over 2 hours |
| `no_picture_keeps_failing` | a picture has failed for over a day |
| `no_contract_drift` | a tenant database does not fit, or lost an optional part |

If it fails: the fleet could not be looked at, so nothing is known. The message says why; mostly the control database
does not answer, and then no tenant is served either.
"""


@dg.asset(key=FLEET, group_name="fleet", owners=OWNERS, kinds={"postgres"}, description=_TEXT, check_specs=SPECS)
def fleet_health(context: dg.AssetExecutionContext, pipeline: PipelineResource) -> Iterator[dg.MaterializeResult[None]]:
    """Look at all tenants once; tell it as figures and as checks."""
    from cata_pipeline.control.clock import ControlClock
    from cata_pipeline.tenants.fleet import fleet_health as look_at_fleet

    control = pipeline.control()
    now = ControlClock(control).now()
    health = look_at_fleet(control, now)
    metadata = _figures(health) | _runs(context.instance) | {"summary": dg.MetadataValue.md(_summary(health))}
    if found := _found(health):
        metadata["found"] = table(("check", "tenants", "first since (UTC)", "most frequent reason"), found, 100)
    yield dg.MaterializeResult(metadata=metadata, check_results=list(check_results(health, now)))


check_fleet = dg.define_asset_job(
    CHECK_FLEET,
    selection=dg.AssetSelection.assets(FLEET),
    description="Looks at all tenants in the control database and evaluates the checks of the fleet. Touches none.",
    # `run_queue` starts it at once; where an instance has another queue, it is at least the first there.
    tags={"dagster/priority": "10"},
    owners=OWNERS,
)

fleet_check = dg.ScheduleDefinition(
    name="fleet_check",
    job=check_fleet,
    # Not on the hour, when a night's runs begin.
    cron_schedule="15,45 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    tags={"trigger": "schedule"},
    description="Looks at the fleet twice an hour.",
    owners=OWNERS,
)


def _figures(health: "FleetHealth") -> dict[str, Any]:
    """The plots: always the same, zeros included. Tenants, except for `failing_pictures`, which are URLs."""
    return {
        "tenants": health.tenants,
        "retired": health.retired,
        "failed": health.failed.tenants,
        "stale": health.stale.tenants,
        "images_behind": health.images_behind.tenants,
        "failing_pictures": health.failing_pictures.cases,
        "contract_drift": health.contract_drift.tenants,
    }


def _runs(instance: dg.DagsterInstance) -> dict[str, int]:
    """How many runs are under way beside this one, and how many wait."""
    return {
        "runs_under_way": max(0, instance.get_runs_count(dg.RunsFilter(statuses=_UNDER_WAY)) - 1),
        "runs_queued": instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])),
    }


def _summary(health: "FleetHealth") -> str:
    if not health.tenants:
        return _FIRST_STEPS
    found = sum(check.answer(health).since is not None for check in CHECKS)
    if not found:
        return f"All is well; tenants looked at: {health.tenants:,}."
    return f"{found} of {len(CHECKS)} questions found something among {health.tenants:,} tenants; see *Checks*."


def _found(health: "FleetHealth") -> list[tuple[str, str, str, str]]:
    answers = [(check.name, check.answer(health)) for check in CHECKS]
    return [
        (name, str(answer.tenants), minute(answer.since), answer.reasons[0].reason)
        for name, answer in answers
        if answer.since is not None
    ]
