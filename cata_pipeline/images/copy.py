"""Copies one tenant's product pictures into the bucket and points its items at the copies: the flow.

The order is what makes a crash harmless: store the object, record its path as unsettled, write it back, settle the
path, and only then settle the URL in the ledger. So no row ever names a missing object, no path that a copy wrote last
is ever taken for a tenant's own picture, and whatever was not settled is done again. Rules live in the modules that
this one calls.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from datetime import datetime

import aiohttp
import sqlalchemy as sa

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.buckets import Bucket
from cata_pipeline.control.clock import ControlClock
from cata_pipeline.errors import StoppedError
from cata_pipeline.images.breaker import HostBreakers, TenantBreakers
from cata_pipeline.images.budget import Budget
from cata_pipeline.images.due import LedgerEntry, after_copy, after_failure
from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.fetch import Fetched, NotModified, fetch
from cata_pipeline.images.guard import guarded_session
from cata_pipeline.images.image_paths import ImagePaths
from cata_pipeline.images.inspection import DecodeBudgetError, Inspector
from cata_pipeline.images.ledger import Ledger, SettledUrl
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.objects import PictureKind, StoredPicture, digest, path_without_extension, store
from cata_pipeline.images.path_writer import Copy, PathWriter
from cata_pipeline.images.picture_url import host_of
from cata_pipeline.images.progress import Progress
from cata_pipeline.images.result import MAX_FAILURES, MAX_NEWEST, CopiedPicture, ImageFailure, ImageResult
from cata_pipeline.images.rota import Rota
from cata_pipeline.images.tenant_images import TenantImages
from cata_pipeline.images.tenant_items import Verdict
from cata_pipeline.images.validators import NO_VALIDATORS
from cata_pipeline.images.work_list import DueUrl, work_list
from cata_pipeline.stopping import Stop
from cata_pipeline.uploads import Uploads

_COUNTED_VERDICTS = {Verdict.WRITTEN: "written_back", Verdict.OVERRIDDEN: "overridden", Verdict.BUSY: "failed"}
_BUSY = "somebody else was changing the item all the while; the copy is stored and shown by the next run"


def copy_images(  # noqa: PLR0913 what a copy touches, each by its name
    tenant_id: str,
    *,
    tenant: TenantImages,
    control: sa.Engine,
    bucket: Bucket,
    policy: AddressPolicy,
    inspector: Inspector,
    now: Callable[[], datetime] | None = None,
    limits: CopyLimits | None = None,
    stop: Stop | None = None,
    breakers: HostBreakers | None = None,
) -> ImageResult:
    """Copy every picture of a tenant that is due; blocks, and runs an event loop of its own.

    Several tenants may be copied on several threads of one process and share `inspector`; one tenant must not be
    copied twice at once. `now` returns an aware UTC time, without it the control database's: other machines read the
    ledger's times. A picture's own failure is counted and kept in the ledger.
    Raises `StorageError` when the bucket, `DatabaseError` when the tenant database does not play along: what was
    written until then stays, and the next copy goes on from there.

    `stop` ends it early with a `StoppedError`: hosts are left at once, pictures that arrived are stored, shown and
    settled, and the rest is due as before. Tenants that share `breakers` meet a host that
    cannot be connected to only once.
    """
    limits, now = limits or CopyLimits(), now or ControlClock(control).now
    return _Copy(tenant_id, tenant, control, bucket, policy, inspector, now, limits).run(
        stop or Stop(), (breakers or HostBreakers(limits)).of_tenant(tenant_id)
    )


@dataclass(frozen=True, slots=True)
class _Means:
    """What is open while pictures are copied; the threads are for hashing and decoding.

    `fetching` are the tasks that wait for a host, by which this can be broken off.
    """

    session: aiohttp.ClientSession
    uploads: Uploads
    threads: ThreadPoolExecutor
    rota: Rota
    fetching: set[asyncio.Task[None]]
    breakers: TenantBreakers


class _Copy:
    def __init__(
        self,
        tenant_id: str,
        tenant: TenantImages,
        control: sa.Engine,
        bucket: Bucket,
        policy: AddressPolicy,
        inspector: Inspector,
        now: Callable[[], datetime],
        limits: CopyLimits,
    ) -> None:
        self._tenant_id = tenant_id
        self._tenant = tenant
        self._ledger = Ledger(control, tenant_id)
        self._paths = ImagePaths(control, tenant_id)
        self._writer = PathWriter(tenant, self._paths, limits.flush_items)
        self._bucket = bucket
        self._policy = policy
        self._inspector = inspector
        self._now = now
        self._limits = limits
        self._counts: Counter[str] = Counter()
        self._failures: list[ImageFailure] = []
        self._newest: deque[CopiedPicture] = deque(maxlen=MAX_NEWEST)
        self._pending: list[SettledUrl] = []
        self._pending_work = 0
        self._flushing = asyncio.Lock()
        self._budget = Budget(limits)

    def run(self, stop: Stop, breakers: TenantBreakers) -> ImageResult:
        started, due_at = time.perf_counter(), self._now()
        work = work_list(self._tenant, self._ledger, self._paths, due_at, self._limits)
        self._counts["considered"] = work.item_count
        stop.check()
        self._counts.update(self._write(Copy(due.item, due.path) for due in work.items))
        if work.urls:
            try:
                asyncio.run(self._copy_urls(work.urls, stop, breakers))
            finally:
                self._inspector.release(self._tenant_id)
        self._ledger.forget_failures(due_at, [due.url for due in self._budget.deferred])
        self._counts["deferred"] = self._budget.items
        names = (field.name for field in fields(ImageResult) if field.type is int)
        return ImageResult(
            **{name: self._counts[name] for name in names},
            seconds=time.perf_counter() - started,
            failures=tuple(self._failures),
            newest=self._gallery(),
            deferred_reason=self._budget.reason,
        )

    def _gallery(self) -> tuple[CopiedPicture, ...]:
        """The pictures that this copy brought, and before them those of former ones."""
        brought = [*reversed(self._newest)]
        shown = {picture.path for picture in brought}
        former = [CopiedPicture(*known) for known in self._paths.newest(MAX_NEWEST) if known[1] not in shown]
        return (*brought, *former)[:MAX_NEWEST]

    async def _copy_urls(self, urls: list[DueUrl], stop: Stop, breakers: TenantBreakers) -> None:
        total = len(urls)
        progress = Progress(self._tenant_id, total)
        loop = asyncio.get_running_loop()
        # Threads of our own: pictures must not wait behind the write-backs, which use the loop's default ones.
        with ThreadPoolExecutor(self._limits.concurrency, thread_name_prefix="picture-examine") as threads:
            async with (
                guarded_session(self._policy, self._limits) as session,
                self._bucket.uploads(self._limits.concurrency) as uploads,
            ):
                means = _Means(
                    session, uploads, threads, Rota(urls, self._limits.concurrency_per_host), set(), breakers
                )
                try:
                    with stop.calling(lambda: loop.call_soon_threadsafe(_leave_hosts, means)):
                        await self._serve_all(min(self._limits.concurrency, total), means, progress)
                finally:
                    # What is stored is shown, also when the bucket went away since.
                    await self._flush()
        if progress.done + len(self._budget.deferred) < total:
            raise StoppedError(
                f"The copy was ended after {progress.done} of {total} pictures; these are done and stay."
                " The next copy goes on with the others."
            )

    async def _serve_all(self, at_once: int, means: _Means, progress: Progress) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(at_once):
                    tasks.create_task(self._serve(means, progress))
        except ExceptionGroup as group:
            # All tasks fail for the same cause, such as an unreachable bucket; one is enough to report.
            raise group.exceptions[0] from None

    async def _serve(self, means: _Means, progress: Progress) -> None:
        while due := await means.rota.next():
            try:
                entry = await self._copied(due, means)
            except PictureError as error:
                entry = after_failure(due.entry, error, self._now(), self._limits)
                self._count_failure(due, entry)
            except DecodeBudgetError:
                self._budget.defer_undecoded([due, *means.rota.close()])
                continue
            except StoppedError:
                return
            settled = SettledUrl(due.url, due.entry, entry, due.items)
            self._pending.append(settled)
            self._pending_work += not settled.is_confirmed
            progress.add(failed=entry.failure is not None)
            if self._pending_work >= self._limits.flush_urls or len(self._pending) >= self._limits.flush_confirmed:
                await self._flush()

    async def _copied(self, due: DueUrl, means: _Means) -> LedgerEntry:
        """Bring the object of a URL up to date; raises `PictureError`."""
        try:
            answer = await self._fetched(due, means)
        finally:
            means.rota.answered(due)
        if isinstance(answer, NotModified):
            assert due.entry.path is not None
            self._counts["not_modified"] += 1
            return after_copy(due.entry.path, due.entry.validators, self._now())
        self._counts["downloaded"] += 1
        self._counts["bytes_downloaded"] += len(answer.content)
        stored = await self._stored(answer.content, due.entry.path, means)
        self._counts["uploaded" if stored.new else "already_stored"] += 1
        return after_copy(stored.path, answer.validators, self._now())

    async def _fetched(self, due: DueUrl, means: _Means) -> Fetched | NotModified:
        known = due.entry.validators if due.entry.path else NO_VALIDATORS
        task = asyncio.current_task()
        assert task is not None
        means.fetching.add(task)
        began = time.perf_counter()
        try:
            return await fetch(means.session, due.url, known, self._policy, self._limits, means.breakers)
        finally:
            means.fetching.remove(task)
            if self._budget.fetched(time.perf_counter() - began):
                self._budget.defer_unfetched(means.rota.close())

    async def _stored(self, content: bytes, known_path: str | None, means: _Means) -> StoredPicture:
        loop = asyncio.get_running_loop()
        sha256, kind = await loop.run_in_executor(means.threads, self._examined, content, known_path)
        if kind is None:
            assert known_path is not None
            return StoredPicture(known_path, new=False)
        return await store(means.uploads, self._tenant_id, sha256, kind, content)

    def _examined(self, content: bytes, known_path: str | None) -> tuple[str, PictureKind | None]:
        """The digest and kind of a picture; no kind where the bytes are those of `known_path`, which was accepted."""
        sha256 = digest(content)
        if known_path and known_path.startswith(path_without_extension(self._tenant_id, sha256)):
            return sha256, None
        return sha256, self._inspector.inspect(content, self._tenant_id)

    def _count_failure(self, due: DueUrl, entry: LedgerEntry) -> None:
        self._counts["failed"] += len(due.items)
        assert entry.failure is not None
        assert entry.next_try_at is not None
        self._sample(ImageFailure(due.items[0].item_code, host_of(due.url), entry.failure, entry.next_try_at))

    def _sample(self, failure: ImageFailure) -> None:
        if len(self._failures) < MAX_FAILURES:
            self._failures.append(failure)

    async def _flush(self) -> None:
        async with self._flushing:
            # Taken only now: whoever waits here may be cancelled, and its batch is for the next one then.
            batch, self._pending, self._pending_work = self._pending, [], 0
            if not batch:
                return
            self._counts.update(await asyncio.to_thread(self._settle, batch))

    def _settle(self, batch: Sequence[SettledUrl]) -> Counter[str]:
        counts = self._write(
            Copy(item, settled.entry.path)
            for settled in batch
            if settled.entry.path is not None
            for item in settled.items
        )
        self._ledger.settle(batch)
        for settled in batch:
            if settled.is_new and settled.entry.path is not None:
                self._newest.append(CopiedPicture(settled.items[0].item_code, settled.entry.path))
        return counts

    def _write(self, copies: Iterable[Copy]) -> Counter[str]:
        written = self._writer.write(copies)
        for request in written.busy:
            self._sample(ImageFailure(request.item_code, host_of(request.url), _BUSY, self._now()))
        return Counter({name: written.verdicts[verdict] for verdict, name in _COUNTED_VERDICTS.items()})


def _leave_hosts(means: _Means) -> None:
    """Break off every request under way and begin no other; what has arrived goes on to the bucket.

    The task group of the others takes no notice of a cancelled task.
    """
    means.rota.close()
    for task in means.fetching:
        task.cancel()
