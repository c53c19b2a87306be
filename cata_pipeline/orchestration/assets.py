"""The assets: thin shells that turn a run's partitions and config into one call, and outcomes into events.

What an asset does is `cata_pipeline.pipeline`; what it shows is `metadata`. Both sync assets are made by one
function, so that one tenant's failed fetch costs only that tenant, whatever the batch.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import dagster as dg
from pydantic import Field

from cata_pipeline.orchestration.metadata import (
    IMAGES,
    RECONCILED,
    SNAPSHOT,
    column_schemas,
    image_events,
    raise_failures,
    sync_events,
)
from cata_pipeline.orchestration.owners import OWNERS
from cata_pipeline.orchestration.partitions import BATCH_TENANTS, TENANTS, run_tenants
from cata_pipeline.orchestration.recorded_runs import note_errors, note_event
from cata_pipeline.orchestration.resources import PipelineResource
from cata_pipeline.reconcile.policy import ITEMS, describe_rule, policy_version

COMMAND_LINE = {"trigger": "command line", "dagster/max_retries": "0"}
"""The tags of runs that an operator watches in a terminal; no daemon is to start one again behind his back."""

_STORAGE_SECONDS = 30.0

_BATCH = dg.BackfillPolicy.multi_run(BATCH_TENANTS)

_RULES = "\n".join(f"| `{c.name}` | {c.owner.value} | {describe_rule(c)} |" for c in ITEMS.columns)

_SNAPSHOT_TEXT = """The tenant's complete catalog as its POS gave it, one immutable Parquet file a fetch.

If it fails: the message says what the POS answered. Nothing was written; materialize again once the POS is well.

| guarantee | how |
| --- | --- |
| complete | a fetch that did not reach the provider's end marker is never a snapshot |
| no prices | they are not even parsed |
| kept | any snapshot can be applied again: set `from_snapshot` in the launchpad |
"""

_RECONCILED_TEXT = f"""The tenant's items and their structure, in step with the newest snapshot of its catalog.

If it fails: nothing was written. A refusal by a guard names its counts and the `allow` that admits one run.

Changed rows only, in one short transaction; every old and new value is kept in the change file. In the table `items`:

| column | owner | on re-sync |
| --- | --- | --- |
{_RULES}
"""

_IMAGES_TEXT = """Every external picture of the tenant, copied to our bucket under a name made from its content.

If it fails: one bad picture never stops the others; the table of failures says why and when it is tried again.

| guarantee | how |
| --- | --- |
| unchanged pictures cost nothing | conditional requests; the name is `{tenant}/items/{sha256}.{ext}` |
| a Cata user's own picture stays | `main_image_url` is replaced only where it holds a path of ours, or nothing |
| only real pictures | fully decoded JPEG, PNG or WebP |
"""


class SyncConfig(dg.Config):
    """What a sync may be told in the launchpad; the defaults are right for every ordinary run."""

    dry_run: bool = Field(
        default=False, description="Stop after the plan and show it. Writes no row and marks no partition."
    )
    from_snapshot: str | None = Field(
        default=None, description="Apply this stored snapshot instead of fetching one. For a single tenant."
    )
    allow: dict[str, int] = Field(
        default={},
        description="Ceilings that let this one run pass a guard, such as {hide: 120}.",
    )
    concurrency: int = Field(
        default=4, ge=1, le=32, description="Tenants served at once. Each holds two or three database connections."
    )


class ImageConfig(dg.Config):
    """What an image copy may be told in the launchpad."""

    concurrency: int = Field(default=2, ge=1, le=16, description="Tenants at once; each fetches many pictures at once.")


@dg.multi_asset(
    name="catalog_sync",
    specs=[
        dg.AssetSpec(
            SNAPSHOT,
            description=_SNAPSHOT_TEXT,
            group_name="catalog",
            owners=OWNERS,
            kinds={"parquet", "gcs"},
            skippable=True,
        ),
        dg.AssetSpec(
            RECONCILED,
            deps=[SNAPSHOT],
            description=_RECONCILED_TEXT,
            group_name="catalog",
            owners=OWNERS,
            kinds={"postgres", "mysql"},
            metadata={"dagster/table_name": ITEMS.name, **column_schemas()},
            code_version=policy_version(),
            skippable=True,
        ),
    ],
    partitions_def=TENANTS,
    can_subset=True,
    backfill_policy=_BATCH,
)
def catalog_sync(
    context: dg.AssetExecutionContext, config: SyncConfig, pipeline: PipelineResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Fetch, snapshot and reconcile every tenant of the run, each on its own."""
    with _each_on_its_own(context) as (keys, failed):
        from cata_pipeline.outcomes import SyncOrder

        selected = context.selected_asset_keys
        order = SyncOrder(
            fetch=SNAPSHOT in selected and config.from_snapshot is None,
            reconcile=RECONCILED in selected,
            dry_run=config.dry_run,
            from_snapshot=config.from_snapshot,
            allow=config.allow,
        )
        served = pipeline.get()
        bucket = served.settings.snapshot_bucket
        batch = served.sync_batch(keys, order, context.run.run_id, concurrency=config.concurrency)
        with closing(batch) as outcomes:
            for outcome in outcomes:
                error = _log_events(context, sync_events(outcome, bucket, dry_run=config.dry_run)) or outcome.error
                if error:
                    failed[outcome.tenant_id] = error
    yield from ()


@dg.multi_asset(
    name="image_objects",
    specs=[
        dg.AssetSpec(
            IMAGES,
            deps=[RECONCILED],
            description=_IMAGES_TEXT,
            group_name="images",
            owners=OWNERS,
            kinds={"gcs", "python"},
            skippable=True,
        )
    ],
    partitions_def=TENANTS,
    backfill_policy=_BATCH,
)
def image_objects(
    context: dg.AssetExecutionContext, config: ImageConfig, pipeline: PipelineResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Copy the pictures of every tenant of the run, each on its own."""
    with _each_on_its_own(context) as (keys, failed):
        served = pipeline.get()
        bucket, base_url = served.settings.image_bucket, served.settings.image_base_url
        batch = served.copy_images_batch(keys, context.run.run_id, concurrency=config.concurrency)
        with closing(batch) as outcomes:
            for outcome in outcomes:
                error = _log_events(context, image_events(outcome, bucket, base_url)) or outcome.error
                if error:
                    failed[outcome.tenant_id] = error
    yield from ()


@contextmanager
def _each_on_its_own(context: dg.AssetExecutionContext) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The tenants of the run, and where to put why one failed; ends the run as failed when any did.

    Ctrl-C at the command line cancels the run, as the UI's button does, whatever was being done: Dagster takes an
    interrupt that nobody announced for a crash, would send an alert and start the run again. Why tenants had failed
    until then is told nevertheless.
    """
    keys: list[str] = []
    failed: dict[str, str] = {}
    try:
        keys += run_tenants(context)
        yield keys, failed
    except dg.DagsterExecutionInterruptedError:
        if COMMAND_LINE.items() <= context.run.tags.items():
            context.instance.report_run_canceling(context.run)
            raise_failures(failed, len(keys))
        raise
    finally:
        note_errors(context.run.run_id, failed)
    raise_failures(failed, len(keys))


def _log_patiently(context: dg.AssetExecutionContext, event: dg.AssetMaterialization | dg.AssetObservation) -> None:
    from sqlalchemy.exc import DBAPIError
    from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

    for attempt in Retrying(
        stop=stop_after_delay(_STORAGE_SECONDS),
        wait=wait_random_exponential(max=5),
        retry=retry_if_exception_type(DBAPIError),
        reraise=True,
    ):
        with attempt:
            context.log_event(event)


def _log_events(
    context: dg.AssetExecutionContext, events: Iterator[dg.AssetMaterialization | dg.AssetObservation]
) -> str | None:
    """Log what became of one tenant; what cannot be shown must not cost the tenants after it.

    A storage that is away for a moment is waited for: the rows are written by then.
    """
    try:
        for event in events:
            note_event(context.run.run_id, event)
            _log_patiently(context, event)
    except Exception as error:
        context.log.exception("An outcome cannot be shown")
        return (
            f"It was served, but what became of it cannot be shown ({type(error).__name__}); see the log of this run."
        )
    return None
