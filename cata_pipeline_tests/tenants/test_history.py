"""What runs did, on a real control database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cata_pipeline.tenants.history import EndedRun, FailingPicture, History, TenantRun
from cata_pipeline_tests.tenant_runs import put_on_record

NIGHT = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
SYNC = TenantRun(
    tenant_id="kopi-kita",
    kind="sync",
    run_id="run-1",
    started_at=NIGHT,
    finished_at=NIGHT + timedelta(seconds=3),
    snapshot_id="20260301T020000000000Z-0badcafe",
    changes_path="kopi-kita/snapshots/x/changes-run-1.parquet",
    error=None,
    counts={"inserted": 3, "stale": 0, "seconds_write": 0.125},
)
IMAGES = replace(SYNC, kind="images", snapshot_id=None, changes_path=None, counts={"uploaded": 2})
FAILED = replace(
    SYNC,
    run_id="run-2",
    finished_at=SYNC.finished_at + timedelta(days=1),
    snapshot_id=None,
    changes_path=None,
    error="The POS — it's “closed”.",
    counts={},
    error_kind="provider",
)
NARROW = replace(SYNC, tenant_id="narrow", skipped=["column items.variant_group is absent"])


@pytest.fixture
def history(control: Engine) -> History:
    return History(control)


def ended(run: TenantRun, seconds: float) -> EndedRun:
    told = {name: value for name, value in run.__dict__.items() if not name.endswith("ed_at")}
    return EndedRun(**told, seconds=seconds)


def test_a_run_is_recorded_as_ended_now_by_the_clock_of_the_database(history: History, control: Engine) -> None:
    clock = sa.text("SELECT clock_timestamp()")
    with control.connect() as connection:
        before = connection.scalar(clock)
        history.record(ended(NARROW, 90.5))
        after = connection.scalar(clock)
    [run] = history.newest(["narrow"]).values()
    assert before <= run.finished_at <= after
    assert run == replace(NARROW, started_at=run.finished_at - timedelta(seconds=90.5), finished_at=run.finished_at)


def test_a_run_is_read_back_as_it_was_recorded(history: History, control: Engine) -> None:
    put_on_record(control, SYNC)
    put_on_record(control, FAILED)
    put_on_record(control, NARROW)
    assert history.newest(["kopi-kita", "narrow"]) == {("kopi-kita", "sync"): FAILED, ("narrow", "sync"): NARROW}


def test_the_newest_run_of_each_tenant_and_kind_is_told(history: History, control: Engine) -> None:
    other = replace(SYNC, tenant_id="roti-pagi", run_id="run-3")
    # The later run is recorded first: what counts is when a run finished.
    for run in (FAILED, SYNC, IMAGES, other, replace(SYNC, tenant_id="not-asked-for")):
        put_on_record(control, run)
    assert history.newest(["kopi-kita", "roti-pagi", "never-served"]) == {
        ("kopi-kita", "sync"): FAILED,
        ("kopi-kita", "images"): IMAGES,
        ("roti-pagi", "sync"): other,
    }


def test_nothing_is_told_where_nothing_ran(history: History, control: Engine) -> None:
    assert history.newest(["kopi-kita"]) == {}
    assert history.failing_pictures(["kopi-kita"]) == {}
    put_on_record(control, SYNC)
    assert history.newest([]) == {}


def test_a_kind_of_work_that_does_not_exist_is_not_recorded(history: History) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        history.record(ended(replace(SYNC, kind="guesswork"), 1.0))


def test_pictures_count_as_failing_until_a_try_succeeds_even_if_their_host_was_not_asked(
    history: History, control: Engine
) -> None:
    insert = sa.text(
        "INSERT INTO image_urls (tenant_id, url_sha256, url, failures, failure)"
        " VALUES (:tenant, :sha256, :url, :failures, :failure)"
    )
    with control.begin() as connection:
        for tenant, tries in (
            ("kopi-kita", [(0, None), (1, "gone"), (7, "gone"), (0, "its host rests")]),
            ("roti-pagi", [(0, None), (0, None)]),
            ("warung", [(2, "gone")]),
            ("not-asked-for", [(1, "gone")]),
        ):
            for number, (failures, failure) in enumerate(tries):
                values = {"sha256": bytes([number]), "url": f"https://x/{number}"}
                connection.execute(insert, {"tenant": tenant, "failures": failures, "failure": failure, **values})
    assert history.failing_pictures(["kopi-kita", "roti-pagi", "warung"]) == {"kopi-kita": 3, "warung": 1}


def test_the_longest_failing_pictures_of_each_tenant_are_told_with_why_and_when_next(
    history: History, control: Engine
) -> None:
    failing = {
        ("kopi-kita", "LAT"): FailingPicture("LAT", 2, "https://x/lat", "the file ends early", NIGHT, 3, NIGHT),
        ("kopi-kita", "TEA"): FailingPicture("TEA", 1, "https://x/tea", "no answer", NIGHT - timedelta(1), 1, NIGHT),
        ("kopi-kita", "OLD"): FailingPicture(None, 0, "https://x/old", "HEIC", NIGHT + timedelta(1), 1, NIGHT),
        ("roti-pagi", "BUN"): FailingPicture("BUN", 1, "https://x/bun", "no answer", NIGHT, 1, NIGHT),
        ("not-asked-for", "X"): FailingPicture("X", 1, "https://x/x", "no answer", NIGHT, 1, NIGHT),
        ("roti-pagi", "REST"): FailingPicture("REST", 1, "https://x/rest", "its host rests", NIGHT, 0, NIGHT),
    }
    no_beginning = FailingPicture("ZERO", 1, "https://x/zero", "its host rests", NIGHT, 0, NIGHT)
    insert = sa.text(
        "INSERT INTO image_urls (tenant_id, url_sha256, url, failure, failing_since, failures, next_try_at, item_code,"
        " items) VALUES (:tenant, :sha256, :url, :reason, :since, :tries, :next_try_at, :item_code, nullif(:items, 0))"
    )
    with control.begin() as connection:
        for number, ((tenant, _), picture) in enumerate(failing.items()):
            connection.execute(insert, {"tenant": tenant, "sha256": bytes([number]), **picture.__dict__})
        others = {"tenant": "warung", "since": None}
        connection.execute(insert, no_beginning.__dict__ | others | {"sha256": b"zero"})
        fine = {"item_code": "FINE", "reason": None, "tries": 0, "next_try_at": None}
        connection.execute(insert, no_beginning.__dict__ | others | fine | {"sha256": b"fine"})
    asked = ["kopi-kita", "roti-pagi", "warung", "never-served"]
    assert history.longest_failing(asked, 2) == {
        "kopi-kita": [failing["kopi-kita", "TEA"], failing["kopi-kita", "LAT"]],
        "roti-pagi": [failing["roti-pagi", "BUN"], failing["roti-pagi", "REST"]],
        "warung": [no_beginning],
    }
    assert history.longest_failing(asked, 3)["kopi-kita"][2] == failing["kopi-kita", "OLD"]
