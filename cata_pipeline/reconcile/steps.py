"""Stage, plan, guard, apply, report: one tenant's tables brought in step with one snapshot.

The order of the steps and what is retried is decided here; what a step does on an engine belongs to that engine's
module, what may be written to `policy`, what is plausible to `guard`.
"""

import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from itertools import islice

from sqlalchemy.engine import URL

from cata_pipeline.buckets import Bucket
from cata_pipeline.catalog.snapshot import Snapshot
from cata_pipeline.errors import DatabaseError
from cata_pipeline.reconcile import guard, postgresql
from cata_pipeline.reconcile.changes import changes_parquet, changes_path
from cata_pipeline.reconcile.contract import bind
from cata_pipeline.reconcile.report import SAMPLE, ChildCounts, ItemCounts, ReconcileReport
from cata_pipeline.reconcile.session import LostRaceError, TenantSession
from cata_pipeline.reconcile.stage import stage_tables

logger = logging.getLogger(__name__)

_ATTEMPTS = 5
_PAUSE_SECONDS = 0.5
DRY_RUN_SAMPLE = 20


def reconcile(
    snapshot: Snapshot,
    database: URL,
    *,
    run_id: str,
    bucket: Bucket,
    allow: Mapping[str, int],
    dry_run: bool = False,
    before_write: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> ReconcileReport:
    """Bring one tenant's tables in step with `snapshot`.

    `bucket` takes the change file; `before_write` is called right before each transaction and may raise to stop it.
    Raises `ContractError`, `GuardRefusedError` or `DatabaseError` with nothing written. A `StorageError` after the
    commit means that the rows are right but the change file is missing.
    """
    guard.check_allowances(allow)
    record = snapshot.record
    started = time.monotonic()
    with open_session(database, run_id) as session:
        contract = bind(session.contract())
        staged = stage_tables(snapshot.table, contract)
        rejected = record.rejected + len(staged.rejections)
        session.stage(contract, staged.tables)
        counts = session.plan(received=record.received, rejected=rejected)
        findings = guard.judge(counts, allow)
        path = None
        if dry_run:
            items, children = session.planned()
        else:
            guard.enforce(findings)
            items, children = ItemCounts(), ChildCounts()
            if session.has_changes:
                items, children = _apply(session, before_write, sleep)
        seconds = time.monotonic() - started
        sample = tuple(islice(session.changes(), DRY_RUN_SAMPLE if dry_run else SAMPLE))
        if sample and not dry_run:
            path = changes_path(record.path, run_id)
            content = changes_parquet(session.changes())
            bucket.create(path, content, content_type="application/vnd.apache.parquet")
        return ReconcileReport(
            items_in_snapshot=counts.staged,
            rejected=rejected,
            items=items,
            children=children,
            children_rejected=staged.children_rejected,
            stale=counts.stale,
            findings=findings,
            skipped=contract.skipped,
            sample=sample,
            stale_sample=session.stale_codes(SAMPLE) if counts.stale else (),
            rejections=(*snapshot.rejections, *staged.rejections)[:SAMPLE],
            changes_path=path,
            dry_run=dry_run,
            seconds_write=seconds,
        )


def open_session(database: URL, run_id: str) -> AbstractContextManager[TenantSession]:
    """A session of the engine that `database` names; raises `DatabaseError` when there is none or it is unreachable."""
    if database.get_backend_name() == "postgresql":
        return postgresql.PostgresqlSession(database, run_id)
    raise DatabaseError(f"No engine here reconciles {database.get_backend_name()} databases; expected postgresql.")


def _apply(
    session: TenantSession, before_write: Callable[[], None], sleep: Callable[[float], None]
) -> tuple[ItemCounts, ChildCounts]:
    for attempt in range(1, _ATTEMPTS + 1):
        before_write()
        try:
            return session.apply()
        except LostRaceError as error:
            logger.info("A merchant's transaction was in the way (%s), try %s of %s", error, attempt, _ATTEMPTS)
            last = error
            sleep(_PAUSE_SECONDS * attempt * random.uniform(0.5, 1.5))  # noqa: S311 spreads retries, hides nothing
    raise DatabaseError(
        f"Rows this sync must write stayed locked through {_ATTEMPTS} tries ({last}). Nothing was"
        " written. Look for a long open transaction in the tenant database, then sync again."
    ) from last
