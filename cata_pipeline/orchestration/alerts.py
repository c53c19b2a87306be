"""Tells people about failed runs and checks: one message a tick for all since the last, to a webhook or to the log.

The sensor follows Dagster's RUN_FAILURE events by storage id, whatever job they are of: such an event comes once a
failed run, holds the first failed step, and is not written for cancelled runs. Its cursor moves only over failures that
were told or given up, so a killed daemon tells them again. Which checks of the fleet it tells is `check_news`; what a
message says is `alert_message`.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import takewhile
from typing import Annotated, ClassVar, cast

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    AUTO_RETRY_RUN_ID_TAG,
    PARTITION_NAME_TAG,
    WILL_RETRY_TAG,
)
from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter

from cata_pipeline.orchestration.alert_message import FailedRun, alert_text
from cata_pipeline.orchestration.assets import COMMAND_LINE
from cata_pipeline.orchestration.check_news import read_checks
from cata_pipeline.orchestration.image_sensor import SETTLE_SECONDS, settled
from cata_pipeline.orchestration.resources import PipelineResource

PAGE = 500
"""Failed runs told in one message; the others wait for the next tick."""

GIVE_UP_SECONDS = 6 * 3600.0
"""How long a failure is offered to a webhook that does not take it."""

ALERT_SENSOR = "run_failure_alert"

_EventId = Annotated[int, Field(ge=0, lt=2**63)]

_MATERIALIZATION = "Materialization"
"""What the UI calls a run of Dagster's own job, the one behind the button *Materialize*."""


@dataclass(frozen=True)
class AlertCursor:
    """How far the failures were told: those up to the event `told`.

    Checks are told up to the event `checked`, None where that has yet to begin; `called` are those that somebody was
    told of and that are not over, with the time (seconds since the epoch) at which each was last loud.

    While the webhook takes nothing, `since` is when it first did not (seconds since the epoch) and `offered` the newest
    failure of that message; failures that came later are offered along with it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid")

    told: _EventId
    offered: _EventId | None = None
    since: FiniteFloat | None = None
    checked: _EventId | None = None
    called: Mapping[str, FiniteFloat] = field(default_factory=dict)

    def text(self) -> str:
        """The cursor as Dagster keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str | None) -> "AlertCursor | None":
        """A kept cursor; None when there is none, or one that this sensor cannot have written."""
        try:
            return TypeAdapter(cls).validate_json(text or "")
        except ValueError:
            return None


def refused(cursor: AlertCursor, newest: int, now: float) -> tuple[AlertCursor, bool]:
    """The cursor after a message up to the failure `newest` was not taken, and whether its oldest part is given up.

    Only runs that were in the message that began the wait are given up; what failed later has all its time before it.
    A check never is: while it goes on failing, that is what people must know once the webhook is back.
    """
    if cursor.offered is None or cursor.since is None:
        return replace(cursor, offered=newest, since=now), False
    if now - cursor.since < GIVE_UP_SECONDS:
        return cursor, False
    return replace(cursor, told=cursor.offered, offered=None, since=None), True


def worth_telling(tags: Mapping[str, str]) -> bool:
    """Whether anybody is to be called because of a failed run with these tags.

    Not for one that an operator watches in his terminal, which told him. Not for one that Dagster started again
    already: if that fails for good as well, its last attempt is told.
    """
    return not COMMAND_LINE.items() <= tags.items() and AUTO_RETRY_RUN_ID_TAG not in tags


@dg.sensor(
    name=ALERT_SENSOR,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Tells all runs that failed since the last tick, and checks of fleet_health that began to fail as ERROR or no"
        " longer do, in one message to CATA_ALERT_WEBHOOK_URL or the log."
    ),
)
def run_failure_alert(context: dg.SensorEvaluationContext, pipeline: PipelineResource) -> dg.SensorResult:
    """Posts all runs that failed since the last tick to CATA_ALERT_WEBHOOK_URL, in one message.

    A check of `fleet_health` is told in it once when it begins to fail as an ERROR and once when that is over. Without
    a webhook all are only logged here. A message that is not taken is offered again at every tick for six hours, along
    with what failed since.
    """
    from cata_pipeline.orchestration.webhook import post

    settings = pipeline.get().settings
    webhook = settings.alert_webhook
    return tell_failures(
        context.instance,
        context.cursor,
        (lambda text: post(webhook, text)) if webhook else None,
        settings.dagster_url,
        log=context.log,
        now=time.time(),
    )


def tell_failures(
    instance: dg.DagsterInstance,
    kept: str | None,
    send: Callable[[str], str | None] | None,
    dagster_url: str | None,
    *,
    log: logging.Logger,
    now: float,
    page: int = PAGE,
) -> dg.SensorResult:
    """One tick: tell the next `page` failures and checks behind the cursor `kept`; returns the cursor behind them.

    `send` returns why a message was not taken, None when it was; without it the log is enough. The first tick ever
    tells nothing: it only notes where the history ends. After a cursor that cannot be read, nobody knows what was
    told: what failed within `GIVE_UP_SECONDS` is told by the next tick, maybe again.
    """
    cursor = AlertCursor.parse(kept)
    if cursor is None:
        return _begun(instance, kept, log, now)
    found = _failures(instance, cursor.told, now, page)
    checks = read_checks(instance, cursor.checked, cursor.called, lambda time: settled(time, now), page)
    passed = AlertCursor(found.last, checked=checks.last, called=checks.called)
    if not found.failed and not checks.news:
        return _ended(passed, found.nothing)
    text = alert_text(list(found.failed.values()), dagster_url, checks.news)
    if cursor.since is None:
        log.warning(text)
    problem = send(text) if send else None
    told = f" Checks: {', '.join(news.check for news in checks.news)}." if checks.news else ""
    if problem is None:
        return _ended(passed, f"Failed runs told: {len(found.failed)}{found.left_out}.{told}")
    after, given_up = refused(cursor, found.last, now)
    log.error("%s Failed runs that were not told: %s.%s", problem, len(found.failed), told)
    lost = [run for event, run in found.failed.items() if event <= after.told]
    if given_up and lost:
        log.error("Given up after %.0f hours:\n%s", GIVE_UP_SECONDS / 3600, alert_text(lost, dagster_url))
        return _ended(after, f"{problem} Given up: {len(lost)} failed runs; the log of this tick names them.{told}")
    return _ended(after, f"{problem} Offered again at the next tick: {len(found.failed)} failed runs.{told}")


@dataclass(frozen=True)
class _Failures:
    """The next failed runs: those to tell by the storage id of their event, and the last event that was looked at.

    `left_out` counts those not to tell, `nothing` is the sentence for when there are no others.
    """

    last: int
    failed: Mapping[int, FailedRun]
    left_out: str
    nothing: str


def _failures(instance: dg.DagsterInstance, after: int, now: float, page: int) -> _Failures:
    records = instance.fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE, after_storage_id=after),
        limit=page,
        ascending=True,
    ).records
    trusted = list(takewhile(lambda record: settled(record.timestamp, now), records))
    if not trusted:
        younger = f"; {len(records)} are younger than {SETTLE_SECONDS:.0f} s" if records else ""
        return _Failures(after, {}, "", f"No run failed since event {after}{younger}.")
    failed = _worth_telling(instance, trusted)
    left_out = f"; {len(trusted) - len(failed)} were left out" if len(failed) < len(trusted) else ""
    return _Failures(trusted[-1].storage_id, failed, left_out, f"No failed run to tell{left_out}.")


def _begun(instance: dg.DagsterInstance, unreadable: str | None, log: logging.Logger, now: float) -> dg.SensorResult:
    if unreadable:
        log.error("The cursor was %r, which this sensor did not write", unreadable)
    passed = dg.RunStatusChangeRecordsFilter(
        dg.DagsterEventType.RUN_FAILURE, before_timestamp=now - GIVE_UP_SECONDS if unreadable else None
    )
    newest = instance.fetch_run_status_changes(passed, limit=1).records
    start = AlertCursor(newest[0].storage_id if newest else 0)
    told = f"Failed runs are told from now on, those after event {start.told}"
    why = f": the cursor could not be read, so those of the last {GIVE_UP_SECONDS / 3600:.0f} hours may be told again"
    return _ended(start, f"{told}{why if unreadable else ''}.")


def _ended(cursor: AlertCursor, message: str) -> dg.SensorResult:
    return dg.SensorResult(cursor=cursor.text(), skip_reason=dg.SkipReason(message))


def _worth_telling(instance: dg.DagsterInstance, records: Sequence[dg.EventLogRecord]) -> dict[int, FailedRun]:
    """The failures that somebody is to hear of, by the storage id of their event."""
    runs = instance.get_run_records(dg.RunsFilter(run_ids=[record.run_id for record in records]))
    tags = {run.dagster_run.run_id: run.dagster_run.tags for run in runs}
    return {
        record.storage_id: _failed_run(record.event_log_entry, tags.get(record.run_id, {}))
        for record in records
        if worth_telling(tags.get(record.run_id, {}))
    }


def _failed_run(entry: dg.EventLogEntry, tags: Mapping[str, str]) -> FailedRun:
    """What the first failed step said; of a run that never came to a step, what Dagster says."""
    event = entry.get_dagster_event()
    data = event.job_failure_data if event.event_specific_data else None
    step = data.first_step_failure_event.step_failure_data if data and data.first_step_failure_event else None
    said = step.user_failure_data if step else None
    error = step.error if step else data.error if data else None
    told = (error.cause or error).message.strip() if error else event.message
    reason = (said.description if said else None) or told
    tenants = said.metadata["failed"].value if said and "failed" in said.metadata else {}
    return FailedRun(
        run_id=entry.run_id,
        job=_MATERIALIZATION if entry.job_name == IMPLICIT_ASSET_JOB_NAME else entry.job_name or "",
        reason=reason or "Dagster gives no reason.",
        tenants=cast("Mapping[str, str]", tenants),
        partitions=_partitions(tags),
        restarts=tags.get(WILL_RETRY_TAG) == "true",
    )


def _partitions(tags: Mapping[str, str]) -> str:
    if PARTITION_NAME_TAG in tags:
        return tags[PARTITION_NAME_TAG]
    ends = [tags[name] for name in (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG) if name in tags]
    return " to ".join(ends)
