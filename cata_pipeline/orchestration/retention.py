"""Old runs and their events are removed: Dagster itself keeps every one for ever.

What a run left in the tenants' databases, the buckets and the control database is no business of this: `history` needs
all of it. A run goes whole or not at all, and stays while anything still refers to it; `keep_reason` is the rule.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from cata_pipeline.orchestration.alerts import ALERT_SENSOR, AlertCursor
from cata_pipeline.orchestration.dagster_internals import InstigatorType
from cata_pipeline.orchestration.image_sensor import image_copy_sensor, passed
from cata_pipeline.orchestration.metadata import RECONCILED
from cata_pipeline.orchestration.owners import OWNERS
from cata_pipeline.orchestration.run_history import (
    Needed,
    OldRun,
    count_old_runs,
    delete_run,
    events_of,
    needed_runs,
    old_runs,
)
from cata_pipeline.settings import resync_timezone

CHUNK = 50
"""Runs between two pauses and two looks at the clock: six seconds of removing on a busy machine."""

_SENSOR_MARGIN = timedelta(hours=1)
"""Events may be stored in another order than that of their times; a sensor's next event is no sharp border."""

_SAMPLE = 10
"""Kept runs that are shown; all are counted."""

MATERIALIZATION = "newest materialization of a partition"
ATTEMPT = "newest attempt of a partition"
CHECK = "newest evaluation of a check"
BACKFILL = "backfill in progress"
REASONS = {MATERIALIZATION: "materialization", ATTEMPT: "attempt", CHECK: "check", BACKFILL: "backfill"}


class PruneConfig(dg.Config):
    """What is removed, and how gently."""

    dry_run: bool = Field(
        default=True, description="Only count what would be removed, and say what is kept and why. Removes nothing."
    )
    keep_days: int = Field(
        default=30,
        ge=7,
        description="Days that a finished run is kept. At least a week: alerts, retries and backfills look back days.",
    )
    most_runs: int = Field(
        default=20_000,
        ge=1,
        le=1_000_000,
        description="Runs removed by one execution, the oldest first; the next execution goes on.",
    )
    most_seconds: float = Field(
        default=1_800.0,
        gt=0.0,
        le=14_000.0,
        description="Seconds after which an execution begins no further chunk; the next execution goes on.",
    )
    pause_seconds: float = Field(
        default=0.5,
        ge=0.0,
        le=60.0,
        description=f"Pause after every {CHUNK} runs, so that the daemon's own queries never wait for long.",
    )


@dataclass(frozen=True)
class Border:
    """Runs that ended before `ends` may go; `held_by` says which sensor moved it back, empty when none did."""

    ends: datetime
    held_by: str = ""


@dataclass
class Pruned:
    """What an execution removed (in a dry run: would remove) and kept; counters only, however many runs there are."""

    old: int
    border: Border
    runs: int = 0
    events: int = 0
    bytes: int = 0
    stopped_by: str = ""
    """The limit that ended the execution before all old runs were looked at."""
    oldest: datetime | None = None
    newest: datetime | None = None
    kept: Counter[str] = field(default_factory=Counter)
    kept_sample: list[tuple[OldRun, str]] = field(default_factory=list)


def keep_reason(run: OldRun, needed: Needed) -> str | None:
    """Why an old run must stay, None when it may go.

    A batch whose other partitions are all newer elsewhere stays for the sake of one: its log would lie with a part of
    it gone. The newest attempt stays whatever became of it, since an older one would speak in its place.
    """
    if run.run_id in needed.materializations:
        return MATERIALIZATION
    if run.run_id in needed.attempts:
        return ATTEMPT
    if run.run_id in needed.checks:
        return CHECK
    if run.backfill in needed.backfills:
        return BACKFILL
    return None


def border(instance: dg.DagsterInstance, keep_days: int, now: datetime) -> Border:
    """Where old begins: `keep_days` ago, or an hour before the first event that a sensor has yet to read."""
    found = Border(now - timedelta(days=keep_days))
    for name, event_time in _unread(instance):
        reads = datetime.fromtimestamp(event_time, UTC) - _SENSOR_MARGIN
        if reads < found.ends:
            found = Border(
                reads, f"{name} has yet to read an event of {_told(datetime.fromtimestamp(event_time, UTC))}"
            )
    return found


def _unread(instance: dg.DagsterInstance) -> Iterator[tuple[str, float]]:
    """The sensors that follow events, and the time of the first event behind the cursor of each."""
    cursors: dict[str, list[str | None]] = {image_copy_sensor.name: [], ALERT_SENSOR: []}
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        if state.instigator_name in cursors:
            cursors[state.instigator_name].append(getattr(state.instigator_data, "cursor", None))
    # One that cannot be read may mean any event: everything is held back until somebody puts it right.
    synced = [passed(cursor) or 0 for cursor in cursors[image_copy_sensor.name]]
    for record in instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=RECONCILED, after_storage_id=min(synced, default=0)), limit=1, ascending=True
    ).records:
        yield image_copy_sensor.name, record.timestamp
    # Without a cursor the alert sensor begins at the end of the history.
    failures = [cursor.told for cursor in map(AlertCursor.parse, cursors[ALERT_SENSOR]) if cursor]
    if failures:
        for record in instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE, after_storage_id=min(failures)),
            limit=1,
            ascending=True,
        ).records:
            yield ALERT_SENSOR, record.timestamp


def prune(
    instance: dg.DagsterInstance,
    config: PruneConfig,
    now: datetime,
    *,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Pruned:
    """Remove old runs chunk by chunk, the oldest first; can be interrupted anywhere and repeated."""
    ends_at = clock() + config.most_seconds
    ends = border(instance, config.keep_days, now)
    needed = needed_runs(instance)
    done = Pruned(count_old_runs(instance, ends.ends), ends)
    last: str | None = None
    while page := old_runs(instance, ends.ends, last, CHUNK):
        if clock() >= ends_at:
            done.stopped_by = f"most_seconds ({config.most_seconds:.0f})"
            break
        may_leave = [run for run in page if not _kept(run, needed, done)]
        leaving = may_leave[: config.most_runs - done.runs]
        run_ids = [run.run_id for run in leaving]
        _count(instance, leaving, done)
        if not config.dry_run:
            for run_id in run_ids:
                delete_run(instance, run_id)
            pause(config.pause_seconds)
        if len(leaving) < len(may_leave):
            done.stopped_by = f"most_runs ({config.most_runs})"
            break
        # The next page is looked for behind a run, so it must be one that is still there.
        gone = set[str]() if config.dry_run else set(run_ids)
        last = next((run.run_id for run in reversed(page) if run.run_id not in gone), last)
    return done


def _kept(run: OldRun, needed: Needed, done: Pruned) -> bool:
    reason = keep_reason(run, needed)
    if reason is None:
        return False
    done.kept[reason] += 1
    if len(done.kept_sample) < _SAMPLE:
        done.kept_sample.append((run, reason))
    return True


def _count(instance: dg.DagsterInstance, leaving: list[OldRun], done: Pruned) -> None:
    if not leaving:
        return
    events, size = events_of(instance, [run.run_id for run in leaving])
    done.runs += len(leaving)
    done.events += events
    done.bytes += size
    ended = [run.ended for run in leaving] + [when for when in (done.oldest, done.newest) if when]
    done.oldest, done.newest = min(ended), max(ended)


def summary(done: Pruned, *, dry_run: bool) -> str:
    """One sentence or three for the log and the UI."""
    verb = "Would remove" if dry_run else "Removed"
    kept = ", ".join(f"{done.kept[reason]} ({reason})" for reason in REASONS if done.kept[reason])
    span = f" that ended {_told(done.oldest)} to {_told(done.newest)}" if done.oldest and done.newest else ""
    size = f"{done.events} events, {done.bytes / 1e6:.1f} MB"
    words = [
        f"{verb} {done.runs} of {done.old} runs that ended before {_told(done.border.ends)}, with {size}{span}.",
        f"Kept among those looked at: {kept}." if kept else "None of those looked at has to stay.",
    ]
    if done.stopped_by:
        words.append(f"The limit {done.stopped_by} was reached; the next execution goes on.")
    if done.border.held_by:
        words.append(f"Nothing younger is touched, because {done.border.held_by}; is that sensor running?")
    return " ".join(words)


@dg.op(name="prune")
def _prune(context: dg.OpExecutionContext, config: PruneConfig) -> None:
    """Remove what is old, or say what would be."""
    started = time.monotonic()
    done = prune(context.instance, config, datetime.now(UTC))
    told = summary(done, dry_run=config.dry_run)
    context.log.info(told)
    context.add_output_metadata(
        {
            "summary": told,
            "dry_run": config.dry_run,
            "old_runs": done.old,
            "runs": done.runs,
            "events": done.events,
            "bytes": done.bytes,
            **{f"kept_{name}": done.kept[reason] for reason, name in REASONS.items()},
            "kept_sample": _kept_table(done),
            "stopped_by": done.stopped_by,
            "seconds": round(time.monotonic() - started, 3),
        }
    )


@dg.job(owners=OWNERS)
def prune_runs() -> None:
    """Removes old finished runs with their events and printed output; keeps every partition's newest ones.

    A dry run unless `dry_run: false` is set.
    """
    _prune()


weekly_pruning = dg.ScheduleDefinition(
    name="weekly_pruning",
    job=prune_runs,
    cron_schedule="30 6 * * 0",
    execution_timezone=resync_timezone(),
    run_config={"ops": {"prune": {"config": {"dry_run": False}}}},
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Removes runs older than 30 days, every Sunday at 06:30. Stopped until somebody starts it.",
    owners=OWNERS,
)


def _kept_table(done: Pruned) -> dg.TableMetadataValue:
    names = ("run", "job", "ended", "why")
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(dict(zip(names, (run.run_id, run.job, _told(run.ended), reason), strict=True)))
            for run, reason in done.kept_sample
        ],
        schema=dg.TableSchema(columns=[dg.TableColumn(name, "string") for name in names]),
    )


def _told(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
