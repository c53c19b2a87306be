"""Checks of the fleet that really fail, on a real instance, call somebody: once when it begins, once when it ends."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import dagster as dg
import pytest

from cata_pipeline.definitions import build_defs
from cata_pipeline.orchestration.alert_message import CheckNews
from cata_pipeline.orchestration.alerts import CALM_SECONDS, GIVE_UP_SECONDS, Evaluation, folded
from cata_pipeline.orchestration.fleet_checks import FLEET
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.providers.conformance.scripted_server import ScriptedServer, answer
from cata_pipeline_tests.orchestration.alert_daemon import HOOK, LATER, Daemon, fail

DOWN = "the POS answered 503"
WEBHOOK_DOWN = "The alert webhook answered 503."
STALE = "no_tenant_stale"
LOUD = Evaluation(STALE, 1_000.0, passed=False, loud=True, words="240 of 10,000 tenants.")
QUIET = replace(LOUD, loud=False, words="3 of 10,000 tenants.")
WELL = replace(LOUD, passed=True, loud=False, words="None of 10,000 tenants.")


@pytest.fixture
def daemon(instance: dg.DagsterInstance) -> Daemon:
    """One that has had its first ticks: the second notes where the evaluations end."""
    daemon = Daemon(instance)
    daemon.tick()
    daemon.tick()
    return daemon


_SERVED = """
    DELETE FROM tenants;
    INSERT INTO tenants (id, provider, credentials)
    SELECT 'tenant-' || n, 'iseller', 'env:X' FROM generate_series(1, {tenants}) AS n;
    INSERT INTO tenant_runs (tenant_id, kind, run_id, started_at, error, error_kind, counts)
    SELECT 'tenant-' || n, 'sync', 'r', now(), CASE WHEN n <= {failed} THEN 'The POS is down.' END,
           CASE WHEN n <= {failed} THEN 'provider' END,
           CASE WHEN n > {failed} THEN '{{"stale": 0}}' ELSE '{{}}' END::jsonb
    FROM generate_series(1, {tenants}) AS n;
"""


def serve(pipeline: Pipeline, failed: int, tenants: int = 1) -> None:
    """As if a night had just served so many tenants, and failed for some of them."""
    with pipeline.control.begin() as connection:
        for statement in filter(str.strip, _SERVED.format(tenants=tenants, failed=failed).split(";")):
            connection.exec_driver_sql(statement)


def look(instance: dg.DagsterInstance) -> None:
    """The run that evaluates the checks twice an hour."""
    assert build_defs().resolve_job_def("check_fleet").execute_in_process(instance=instance).success


def says(instance: dg.DagsterInstance, check: str = STALE, *, passed: bool = False, key: dg.AssetKey = FLEET) -> None:
    """One evaluation on record."""
    evaluation = dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=check,
        passed=passed,
        metadata={},
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{check} was looked at.",
    )
    instance.report_runless_asset_event(evaluation)


def test_a_check_that_begins_to_fail_loudly_is_told_once_and_once_more_when_it_passes(
    daemon: Daemon, pipeline: Pipeline
) -> None:
    serve(pipeline, failed=1)
    look(daemon.instance)
    assert daemon.tick() == "Reported: 0 failed runs, 1 checks; not for alerts: 0."
    [begun] = daemon.told
    assert begun.startswith("*no_tenant_failed fails*: 1 of 1 tenants failed, the first since ")
    assert "`cata-pipeline sync --failed`" in begun
    for _ in range(2):
        look(daemon.instance)
        assert daemon.tick().startswith("Nothing to report.")
    serve(pipeline, failed=0)
    look(daemon.instance)
    daemon.tick()
    look(daemon.instance)
    daemon.tick()
    assert daemon.told == [
        begun,
        "*no_tenant_failed is over*: None of 1 tenants.\n\nSee the checks of fleet_health.",
    ]


def test_a_check_that_only_warns_calls_nobody(daemon: Daemon, pipeline: Pipeline) -> None:
    serve(pipeline, failed=1, tenants=101)
    look(daemon.instance)
    daemon.tick()
    assert daemon.told == []
    serve(pipeline, failed=2, tenants=101)
    look(daemon.instance)
    daemon.tick()
    assert [text.split(",")[0] for text in daemon.told] == ["*no_tenant_failed fails*: 2 of 101 tenants failed"]


def test_the_daemon_posts_a_failing_check_with_a_link_until_the_webhook_takes_it_and_then_never_again(
    instance: dg.DagsterInstance,
    tick_sensors: Callable[[], None],
    new_pipeline: Callable[..., Pipeline],
    webhook: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline = new_pipeline(CATA_ALERT_WEBHOOK_URL=f"{webhook.origin}{HOOK}", CATA_DAGSTER_URL="https://ui.example")
    monkeypatch.setattr("cata_pipeline.orchestration.image_sensor.SETTLE_SECONDS", 0.0)
    tick_sensors()
    tick_sensors()
    serve(pipeline, failed=1)
    look(instance)
    webhook.script(HOOK, answer(status=503), answer("ok"))
    for _ in range(3):
        tick_sensors()
    texts = [received.json["text"] for received in webhook.asked(HOOK)]
    assert len(texts) == 2
    assert texts[0] == texts[1]
    assert texts[0].endswith("See the checks of <https://ui.example/assets/fleet_health?view=checks|fleet_health>.")


def test_checks_and_runs_of_one_tick_are_one_message(daemon: Daemon) -> None:
    says(daemon.instance)
    run_id = fail(daemon.instance, {"kopi": DOWN})
    assert daemon.tick() == "Reported: 1 failed runs, 1 checks; not for alerts: 0."
    [text] = daemon.told
    assert text == (
        f"*{STALE} fails*: {STALE} was looked at.\n\nSee the checks of fleet_health.\n\n"
        f"*1 run failed, 1 tenant*\n\n*sync_tenants*, 1 tenant: {DOWN}\nTenants: kopi\nRuns: {run_id}"
    )


def test_a_check_of_another_asset_calls_nobody(daemon: Daemon) -> None:
    says(daemon.instance, key=dg.AssetKey("elsewhere"))
    daemon.tick()
    assert daemon.told == []


def test_a_check_that_was_over_before_its_message_was_taken_calls_nobody(daemon: Daemon) -> None:
    daemon.send = lambda _: WEBHOOK_DOWN
    says(daemon.instance)
    assert daemon.tick() == f"{WEBHOOK_DOWN} 0 failed runs, 1 checks; not for alerts: 0."
    says(daemon.instance, passed=True)
    daemon.send = None
    daemon.tick()
    assert daemon.told == []


def test_a_check_that_goes_on_failing_is_told_however_long_the_webhook_was_away(daemon: Daemon) -> None:
    daemon.send = lambda _: WEBHOOK_DOWN
    says(daemon.instance)
    lost = fail(daemon.instance)
    for waited in (0, GIVE_UP_SECONDS, 2 * GIVE_UP_SECONDS, 3 * GIVE_UP_SECONDS):
        daemon.tick(now=LATER + waited)
    daemon.send = None
    daemon.tick(now=LATER + 4 * GIVE_UP_SECONDS)
    [text] = daemon.told
    assert (STALE in text, lost in text) == (True, False)


def test_what_a_killed_tick_told_of_a_check_is_told_again(daemon: Daemon) -> None:
    says(daemon.instance)
    before = daemon.cursor
    daemon.tick()
    daemon.cursor = before
    daemon.tick()
    assert daemon.told == daemon.told[:1] * 2


def test_an_evaluation_too_young_to_be_trusted_waits(daemon: Daemon) -> None:
    says(daemon.instance)
    daemon.tick(now=time.time())
    assert daemon.told == []
    daemon.tick()
    assert len(daemon.told) == 1


def test_pages_of_evaluations_are_read_one_after_the_other(daemon: Daemon) -> None:
    for number in range(5):
        says(daemon.instance, f"check_{number}")
    for _ in range(3):
        daemon.tick(page=2)
    assert [text.count(" fails*") for text in daemon.told] == [2, 2, 1]


def test_a_cursor_from_before_checks_were_told_begins_with_the_next_evaluation(instance: dg.DagsterInstance) -> None:
    says(instance, "long_ago")
    daemon = Daemon(instance, cursor='{"told": 0, "offered": null, "since": null}')
    daemon.tick()
    says(instance)
    daemon.tick()
    [text] = daemon.told
    assert (STALE in text, "long_ago" in text) == (True, False)


@pytest.mark.parametrize(
    ("called", "evaluations", "after", "news"),
    [
        ({}, [QUIET, WELL], {}, []),
        ({}, [LOUD], {STALE: 1_000.0}, [CheckNews(STALE, LOUD.words)]),
        ({}, [LOUD, QUIET], {STALE: 1_000.0}, [CheckNews(STALE, LOUD.words)]),
        ({}, [LOUD, WELL], {}, []),
        ({STALE: 1_000.0}, [], {STALE: 1_000.0}, []),
        ({STALE: 500.0}, [LOUD], {STALE: 1_000.0}, []),
        ({STALE: 500.0}, [WELL], {}, [CheckNews(STALE, WELL.words, over=True)]),
        ({STALE: 500.0}, [WELL, LOUD], {STALE: 1_000.0}, []),
        ({STALE: 500.0}, [replace(QUIET, time=500 + CALM_SECONDS - 1)], {STALE: 500.0}, []),
        ({STALE: 500.0}, [replace(QUIET, time=500 + CALM_SECONDS)], {}, [CheckNews(STALE, QUIET.words, over=True)]),
        ({STALE: 2_000.0}, [QUIET], {}, [CheckNews(STALE, QUIET.words, over=True)]),
        ({"other": 1.0}, [LOUD], {"other": 1.0, STALE: 1_000.0}, [CheckNews(STALE, LOUD.words)]),
    ],
)
def test_a_check_calls_from_its_first_loud_failure_until_it_passes_or_has_only_warned_for_long(
    called: Mapping[str, float], evaluations: list[Evaluation], after: Mapping[str, float], news: list[CheckNews]
) -> None:
    assert folded(called, evaluations) == (after, tuple(news))


def test_a_check_at_the_border_between_warning_and_error_calls_once_a_night() -> None:
    called: Mapping[str, float] = {}
    told: list[CheckNews] = []
    for number in range(16):
        each = replace(LOUD if number % 2 == 0 else QUIET, time=number * timedelta(minutes=30).total_seconds())
        called, news = folded(called, [each])
        told += news
    assert told == [CheckNews(STALE, LOUD.words)]
