"""The composition of everything below: what one run does for one tenant, and for a batch of them.

Steps are put together here and nowhere else: whose lock is held, what is recorded, what stops a tenant and what must
not stop the others. How a step works belongs to its package; how a run is started and shown belongs to
`cata_pipeline.orchestration`.
"""

import logging
import time
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from functools import cached_property

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.batch import each_served
from cata_pipeline.buckets import Bucket
from cata_pipeline.catalog.snapshot import Snapshot, SnapshotStore
from cata_pipeline.control.clock import ControlClock
from cata_pipeline.control.database import ControlDatabaseError, open_control_database
from cata_pipeline.errors import UNFORESEEN, CataError, StorageError, TenantError, UsageError, disk_full
from cata_pipeline.foreign_text import one_line, printable
from cata_pipeline.images.breaker import HostBreakers
from cata_pipeline.images.copy import copy_images
from cata_pipeline.images.image_paths import ImagePaths
from cata_pipeline.images.inspection import Inspector
from cata_pipeline.images.tenant_images import TenantImages
from cata_pipeline.images.unreferenced import UnreferencedImages, find_unreferenced
from cata_pipeline.outcomes import ImageOutcome, SyncOrder, SyncOutcome
from cata_pipeline.providers.contract import Provider, Sample
from cata_pipeline.providers.registry import provider_named, provider_names
from cata_pipeline.providers.secrets import Secrets
from cata_pipeline.reconcile.changes import read_changes
from cata_pipeline.reconcile.policy import TABLES
from cata_pipeline.reconcile.report import SAMPLE, Change, ReconcileReport
from cata_pipeline.reconcile.steps import reconcile
from cata_pipeline.redaction import Redactor
from cata_pipeline.settings import Settings, database_name_problem, parse_tenant_database_url, shown
from cata_pipeline.stopping import Stop
from cata_pipeline.tenants import credentials
from cata_pipeline.tenants.connections import tenant_engine
from cata_pipeline.tenants.database_owners import DatabaseOwners
from cata_pipeline.tenants.history import EndedRun, History, TenantRun
from cata_pipeline.tenants.lock import WAIT_SECONDS, TenantLock, tenant_lock
from cata_pipeline.tenants.mapping import SAME_NAMES, TenantDatabase, read_mapping
from cata_pipeline.tenants.model import Tenant
from cata_pipeline.tenants.registry import ImportOutcome, Registry
from cata_pipeline.tenants.stale import StaleItems
from cata_pipeline.tenants.tokens import TokenStore

logger = logging.getLogger(__name__)

_RECORD_SECONDS = 30.0
PLACE_SECONDS = 5.0
"""How long a tenant's image copy counts among those at once; then the next tenant begins beside it."""
STALE_SHOWN = 20
"""Stale items that an outcome names, the longest stale first."""


class Pipeline:
    """Everything a run needs, opened on first use; safe to share between the threads of a batch."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._breakers = HostBreakers()
        # Here and not on first use, so that a wrong file stops a command before it serves any tenant.
        self._mapping = SAME_NAMES
        if settings.schema_mapping:
            known = {table.name: [column.name for column in table.columns] for table in TABLES}
            self._mapping = read_mapping(settings.schema_mapping, known)

    @cached_property
    def control(self) -> Engine:
        """The control database, migrated."""
        return open_control_database(self.settings.control_database)

    @cached_property
    def registry(self) -> Registry:
        """Which tenants there are."""
        return Registry(self.control)

    @cached_property
    def database_owners(self) -> DatabaseOwners:
        """Which tenant owns which table."""
        return DatabaseOwners(self.control)

    @cached_property
    def history(self) -> History:
        """What runs did."""
        return History(self.control)

    @cached_property
    def stale_items(self) -> StaleItems:
        """Since when items are stale."""
        return StaleItems(self.control)

    @cached_property
    def snapshots(self) -> SnapshotStore:
        """The stored snapshots."""
        return SnapshotStore(self.snapshot_bucket, self.control)

    @cached_property
    def snapshot_bucket(self) -> Bucket:
        """The private bucket."""
        return Bucket(self.settings.snapshot_bucket, self.settings.storage_emulator)

    @cached_property
    def image_bucket(self) -> Bucket:
        """The public bucket."""
        return Bucket(self.settings.image_bucket, self.settings.storage_emulator)

    @cached_property
    def policy(self) -> AddressPolicy:
        """Which addresses may be connected to."""
        return AddressPolicy(self.settings.private_endpoints, self.settings.denied_networks)

    def tenant_database(self, tenant: Tenant) -> TenantDatabase:
        """A tenant's database: its own, or the template's."""
        url = self._tenant_database_url(tenant)
        return TenantDatabase(url, self._mapping, self.database_owners.of(tenant.id, shown(url)))

    def _tenant_database_url(self, tenant: Tenant) -> URL:
        if tenant.database_url is None:
            return self.settings.tenant_database.url(tenant.id)
        text = tenant.database_url
        if credentials.is_reference(text):
            text = credentials.resolve(text)
        try:
            return parse_tenant_database_url(text)
        except ValueError as error:
            raise UsageError(f"The database_url of tenant {tenant.id} {error}") from None

    def import_tenants(self, tenants: Sequence[Tenant]) -> ImportOutcome:
        """Add or change tenants, after a check of the databases that they would get; all or nothing.

        Raises `UsageError` that lists every tenant whose database cannot be its own; a reference is checked later.
        """
        problems = []
        for tenant in tenants:
            if tenant.database_url is not None and credentials.is_reference(tenant.database_url):
                continue
            if problem := database_name_problem(self._tenant_database_url(tenant)):
                problems.append(f"Tenant {tenant.id}: {problem}.")
        if problems:
            raise UsageError(
                "\n".join([*problems, "Nothing was imported. Give these tenants a shorter id, or a database_url."])
            )
        return self.registry.import_tenants(tenants)

    def sync(
        self,
        tenant_id: str,
        order: SyncOrder,
        run_id: str,
        *,
        lock_wait_seconds: float = WAIT_SECONDS,
        stop: Stop | None = None,
    ) -> SyncOutcome:
        """Serve one tenant under its lock. Whatever fails ends up in the outcome's `error`, and on record.

        `stop` ends it before its next step; a transaction that has begun is not disturbed.
        """
        began, stop = time.monotonic(), stop or Stop()
        outcome, redactor = SyncOutcome(tenant_id), self._redactor(tenant_id)
        try:
            tenant = self.registry.tenant(tenant_id)
            with tenant_lock(self.control, tenant_id, "sync", run_id, wait_seconds=lock_wait_seconds) as lock:
                stop.check()
                started = ControlClock(self.control).now()
                for outcome in self._steps(tenant, order, run_id, lock, stop, redactor):  # noqa: B007 keeps the furthest step
                    pass
                if outcome.report and not order.dry_run:
                    outcome = self._with_stale(outcome, outcome.report, started)
        except Exception as error:  # noqa: BLE001 one tenant's failure never stops the others
            outcome = replace(outcome, error=_explain(tenant_id, error, redactor), error_kind=_kind(error))
        if not order.dry_run:
            self._record("sync", began, run_id, outcome)
        _log("synced", outcome)
        return outcome

    def copy_images(
        self,
        tenant_id: str,
        run_id: str,
        inspector: Inspector,
        *,
        lock_wait_seconds: float = WAIT_SECONDS,
        stop: Stop | None = None,
    ) -> ImageOutcome:
        """Copy one tenant's pictures under its lock. Whatever fails ends up in the outcome's `error`, and on record.

        `stop` ends it; pictures that had arrived are finished.
        """
        began, stop = time.monotonic(), stop or Stop()
        outcome = ImageOutcome(tenant_id)
        try:
            tenant = self.registry.tenant(tenant_id)
            database = self.tenant_database(tenant)
            engine = tenant_engine(database.url, run_id)
            with tenant_lock(self.control, tenant_id, "images", run_id, wait_seconds=lock_wait_seconds):
                stop.check()
                result = copy_images(
                    tenant_id,
                    tenant=TenantImages(engine, database.mapping, owner=database.owner),
                    control=self.control,
                    bucket=self.image_bucket,
                    policy=self.policy,
                    inspector=inspector,
                    stop=stop,
                    breakers=self._breakers,
                )
            outcome = replace(outcome, result=result)
        except Exception as error:  # noqa: BLE001 one tenant's failure never stops the others
            told = _explain(tenant_id, error, self._redactor(tenant_id))
            outcome = replace(outcome, error=told, error_kind=_kind(error))
        self._record("images", began, run_id, outcome)
        _log("copied the pictures of", outcome)
        return outcome

    def sync_batch(
        self, tenant_ids: Sequence[str], order: SyncOrder, run_id: str, *, concurrency: int
    ) -> Generator[SyncOutcome, None, None]:
        """Serve many tenants, `concurrency` at a time; yields each outcome as it is there.

        Closing it early stops those that are being served.
        """
        order.check()
        stop = Stop()
        yield from each_served(
            tenant_ids, concurrency, lambda tenant_id: self.sync(tenant_id, order, run_id, stop=stop), stop
        )

    def copy_images_batch(
        self, tenant_ids: Sequence[str], run_id: str, *, concurrency: int
    ) -> Generator[ImageOutcome, None, None]:
        """Copy the images of many tenants, `concurrency` at a time; yields each outcome as it is there.

        A tenant that takes longer than `PLACE_SECONDS` goes on beside the next one, so that slow hosts hold up only
        their own tenant. Closing it early stops those that are being copied.
        """
        stop = Stop()
        with Inspector() as inspector:

            def copy(tenant_id: str) -> ImageOutcome:
                return self.copy_images(tenant_id, run_id, inspector, stop=stop)

            yield from each_served(tenant_ids, concurrency, copy, stop, place_seconds=PLACE_SECONDS)

    def unreferenced_images(self, tenant_id: str) -> UnreferencedImages:
        """Which objects of a tenant's pictures no row refers to; reads only. Raises `TenantError` or `UsageError`."""
        database = self.tenant_database(self.registry.tenant(tenant_id))
        engine = tenant_engine(database.url)
        tenant, paths = TenantImages(engine, database.mapping), ImagePaths(self.control, tenant_id)
        return find_unreferenced(tenant_id, tenant, paths, self.image_bucket, ControlClock(self.control).now())

    def claim_database(self, tenant_id: str, *, former: str | None = None, only_server: bool = False) -> bool:
        """Give the items table that a tenant's URL leads to, to this tenant; returns whether that changed anything.

        It may be nobody's, or of the tenant `former`, whose runs are waited for. With `only_server` nothing but the
        server of a table on record may differ. Raises `TenantError` or `UsageError`.
        """
        database = self.tenant_database(self.registry.tenant(tenant_id))
        images = TenantImages(tenant_engine(database.url), database.mapping)
        with ExitStack() as locks:
            for busy in dict.fromkeys([tenant_id, *([former] if former else [])]):
                for purpose in ("sync", "images"):
                    locks.enter_context(tenant_lock(self.control, busy, purpose, "tenants claim"))
            return self.database_owners.move(
                tenant_id, images.identity(), shown(database.url), former=former, only_server=only_server
            )

    def sample(self, tenant_id: str) -> Sample:
        """What the first page of a tenant's POS maps to; writes nothing. Raises `TenantError` or `UsageError`."""
        tenant = self.registry.tenant(tenant_id)
        provider, redactor = provider_named(tenant.provider), self._redactor(tenant_id)
        try:
            secrets = self._secrets(tenant, provider, "providers check", redactor)
            return provider.sample(tenant.options, secrets, self.policy)
        except Exception as error:
            told = _explain(tenant_id, error, redactor)
            if isinstance(error, CataError) and told == str(error):
                raise
            raise TenantError(told) from None

    def changes(self, tenant_id: str, item_code: str | None = None) -> Iterator[tuple[TenantRun, Change]]:
        """Every change that syncs made to a tenant's tables (or to one item), the newest sync first.

        Lazy: a change file is read when its first row is asked for. Raises `StorageError` when one cannot be read.
        """
        for run in self.history.syncs_with_changes(tenant_id):
            assert run.changes_path is not None
            for change in read_changes(self.snapshot_bucket.read(run.changes_path), item_code):
                yield run, change

    def _steps(
        self, tenant: Tenant, order: SyncOrder, run_id: str, lock: TenantLock, stop: Stop, redactor: Redactor
    ) -> Iterator[SyncOutcome]:
        """Fetch, snapshot, reconcile; yields the outcome so far after each, so that an error keeps what was done."""
        outcome = SyncOutcome(tenant.id)
        # What needs no network fails first, before a provider or a bucket is asked for anything.
        database = self.tenant_database(tenant)
        if order.fetch and order.from_snapshot is None:
            started = time.monotonic()
            snapshot = self._fetch(tenant, run_id, redactor)
            outcome = replace(outcome, fetched=True, seconds_fetch=time.monotonic() - started)
        else:
            snapshots = self.snapshots
            wanted = order.from_snapshot
            snapshot = snapshots.load(snapshots.record(tenant.id, wanted) if wanted else snapshots.newest(tenant.id))
        outcome = replace(outcome, snapshot=snapshot.record, notes=snapshot.notes.first(SAMPLE))
        yield outcome

        def before_write() -> None:
            stop.check()
            lock.verify()

        if order.reconcile:
            stop.check()
            report = reconcile(
                snapshot,
                database,
                run_id=run_id,
                bucket=self.snapshot_bucket,
                allow=order.allow,
                dry_run=order.dry_run,
                previous=lambda: self._previous_catalog(snapshot),
                before_write=before_write,
            )
            yield replace(outcome, report=report)

    def _fetch(self, tenant: Tenant, run_id: str, redactor: Redactor) -> Snapshot:
        provider = provider_named(tenant.provider)
        secrets = self._secrets(tenant, provider, run_id, redactor)
        catalog = provider.fetch(tenant.options, secrets, self.policy)
        return self.snapshots.save(tenant.id, provider.slug, catalog, run_id=run_id)

    def _previous_catalog(self, snapshot: Snapshot) -> pa.Table | None:
        """The catalog that was applied last, where it is another than this one and can still be read."""
        tenant_id = snapshot.record.tenant_id
        snapshot_id = self.history.applied_last(tenant_id)
        if snapshot_id is None:
            return None
        try:
            record = self.snapshots.record(tenant_id, snapshot_id)
            return None if record.content_hash == snapshot.record.content_hash else self.snapshots.load(record).table
        except (UsageError, StorageError) as error:
            logger.warning("Tenant %s: modifiers listed again may stay hidden: %s", tenant_id, error)
            return None

    def _redactor(self, tenant_id: str) -> Redactor:
        """For messages about a tenant; its secrets are added when they are resolved or issued."""
        return Redactor(*self.settings.token_keys, public=(tenant_id, *provider_names()))

    def _secrets(self, tenant: Tenant, provider: Provider, run_id: str, redactor: Redactor) -> Secrets:
        rotating = provider.rotating_key
        optional = (*provider.optional_keys, *([rotating] if rotating else []))
        found = credentials.resolve_keys(tenant.credentials, provider.credential_keys, optional=optional)
        first = found.pop(rotating, None) if rotating else None
        if first is None:
            return Secrets(found, redactor=redactor)
        redactor.add(first)
        tokens = TokenStore(self.control, self.settings.token_keys)
        return Secrets(found, lambda: tokens.held(tenant.id, first, run_id), redactor)

    def _with_stale(self, outcome: SyncOutcome, report: ReconcileReport, now: datetime) -> SyncOutcome:
        """The outcome with its longest stale items, once the record of stale items is in step with its report.

        The rows are written by then, so that a control database which is away for a moment costs a warning only.
        """
        tenant_id, codes = outcome.tenant_id, report.stale_codes
        warnings = []
        if len(codes) < report.stale:
            warnings.append(f"Only the first {len(codes)} of {report.stale} stale items are on record, by item code.")
        try:
            self.stale_items.keep(tenant_id, codes, now)
            stale = self.stale_items.longest([tenant_id], STALE_SHOWN).get(tenant_id, []) if codes else []
        except (sa.exc.SQLAlchemyError, CataError) as error:
            stale = []
            warnings.append(
                f"The rows are written, but which items are stale is not on record:"
                f" {_explain(tenant_id, error, self._redactor(tenant_id))}"
            )
        report = replace(report, warnings=(*report.warnings, *warnings))
        return replace(outcome, report=report, stale=tuple(stale))

    def _record(self, kind: str, began: float, run_id: str, outcome: SyncOutcome | ImageOutcome) -> None:
        """Keep the outcome in the control database; a database that is away for a moment must not cost the batch.

        `began` is a reading of the monotonic clock.
        """
        report = outcome.report if isinstance(outcome, SyncOutcome) else None
        snapshot = outcome.snapshot if isinstance(outcome, SyncOutcome) else None
        run = EndedRun(
            tenant_id=outcome.tenant_id,
            kind=kind,
            run_id=run_id,
            seconds=time.monotonic() - began,
            snapshot_id=snapshot.id if snapshot else None,
            changes_path=report.changes_path if report else None,
            error=outcome.error,
            counts=outcome.counts,
            error_kind=outcome.error_kind,
            skipped=report.skipped if report else None,
        )
        try:
            for attempt in Retrying(
                stop=stop_after_delay(_RECORD_SECONDS),
                wait=wait_random_exponential(max=5),
                retry=retry_if_exception_type(sa.exc.DBAPIError),
                reraise=True,
            ):
                with attempt:
                    self.history.record(run)
        except (sa.exc.SQLAlchemyError, CataError) as error:
            told = _explain(outcome.tenant_id, error, self._redactor(outcome.tenant_id))
            logger.error("What became of %s cannot be recorded: %s", outcome.tenant_id, told)  # noqa: TRY400 says it all


def _explain(tenant_id: str, error: Exception, redactor: Redactor) -> str:
    if isinstance(error, CataError):
        return redactor.redact(str(error))
    if isinstance(error, sa.exc.OperationalError | sa.exc.TimeoutError):
        text = str(error.orig if isinstance(error, sa.exc.OperationalError) else error).strip()
        reason = one_line(text.partition("\n")[0]).rstrip(".")
        return f"The control database went away: {reason}. Check that it runs, then start again."
    if full := disk_full(error):
        return full
    # As text: an exception nobody foresaw may quote whatever it stumbled over.
    trace = printable(redactor.redact("".join(traceback.format_exception(error)).rstrip()))
    logger.error("Tenant %s failed in a way nobody foresaw\n%s", tenant_id, trace)
    return (
        f"Unexpected {type(error).__name__}; the log of this run has the trace. Nothing else of the batch is affected."
    )


def _kind(error: Exception) -> str:
    if isinstance(error, CataError):
        return error.kind
    went_away = isinstance(error, sa.exc.OperationalError | sa.exc.TimeoutError)
    return ControlDatabaseError.kind if went_away else UNFORESEEN


def _log(verb: str, outcome: SyncOutcome | ImageOutcome) -> None:
    """One line a tenant; `tenant_id` on the record lets a progress bar count."""
    extra = {"tenant_id": outcome.tenant_id}
    if outcome.error:
        logger.warning("Not %s %s: %s", verb, outcome.tenant_id, outcome.error, extra=extra)
        return
    told = ", ".join(f"{name} {count}" for name, count in outcome.counts.items() if count)
    logger.info("%s %s: %s", verb.capitalize(), outcome.tenant_id, told or "nothing to do", extra=extra)
