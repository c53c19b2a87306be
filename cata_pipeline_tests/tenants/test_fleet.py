"""The questions about the fleet, at their edges, on a real control database."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cata_pipeline.control.schema import tenants
from cata_pipeline.tenants import fleet_questions
from cata_pipeline.tenants.fleet import SAMPLE, FleetAnswer, FleetHealth, TenantCase, failed_ids, fleet_health
from cata_pipeline.tenants.history import _NEWEST, TenantRun
from cata_pipeline_tests.tenant_runs import put_on_record

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SERVED = {"inserted": 0, "image_urls_changed": 0}
PICTURED = SERVED | {"image_urls_changed": 1}
FIT: tuple[str, ...] = ()


class Fleet:
    """A control database with tenants, and what runs did for them some time ago."""

    def __init__(self, control: Engine) -> None:
        self.control = control

    def register(self, *tenant_ids: str, ago: timedelta = 400 * DAY, retired: bool = False) -> None:
        with self.control.begin() as connection:
            for tenant_id in tenant_ids:
                row = {"id": tenant_id, "provider": "iseller", "credentials": "env:X", "created_at": NOW - ago}
                connection.execute(tenants.insert().values(**row, retired_at=NOW if retired else None))

    def run(
        self,
        tenant_id: str,
        ago: timedelta,
        *,
        kind: str = "sync",
        error_kind: str | None = None,
        counts: Mapping[str, int] = SERVED,
        skipped: Sequence[str] | None = FIT,
    ) -> TenantRun:
        """A run that ended some time ago and took a minute."""
        ended = NOW - ago
        run = TenantRun(tenant_id, kind, "run", ended - MINUTE, ended, None, None, None, counts, None, skipped)
        if error_kind:
            run = replace(run, error=f"Told as {error_kind}.", error_kind=error_kind, counts={}, skipped=None)
        put_on_record(self.control, run)
        return run

    def look(self, now: datetime = NOW) -> FleetHealth:
        return fleet_health(self.control, now)


@pytest.fixture
def fleet(control: Engine) -> Fleet:
    return Fleet(control)


def named(answer: FleetAnswer) -> list[str]:
    assert answer.tenants == len(answer.sample)
    return [case.tenant_id for case in answer.sample]


def test_no_tenants_are_all_well(fleet: Fleet) -> None:
    fleet.register("gone", retired=True)
    nothing = FleetAnswer(0, 0, None, (), ())
    assert fleet.look() == FleetHealth(0, 1, nothing, nothing, nothing, nothing, nothing)


def test_a_tenant_has_failed_while_its_newest_sync_or_copy_failed(fleet: Fleet) -> None:
    fleet.register("fails", "recovered", "relapsed", "copy-fails", "copy-recovered", "never-served")
    fleet.run("fails", HOUR, error_kind="provider")
    fleet.run("recovered", 2 * HOUR, error_kind="provider")
    fleet.run("recovered", HOUR)
    fleet.run("relapsed", 2 * HOUR)
    fleet.run("relapsed", HOUR, error_kind="database")
    fleet.run("copy-fails", HOUR, kind="images", error_kind="storage")
    fleet.run("copy-fails", MINUTE)
    fleet.run("copy-recovered", 2 * HOUR, kind="images", error_kind="storage")
    fleet.run("copy-recovered", HOUR, kind="images")
    failed = fleet.look().failed
    assert {case.tenant_id: case.reason for case in failed.sample} == {
        "fails": "sync: provider",
        "relapsed": "sync: database",
        "copy-fails": "images: storage",
    }
    assert failed.sample[0].why == "Told as storage."
    assert (failed_ids(fleet.control, "sync"), failed_ids(fleet.control, "images")) == (
        ["fails", "relapsed"],
        ["copy-fails"],
    )


def test_a_tenant_has_failed_since_the_first_of_its_failures_in_a_row(fleet: Fleet) -> None:
    fleet.register("kopi", "never-well")
    fleet.run("kopi", 9 * DAY, error_kind="provider")
    fleet.run("kopi", 8 * DAY)
    first = fleet.run("kopi", 3 * DAY, error_kind="guard")
    fleet.run("kopi", 2 * DAY, error_kind="guard")
    fleet.run("kopi", DAY, error_kind="provider")
    start = fleet.run("never-well", 5 * DAY, error_kind="credentials")
    fleet.run("never-well", DAY, error_kind="credentials")
    failed = fleet.look().failed
    assert failed.since == start.finished_at
    assert failed.sample == (
        TenantCase("never-well", "sync: credentials", start.finished_at, "Told as credentials.", 1),
        TenantCase("kopi", "sync: provider", first.finished_at, "Told as provider.", 1),
    )


def test_a_tenant_whose_sync_and_copy_failed_is_one_tenant_with_two_cases(fleet: Fleet) -> None:
    fleet.register("kopi", "roti")
    fleet.run("kopi", 2 * HOUR, error_kind="database")
    fleet.run("kopi", HOUR, kind="images", error_kind="database")
    fleet.run("roti", HOUR, error_kind="database")
    failed = fleet.look().failed
    assert (failed.tenants, failed.cases) == (2, 3)
    assert [(each.reason, each.tenants, each.cases) for each in failed.reasons] == [
        ("sync: database", 2, 2),
        ("images: database", 1, 1),
    ]
    assert [(case.tenant_id, case.cases) for case in failed.sample] == [("kopi", 2), ("roti", 1)]


def test_a_run_that_only_took_a_snapshot_neither_heals_nor_refreshes_a_tenant(fleet: Fleet) -> None:
    fleet.register("kopi")
    fleet.run("kopi", 27 * HOUR, error_kind="database")
    fleet.run("kopi", HOUR, counts={}, skipped=None)
    health = fleet.look()
    assert (named(health.failed), named(health.stale)) == (["kopi"], ["kopi"])


def test_rows_of_older_code_have_failed_for_a_reason_that_is_not_on_record(fleet: Fleet) -> None:
    fleet.register("kopi")
    fleet.run("kopi", HOUR, error_kind="provider")
    with fleet.control.begin() as connection:
        connection.execute(sa.text("UPDATE tenant_runs SET error_kind = NULL, skipped = NULL"))
    assert [case.reason for case in fleet.look().failed.sample] == ["sync: not on record"]


def test_a_long_list_is_cut_and_counted_whole(fleet: Fleet) -> None:
    ids = [f"tenant-{number:02}" for number in range(SAMPLE + 3)]
    fleet.register(*ids)
    for number, tenant_id in enumerate(ids):
        fleet.run(tenant_id, number * HOUR, error_kind="provider")
    failed = fleet.look().failed
    assert (failed.tenants, failed.reasons[0].tenants) == (SAMPLE + 3, SAMPLE + 3)
    assert [case.tenant_id for case in failed.sample] == ids[: -SAMPLE - 1 : -1]
    assert failed_ids(fleet.control, "sync") == ids


def test_a_tenant_is_stale_when_no_sync_succeeded_for_26_hours(fleet: Fleet) -> None:
    fleet.register("fresh", "old", "old-but-failing", "saved-by-an-older-run")
    fleet.run("fresh", 26 * HOUR)
    fleet.run("old", 26 * HOUR + MINUTE)
    fleet.run("old-but-failing", 27 * HOUR)
    fleet.run("old-but-failing", HOUR, error_kind="provider")
    fleet.run("saved-by-an-older-run", 25 * HOUR)
    fleet.run("saved-by-an-older-run", HOUR, error_kind="provider")
    assert [(case.tenant_id, case.reason, case.why) for case in fleet.look().stale.sample] == [
        ("old-but-failing", "its syncs fail", "Told as provider."),
        ("old", "nobody synced it", ""),
    ]
    assert "fresh" in named(fleet.look(NOW + MINUTE).stale)


def test_a_tenant_that_was_never_synced_is_stale_26_hours_after_its_registration(fleet: Fleet) -> None:
    fleet.register("just-registered", ago=MINUTE)
    fleet.register("yesterday", ago=26 * HOUR)
    fleet.register("forgotten", ago=26 * HOUR + MINUTE)
    fleet.register("only-copied", ago=30 * HOUR)
    fleet.run("only-copied", HOUR, kind="images")
    stale = fleet.look().stale
    assert [(case.tenant_id, case.reason, case.since) for case in stale.sample] == [
        ("only-copied", "never synced", NOW - 30 * HOUR),
        ("forgotten", "never synced", NOW - 26 * HOUR - MINUTE),
    ]


def test_pictures_are_behind_when_two_hours_pass_without_a_copy_after_a_sync_that_brought_some(fleet: Fleet) -> None:
    fleet.register("waits", "within-grace", "copied", "copied-before", "changed-none", "inserted-some")
    fleet.run("waits", 2 * HOUR + MINUTE, counts=PICTURED)
    fleet.run("within-grace", 2 * HOUR, counts=PICTURED)
    fleet.run("copied", 3 * HOUR, counts=PICTURED)
    fleet.run("copied", 2 * HOUR, kind="images")
    fleet.run("copied-before", 9 * HOUR, kind="images")
    fleet.run("copied-before", 3 * HOUR, counts=PICTURED)
    fleet.run("changed-none", 3 * HOUR)
    fleet.run("inserted-some", 4 * HOUR, counts=SERVED | {"inserted": 2})
    assert [(case.tenant_id, case.reason) for case in fleet.look().images_behind.sample] == [
        ("inserted-some", "never copied"),
        ("copied-before", "nobody copied them"),
        ("waits", "never copied"),
    ]


def test_the_next_copy_clears_what_was_behind_and_a_failed_one_does_not(fleet: Fleet) -> None:
    fleet.register("kopi")
    fleet.run("kopi", 5 * HOUR, counts=PICTURED)
    fleet.run("kopi", 4 * HOUR, kind="images", error_kind="storage")
    [case] = fleet.look().images_behind.sample
    assert (case.reason, case.why) == ("its copies fail", "Told as storage.")
    fleet.run("kopi", HOUR, kind="images")
    assert named(fleet.look().images_behind) == []


def test_a_copy_that_began_before_the_sync_ended_may_have_missed_its_pictures(fleet: Fleet) -> None:
    fleet.register("kopi")
    sync = fleet.run("kopi", 3 * HOUR, counts=PICTURED)
    copy = replace(sync, kind="images", finished_at=sync.finished_at + HOUR, counts=SERVED)
    put_on_record(fleet.control, copy)
    assert named(fleet.look().images_behind) == ["kopi"]


def test_a_tenant_that_is_synced_every_hour_is_behind_all_the_same(fleet: Fleet) -> None:
    fleet.register("kopi")
    fleet.run("kopi", 9 * HOUR, kind="images")
    for hours in (8, 7, 1):
        fleet.run("kopi", hours * HOUR, counts=PICTURED)
    assert fleet.look().images_behind.since == NOW - 8 * HOUR


def picture(fleet: Fleet, tenant_id: str, item: str, reason: str | None, since: datetime | None) -> None:
    insert = sa.text(
        "INSERT INTO image_urls (tenant_id, url_sha256, url, failures, failure, failing_since, next_try_at, item_code)"
        " VALUES (:tenant, :key, 'https://x/' || :item, 1, :reason, :since, :next, :item)"
    )
    given = {"tenant": tenant_id, "key": item.encode(), "item": item, "reason": reason, "since": since}
    with fleet.control.begin() as connection:
        connection.execute(insert, given | {"next": NOW if reason else None})


def test_failing_pictures_are_counted_by_tenant_and_by_reason(fleet: Fleet) -> None:
    fleet.register("kopi", "roti", "well")
    fleet.register("gone", retired=True)
    for tenant_id, item, reason, since in (
        ("kopi", "LAT", "not a picture", NOW - DAY),
        ("kopi", "TEA", "no answer", NOW - 2 * DAY),
        ("kopi", "BUN", "no answer", NOW - HOUR),
        ("roti", "BUN", "no answer", NOW - 3 * DAY),
        ("well", "PIE", None, None),
        ("gone", "OLD", "no answer", NOW - 9 * DAY),
        ("not-registered", "OLD", "no answer", NOW - 9 * DAY),
    ):
        picture(fleet, tenant_id, item, reason, since)
    failing = fleet.look().failing_pictures
    assert (failing.tenants, failing.cases, failing.since) == (2, 4, NOW - 3 * DAY)
    assert [(each.reason, each.tenants, each.cases) for each in failing.reasons] == [
        ("no answer", 2, 3),
        ("not a picture", 1, 1),
    ]
    assert failing.sample == (
        TenantCase("roti", "no answer", NOW - 3 * DAY, "item BUN", 1),
        TenantCase("kopi", "no answer", NOW - 2 * DAY, "item TEA", 3),
    )


def test_a_postponed_picture_without_a_beginning_fails_since_its_next_try(fleet: Fleet) -> None:
    fleet.register("kopi")
    picture(fleet, "kopi", "LAT", "its host rests", None)
    assert fleet.look().failing_pictures.since == NOW


def test_a_database_that_does_not_fit_is_told_since_the_first_refusal_in_a_row(fleet: Fleet) -> None:
    fleet.register("refused", "mended", "other-trouble")
    fleet.run("refused", 4 * DAY, error_kind="contract")
    fleet.run("refused", 3 * DAY, error_kind="provider")
    fleet.run("refused", 2 * DAY, error_kind="contract")
    fleet.run("refused", DAY, error_kind="contract")
    fleet.run("mended", DAY, error_kind="contract")
    fleet.run("mended", HOUR)
    fleet.run("other-trouble", DAY, error_kind="contract")
    fleet.run("other-trouble", HOUR, error_kind="provider")
    drift = fleet.look().contract_drift
    assert drift.sample == (TenantCase("refused", "refused", NOW - 2 * DAY, "Told as contract.", 1),)


def test_an_optional_part_that_was_there_at_the_sync_before_is_told_once(fleet: Fleet) -> None:
    fleet.register("lost", "never-had", "gained", "first-sync", "lost-then-failed", "lost-long-ago", "upgraded")
    fleet.run("lost", 2 * DAY, skipped=["column a is absent"])
    fleet.run("lost", DAY, skipped=["column a is absent", "table c is absent", "column b is absent"])
    for tenant_id, before, newest in (
        ("never-had", ["column a is absent"], ["column a is absent"]),
        ("gained", ["column a is absent", "column b is absent"], ["column b is absent"]),
        ("lost-then-failed", [], ["column a is absent"]),
        ("upgraded", None, ["column a is absent"]),
    ):
        fleet.run(tenant_id, 2 * DAY, skipped=before)
        fleet.run(tenant_id, DAY, skipped=newest)
    fleet.run("lost-then-failed", HOUR, error_kind="provider")
    fleet.run("first-sync", DAY, skipped=["column a is absent"])
    for days, skipped in ((3, []), (2, ["column a is absent"]), (1, ["column a is absent"])):
        fleet.run("lost-long-ago", days * DAY, skipped=skipped)
    drift = fleet.look().contract_drift
    assert drift.sample == (
        TenantCase("lost", "newly absent", NOW - DAY, "column b is absent; table c is absent", 1),
        TenantCase("lost-then-failed", "newly absent", NOW - DAY, "column a is absent", 1),
    )


_RUNS = """
    INSERT INTO tenants (id, provider, credentials) SELECT 'tenant-' || n, 'iseller', 'env:X'
    FROM generate_series(1, 200) AS n;
    INSERT INTO tenant_runs (tenant_id, kind, run_id, started_at, finished_at, counts, error)
    SELECT 'tenant-' || n, kind, 'r', now() - day * interval '1 day', now() - day * interval '1 day',
           CASE WHEN n > 100 THEN '{"inserted": 0}'::jsonb ELSE '{}' END, CASE WHEN n > 100 THEN NULL ELSE 'down' END
    FROM generate_series(1, 100) AS day, generate_series(1, 200) AS n, unnest(ARRAY['sync', 'images']) AS kind;
    INSERT INTO image_urls (tenant_id, url_sha256, url, failures, failure)
    SELECT 'tenant-' || n, picture::text::bytea, 'u', picture / 100, CASE WHEN picture = 100 THEN 'gone' END
    FROM generate_series(1, 200) AS n, generate_series(1, 100) AS picture;
"""


@pytest.fixture
def many_runs(control: Engine) -> Engine:
    """A control database with a hundred nights of 200 tenants, half of whom never succeed."""
    with control.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in (*filter(str.strip, _RUNS.split(";")), "VACUUM ANALYZE"):
            connection.exec_driver_sql(statement)
    return control


def plan(control: Engine, statement: str, **given: object) -> str:
    with control.connect() as connection:
        return "\n".join(connection.scalars(sa.text(f"EXPLAIN {statement}"), given))


@pytest.mark.parametrize("question", ["FAILED", "STALE", "IMAGES_BEHIND", "CONTRACT_DRIFT"])
def test_a_question_finds_the_newest_runs_by_their_index_and_never_reads_all_runs(
    many_runs: Engine, question: str
) -> None:
    given = {"kinds": ["sync", "images"], "stale_before": NOW, "behind_before": NOW}
    told = plan(many_runs, getattr(fleet_questions, question), **given)
    assert "Index Scan Backward using ix_tenant_runs_tenant_id_kind_finished_at" in told
    assert "Seq Scan on tenant_runs" not in told


@pytest.mark.parametrize("question", ["FAILED", "STALE", "IMAGES_BEHIND", "CONTRACT_DRIFT"])
def test_a_newest_success_is_found_without_reading_the_failures_behind_it(many_runs: Engine, question: str) -> None:
    given = {"kinds": ["sync", "images"], "stale_before": NOW, "behind_before": NOW}
    told = plan(many_runs, getattr(fleet_questions, question), **given)
    assert "Backward using ix_tenant_runs_successes" in told


def test_failing_pictures_are_found_without_reading_all_pictures(many_runs: Engine) -> None:
    assert "ix_image_urls_failing" in plan(many_runs, fleet_questions.FAILING_PICTURES)


def test_the_newest_runs_of_the_whole_fleet_are_looked_up_and_not_sorted(many_runs: Engine) -> None:
    told = plan(many_runs, _NEWEST.text, tenants=[f"tenant-{number}" for number in range(1, 201)])
    assert "Index Scan Backward using ix_tenant_runs_tenant_id_kind_finished_at" in told
    assert "Sort" not in told


def test_retired_tenants_are_in_no_answer(fleet: Fleet) -> None:
    fleet.register("gone", retired=True)
    fleet.run("gone", 3 * DAY, skipped=[], counts=PICTURED)
    fleet.run("gone", 2 * DAY, skipped=["column a is absent"])
    fleet.run("gone", DAY, error_kind="contract")
    fleet.run("gone", DAY, kind="images", error_kind="storage")
    picture(fleet, "gone", "LAT", "no answer", NOW - DAY)
    before = fleet.look()
    assert [before.failed.cases, before.stale.cases, before.images_behind.cases] == [0, 0, 0]
    assert [before.failing_pictures.cases, before.contract_drift.cases] == [0, 0]
    assert failed_ids(fleet.control, "sync") == []
    with fleet.control.begin() as connection:
        connection.execute(sa.text("UPDATE tenants SET retired_at = NULL"))
    after = fleet.look()
    assert [after.failed.cases, after.stale.cases, after.images_behind.cases] == [2, 1, 1]
    assert [after.failing_pictures.cases, after.contract_drift.cases] == [1, 2]
