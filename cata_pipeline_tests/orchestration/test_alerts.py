"""A failed run is told to the webhook, or to the log alone."""

from collections.abc import Iterator

import dagster as dg
import pytest

from cata_pipeline.orchestration import resources
from cata_pipeline.orchestration.alerts import alert_text, run_failure_alert
from cata_pipeline.orchestration.resources import PipelineResource
from cata_pipeline.providers.conformance.scripted_server import ScriptedServer, answer


@pytest.fixture(autouse=True)
def own_pipeline(settings_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in settings_environment.items():
        monkeypatch.setenv(name, value)
    resources._pipeline.cache_clear()
    yield
    resources._pipeline.cache_clear()


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    server.start()
    monkeypatch.setenv("CATA_ALERT_WEBHOOK_URL", f"{server.origin}/hook-s3cret")
    yield server
    server.stop()


def alert_of_a_failed_run() -> str:
    """Let the sensor see a run that really failed; returns the run's id."""

    @dg.op
    def refuse() -> None:
        raise dg.Failure("1 of 2 tenants failed: kopi-kita: the POS answered 503")

    @dg.job
    def sync_tenants() -> None:
        refuse()

    with dg.instance_for_test() as instance:
        result = sync_tenants.execute_in_process(instance=instance, raise_on_error=False)
        context = dg.build_run_status_sensor_context(
            sensor_name="run_failure_alert",
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=result.get_run_failure_event(),
            resources={"pipeline": PipelineResource()},
        ).for_run_failure()
        run_failure_alert(context)
        return result.run_id


def test_a_failed_run_is_posted_with_its_reason(webhook: ScriptedServer) -> None:
    webhook.script("/hook-s3cret", answer("ok", content_type="text/plain"))
    run_id = alert_of_a_failed_run()
    [received] = webhook.asked("/hook-s3cret")
    assert received.json["text"] == (
        f"Run {run_id} of sync_tenants failed.\n1 of 2 tenants failed: kopi-kita: the POS answered 503"
    )


def test_without_a_webhook_nothing_is_posted(webhook: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATA_ALERT_WEBHOOK_URL", "")
    alert_of_a_failed_run()
    assert webhook.received == []


def test_a_refused_post_fails_the_tick_so_that_it_is_tried_again(webhook: ScriptedServer) -> None:
    webhook.script("/hook-s3cret", answer(status=500))
    with pytest.raises(Exception, match="The alert webhook answered 500"):
        alert_of_a_failed_run()


def test_an_unreachable_webhook_is_not_named_because_its_address_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATA_ALERT_WEBHOOK_URL", "http://127.0.0.1:1/hook-s3cret")
    with pytest.raises(Exception, match="cannot be reached: ConnectError") as error:
        alert_of_a_failed_run()
    assert "s3cret" not in str(error.value)


def test_a_long_reason_is_cut() -> None:
    assert len(alert_text("sync_tenants", "run", "x" * 5_000)) < 1_600
