"""Runs that really failed, on a real instance, are told to a real HTTP server: once, together, and whatever happens."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

from cata_pipeline.definitions import defs
from cata_pipeline.orchestration.alerts import GIVE_UP_SECONDS, AlertCursor, post, run_failure_alert
from cata_pipeline.orchestration.assets import COMMAND_LINE
from cata_pipeline.orchestration.image_sensor import SETTLE_SECONDS
from cata_pipeline.orchestration.resources import PipelineResource
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.providers.conformance.scripted_server import ScriptedServer, answer, closed_port
from cata_pipeline.tenants.model import Tenant
from cata_pipeline_tests.orchestration.alert_daemon import HOOK, Daemon, fail

DOWN = "the POS answered 503"


@pytest.fixture
def daemon(instance: dg.DagsterInstance) -> Daemon:
    """One that has had its first tick."""
    daemon = Daemon(instance)
    daemon.tick()
    return daemon


def test_all_runs_that_failed_since_the_last_tick_are_one_message(daemon: Daemon) -> None:
    first, second = fail(daemon.instance, {"kopi": DOWN, "roti": DOWN}), fail(daemon.instance, {"ayam": DOWN})
    assert daemon.tick() == "Reported: 2 failed runs, 0 checks; not for alerts: 0."
    words = f"*sync_tenants*, 3 tenants: {DOWN}\nTenants: kopi, roti, ayam\nRuns: {first}, {second}"
    assert daemon.told == [f"*2 runs failed, 3 tenants*\n\n{words}"]
    assert daemon.tick().startswith("Nothing to report.")
    assert len(daemon.told) == 1


def test_a_run_that_named_no_tenant_is_told_with_its_error_and_its_partitions(daemon: Daemon) -> None:
    ends = {"dagster/asset_partition_range_start": "ayam", "dagster/asset_partition_range_end": "kopi"}
    run_id = fail(daemon.instance, tags=ends)
    daemon.tick()
    [text] = daemon.told
    assert "ZeroDivisionError: the op itself broke" in text
    assert text.endswith(f"\nStarted for: ayam to kopi\nRuns: {run_id}")


def test_a_run_that_never_came_to_a_step_is_told_with_what_dagster_says(daemon: Daemon) -> None:
    run = daemon.instance.create_run_for_job(defs.resolve_job_def("copy_images"), tags={"dagster/partition": "kopi"})
    daemon.instance.report_run_failed(run, "The worker is gone.")
    daemon.tick()
    assert daemon.told == [
        f"*1 run failed*\n\n*copy_images*: The worker is gone.\nStarted for: kopi\nRuns: {run.run_id}"
    ]


def test_the_first_tick_ever_tells_no_history(instance: dg.DagsterInstance) -> None:
    fail(instance)
    daemon = Daemon(instance)
    assert daemon.tick().startswith("Failures after event ")
    daemon.tick()
    assert daemon.told == []


NOT_OURS = [
    "7",
    "[]",
    "newest",
    '{"__class__": "RunStatusSensorCursor", "record_id": 3}',
    '{"told": "x"}',
    '{"told": "3"}',
    '{"told": null}',
    '{"told": true}',
    '{"told": 3.5}',
    '{"told": -1}',
    '{"told": 9223372036854775808}',
    '{"told": 3, "checked": "4"}',
    '{"told": 3, "checked": 4, "called": ["no_tenant_stale"]}',
    '{"told": 3, "checked": 4, "called": {"no_tenant_stale": "long ago"}}',
    '{"told": 3, "checked": 4, "called": {"no_tenant_stale": NaN}}',
]


@pytest.mark.parametrize("kept", ["", *NOT_OURS])
def test_a_cursor_that_is_not_ours_is_none(kept: str) -> None:
    assert AlertCursor.parse(kept) is None


def test_a_cursor_is_read_as_it_was_written() -> None:
    cursor = AlertCursor(3, 6, {"no_tenant_stale": 7.0})
    assert AlertCursor.parse(json.dumps(asdict(cursor))) == cursor
    assert AlertCursor.parse('{"told": 3, "offered": null, "since": null}') == AlertCursor(3)


@pytest.mark.parametrize("kept", ["newest", '{"told": "x"}', '{"told": 9223372036854775808}'])
def test_after_a_cursor_that_cannot_be_read_what_failed_lately_is_told_and_nothing_older(
    instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture, kept: str
) -> None:
    long_ago, lately = fail(instance), fail(instance)
    age(instance, long_ago, GIVE_UP_SECONDS + 60)
    age(instance, lately, GIVE_UP_SECONDS - 60)
    daemon = Daemon(instance, cursor=kept)
    assert "The cursor was unreadable: the last 6 hours are reported" in daemon.tick(now=time.time())
    assert repr(kept) in caplog.text
    assert daemon.tick() == "Reported: 1 failed runs, 0 checks; not for alerts: 0."
    assert (long_ago in daemon.told[0], lately in daemon.told[0]) == (False, True)


def age(instance: dg.DagsterInstance, run_id: str, seconds: float) -> None:
    """As if the events of this run had been stored that long ago."""
    table = SqlEventLogStorageTable
    then = datetime.fromtimestamp(time.time() - seconds, UTC).replace(tzinfo=None)
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        connection.execute(table.update().where(table.c.run_id == run_id).values(timestamp=then))


def test_a_tick_tells_a_page_and_the_next_one_the_rest(daemon: Daemon) -> None:
    runs = [fail(daemon.instance) for _ in range(5)]
    for _ in range(3):
        daemon.tick(page=2)
    assert [sum(run_id in text for run_id in runs) for text in daemon.told] == [2, 2, 1]
    assert all(sum(run_id in text for text in daemon.told) == 1 for run_id in runs)


def test_a_failure_too_young_to_be_trusted_waits_and_holds_back_those_behind_it(daemon: Daemon) -> None:
    fail(daemon.instance)
    assert daemon.tick(now=time.time()).startswith("Nothing to report.")
    assert daemon.told == []
    daemon.tick(now=time.time() + SETTLE_SECONDS)
    assert len(daemon.told) == 1


def test_a_failure_from_a_clock_that_had_jumped_ahead_is_told_and_holds_nothing_back(daemon: Daemon) -> None:
    fail(daemon.instance)

    assert daemon.tick(now=time.time() - 3600).startswith("Reported: 1 failed runs")


def test_a_failure_whose_event_appears_below_one_that_was_seen_is_not_lost(daemon: Daemon) -> None:
    instance = daemon.instance
    late = fail(instance)
    table = SqlEventLogStorageTable
    its_failure = sa.and_(table.c.run_id == late, table.c.dagster_event_type == "PIPELINE_FAILURE")
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        # As seen from outside while the transaction that stores the event is still open.
        connection.execute(table.update().where(its_failure).values(dagster_event_type=None))
    seen = fail(instance)
    daemon.tick(now=time.time())
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        its_row = sa.and_(table.c.run_id == late, table.c.event.contains("PIPELINE_FAILURE"))
        connection.execute(table.update().where(its_row).values(dagster_event_type="PIPELINE_FAILURE"))
    daemon.tick()
    assert [run_id in text for text in daemon.told for run_id in (late, seen)] == [True, True]


def test_what_a_killed_tick_told_is_told_again_and_nothing_else_is_lost(daemon: Daemon) -> None:
    run_id = fail(daemon.instance)
    told: list[str] = []

    def send_and_die(text: str) -> str | None:
        told.append(text)
        raise KeyboardInterrupt

    daemon.send = send_and_die
    with pytest.raises(KeyboardInterrupt):
        daemon.tick()
    daemon.send = None
    daemon.tick()
    assert daemon.told == told
    assert run_id in told[0]


def test_a_cancelled_run_is_no_failure(daemon: Daemon) -> None:
    run = daemon.instance.create_run_for_job(defs.resolve_job_def("copy_images"), status=dg.DagsterRunStatus.STARTED)
    daemon.instance.report_run_canceled(run)
    assert daemon.tick().startswith("Nothing to report.")


def test_a_run_that_an_operator_watches_is_not_told_and_costs_those_beside_it_nothing(daemon: Daemon) -> None:
    watched, run_id = fail(daemon.instance, tags=COMMAND_LINE), fail(daemon.instance)
    assert daemon.tick() == "Reported: 1 failed runs, 0 checks; not for alerts: 1."
    assert [(watched in text, run_id in text) for text in daemon.told] == [(False, True)]


def test_a_run_that_was_started_again_is_left_to_its_last_attempt(daemon: Daemon) -> None:
    crashed = fail(daemon.instance, tags={"dagster/will_retry": "true"})
    again = fail(daemon.instance, tags={"dagster/parent_run_id": crashed, "dagster/will_retry": "false"})
    daemon.instance.add_run_tags(crashed, {"dagster/auto_retry_run_id": again})
    daemon.tick()
    [text] = daemon.told
    assert text.endswith(f"\nRuns: {again}")
    assert "Dagster retries it" not in text


def test_a_run_that_is_yet_to_be_started_again_is_told_as_such(daemon: Daemon) -> None:
    fail(daemon.instance, tags={"dagster/will_retry": "true"})
    daemon.tick()
    assert "Dagster retries it" in daemon.told[0]


def test_a_message_that_is_not_taken_is_offered_again_with_what_failed_since(daemon: Daemon) -> None:
    soon = time.time() + 60
    first = fail(daemon.instance)
    daemon.send = lambda _: "The alert webhook answered 500."
    assert daemon.tick(now=soon) == "The alert webhook answered 500. 1 failed runs, 0 checks; not for alerts: 0."
    second = fail(daemon.instance)
    daemon.tick(now=soon)
    daemon.send = None
    daemon.tick(now=soon)
    assert [(first in text, second in text) for text in daemon.told] == [(True, True)]


def test_what_was_offered_for_hours_is_given_up_loudly_and_what_failed_later_is_not(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    lost = fail(daemon.instance)
    kept = fail(daemon.instance)
    failed_at = [daemon.instance.get_run_stats(run_id).end_time or 0.0 for run_id in (lost, kept)]
    daemon.send = lambda _: "The alert webhook answered 404."
    daemon.tick(now=failed_at[0] + GIVE_UP_SECONDS - 1)
    assert "Given up" not in caplog.text
    between = sum(failed_at) / 2 + GIVE_UP_SECONDS
    assert "Given up: 1 failed runs; the log of this tick names them." in daemon.tick(now=between)
    given_up = caplog.records[-1]
    assert given_up.levelno == logging.ERROR
    assert (lost in given_up.getMessage(), kept in given_up.getMessage()) == (True, False)
    daemon.send = None
    daemon.tick(now=between + 30)
    assert [(lost in text, kept in text) for text in daemon.told] == [(False, True)]


def test_a_failed_run_that_is_deleted_before_the_tick_stops_nothing(daemon: Daemon) -> None:
    daemon.instance.run_storage.delete_run(fail(daemon.instance))
    fail(daemon.instance)
    assert daemon.tick() == "Reported: 2 failed runs, 0 checks; not for alerts: 0."


def test_a_tick_asks_as_much_of_the_storage_for_many_failures_as_for_one(daemon: Daemon) -> None:
    asked: list[str] = []

    def note(*call: object) -> None:
        asked.append(str(call[2]))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        counts = []
        for failures in (1, 8):
            for _ in range(failures):
                fail(daemon.instance, {"kopi": DOWN})
            asked.clear()
            daemon.tick()
            counts.append(len(asked))
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert counts[0] == counts[1] <= 4


def real_tick(instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"pipeline": PipelineResource()}
    ) as context:
        result = run_failure_alert(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_tenants_that_a_real_sync_could_not_serve_are_posted_with_their_reason_and_a_link(
    instance: dg.DagsterInstance,
    new_pipeline: Callable[..., Pipeline],
    webhook: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline = new_pipeline(CATA_ALERT_WEBHOOK_URL=f"{webhook.origin}{HOOK}", CATA_DAGSTER_URL="https://ui.example")
    monkeypatch.setattr("cata_pipeline.orchestration.image_sensor.SETTLE_SECONDS", 0.0)
    pipeline.registry.import_tenants([Tenant(name, "iseller", "env:NOBODY") for name in ("kopi", "roti")])
    instance.add_dynamic_partitions("tenants", ["kopi", "roti"])
    cursor = real_tick(instance, None).cursor
    tags = {"dagster/asset_partition_range_start": "kopi", "dagster/asset_partition_range_end": "roti"}
    job = defs.resolve_job_def("sync_tenants")
    run_id = job.execute_in_process(instance=instance, tags=tags, raise_on_error=False).run_id
    real_tick(instance, cursor)
    [received] = webhook.asked(HOOK)
    text = received.json["text"]
    assert text.startswith("*1 run failed, 2 tenants*\n\n*sync_tenants*, 2 tenants: ")
    assert "NOBODY" in text
    assert text.endswith(f"\nTenants: kopi, roti\nRuns: <https://ui.example/runs/{run_id}|{run_id[:8]}>")


def test_the_daemon_keeps_an_undelivered_failure_in_the_cursor_and_tells_it_once_the_webhook_is_back(
    instance: dg.DagsterInstance,
    tick_sensors: Callable[[], None],
    new_pipeline: Callable[..., Pipeline],
    webhook: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    new_pipeline(CATA_ALERT_WEBHOOK_URL=f"{webhook.origin}{HOOK}")
    monkeypatch.setattr("cata_pipeline.orchestration.image_sensor.SETTLE_SECONDS", 0.0)
    tick_sensors()
    webhook.script(HOOK, answer(status=503), answer("ok"))
    first = fail(instance)
    tick_sensors()
    second = fail(instance)
    tick_sensors()
    tick_sensors()
    texts = [received.json["text"] for received in webhook.asked(HOOK)]
    assert [(first in text, second in text) for text in texts] == [(True, False), (True, True)]


def test_without_a_webhook_a_failure_is_logged_and_that_is_all(
    instance: dg.DagsterInstance, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cata_pipeline.orchestration.image_sensor.SETTLE_SECONDS", 0.0)
    cursor = real_tick(instance, None).cursor
    fail(instance)
    result = real_tick(instance, cursor)
    assert result.skip_reason
    assert result.skip_reason.skip_message == "Reported: 1 failed runs, 0 checks; not for alerts: 0."


def test_wrong_settings_fail_the_tick_before_it_looks_at_anything(
    instance: dg.DagsterInstance, new_pipeline: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    new_pipeline()
    monkeypatch.setenv("CATA_DAGSTER_URL", "ftp://nowhere")
    with pytest.raises(Exception, match="CATA_DAGSTER_URL is not a base URL"):
        real_tick(instance, None)


def test_a_webhook_that_takes_the_post_is_asked_once(webhook: ScriptedServer) -> None:
    assert post(f"{webhook.origin}{HOOK}", "words") is None
    [received] = webhook.asked(HOOK)
    assert (received.method, received.json) == ("POST", {"text": "words"})


@pytest.mark.parametrize("status", [302, 404, 500])
def test_any_other_answer_is_told_with_its_status(webhook: ScriptedServer, status: int) -> None:
    webhook.script(HOOK, answer(status=status, headers={"Location": f"{webhook.origin}/elsewhere"}))
    assert (
        post(f"{webhook.origin}{HOOK}", "words")
        == f"The alert webhook answered {status}; check CATA_ALERT_WEBHOOK_URL."
    )
    assert webhook.asked("/elsewhere") == []


def test_a_webhook_that_drips_is_left_within_the_limit(webhook: ScriptedServer) -> None:
    webhook.script(HOOK, webhook.repeat(b"HTTP/1.1 200 OK\r\n", b"x"))
    assert post(f"{webhook.origin}{HOOK}", "words", seconds=0.3) == "The alert webhook did not answer within 0.3 s."


def test_the_address_of_the_webhook_is_in_no_message_and_no_log(
    webhook: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    webhook.script(HOOK, answer(status=500))
    said = [post(f"{webhook.origin}{HOOK}", "words"), post(f"http://127.0.0.1:{closed_port()}{HOOK}", "words")]
    assert said[1] == "The alert webhook cannot be reached: ConnectError."
    assert "s3cret" not in f"{said} {caplog.text}"
