"""What each run did for each tenant, in the control database: one row a tenant, run and kind of work.

`status` reads the newest rows, and from the image ledger which pictures keep failing; the rows of a sync also say where
its change file lies. Counts are those of the metadata contract. What a run is doing right now is Dagster's business,
not ours.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cata_pipeline.control.schema import image_urls, tenant_runs


@dataclass(frozen=True)
class TenantRun:
    """One tenant served (or not, then `error` says why) by one run; `kind` is sync or images. Times are UTC.

    `error_kind` is the error's word in `cata_pipeline.errors`. `skipped` names what the tenant database lacks; None
    where a run did not look, or is older than that record.
    """

    tenant_id: str
    kind: str
    run_id: str
    started_at: datetime
    finished_at: datetime
    snapshot_id: str | None
    changes_path: str | None
    error: str | None
    counts: Mapping[str, int | float]
    error_kind: str | None = None
    skipped: Sequence[str] | None = None


@dataclass(frozen=True)
class EndedRun:
    """What a run that has just ended did for one tenant, as `TenantRun` says it, and how many `seconds` it took."""

    tenant_id: str
    kind: str
    run_id: str
    seconds: float
    snapshot_id: str | None
    changes_path: str | None
    error: str | None
    counts: Mapping[str, int | float]
    error_kind: str | None = None
    skipped: Sequence[str] | None = None


@dataclass(frozen=True)
class FailingPicture:
    """A picture URL that had no success at its last turn: why, since when, and when it is tried again (UTC).

    `tries` have failed in a row; 0 for one that was never asked, because its host rests. `item_code` is one of the
    `items` items that have it; None and 0 where the turn is older than that record.
    """

    item_code: str | None
    items: int
    url: str
    reason: str
    since: datetime
    tries: int
    next_try_at: datetime


# A look-up in the index for each tenant and kind: sorting all their runs takes 14 s for a year of 10,000 tenants.
_NEWEST = sa.text("""
    SELECT newest.tenant_id, newest.kind, run_id, started_at, finished_at, snapshot_id, changes_path, error, counts,
           error_kind, skipped
    FROM unnest(CAST(:tenants AS text[])) AS asked(tenant_id)
    CROSS JOIN (VALUES ('sync'), ('images')) AS work(kind)
    CROSS JOIN LATERAL (
        SELECT * FROM tenant_runs r
        WHERE r.tenant_id = asked.tenant_id AND r.kind = work.kind
        ORDER BY r.finished_at DESC LIMIT 1
    ) newest
""")

_FAILING = sa.text("""
    SELECT tenant_id, item_code, coalesce(items, 0) AS items, url, failure, since, failures, next_try_at
    FROM (
        SELECT *, row_number() OVER (PARTITION BY tenant_id ORDER BY since, item_code COLLATE "C") AS place
        FROM (
            -- The beginning of a postponement was not always kept.
            SELECT *, coalesce(failing_since, next_try_at) AS since
            FROM image_urls
            WHERE tenant_id = ANY (:tenants) AND failure IS NOT NULL
        ) AS failing
    ) AS ranked
    WHERE place <= :limit
    ORDER BY tenant_id, place
""")


class History:
    """Writes and reads tenant runs."""

    def __init__(self, control: Engine) -> None:
        self._control = control

    def record(self, run: EndedRun) -> None:
        """Keep one row. It ended at this moment by the clock of the database, the one that all machines share.

        By their own clocks, an older run of a machine that is ahead would stay the newest.
        """
        told = dict(run.__dict__)
        ended = sa.func.now()
        began = ended - sa.func.make_interval(0, 0, 0, 0, 0, 0, told.pop("seconds"))
        with self._control.begin() as connection:
            connection.execute(tenant_runs.insert().values(**told, started_at=began, finished_at=ended))

    def newest(self, tenant_ids: Sequence[str]) -> dict[tuple[str, str], TenantRun]:
        """The newest run of each tenant and kind, by (tenant id, kind)."""
        with self._control.connect() as connection:
            rows = connection.execute(_NEWEST, {"tenants": list(tenant_ids)}).mappings().all()
        return {(row["tenant_id"], row["kind"]): TenantRun(**row) for row in rows}

    def applied_last(self, tenant_id: str) -> str | None:
        """The id of the snapshot that a tenant's newest successful sync applied; None where there is none."""
        statement = (
            sa.select(tenant_runs.c.snapshot_id)
            .where(tenant_runs.c.tenant_id == tenant_id, tenant_runs.c.kind == "sync")
            .where(tenant_runs.c.error.is_(None), sa.text("counts <> '{}'"))
            .order_by(tenant_runs.c.finished_at.desc())
            .limit(1)
        )
        with self._control.connect() as connection:
            return connection.scalar(statement)

    def syncs_with_changes(
        self, tenant_id: str | None = None, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[TenantRun]:
        """The syncs that left a change file and ended in [`since`, `until`), of one tenant or all, newest first."""
        runs = tenant_runs.c
        conditions: list[sa.ColumnElement[bool]] = [runs.changes_path.is_not(None)]
        conditions += [runs.tenant_id == tenant_id] if tenant_id is not None else []
        conditions += [runs.finished_at >= since] if since is not None else []
        conditions += [runs.finished_at < until] if until is not None else []
        columns = [runs[name] for name in TenantRun.__dataclass_fields__]
        statement = sa.select(*columns).where(*conditions).order_by(runs.finished_at.desc())
        with self._control.connect() as connection:
            rows = connection.execute(statement).mappings().all()
        yield from (TenantRun(**row) for row in rows)

    def failing_pictures(self, tenant_ids: Sequence[str]) -> dict[str, int]:
        """How many picture URLs of each tenant had no success at their last turn, postponed ones included.

        Tenants without any are absent.
        """
        statement = (
            sa.select(image_urls.c.tenant_id, sa.func.count().label("failing"))
            .where(image_urls.c.tenant_id == sa.any_(sa.cast(list(tenant_ids), sa.ARRAY(sa.Text))))
            .where(image_urls.c.failure.is_not(None))
            .group_by(image_urls.c.tenant_id)
        )
        with self._control.connect() as connection:
            return {row.tenant_id: row.failing for row in connection.execute(statement)}

    def longest_failing(self, tenant_ids: Sequence[str], limit: int) -> dict[str, list[FailingPicture]]:
        """Up to `limit` failing picture URLs of each tenant, the longest failing first; tenants without are absent."""
        found: dict[str, list[FailingPicture]] = defaultdict(list)
        with self._control.connect() as connection:
            for tenant_id, *columns in connection.execute(_FAILING, {"tenants": list(tenant_ids), "limit": limit}):
                found[tenant_id].append(FailingPicture(*columns))
        return dict(found)
