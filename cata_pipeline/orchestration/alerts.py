"""Reports failed runs and failing checks of the fleet: one message a tick, to a webhook or to the log.

The sensor follows two kinds of events by storage id: RUN_FAILURE of every job (one a failed run, with its first failed
step; none for a cancelled run) and ASSET_CHECK_EVALUATION of `fleet_health`. Its cursor passes only events that were
reported or given up, so an interrupted tick is repeated. `alert_message` builds the text.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import takewhile
from typing import Annotated, ClassVar

import dagster as dg
from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter

from cata_pipeline.orchestration.alert_message import CheckNews, FailedRun, alert_text
from cata_pipeline.orchestration.assets import COMMAND_LINE
from cata_pipeline.orchestration.fleet_checks import FLEET
from cata_pipeline.orchestration.image_sensor import settled
from cata_pipeline.orchestration.owners import OWNERS
from cata_pipeline.orchestration.partitions import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)
from cata_pipeline.orchestration.resources import PipelineResource

ALERT_SENSOR = "run_failure_alert"
PAGE = 500
"""Failed runs of one message; the others follow at the next tick."""
GIVE_UP_SECONDS = 6 * 3600.0
"""How long after its failure a run is offered to a webhook that does not take it."""
CALM_SECONDS = 2 * 3600.0
"""How long a check must only have warned until it counts as over: around its limit it would be news twice an hour."""
POST_SECONDS = 5.0
"""For the whole request, however slowly the response arrives: Dagster ends a tick after 60 s."""

_EventId = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class AlertCursor:
    """The last failure (`told`) and evaluation (`checked`) that was reported; None where that has yet to begin.

    `called` maps each check that was reported and is not over to the time of its newest ERROR, in seconds since the
    epoch.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="ignore")

    told: _EventId
    checked: _EventId | None = None
    called: Mapping[str, FiniteFloat] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | None) -> "AlertCursor | None":
        """A stored cursor; None when there is none, or one that this sensor cannot have written."""
        try:
            return TypeAdapter(cls).validate_json(text or "")
        except ValueError:
            return None


@dataclass(frozen=True)
class Evaluation:
    """The result of a check at a time (seconds since the epoch); `loud` where it failed as an ERROR."""

    check: str
    time: float
    passed: bool
    loud: bool
    words: str


@dg.sensor(
    name=ALERT_SENSOR,
    minimum_interval_seconds=30,
    owners=OWNERS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Reports all runs that failed since the last tick, and checks of fleet_health that began to fail as ERROR or no"
        " longer do, in one message to CATA_ALERT_WEBHOOK_URL or the log."
    ),
)
def run_failure_alert(context: dg.SensorEvaluationContext, pipeline: PipelineResource) -> dg.SensorResult:
    """Posts all failures since the last tick to the webhook; a message that is not taken is offered again."""
    settings = pipeline.get().settings
    webhook = settings.alert_webhook
    send = (lambda text: post(webhook, text)) if webhook else None
    return report_failures(
        context.instance, context.cursor, send, settings.dagster_url, log=context.log, now=time.time()
    )


def report_failures(
    instance: dg.DagsterInstance,
    stored_cursor: str | None,
    send: Callable[[str], str | None] | None,
    dagster_url: str | None,
    *,
    log: logging.Logger,
    now: float,
    page: int = PAGE,
) -> dg.SensorResult:
    """One tick: report the next `page` failures and evaluations; returns the cursor behind them.

    `send` returns why a message was not taken, None when it was. The first tick ever reports nothing, and one after an
    unreadable cursor begins `GIVE_UP_SECONDS` ago.
    """
    cursor = AlertCursor.parse(stored_cursor)
    if cursor is None:
        return _begun(instance, stored_cursor, log, now)
    found = dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE, after_storage_id=cursor.told)
    records = instance.fetch_run_status_changes(found, limit=page, ascending=True).records
    records = list(takewhile(lambda record: settled(record.timestamp, now), records))
    failed = _failed_runs(instance, records)
    checked, evaluations = _evaluations(instance, cursor.checked, now, page)
    called, news = folded(cursor.called, evaluations)
    after = AlertCursor(records[-1].storage_id if records else cursor.told, checked, called)
    summary = f"{len(failed)} failed runs, {len(news)} checks; not for alerts: {len(records) - len(failed)}."
    if not failed and not news:
        return _ended(after, f"Nothing to report. {summary}")
    text = alert_text(list(failed.values()), dagster_url, news)
    problem = send(text) if send else None
    if problem is None:
        log.warning(text)
        return _ended(after, f"Reported: {summary}")
    log.error("%s Offered again at the next tick: %s", problem, summary)
    expired = list(takewhile(lambda record: record.timestamp <= now - GIVE_UP_SECONDS, records))
    if lost := [failed[record.storage_id] for record in expired if record.storage_id in failed]:
        log.error("Given up after %.0f hours:\n%s", GIVE_UP_SECONDS / 3600, alert_text(lost, dagster_url))
        problem += f" Given up: {len(lost)} failed runs; the log of this tick names them."
    # A check that goes on failing is never given up.
    return _ended(replace(cursor, told=expired[-1].storage_id if expired else cursor.told), f"{problem} {summary}")


def _begun(instance: dg.DagsterInstance, unreadable: str | None, log: logging.Logger, now: float) -> dg.SensorResult:
    if unreadable:
        log.error("The cursor was %r, which this sensor did not write.", unreadable)
    before = now - GIVE_UP_SECONDS if unreadable else None
    history = dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE, before_timestamp=before)
    newest = instance.fetch_run_status_changes(history, limit=1).records
    cursor = AlertCursor(newest[0].storage_id if newest else 0)
    why = f" The cursor was unreadable: the last {GIVE_UP_SECONDS / 3600:.0f} hours are reported, maybe again."
    return _ended(cursor, f"Failures after event {cursor.told} will be reported.{why if unreadable else ''}")


def _ended(cursor: AlertCursor, message: str) -> dg.SensorResult:
    return dg.SensorResult(cursor=json.dumps(asdict(cursor)), skip_reason=dg.SkipReason(message))


def _failed_runs(instance: dg.DagsterInstance, records: Sequence[dg.EventLogRecord]) -> dict[int, FailedRun]:
    """The failures to report by the storage id of their event.

    Not those of the command line, whose operator sees them, and not those that Dagster has retried already.
    """
    if not records:
        return {}
    runs = instance.get_runs(dg.RunsFilter(run_ids=[record.run_id for record in records]))
    tags = {run.run_id: run.tags for run in runs}
    return {
        record.storage_id: _failed_run(record.event_log_entry, of_run)
        for record in records
        if not COMMAND_LINE.items() <= (of_run := tags.get(record.run_id, {})).items()
        and "dagster/auto_retry_run_id" not in of_run
    }


def _failed_run(entry: dg.EventLogEntry, tags: Mapping[str, str]) -> FailedRun:
    """The message of the first failed step; of a run without one, Dagster's own."""
    event = entry.get_dagster_event()
    data = event.job_failure_data if event.event_specific_data else None
    step = data.first_step_failure_event.step_failure_data if data and data.first_step_failure_event else None
    failure = step.user_failure_data if step else None
    error = step.error if step else data.error if data else None
    reason = (failure.description if failure else None) or (
        (error.cause or error).message.strip() if error else event.message
    )
    job = entry.job_name or ""
    ends = map(tags.get, (PARTITION_NAME_TAG, ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG))
    return FailedRun(
        run_id=entry.run_id,
        job="Materialization" if job.startswith("__ASSET_JOB") else job,
        reason=reason or "Dagster gives no reason.",
        tenants=failure.metadata["failed"].value if failure and "failed" in failure.metadata else {},  # type: ignore[arg-type]
        partitions=" to ".join(filter(None, ends)),
        restarts=tags.get("dagster/will_retry") == "true",
    )


def _evaluations(
    instance: dg.DagsterInstance, after: int | None, now: float, page: int
) -> tuple[int, list[Evaluation]]:
    """The next evaluations of `fleet_health` behind an event, and the last event; without one from now on."""
    storage = instance.event_log_storage
    if after is None:
        return storage.get_maximum_record_id() or 0, []
    # The only call that finds them of all runs in the order of their ids; one query by an index.
    events = storage.get_logs_for_all_runs_by_log_id(after, dg.DagsterEventType.ASSET_CHECK_EVALUATION, page)
    trusted = list(takewhile(lambda event: settled(event[1].timestamp, now), events.items()))
    found = [(entry.timestamp, entry.get_dagster_event().asset_check_evaluation_data) for _, entry in trusted]
    return trusted[-1][0] if trusted else after, [
        Evaluation(
            each.check_name,
            timestamp,
            each.passed,
            loud=not each.passed and each.severity is dg.AssetCheckSeverity.ERROR,
            words=each.description or "It gives no reason.",
        )
        for timestamp, each in found
        if each.asset_key == FLEET
    ]


def folded(
    called: Mapping[str, float], evaluations: Iterable[Evaluation]
) -> tuple[dict[str, float], tuple[CheckNews, ...]]:
    """The checks that fail after these evaluations (each with the time of its newest ERROR), and what is news.

    A check fails from its first ERROR until it passes, or has only warned for `CALM_SECONDS`; a clock that jumped back
    ends that time too. What began and ended among the evaluations is not news.
    """
    after, newest, loudest = dict(called), dict[str, Evaluation](), dict[str, Evaluation]()
    for each in evaluations:
        newest[each.check] = each
        if each.loud:
            after[each.check], loudest[each.check] = each.time, each
        elif each.check in after and (each.passed or not 0 <= each.time - after[each.check] < CALM_SECONDS):
            del after[each.check]
    begun = [CheckNews(name, loudest[name].words) for name in newest if name in after and name not in called]
    over = [CheckNews(name, newest[name].words, over=True) for name in newest if name in called and name not in after]
    return after, (*begun, *over)


def post(url: str, text: str, *, seconds: float = POST_SECONDS) -> str | None:
    """Post `text` as Slack expects it; returns why it was not taken, None when it was.

    The address is a secret, because it admits any poster. No message or log of ours contains it.
    """
    return asyncio.run(_post(url, text, seconds))


async def _post(url: str, text: str, seconds: float) -> str | None:
    import httpx

    try:
        # The transport itself: a client logs the address of each request.
        async with asyncio.timeout(seconds), httpx.AsyncHTTPTransport() as transport:
            request = httpx.Request("POST", url, json={"text": text})
            response = await transport.handle_async_request(request)
            await response.aclose()
    except TimeoutError:
        return f"The alert webhook did not answer within {seconds:g} s."
    except (httpx.HTTPError, OSError) as error:
        return f"The alert webhook cannot be reached: {type(error).__name__}."
    if response.is_success:
        return None
    return f"The alert webhook answered {response.status_code}; check CATA_ALERT_WEBHOOK_URL."
