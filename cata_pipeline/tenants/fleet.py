"""How the whole fleet is: which tenants need somebody, since when and why, from the control database alone.

One grouped statement answers each question (`cata_pipeline.tenants.fleet_questions`), however many tenants there are;
lists are cut, counts are whole. What to do about an answer is told where it is shown, in
`cata_pipeline.orchestration`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cata_pipeline.tenants import fleet_questions as questions

STALE_AFTER = timedelta(hours=26)
"""A night and two hours: one nightly sync may be late, none may be missing."""

COPY_GRACE = timedelta(hours=2)
"""What a sync's pictures may wait for their copy; the sensor starts it within a minute, but a run can queue."""

SAMPLE = 10
"""Tenants, and reasons, that an answer names."""

_WHY_CHARACTERS = 500


@dataclass(frozen=True)
class Reason:
    """One reason, how many tenants and cases have it, and since when the first of them."""

    reason: str
    tenants: int
    cases: int
    since: datetime


@dataclass(frozen=True)
class TenantCase:
    """One tenant that a question found, with the oldest of its `cases`: why in a few words and in full, since when."""

    tenant_id: str
    reason: str
    since: datetime
    why: str
    cases: int


@dataclass(frozen=True)
class FleetAnswer:
    """What one question found among the tenants that are served.

    `tenants` and `cases` count everything; a tenant can have several cases. `reasons` are the most frequent, `sample`
    the longest lasting ones, at most `SAMPLE` each. `since` is None where nothing was found. Times are timezone-aware.
    """

    tenants: int
    cases: int
    since: datetime | None
    reasons: tuple[Reason, ...]
    sample: tuple[TenantCase, ...]


@dataclass(frozen=True)
class FleetHealth:
    """Every answer at one moment, and how many tenants are served and retired."""

    tenants: int
    retired: int
    failed: FleetAnswer
    stale: FleetAnswer
    images_behind: FleetAnswer
    failing_pictures: FleetAnswer
    contract_drift: FleetAnswer


def fleet_health(control: Engine, now: datetime) -> FleetHealth:
    """Ask every question, all of the same state of the control database; `now` is timezone-aware."""
    with control.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        size = connection.execute(sa.text("SELECT count(*) AS known, count(retired_at) AS retired FROM tenants")).one()
        return FleetHealth(
            tenants=size.known - size.retired,
            retired=size.retired,
            failed=_ask(connection, questions.FAILED, kinds=["sync", "images"]),
            stale=_ask(connection, questions.STALE, stale_before=now - STALE_AFTER),
            images_behind=_ask(connection, questions.IMAGES_BEHIND, behind_before=now - COPY_GRACE),
            failing_pictures=_ask(connection, questions.FAILING_PICTURES),
            contract_drift=_ask(connection, questions.CONTRACT_DRIFT),
        )


def failed_ids(control: Engine, kind: str) -> list[str]:
    """The tenants that are served and whose newest run of a kind (sync or images) failed, sorted."""
    with control.connect() as connection:
        return sorted(row.tenant_id for row in connection.execute(sa.text(questions.FAILED), {"kinds": [kind]}))


def _ask(connection: Connection, question: str, **given: datetime | Sequence[str]) -> FleetAnswer:
    statement = sa.text(f"WITH found AS ({question}), {questions.GROUPED}")
    rows = connection.execute(statement, {**given, "limit": SAMPLE, "why_characters": _WHY_CHARACTERS}).all()
    [whole] = [row for row in rows if row.level == "fleet"]
    reasons = [Reason(r.reason, r.tenants, r.cases, r.since) for r in rows if r.level == "reason"]
    sample = [TenantCase(r.tenant_id, r.reason, r.since, r.why or "", r.cases) for r in rows if r.level == "tenant"]
    return FleetAnswer(
        tenants=whole.tenants,
        cases=whole.cases,
        since=whole.since,
        reasons=tuple(sorted(reasons, key=lambda reason: (-reason.cases, reason.reason))),
        sample=tuple(sorted(sample, key=lambda case: (case.since, case.tenant_id))),
    )
