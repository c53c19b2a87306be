"""Tells people about failed runs: one message a run, to a Slack-compatible webhook or else to the log.

A message says what failed and where to look; it never holds more of an error than the run itself shows. During a storm
Dagster hands over a few failures a tick, so the standing signal is the partitions' own status, not this.
"""

import dagster as dg

from cata_pipeline.orchestration.resources import PipelineResource

_SHOWN_CHARACTERS = 1_500
_POST_SECONDS = 10.0


def alert_text(job: str, run_id: str, message: str) -> str:
    """The words of an alert; a long message is cut."""
    shown = message if len(message) <= _SHOWN_CHARACTERS else f"{message[:_SHOWN_CHARACTERS]}…"
    return f"Run {run_id} of {job} failed.\n{shown}"


@dg.run_failure_sensor(name="run_failure_alert", default_status=dg.DefaultSensorStatus.RUNNING)
def run_failure_alert(context: dg.RunFailureSensorContext, pipeline: PipelineResource) -> None:
    """Posts each failed run to CATA_ALERT_WEBHOOK_URL; without one, the failure is only logged here.

    A post that fails makes the tick fail, so it is tried again.
    """
    import httpx

    run = context.dagster_run
    text = alert_text(run.job_name, run.run_id, _reason(context))
    context.log.warning(text)
    webhook = pipeline.get().settings.alert_webhook
    if webhook is None:
        return
    try:
        reply = httpx.post(webhook, json={"text": text}, timeout=_POST_SECONDS, trust_env=False)
    except httpx.HTTPError as error:
        raise RuntimeError(f"The alert webhook cannot be reached: {type(error).__name__}") from None
    if not reply.is_success:
        raise RuntimeError(f"The alert webhook answered {reply.status_code}; check CATA_ALERT_WEBHOOK_URL.")


def _reason(context: dg.RunFailureSensorContext) -> str:
    """What the first failed step said; of a run that never came to a step, what Dagster says."""
    for event in context.get_step_failure_events():
        failure = event.step_failure_data
        told = failure.user_failure_data.description if failure.user_failure_data else None
        if told or failure.error:
            return told or failure.error.message.strip()  # type: ignore[union-attr]
    return context.failure_event.message or "Dagster gives no reason."
