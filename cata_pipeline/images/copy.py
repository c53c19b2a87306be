"""Copies one tenant's product pictures into the bucket and points its items at the copies: the flow.

The order is what makes a crash harmless: store the object, record its path as ours, write it back, and only then
settle the URL in the ledger. So no row ever names a missing object, no path of ours is ever taken for a tenant's own
picture, and whatever was not settled is done again. Rules live in the modules that this one calls.
"""

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import aiohttp
import sqlalchemy as sa

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.buckets import Bucket
from cata_pipeline.images.due import LedgerEntry, after_copy, after_failure
from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.fetch import NotModified, fetch
from cata_pipeline.images.guard import guarded_session
from cata_pipeline.images.inspection import Inspector
from cata_pipeline.images.ledger import Ledger
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.objects import StoredPicture, digest, path_without_extension, store
from cata_pipeline.images.picture_url import host_of
from cata_pipeline.images.result import MAX_FAILURES, ImageFailure, ImageResult
from cata_pipeline.images.tenant_images import TenantImages
from cata_pipeline.images.tenant_items import PicturedItem, Verdict, WriteBack
from cata_pipeline.images.validators import NO_VALIDATORS
from cata_pipeline.images.work_list import DueUrl, work_list

_COUNTED_VERDICTS = {Verdict.WRITTEN: "written_back", Verdict.OVERRIDDEN: "overridden", Verdict.BUSY: "failed"}
_BUSY = "somebody else was changing the item all the while; the copy is stored and shown by the next run"


def _utc_now() -> datetime:
    return datetime.now(UTC)


def copy_images(
    tenant_id: str,
    *,
    tenant: TenantImages,
    control: sa.Engine,
    bucket: Bucket,
    policy: AddressPolicy,
    inspector: Inspector,
    now: Callable[[], datetime] = _utc_now,
    limits: CopyLimits | None = None,
) -> ImageResult:
    """Copy every picture of a tenant that is due; blocks, and runs an event loop of its own.

    Several tenants may be copied on several threads of one process and share `inspector`; one tenant must not be
    copied twice at once. `now` returns an aware UTC time. A picture's own failure is counted and kept in the ledger.
    Raises `StorageError` when the bucket, `DatabaseError` when the tenant database does not play along: what was
    written until then stays, and the next copy goes on from there.
    """
    limits = limits or CopyLimits()
    copy = _Copy(tenant_id, tenant, Ledger(control, tenant_id), bucket, policy, inspector, now, limits)
    return copy.run()


@dataclass(frozen=True, slots=True)
class _Settled:
    """A URL whose try is over, and what the ledger will say of it once its items are served."""

    url: str
    entry: LedgerEntry
    items: Sequence[PicturedItem]


@dataclass(frozen=True, slots=True)
class _Showing:
    item: PicturedItem
    path: str


@dataclass(frozen=True, slots=True)
class _Means:
    """What is open while pictures are copied; the threads are for decoding and uploading."""

    session: aiohttp.ClientSession
    threads: ThreadPoolExecutor


class _Copy:
    def __init__(
        self,
        tenant_id: str,
        tenant: TenantImages,
        ledger: Ledger,
        bucket: Bucket,
        policy: AddressPolicy,
        inspector: Inspector,
        now: Callable[[], datetime],
        limits: CopyLimits,
    ) -> None:
        self._tenant_id = tenant_id
        self._tenant = tenant
        self._ledger = ledger
        self._bucket = bucket
        self._policy = policy
        self._inspector = inspector
        self._now = now
        self._limits = limits
        self._counts: Counter[str] = Counter()
        self._failures: list[ImageFailure] = []
        self._pending: list[_Settled] = []
        self._flushing = asyncio.Lock()
        self._room = asyncio.Semaphore(limits.concurrency)

    def run(self) -> ImageResult:
        started = time.perf_counter()
        work = work_list(self._tenant, self._ledger, self._now(), self._limits)
        self._counts["considered"] = work.item_count
        self._counts.update(self._show(_Showing(due.item, due.path) for due in work.items))
        if work.urls:
            asyncio.run(self._copy_urls(work.urls))
        names = (name for name in ImageResult.__dataclass_fields__ if name not in {"seconds", "failures"})
        return ImageResult(
            **{name: self._counts[name] for name in names},
            seconds=time.perf_counter() - started,
            failures=tuple(self._failures),
        )

    async def _copy_urls(self, urls: list[DueUrl]) -> None:
        by_host: dict[str, deque[DueUrl]] = defaultdict(deque)
        while urls:
            due = urls.pop()
            by_host[host_of(due.url)].appendleft(due)
        # Threads of our own: uploads must not wait behind the write-backs, which use the loop's default ones.
        with ThreadPoolExecutor(self._limits.concurrency, thread_name_prefix="picture-store") as threads:
            async with guarded_session(self._policy, self._limits) as session:
                await self._serve_hosts(by_host.values(), _Means(session, threads))
        await self._flush()

    async def _serve_hosts(self, queues: Iterable[deque[DueUrl]], means: _Means) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for queue in queues:
                    turn = asyncio.Semaphore(self._limits.concurrency_per_host)
                    for _ in range(min(self._limits.concurrency, len(queue))):
                        tasks.create_task(self._serve_host(queue, turn, means))
        except ExceptionGroup as group:
            # All tasks fail for the same cause, such as an unreachable bucket; one is enough to report.
            raise group.exceptions[0] from None

    async def _serve_host(self, queue: deque[DueUrl], turn: asyncio.Semaphore, means: _Means) -> None:
        while queue:
            due = queue.popleft()
            try:
                entry = await self._copied(due, turn, means)
            except PictureError as error:
                entry = after_failure(due.entry, error, self._now(), self._limits)
                self._count_failure(due, entry)
            self._pending.append(_Settled(due.url, entry, due.items))
            if len(self._pending) >= self._limits.flush_urls:
                await self._flush()

    async def _copied(self, due: DueUrl, turn: asyncio.Semaphore, means: _Means) -> LedgerEntry:
        """Bring the object of a URL up to date; raises `PictureError`."""
        known = due.entry.validators if due.entry.path else NO_VALIDATORS
        async with AsyncExitStack() as held:
            # Waiting for a slow host must not take the room of others; a body in memory must have room.
            async with turn:
                await held.enter_async_context(self._room)
                answer = await fetch(means.session, due.url, known, self._policy, self._limits)
            if isinstance(answer, NotModified):
                assert due.entry.path is not None
                self._counts["not_modified"] += 1
                return after_copy(due.entry.path, due.entry.validators, self._now())
            self._counts["downloaded"] += 1
            self._counts["bytes_downloaded"] += len(answer.content)
            loop = asyncio.get_running_loop()
            stored = await loop.run_in_executor(means.threads, self._store, answer.content, due.entry.path)
            self._counts["uploaded" if stored.new else "already_stored"] += 1
            return after_copy(stored.path, answer.validators, self._now())

    def _store(self, content: bytes, known_path: str | None) -> StoredPicture:
        sha256 = digest(content)
        if known_path and known_path.startswith(path_without_extension(self._tenant_id, sha256)):
            return StoredPicture(known_path, new=False)
        kind = self._inspector.inspect(content)
        return store(self._bucket, self._tenant_id, sha256, kind, content)

    def _count_failure(self, due: DueUrl, entry: LedgerEntry) -> None:
        self._counts["failed"] += len(due.items)
        assert entry.failure is not None
        assert entry.next_try_at is not None
        self._sample(ImageFailure(due.items[0].item_code, host_of(due.url), entry.failure, entry.next_try_at))

    def _sample(self, failure: ImageFailure) -> None:
        if len(self._failures) < MAX_FAILURES:
            self._failures.append(failure)

    async def _flush(self) -> None:
        batch, self._pending = self._pending, []
        async with self._flushing:
            counts = await asyncio.to_thread(self._settle, batch)
        self._counts.update(counts)

    def _settle(self, batch: Sequence[_Settled]) -> Counter[str]:
        counts = self._show(
            _Showing(item, settled.entry.path)
            for settled in batch
            if settled.entry.path is not None
            for item in settled.items
        )
        self._ledger.settle({settled.url: settled.entry for settled in batch})
        return counts

    def _show(self, showings: Iterable[_Showing]) -> Counter[str]:
        """Record paths as ours and point the items at them; the objects are there already."""
        counts: Counter[str] = Counter()
        for chunk in _chunks(showings, self._limits.flush_items):
            ours = self._ledger.record([(showing.item.item_code, showing.path) for showing in chunk])
            wishes = [
                WriteBack(item.item_code, item.url, showing.path, ours[item.item_code])
                for showing in chunk
                if (item := showing.item).shown != showing.path
            ]
            verdicts = self._tenant.write_back(wishes) if wishes else {}
            for wish in wishes:
                verdict = verdicts[wish.item_code]
                if verdict in _COUNTED_VERDICTS:
                    counts[_COUNTED_VERDICTS[verdict]] += 1
                if verdict is Verdict.BUSY:
                    self._sample(ImageFailure(wish.item_code, host_of(wish.url), _BUSY, self._now()))
        return counts


def _chunks(showings: Iterable[_Showing], size: int) -> Iterator[list[_Showing]]:
    remaining = iter(showings)
    while chunk := list(islice(remaining, size)):
        yield chunk
