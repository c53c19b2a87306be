"""The five questions about the fleet as asset checks: when one fails, how loudly, and what to do then.

What a question means in the database is `cata_pipeline.tenants.fleet`; here it gets its name, its severity and its
recovery line. Add a question there, then a row to `CHECKS`. Nothing here asks a database or a clock.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from cata_pipeline.orchestration.metadata import table

if TYPE_CHECKING:
    from cata_pipeline.tenants.fleet import FleetAnswer, FleetHealth

FLEET = dg.AssetKey("fleet_health")
CHECK_FLEET = "check_fleet"
"""The job that materializes it; `run_queue` starts it at once."""

LOUD_SHARE = 100
"""From one tenant in a hundred on, a cause is likely to be ours: ERROR. Fewer are those merchants' own: WARN."""

PATIENCE = timedelta(days=1)
"""How long a picture may fail before its check does: until then it is tried again by itself."""

_WHY_CHARACTERS = 200
_NOTHING = "Nothing to do."


@dataclass(frozen=True)
class FleetCheck:
    """A check of the fleet.

    `asks` is its description, `finds` what a tenant it counts is called. `first` says what to do in a sentence, beside
    the result; `recovery` is markdown that says all of it, which the UI shows at a click. `quiet` checks only ever
    warn, and have patience.
    """

    name: str
    answer: Callable[["FleetHealth"], "FleetAnswer"]
    asks: str
    finds: str
    first: str
    recovery: str
    quiet: bool = False


_FAILED = """- Read `reasons` first: many tenants with one reason have one cause (a POS, a bucket, a database server)
  and cannot wait; single ones can. `cata-pipeline status TENANT` tells more of one.
- Once the cause is gone, all at once: `cata-pipeline sync --failed`, then `cata-pipeline images --failed`.
- A few, in the UI: `reconciled_items` (or `image_objects`) > *Partitions*, filter *Failed*, *Materialize*. Scattered
  tenants become one run each there; the command serves them all in one process.
"""

_STALE = """- *its syncs fail*: as `no_tenant_failed` says.
- *nobody synced it*, *never synced*: no sync was started. Under *Automation*, `tenant_registry_sensor` and
  `nightly_resync` must run and their last ticks have succeeded; under *Runs*, look what is *Queued*.
- Then `cata-pipeline sync TENANT…`, or `cata-pipeline sync --all` where most are stale. In the UI:
  `reconciled_items` > *Materialize*, and choose the partitions.
"""

_BEHIND = """- Menus are right meanwhile; they lack new pictures or show the last ones.
- *its copies fail*: `cata-pipeline images --failed`, once the cause is gone.
- *nobody copied them*, *never copied*: no copy was started. Under *Automation*, `image_copy_sensor` must run and its
  last tick have succeeded; under *Runs*, look what is *Queued*.
- Then `cata-pipeline images TENANT…`, or `--all`. In the UI: `image_objects` > *Materialize*, and choose the
  partitions. What is left, `daily_image_sweep` copies at 05:00.
"""

_PICTURES = """- Nobody need get up: the last good copy stays, and tries go on by themselves.
- A bad file, a web page, nothing at the address: tell the merchant, who mends it at the POS.
- A host that does not answer: nothing to do, unless `reasons` counts many tenants. Then it is one host's outage, or our
  own way out of the network.
- `cata-pipeline status TENANT` lists items, hosts and the next try; the copy after it clears what is mended.
"""

_DRIFT = """- *refused*: nothing is written to these tenants until the owner of their schema migrates it; `why` lists
  all that is missing. Then `cata-pipeline sync --failed`.
- *newly absent*: syncs go on without that part, and it is no longer kept in step. Ask its owner whether that is meant;
  if it is, there is nothing to do: the tenant's next sync clears this.
- Many tenants at once: a migration of theirs is under way or went wrong. Tell its owner now. Where names were changed
  on purpose, the file of `CATA_SCHEMA_MAPPING` has to follow.
"""

CHECKS = (
    FleetCheck(
        "no_tenant_failed",
        lambda health: health.failed,
        "The newest sync, and the newest image copy, of every tenant ended well.",
        "failed",
        "Once the cause is gone: `cata-pipeline sync --failed`, then `cata-pipeline images --failed`.",
        _FAILED,
    ),
    FleetCheck(
        "no_tenant_stale",
        lambda health: health.stale,
        "Every tenant was synced with success within 26 hours, or was registered since.",
        "not synced for over 26 hours",
        "Look at the reasons: a schedule that stands still, or syncs that fail. Then `cata-pipeline sync TENANT…`.",
        _STALE,
    ),
    FleetCheck(
        "images_not_behind",
        lambda health: health.images_behind,
        "Wherever a sync brought new pictures, an image copy followed within 2 hours.",
        "with pictures that wait for over 2 hours",
        "Look at the reasons: a sensor that stands still, or copies that fail. Then `cata-pipeline images TENANT…`.",
        _BEHIND,
    ),
    FleetCheck(
        "no_picture_keeps_failing",
        lambda health: health.failing_pictures,
        "No picture has failed for over a day. Only ever warns.",
        "with pictures that fail",
        "Nobody need get up; `cata-pipeline status TENANT` lists them for the merchant.",
        _PICTURES,
        quiet=True,
    ),
    FleetCheck(
        "no_contract_drift",
        lambda health: health.contract_drift,
        "Every tenant database fits, and lacks no optional part that it had at the sync before.",
        "whose database changed shape",
        "Tell the owner of the schema; once it fits again, `cata-pipeline sync --failed`.",
        _DRIFT,
    ),
)
"""One for each answer of `FleetHealth`."""

SPECS = [dg.AssetCheckSpec(check.name, asset=FLEET, description=check.asks, blocking=False) for check in CHECKS]


def check_results(health: "FleetHealth", now: datetime) -> Iterator[dg.AssetCheckResult]:
    """What each check says of the fleet at that moment."""
    for check in CHECKS:
        yield _result(check, health, now)


def _result(check: FleetCheck, health: "FleetHealth", now: datetime) -> dg.AssetCheckResult:
    answer = check.answer(health)
    metadata: dict[str, Any] = {"tenants": answer.tenants, "cases": answer.cases}
    if answer.since is not None:
        metadata |= {"reasons": _reasons(answer), "sample": _sample(answer)}
    metadata["recovery"] = dg.MetadataValue.md(check.recovery if answer.cases else _NOTHING)
    return dg.AssetCheckResult(
        check_name=check.name,
        passed=_passes(check, answer, now),
        severity=_severity(check, answer, health.tenants),
        description=headline(check, answer, health.tenants),
        metadata=metadata,
    )


def _passes(check: FleetCheck, answer: "FleetAnswer", now: datetime) -> bool:
    return answer.since is None or (check.quiet and answer.since > now - PATIENCE)


def _severity(check: FleetCheck, answer: "FleetAnswer", tenants: int) -> dg.AssetCheckSeverity:
    loud = not check.quiet and answer.tenants * LOUD_SHARE >= tenants
    return dg.AssetCheckSeverity.ERROR if loud else dg.AssetCheckSeverity.WARN


def headline(check: FleetCheck, answer: "FleetAnswer", tenants: int) -> str:
    """How many of how many, since when at the longest, and what to do first."""
    if answer.since is None:
        return f"None of {tenants:,} tenants."
    found = f"{answer.tenants:,} of {tenants:,} tenants {check.finds}, the first since {minute(answer.since)} UTC."
    return f"{found} {check.first}"


def minute(time: datetime) -> str:
    """A time in UTC, to the minute; tables say so in their header, to keep their cells narrow."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"


def _reasons(answer: "FleetAnswer") -> dg.TableMetadataValue:
    rows = [(each.reason, str(each.tenants), str(each.cases), minute(each.since)) for each in answer.reasons]
    return table(("reason", "tenants", "cases", "first since (UTC)"), rows, _WHY_CHARACTERS)


def _sample(answer: "FleetAnswer") -> dg.TableMetadataValue:
    rows = [(c.tenant_id, minute(c.since), c.reason, str(c.cases), c.why) for c in answer.sample]
    return table(("tenant", "since (UTC)", "reason", "cases", "why"), rows, _WHY_CHARACTERS)
