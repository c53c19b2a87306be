"""Runs a job in this process, as recorded Dagster runs: what the command line's `sync` and `images` do.

Such a run appears in the UI like any other. What it did is read back from its own events, so that the command line says
exactly what the UI says.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import dagster as dg

from cata_pipeline.errors import SettingsError
from cata_pipeline.foreign_text import one_line
from cata_pipeline.orchestration.dagster_internals import ErrorSource, RunFailureReason, check_captured_interrupt
from cata_pipeline.orchestration.metadata import IMAGES, RECONCILED
from cata_pipeline.orchestration.partitions import TENANTS, contiguous_ranges, range_tags
from cata_pipeline.orchestration.recorded_runs import RecordedRun, recorded_run
from cata_pipeline.orchestration.run_lock import held_run_lock
from cata_pipeline.settings import DAGSTER_DRIVER, parse_dagster_url

DAGSTER_STORAGE = f"{DAGSTER_DRIVER}://"
_TELLING = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_OBSERVATION,
    dg.DagsterEventType.STEP_FAILURE,
}
_LAST = {RECONCILED, IMAGES}
"""The last asset of each job: a tenant that has its event was served. One that has only a snapshot was not."""
_CANCELLED = "The run was cancelled before this tenant was served. What it had finished stays; start it again."
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class TenantAnswer:
    """What a run says of one tenant: the metadata of the job's last asset, or why it failed."""

    run_id: str
    metadata: Mapping[str, Any]
    error: str | None


@dataclass(frozen=True)
class JobAnswer:
    """What the finished runs of a job say of each tenant that was asked for, in that order."""

    tenants: Mapping[str, TenantAnswer]
    incomplete: str | None = None
    """Why the runs are not completely on record in Dagster; None where they are."""

    @property
    def run_id(self) -> str:
        """The run's id; where tenants that are no neighbours took several runs, all their ids, comma separated."""
        return ",".join(dict.fromkeys(answer.run_id for answer in self.tenants.values()))

    @property
    def ok(self) -> bool:
        """Whether every tenant was served, and that is on record."""
        return self.incomplete is None and all(answer.error is None for answer in self.tenants.values())


def open_instance() -> dg.DagsterInstance:
    """The instance that DAGSTER_HOME and DAGSTER_PG_URL lead to; raises `SettingsError` when they do not."""
    problems = []
    home = os.environ.get("DAGSTER_HOME", "").strip()
    if not home:
        problems.append("DAGSTER_HOME is not set; expected the folder that holds dagster.yaml.")
    elif not os.path.isfile(os.path.join(home, "dagster.yaml")):  # noqa: PTH113, PTH118 the variable as Dagster reads it
        problems.append("DAGSTER_HOME holds no dagster.yaml; copy the project's own there.")
    url = os.environ.get("DAGSTER_PG_URL", "")
    if not url.startswith(DAGSTER_STORAGE):
        problems.append(f"DAGSTER_PG_URL is not set to a URL that begins with {DAGSTER_STORAGE}.")
    else:
        try:
            parse_dagster_url(url)
        except ValueError as error:
            problems.append(f"DAGSTER_PG_URL {error}")
    if problems:
        raise SettingsError(problems)
    _reach(os.environ["DAGSTER_PG_URL"])
    return dg.DagsterInstance.get()


def _reach(url: str) -> None:
    """Raise `SettingsError` where Dagster's storage does not answer; Dagster itself would try for long and trace."""
    import sqlalchemy as sa

    try:
        sa.create_engine(url, poolclass=sa.NullPool, connect_args={"connect_timeout": 10}).connect().close()
    except (sa.exc.ArgumentError, sa.exc.OperationalError) as error:
        reason = str(error.orig).strip().partition("\n")[0] if isinstance(error, sa.exc.OperationalError) else "no URL"
        raise SettingsError(
            [f"Dagster's storage cannot be reached: {one_line(reason)}. Check DAGSTER_PG_URL and that the server runs."]
        ) from None


def run_in_process(
    job: str, op: str, tenant_ids: Sequence[str], config: Mapping[str, Any], instance: dg.DagsterInstance
) -> JobAnswer:
    """Materialize the job's assets for these tenants: one run for each stretch of neighbouring partitions.

    Dagster has no run for arbitrary keys: without partition tags an asset cannot read its upstream versions, and a
    range that also covers tenants nobody asked for would show those as failed when the run fails. An interrupt cancels
    the run under way, and no other begins.
    """
    from cata_pipeline.definitions import build_defs
    from cata_pipeline.orchestration.assets import COMMAND_LINE

    definitions = build_defs()
    name = str(TENANTS.name)
    known = set(instance.get_dynamic_partitions(name))
    if missing := [tenant_id for tenant_id in tenant_ids if tenant_id not in known]:
        instance.add_dynamic_partitions(name, missing)
    answers: dict[str, TenantAnswer] = {}
    incomplete = None
    for stretch in contiguous_ranges(instance.get_dynamic_partitions(name), tenant_ids, longest=len(tenant_ids)):
        watch = _InterruptWatch(instance, str(uuid4()))
        # The daemon fails a run whose process was killed; its tags keep the daemon from starting it again.
        with recorded_run(watch.run_id) as recorded, held_run_lock(instance, watch.run_id):
            try:
                result = definitions.resolve_job_def(job).execute_in_process(
                    run_id=watch.run_id,
                    run_config={**_QUIET, "ops": {op: {"config": dict(config)}}},
                    instance=instance,
                    tags={**range_tags(stretch), **COMMAND_LINE},
                    raise_on_error=False,
                )
            except Exception as error:  # noqa: BLE001 whatever Dagster raises, rows may be written
                cancelled = watch.interrupted
                incomplete = _storage_failed(instance, watch.run_id, error)
                answers |= _remembered(recorded, watch.run_id, stretch, incomplete)
            else:
                cancelled = watch.interrupted or result.dagster_run.status is dg.DagsterRunStatus.CANCELED
                answers |= _read_back(recorded, instance, watch.run_id, stretch, cancelled=cancelled)
        if cancelled:
            break
    never_begun = TenantAnswer(watch.run_id, {}, _CANCELLED)
    return JobAnswer({tenant_id: answers.get(tenant_id, never_begun) for tenant_id in tenant_ids}, incomplete)


def _storage_failed(instance: dg.DagsterInstance, run_id: str, error: Exception) -> str:
    """Return what to tell of an error that Dagster raised, and end the run in its records if it can."""
    reason = one_line(str(error).strip().partition("\n")[0])
    with suppress(Exception):
        if run := instance.get_run_by_id(run_id):
            instance.report_run_failed(run, f"Dagster's storage failed during the run: {reason}")
    return (
        f"Dagster failed to keep its record of run {run_id} ({type(error).__name__}: {reason}). What is said of each"
        " tenant here is what was done; the UI may lack it. Check Dagster's storage, then run the command again: that"
        " writes nothing twice."
    )


def _remembered(
    recorded: RecordedRun, run_id: str, tenant_ids: Sequence[str], unserved: str
) -> dict[str, TenantAnswer]:
    """What this process itself knows of a run."""
    metadata = {tenant_id: values for (tenant_id, key), values in recorded.metadata.items() if key in _LAST}
    return {
        tenant_id: TenantAnswer(
            run_id,
            metadata.get(tenant_id, {}),
            recorded.errors.get(tenant_id) or (None if tenant_id in metadata else unserved),
        )
        for tenant_id in tenant_ids
    }


def _read_back(
    recorded: RecordedRun, instance: dg.DagsterInstance, run_id: str, tenant_ids: Sequence[str], *, cancelled: bool
) -> dict[str, TenantAnswer]:
    """What the storage says of a run that has ended; where it fails just then, what this process knows."""
    from sqlalchemy.exc import DBAPIError

    try:
        return _answers(instance, run_id, tenant_ids, cancelled=cancelled)
    except DBAPIError as error:
        unserved = one_line(f"Dagster's storage failed, whose log says why: {error.orig}")
        return _remembered(recorded, run_id, tenant_ids, _CANCELLED if cancelled else unserved)


class _InterruptWatch:
    """Notices an interrupt that comes while Dagster keeps the books of a run, and has it end as cancelled if it can.

    Dagster puts such an interrupt off, and then fails the run, whose tenants may all have been served, or forgets it.
    One that comes during the asset is the asset's to announce.
    """

    def __init__(self, instance: dg.DagsterInstance, run_id: str) -> None:
        self.run_id = run_id
        self.interrupted = False
        self._instance = instance
        instance.add_event_listener(run_id, self._look)

    def _look(self, entry: dg.EventLogEntry) -> None:
        if self.interrupted or not (check_captured_interrupt() or _tells_of_interrupt(entry)):
            return
        self.interrupted = True
        run = self._instance.get_run_by_id(self.run_id)
        if run and run.status is dg.DagsterRunStatus.STARTED:
            self._instance.report_run_canceling(run)


def _tells_of_interrupt(entry: dg.EventLogEntry) -> bool:
    event = entry.dagster_event
    if event is None:
        return False
    if event.is_step_failure:
        return event.step_failure_data.error_source is ErrorSource.INTERRUPT
    return event.is_run_failure and event.job_failure_data.failure_reason is RunFailureReason.UNEXPECTED_TERMINATION


def _answers(
    instance: dg.DagsterInstance, run_id: str, tenant_ids: Sequence[str], *, cancelled: bool
) -> dict[str, TenantAnswer]:
    metadata: dict[str, Mapping[str, Any]] = {}
    errors: dict[str, str] = {}
    unserved = _CANCELLED if cancelled else "The run ended before this tenant was served; its log says why."
    # From the event log: the result of a failed step lacks what the step had logged before.
    for entry in instance.all_logs(run_id, of_type=_TELLING):
        event = entry.get_dagster_event()
        if event.is_step_failure:
            failure = event.step_failure_data
            details = failure.user_failure_data.metadata if failure.user_failure_data else {}
            if "failed" in details:
                errors |= dict(details["failed"].value)  # type: ignore[arg-type]
            elif failure.error and not cancelled:
                unserved = (failure.error.cause or failure.error).message.strip()
            continue
        noted = _asset_event(event)
        if noted.partition and noted.asset_key in _LAST:
            metadata[noted.partition] = {key: value.value for key, value in noted.metadata.items()}
    return {
        tenant_id: TenantAnswer(
            run_id,
            metadata.get(tenant_id, {}),
            errors.get(tenant_id) or (None if tenant_id in metadata else unserved),
        )
        for tenant_id in tenant_ids
    }


def _asset_event(event: dg.DagsterEvent) -> dg.AssetMaterialization | dg.AssetObservation:
    if event.event_type is dg.DagsterEventType.ASSET_OBSERVATION:
        return event.asset_observation_data.asset_observation
    return event.step_materialization_data.materialization
