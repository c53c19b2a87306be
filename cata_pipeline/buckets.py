"""Objects in a Google Cloud Storage bucket: create once, read, list, never overwrite.

Both kinds of objects this project keeps (snapshots and pictures) are immutable, so the only writing verb is
`create`. Here it is Google's library, whose exceptions become `StorageError`; many small objects at once, from an event
loop, are created by `cata_pipeline.uploads`, by the same rules.
"""

import base64
import functools
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cata_pipeline.errors import StorageError

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

    from cata_pipeline.uploads import Uploads

RETRY_SECONDS = 30.0
_REQUEST_SECONDS = (5.0, 60.0)  # connect, read
_POOL_SIZE = 32


@dataclass(frozen=True)
class Created:
    """What `create` did: `new` is False when an equal object was already there."""

    name: str
    new: bool


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as a bucket lists it: `size` in bytes, `created_at` aware."""

    name: str
    size: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a bucket says of an object's content: its size in bytes, and its CRC32C as Google writes it."""

    size: int
    crc32c: str

    @classmethod
    def of(cls, content: bytes) -> "Checksum":
        """The checksum that a bucket ought to have for `content`."""
        import google_crc32c

        return cls(len(content), base64.b64encode(google_crc32c.Checksum(content).digest()).decode())

    def __str__(self) -> str:
        return f"{self.size} bytes, CRC32C {self.crc32c}"


class WrongBytesError(StorageError):
    """By the bucket's own account, an object holds other bytes than ours; it does not count as stored.

    Google refuses a body that does not match its checksum, so somebody else wrote it, or an answer was garbled.
    """

    def __init__(self, bucket: str, name: str, ours: Checksum, theirs: Checksum) -> None:
        super().__init__(
            f"Bucket {bucket} holds other bytes than ours under {name}: expected {ours}; found {theirs}."
            " Nothing is overwritten: look at that object, delete it, then run again."
        )


def refusal(status: int) -> str:
    """What an answer that is final means, and what to do; ends a sentence that names bucket and object."""
    match status:
        case 404:
            return "it answered 404. Check that the bucket exists and that the name in the settings is right."
        case 401 | 403:
            return f"it answered {status}. Check the roles of this service account on the bucket."
        case _:
            return f"it answered {status}, which asking again would not change. Check the settings of the bucket."


class Bucket:
    """One bucket, safe to use from several threads.

    `emulator` is the origin of a fake GCS, or None for the real one with the machine's own credentials. A request
    that fails in passing is repeated for `retry_seconds`.
    """

    def __init__(self, name: str, emulator: str | None = None, *, retry_seconds: float = RETRY_SECONDS) -> None:
        self.name = name
        self._emulator = emulator
        self._retry_seconds = retry_seconds

    def create(self, name: str, content: bytes, *, content_type: str, cache_control: str | None = None) -> Created:
        """Store `content` under `name` unless that name exists; the checksum (CRC32C) travels along.

        An equal object that is already there counts as success: names are unique by run or by content. Raises
        `WrongBytesError` when what is there then is not `content`, and `StorageError` when the bucket refuses or cannot
        be reached.
        """
        from google.api_core.exceptions import PreconditionFailed

        ours = Checksum.of(content)
        blob = self._blob(name)
        blob.cache_control = cache_control
        blob.crc32c = ours.crc32c
        with self._telling("store", name):
            try:
                blob.upload_from_string(
                    content,
                    content_type=content_type,
                    if_generation_match=0,
                    timeout=_REQUEST_SECONDS,
                    retry=self._retry(),
                    checksum="crc32c",
                )
                new = True
            except PreconditionFailed:
                blob.reload(timeout=_REQUEST_SECONDS, retry=self._retry())
                new = False
        theirs = Checksum(int(blob.size or 0), str(blob.crc32c))
        if theirs != ours:
            raise WrongBytesError(self.name, name, ours, theirs)
        return Created(name, new)

    def uploads(self, concurrency: int) -> "AbstractAsyncContextManager[Uploads]":
        """Creates up to `concurrency` objects at once on the running event loop, by the rules of `create`."""
        from cata_pipeline.uploads import Patience, open_uploads

        return open_uploads(self.name, self._emulator, concurrency, Patience(retry_seconds=self._retry_seconds))

    def read(self, name: str) -> bytes:
        """The whole content of an object; raises `StorageError` when there is none."""
        with self._telling("read", name):
            content: bytes = self._blob(name).download_as_bytes(timeout=_REQUEST_SECONDS, retry=self._retry())
        return content

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        """All objects below a prefix, in the order of their names' UTF-8 bytes; read page by page as they are used."""
        with self._telling("list", prefix):
            for blob in _client(self._emulator).list_blobs(
                self.name,
                prefix=prefix,
                fields="items(name,size,timeCreated),nextPageToken",
                timeout=_REQUEST_SECONDS,
                retry=self._retry(),
            ):
                yield StoredObject(blob.name, int(blob.size or 0), blob.time_created)

    def names(self, prefix: str) -> Iterator[str]:
        """The names of all objects below a prefix, sorted."""
        return (stored.name for stored in self.objects(prefix))

    def _blob(self, name: str) -> "Blob":
        return _client(self._emulator).bucket(self.name).blob(name)

    @contextmanager
    def _telling(self, verb: str, name: str) -> Iterator[None]:
        """Turn what the library raises into a `StorageError` that says what was not done, and why."""
        import requests
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.auth.exceptions import GoogleAuthError

        try:
            yield
        except (GoogleAPICallError, RetryError, GoogleAuthError, requests.RequestException) as error:
            raise StorageError(
                f"Bucket {self.name} did not {verb} {name}: {_reason(error, self._retry_seconds)}"
            ) from error

    def _retry(self) -> Any:
        from google.cloud.storage.retry import DEFAULT_RETRY

        return DEFAULT_RETRY.with_timeout(self._retry_seconds).with_delay(initial=0.5, maximum=8.0, multiplier=2.0)


def _reason(error: Exception, retry_seconds: float) -> str:
    from google.api_core.exceptions import ClientError, RetryError

    match error:
        case ClientError() if error.code is not None:
            return refusal(int(error.code))
        case RetryError():
            return f"no usable answer in {retry_seconds:g} seconds. Check that the storage service can be reached."
        case _:
            return f"{type(error).__name__}. Check that the storage service can be reached."


@functools.cache
def _client(emulator: str | None) -> "Client":
    import requests.adapters
    from google.cloud import storage

    if emulator is None:
        client = storage.Client()
    else:
        from google.auth.credentials import AnonymousCredentials

        client = storage.Client(
            project="emulator", credentials=AnonymousCredentials(), client_options={"api_endpoint": emulator}
        )
    adapter = requests.adapters.HTTPAdapter(pool_connections=4, pool_maxsize=_POOL_SIZE)
    client._http.mount("https://", adapter)  # noqa: SLF001 the documented way to widen the pool
    client._http.mount("http://", adapter)  # noqa: SLF001
    # Without this the client asks for each bucket's metadata on a thread of its own (for traces that nobody records),
    # which needs one more permission and goes on retrying for two minutes after our own call gave up.
    client._bucket_metadata_cache = None  # noqa: SLF001
    return client
