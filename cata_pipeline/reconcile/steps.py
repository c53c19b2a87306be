"""Stage, plan, guard, apply, report: one tenant's tables brought in step with one snapshot.

The order of the steps and what is retried is decided here; what a step does on an engine belongs to that engine's
module, what may be written to `policy`, what is plausible to `guard`.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice

import pyarrow as pa
from sqlalchemy.engine import URL

from cata_pipeline.buckets import Bucket
from cata_pipeline.catalog.model import Rejection
from cata_pipeline.catalog.snapshot import Snapshot
from cata_pipeline.errors import DatabaseError, StorageError
from cata_pipeline.foreign_text import one_line
from cata_pipeline.reconcile import guard
from cata_pipeline.reconcile.changes import changes_of, changes_parquet, changes_path, rows_of
from cata_pipeline.reconcile.contract import Contract, bind
from cata_pipeline.reconcile.policy import TABLES
from cata_pipeline.reconcile.postgresql.session import PostgresqlSession
from cata_pipeline.reconcile.report import (
    PLAN_SAMPLE,
    SAMPLE,
    STALE_LISTED,
    Change,
    ChildCounts,
    ItemCounts,
    ReconcileReport,
)
from cata_pipeline.reconcile.session import JudgeRefused, LostRaceError, TenantSession
from cata_pipeline.reconcile.stage import KeptValue, RejectedRow, Staged, stage_tables
from cata_pipeline.tenants.mapping import TenantDatabase

logger = logging.getLogger(__name__)

_ATTEMPTS = 30
_PAUSE_SECONDS = 0.5
_MOST_REFUSED = 1_000
"""Refused rows that are looked for before the guard judges them: up to here it names how many there are in all."""
_NAMED = 3


@dataclass(frozen=True)
class _Outcome:
    """What was done, or in a dry run would be: counts, a sample of `rows` changes, and the file that holds them all.

    The file is None where the sample is all that there is to show.
    """

    items: ItemCounts = field(default_factory=ItemCounts)
    children: ChildCounts = field(default_factory=ChildCounts)
    sample: tuple[Change, ...] = ()
    rows: int = 0
    file: bytes | None = None
    refused: tuple[RejectedRow, ...] = ()


def reconcile(  # noqa: PLR0913 what a sync touches and who is asked meanwhile, each by its name
    snapshot: Snapshot,
    database: TenantDatabase,
    *,
    run_id: str,
    bucket: Bucket,
    allow: Mapping[str, int],
    dry_run: bool = False,
    previous: Callable[[], pa.Table | None] = lambda: None,
    before_write: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> ReconcileReport:
    """Bring one tenant's tables in step with `snapshot`.

    `bucket` takes the change file (in a dry run, the plan where it is long); `previous` returns the catalog applied
    last, None where there is none or it is the same; `before_write` is called right before each transaction and may
    raise to stop it. Raises `ContractError`, `GuardRefusedError`, `DatabaseOwnerError` or `DatabaseError`, which say
    whether anything was written. A file that cannot be stored is a warning in the report: the rows are right by then.
    """
    guard.check_allowances(allow)
    record = snapshot.record
    started = time.monotonic()
    with _no_lost_race(), open_session(database.url, run_id) as session:
        names = [database.mapping.table(table.name) for table in TABLES]
        contract = bind(session.contract(names), database.mapping)
        if database.owner:
            identity = session.identity(names[0])
            database.owner.verify(identity)
        staged = stage_tables(snapshot.table, contract, previous)
        rejected = record.rejected + sum(row.is_item for row in staged.rejected)
        session.stage(_in_use(contract, staged, session), staged.tables)
        counts = session.plan(received=record.received, rejected=rejected)
        unfit = [row.rejection for row in (*staged.rejected, *session.rejections()) if row.is_item]
        reasons = [rejection.reason for rejection in (*snapshot.notes.rejections, *unfit)]
        findings = guard.judge(counts, allow, reasons)
        stale_codes = session.stale_codes(STALE_LISTED) if counts.stale else ()
        if dry_run:
            items, children = session.planned()
            plan = _collect_changes(session.changes(), PLAN_SAMPLE, file_above=PLAN_SAMPLE)
            outcome = replace(plan, items=items, children=children)
        else:
            guard.enforce(findings)
            if database.owner:
                database.owner.claim(identity)
            judge = partial(_judge_refused, counts, allow)
            outcome = _apply_with_retries(session, judge, before_write, sleep) if session.has_changes else _Outcome()
        left_out = (*staged.rejected, *session.rejections(), *outcome.refused)
    refused = sum(row.is_item for row in outcome.refused)
    seconds = time.monotonic() - started
    path, warnings = _store_changes(
        outcome.file, bucket, changes_path(record.path, run_id, dry_run=dry_run), dry_run=dry_run
    )
    return ReconcileReport(
        items_in_snapshot=counts.staged - refused,
        rejected=counts.rejected + refused,
        items=outcome.items,
        children=outcome.children,
        children_rejected=sum(not row.is_item for row in left_out),
        stale=counts.stale,
        findings=findings,
        skipped=contract.skipped,
        sample=outcome.sample,
        change_rows=outcome.rows,
        stale_codes=stale_codes,
        rejections=_sample(snapshot.notes.rejections, left_out),
        changes_path=path,
        warnings=(*snapshot.notes.first(SAMPLE).told, *_kept_values(staged.kept), *warnings),
        dry_run=dry_run,
        seconds_write=seconds,
    )


def _in_use(contract: Contract, staged: Staged, session: TenantSession) -> Contract:
    """The contract without structure tables of which neither snapshot nor tenant has a row: most tenants lack some.

    All three together cost 29 statements on PostgreSQL (11 ms, where a small tenant's sync takes some 70).
    """
    wanted = {table.name for table in contract.tables if staged.tables[table.name].rows.num_rows}
    doubtful = [table for table in contract.tables if table.name not in wanted]
    return contract.narrowed(wanted | session.occupied(doubtful) if doubtful else wanted)


def open_session(database: URL, run_id: str) -> AbstractContextManager[TenantSession]:
    """A session of the engine that `database` names; raises `DatabaseError` when there is none or it is unreachable."""
    engine = database.get_backend_name()
    if engine == "postgresql":
        return PostgresqlSession(database, run_id)
    if engine == "mysql":
        from cata_pipeline.reconcile.mysql.session import MysqlSession

        return MysqlSession(database, run_id)
    raise DatabaseError(f"No engine here reconciles {engine} databases; expected postgresql or mysql.")


@contextmanager
def _no_lost_race() -> Iterator[None]:
    """Outside the transaction nothing is retried: a table that stays locked is the schema owner's doing."""
    try:
        yield
    except LostRaceError as error:
        raise DatabaseError(
            f"A table that this sync reads stayed locked ({error}). Nothing was written. Look for a migration or a long"
            " open transaction in the tenant database, then sync again."
        ) from error


def _judge_refused(counts: guard.PlanCounts, allow: Mapping[str, int], rows: Sequence[RejectedRow]) -> None:
    """Raise where the rows that the database refuses are too many: items for the `reject` guard, or parts at all."""
    items = [row for row in rows if row.is_item]
    if items:
        final = replace(counts, rejected=counts.rejected + len(items), staged=counts.staged - len(items))
        findings = tuple(finding for finding in guard.judge(final, allow) if finding.guard in {"reject", "empty"})
        guard.enforce(findings, because=f"the tenant database refuses {_named(items)}")
    if len(rows) - len(items) > _MOST_REFUSED:
        parts = [row for row in rows if not row.is_item]
        raise DatabaseError(
            f"The tenant database refuses more than {_MOST_REFUSED:,} rows of the structure tables:"
            f" {_named(parts)}. Nothing was written. Correct the constraint or the trigger, then sync again."
        )


def _named(rows: Sequence[RejectedRow]) -> str:
    """The first of some rows in words."""
    named = [one_line(f"{row.rejection.item_code}: {row.rejection.reason}") for row in rows[:_NAMED]]
    return "; ".join([*named, *(["…"] if len(rows) > _NAMED else [])])


def _apply_with_retries(
    session: TenantSession,
    judge_refused: JudgeRefused,
    before_write: Callable[[], None],
    sleep: Callable[[float], None],
) -> _Outcome:
    """Apply the plan, however often merchants are in the way.

    Only the last attempt waits for a lock: a sync that waits while it holds other rows can make a merchant's save the
    victim of a deadlock (measured: 10 of 152 saves, against none of 699 without waiting).
    """
    collected: list[_Outcome] = []

    def bound(rows: Sequence[RejectedRow]) -> None:
        if len(rows) > _MOST_REFUSED:
            judge_refused(rows)

    def collect(rows: Sequence[RejectedRow]) -> None:
        judge_refused(rows)
        collected.append(_collect_changes(session.changes(), SAMPLE, file_above=0))

    for attempt in range(1, _ATTEMPTS + 1):
        before_write()
        try:
            applied = session.apply(patient=attempt == _ATTEMPTS, judge_refused=bound, before_commit=collect)
        except LostRaceError as error:
            logger.info("A merchant's transaction was in the way (%s), attempt %s of %s", error, attempt, _ATTEMPTS)
            last = error
            sleep(_PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 spreads retries, hides nothing
        else:
            return replace(collected[-1], items=applied.items, children=applied.children, refused=applied.refused)
    raise DatabaseError(
        f"Rows this sync must write stayed locked through {_ATTEMPTS} attempts ({last}). Nothing was"
        " written. Look for a long open transaction in the tenant database, then sync again."
    ) from last


def _collect_changes(batches: Iterator[pa.Table], sample_rows: int, *, file_above: int) -> _Outcome:
    """The first changes to show, and a file of all of them where there are more than `file_above`."""
    head: list[pa.Table] = []
    rows = 0
    for batch in batches:
        head.append(batch)
        rows += batch.num_rows
        if rows > max(sample_rows, file_above):
            break
    sample = tuple(islice(chain.from_iterable(changes_of(batch.slice(0, sample_rows)) for batch in head), sample_rows))
    if rows <= file_above:
        return _Outcome(sample=sample, rows=rows)
    content = changes_parquet(chain(head, batches))
    return _Outcome(sample=sample, rows=rows_of(content), file=content)


def _sample(notes: Sequence[Rejection], rows: Sequence[RejectedRow]) -> tuple[Rejection, ...]:
    """The rejections to show: items before their parts."""
    ordered = sorted(rows, key=lambda row: not row.is_item)
    return tuple(islice(chain(notes, (row.rejection for row in ordered)), SAMPLE))


def _kept_values(kept: Sequence[KeptValue]) -> tuple[str, ...]:
    """A warning for each of the first values that do not fit, and how many more there are."""
    named = [one_line(f"{value.item_code}: {value.reason}; what is stored stays") for value in kept[:SAMPLE]]
    more = [f"{len(kept) - SAMPLE} more values do not fit; what is stored stays"] if len(kept) > SAMPLE else []
    return (*named, *more)


def _store_changes(
    content: bytes | None, bucket: Bucket, path: str, *, dry_run: bool
) -> tuple[str | None, tuple[str, ...]]:
    """Where the change file lies now, and what to say when it could not be stored."""
    if content is None:
        return None, ()
    try:
        bucket.create(path, content, content_type="application/vnd.apache.parquet")
    except StorageError as error:
        if dry_run:
            return None, (f"The plan is longer than what is shown, but there is no file of it: {error}",)
        logger.error("The rows are written, but their change file is lost: %s", error)  # noqa: TRY400 no trace needed
        return None, (f"The rows are written, but there is no change file of it: {error}",)
    return path, ()
