"""The feed: a file or a URL with a whole catalog in our own format, for every POS that can export one.

Change this module when it is fetched differently. Which files may be read is `feed_file`, how bytes become records
`feed_bytes`, what records say `feed_records`, what a row means `feed_rows`; docs/feed-format.md tells whoever writes
one. It is read as it arrives: nothing holds the file, and a row is an item before the next one is looked at.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

import httpx

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.catalog.model import Catalog, Item, Rejection, unite
from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.contract import Provider, Sample
from cata_pipeline.providers.feed_bytes import BrokenFeedError, Records, Unpacking
from cata_pipeline.providers.feed_file import chunks_of_file
from cata_pipeline.providers.feed_options import FeedOptions
from cata_pipeline.providers.feed_records import Reading
from cata_pipeline.providers.feed_rows import item_of
from cata_pipeline.providers.fetch_limits import too_many_rows
from cata_pipeline.providers.http import Call, JsonClient, Patience, completed, token_to_send
from cata_pipeline.providers.json_body import CutBodyError, named
from cata_pipeline.providers.options import Options
from cata_pipeline.providers.row_fields import UnusableRowError, shown
from cata_pipeline.providers.secrets import Secrets
from cata_pipeline.providers.urls import origin_of

_TOKEN = "token"  # noqa: S105 the name of a key
_SAMPLE_ROWS = 100
_CHUNK = 2**18
_NOTHING_TAKEN = "Nothing was taken: correct the feed (docs/feed-format.md), then sync again."


def fetch_catalog(
    options: Options, secrets: Secrets, policy: AddressPolicy, patience: Patience | None = None
) -> Catalog:
    """The whole feed as a catalog; blocks. Raises `ProviderError` when the options are wrong or it is not whole."""
    return _gathered(options, secrets, policy, patience, None).catalog()


def sample_catalog(
    options: Options, secrets: Secrets, policy: AddressPolicy, patience: Patience | None = None
) -> Sample:
    """What the first rows of the feed map to; raises `ProviderError`."""
    return Sample.of(_gathered(options, secrets, policy, patience, _SAMPLE_ROWS).catalog())


FEED = Provider(
    slug="feed",
    name="Feed (a file or URL in our own format)",
    credential_keys=(),
    options=FeedOptions,
    fetch=fetch_catalog,
    sample=sample_catalog,
    optional_keys=(_TOKEN,),
)


def _gathered(
    options: Options, secrets: Secrets, policy: AddressPolicy, patience: Patience | None, most_rows: int | None
) -> "_Gathered":
    """The rows up to the explicit end, or the first `most_rows`."""
    parsed = FeedOptions.of_tenant(options)
    if isinstance(parsed.source, PurePosixPath):
        return _from_file(parsed.source, parsed, most_rows)
    patience = (patience or Patience()).within(parsed)
    return completed(_from_url(parsed.source, parsed, secrets, policy, patience, most_rows))


async def _from_url(
    url: httpx.URL,
    options: FeedOptions,
    secrets: Secrets,
    policy: AddressPolicy,
    patience: Patience,
    most_rows: int | None,
) -> "_Gathered":
    token = token_to_send(secrets, _TOKEN) if _TOKEN in secrets else None

    async def read(reply: httpx.Response) -> _Gathered:
        encoding = reply.headers.get("content-encoding", "").strip().lower()
        if encoding not in {"", "identity", "gzip", "x-gzip"}:
            raise BrokenFeedError(f"is encoded as {named(encoding)}, although only gzip was offered")
        if reply.headers.get("content-type", "").partition(";")[0].strip().lower() == "text/html":
            raise BrokenFeedError("is HTML, such as a login page")
        gathered = _Gathered(options, most_rows, must_be_gzip="gzip" in encoding)
        # Raw bytes: httpx would inflate a whole chunk before its size can be judged.
        async for chunk in reply.aiter_raw(_CHUNK):
            gathered.take(chunk)
            if gathered.is_enough:
                return gathered
        gathered.finish()
        return gathered

    call = Call("The feed", "GET", url, token=token, headers={"Accept": "*/*"})
    try:
        async with JsonClient(policy, patience, secrets) as client:
            return await client.receive(call, read)
    except BrokenFeedError as error:
        raise ProviderError(f"The feed at {origin_of(url)} {error}. {_NOTHING_TAKEN}") from None


def _from_file(path: PurePosixPath, options: FeedOptions, most_rows: int | None) -> "_Gathered":
    gathered = _Gathered(options, most_rows)
    try:
        for chunk in chunks_of_file(path):
            gathered.take(chunk)
            if gathered.is_enough:
                return gathered
        gathered.finish()
    except (BrokenFeedError, CutBodyError) as error:
        raise ProviderError(f"The feed {path} {error}. {_NOTHING_TAKEN}") from None
    except OSError as error:
        raise ProviderError(
            f"The feed {path} cannot be read ({error.strerror}). Put it where CATA_FEED_FOLDER says, readable."
        ) from None
    return gathered


class _Gathered:
    """What was read of one feed so far; one object a try."""

    def __init__(self, options: FeedOptions, most_rows: int | None, *, must_be_gzip: bool = False) -> None:
        self.rows = 0
        self._most_rows = sys.maxsize if most_rows is None else most_rows
        self._limits = options
        self._unpacking = Unpacking(options, must_be_gzip=must_be_gzip)
        self._records = Records(quoted=options.format == "csv")
        self._reading = Reading(options.format)
        self._items: list[Item] = []
        self._lines: list[int] = []
        self._rejections: list[Rejection] = []

    @property
    def is_enough(self) -> bool:
        """Whether a sample has its rows."""
        return self.rows >= self._most_rows

    def take(self, chunk: bytes) -> None:
        """Read what ends in this chunk; raises `BrokenFeedError`."""
        with self._first_problem_told():
            for piece in self._unpacking.pieces(chunk):
                self._take_all(self._records.take(piece))

    def finish(self) -> None:
        """Read what is left; raises `CutBodyError` unless the feed is whole."""
        with self._first_problem_told():
            for piece in self._unpacking.finish():
                self._take_all(self._records.take(piece))
            self._take_all(self._records.finish())
            self._reading.finish(self._records.lines)

    def catalog(self) -> Catalog:
        """The items by code; of two lines with one code the active one, then the newest, then the first counts."""
        united, duplicates = unite(self._items)
        if duplicates:
            # Only for these the line tells which one lost; it must not be what an item is known by.
            repeated = {duplicate.item_code for duplicate in duplicates}
            united, duplicates = unite(
                item._replace(provider_id=f"line {line:07}") if item.item_code in repeated else item
                for item, line in zip(self._items, self._lines, strict=True)
            )
            united = tuple(
                item._replace(provider_id=item.item_code) if item.item_code in repeated else item for item in united
            )
        return Catalog(united, tuple(self._rejections), duplicates)

    def _take_all(self, records: Iterator[tuple[int, bytes]]) -> None:
        for line, record in records:
            if self.rows >= self._most_rows:
                return
            row = None
            try:
                row = self._reading.row(line, record)
                if row is None:
                    continue
                self._items.append(item_of(row))
                self._lines.append(line)
            except UnusableRowError as problem:
                code = None if row is None else shown(row.get("item_code"))
                self._rejections.append(Rejection(f"line {line}", code, f"line {line} {problem}"))
            self.rows += 1
            # Bounds memory, which bytes do not: lines may have one byte each.
            if self.rows > self._limits.max_rows:
                raise BrokenFeedError(f"has {too_many_rows(self._limits)}")

    @contextmanager
    def _first_problem_told(self) -> Iterator[None]:
        """Whoever sent another format altogether, or a quote too many, finds it where that begins."""
        try:
            yield
        except (BrokenFeedError, CutBodyError) as error:
            if not self._rejections:
                raise
            raise type(error)(f"{error}; before that, {self._rejections[0].reason}") from None
