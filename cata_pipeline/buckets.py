"""Objects in a Google Cloud Storage bucket: create once, read, never overwrite.

Both kinds of objects this project keeps (snapshots and pictures) are immutable, so the only writing verb is
`create`. The client library retries what is worth retrying; its exceptions become `StorageError` here.
"""

import base64
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cata_pipeline.errors import StorageError

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

RETRY_SECONDS = 30.0
_REQUEST_SECONDS = (5.0, 60.0)  # connect, read
_POOL_SIZE = 32


@dataclass(frozen=True)
class Created:
    """What `create` did: `new` is False when an equal object was already there."""

    name: str
    new: bool


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

        An object that is already there counts as success: names are unique by run or by content. Raises
        `StorageError` when the bucket refuses or cannot be reached.
        """
        import google_crc32c
        from google.api_core.exceptions import PreconditionFailed

        blob = self._blob(name)
        blob.cache_control = cache_control
        blob.crc32c = base64.b64encode(google_crc32c.Checksum(content).digest()).decode()
        try:
            self._call(
                "store",
                name,
                functools.partial(
                    blob.upload_from_string,
                    content,
                    content_type=content_type,
                    if_generation_match=0,
                    timeout=_REQUEST_SECONDS,
                    retry=self._retry(),
                    checksum="crc32c",
                ),
            )
        except PreconditionFailed:
            return Created(name, new=False)
        return Created(name, new=True)

    def read(self, name: str) -> bytes:
        """The whole content of an object; raises `StorageError` when there is none."""
        blob = self._blob(name)
        content: bytes = self._call(
            "read", name, functools.partial(blob.download_as_bytes, timeout=_REQUEST_SECONDS, retry=self._retry())
        )
        return content

    def names(self, prefix: str) -> Iterator[str]:
        """The names of all objects below a prefix, sorted."""
        blobs = self._call(
            "list",
            prefix,
            lambda: list(
                _client(self._emulator).list_blobs(
                    self.name, prefix=prefix, timeout=_REQUEST_SECONDS, retry=self._retry()
                )
            ),
        )
        yield from sorted(blob.name for blob in blobs)

    def _blob(self, name: str) -> "Blob":
        return _client(self._emulator).bucket(self.name).blob(name)

    def _call(self, verb: str, name: str, call: Any) -> Any:
        import requests
        from google.api_core.exceptions import GoogleAPICallError, PreconditionFailed, RetryError
        from google.auth.exceptions import GoogleAuthError

        try:
            return call()
        except PreconditionFailed:
            raise
        except (GoogleAPICallError, RetryError, GoogleAuthError, requests.RequestException) as error:
            raise StorageError(
                f"Bucket {self.name} did not {verb} {name}: {_reason(error, self._retry_seconds)}"
            ) from error

    def _retry(self) -> Any:
        from google.cloud.storage.retry import DEFAULT_RETRY

        return DEFAULT_RETRY.with_timeout(self._retry_seconds).with_delay(initial=0.5, maximum=8.0, multiplier=2.0)


def _reason(error: Exception, retry_seconds: float) -> str:
    from google.api_core.exceptions import Forbidden, NotFound, RetryError, Unauthorized

    match error:
        case NotFound():
            return "it answered 404. Check that the bucket exists and that the name in the settings is right."
        case Forbidden() | Unauthorized():
            return f"it answered {error.code}. Check the roles of this service account on the bucket."
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
