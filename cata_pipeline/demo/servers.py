"""The embedded servers: everything the demo, `cata-pipeline dev` and the tests need beside Python.

One state folder holds all they keep (`postgresql`, `objects`, `logs`), and any number of processes may use it at
once: the first starts the servers, the last one out stops them. Add a server here as one more module beside
`embedded_postgresql` and `embedded_gcs`; what is done with the servers belongs to their users.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy.engine import URL

from cata_pipeline.demo.embedded_gcs import EmbeddedGcs
from cata_pipeline.demo.embedded_postgresql import EmbeddedPostgresql
from cata_pipeline.errors import UsageError
from cata_pipeline.settings import CONTROL_DRIVER


class EmbeddedServers:
    """PostgreSQL and a fake GCS on this machine only, with all their data below `state`.

    `durable=False` trades crash safety for speed. Every process that uses a state folder holds a shared file lock,
    which the kernel drops even for a killed one, so nobody has to keep count. Environment variables are neither
    read nor set.
    """

    def __init__(self, state: Path, *, durable: bool = True) -> None:
        self._state = state.resolve()
        self._users: int | None = None
        self.log_folder = self._state / "logs"
        self._postgresql = EmbeddedPostgresql(
            self._state / "postgresql", self.log_folder / "postgresql.log", durable=durable
        )
        self._gcs = EmbeddedGcs(self._state / "objects", self.log_folder / "gcs.log")

    def start(self) -> None:
        """Join the servers of the state folder, or start them; returns when both answer.

        Raises `EmbeddedServerError` with the end of the log when one does not start, and `UsageError` when the
        folder belongs to another user.
        """
        if self._users is not None:
            return
        self._make_folders()
        with self._changing():
            self._users = os.open(self._state / "users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._users, fcntl.LOCK_SH)
            try:
                self._postgresql.start()
                self._gcs.start()
            except BaseException:
                self._leave()
                raise

    def stop(self) -> None:
        """Leave the servers, and stop them unless another process uses them; fine when not started."""
        if self._users is None:
            return
        with self._changing():
            self._leave()

    def postgresql_url(self, database: str, driver: str = CONTROL_DRIVER) -> URL:
        """The address of a database of the server; it need not exist."""
        return self._postgresql.url(database, driver)

    def create_database(self, name: str) -> bool:
        """Create an empty database; False when it exists."""
        return self._postgresql.create_database(name)

    @property
    def gcs_origin(self) -> str:
        """`http://127.0.0.1:PORT` of the fake GCS; a public object is at `ORIGIN/BUCKET/NAME`."""
        return self._gcs.origin

    def create_bucket(self, name: str) -> None:
        """Create a bucket; fine when it exists."""
        self._gcs.create_bucket(name)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _leave(self) -> None:
        assert self._users is not None
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # somebody else is still here
        else:
            self._gcs.stop()
            self._postgresql.stop()
        finally:
            os.close(self._users)
            self._users = None

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One process at a time starts or stops."""
        lock = os.open(self._state / "change.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _make_folders(self) -> None:
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = self._state.stat().st_uid
        if owner != os.geteuid():
            raise UsageError(
                f"{self._state} belongs to the user with id {owner}, and this is user {os.geteuid()}."
                " Run as that user, or choose another state folder."
            )
        if owner == 0:
            # The user that runs PostgreSQL for root passes through this folder, which is ours; none above it changes.
            self._state.chmod(0o711)
        self.log_folder.mkdir(mode=0o700, exist_ok=True)
