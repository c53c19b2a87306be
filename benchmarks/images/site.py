"""Where one client works in one trial: a picture host, a bucket and (for ours) databases, all fresh, in one folder."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.images import pictures
from benchmarks.images.databases import Databases
from benchmarks.images.picture_host import PictureHost
from benchmarks.images.storage import Storage


@dataclass(frozen=True)
class Site:
    """The servers of a trial; the picture host is started for each stage, the others run all the time."""

    folder: Path
    pictures: PictureHost
    storage: Storage
    databases: Databases | None

    @property
    def url_file(self) -> Path:
        """One URL a line."""
        return self.folder / "urls.txt"

    @property
    def downloads(self) -> Path:
        """For a client that stores nothing in a bucket."""
        return self.folder / "downloads"


@contextmanager
def fresh_site(count: int, nginx: str, backend: str, *, with_databases: bool) -> Iterator[Site]:
    """Servers without a past and `count` pictures; all of it is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="cata-bench-images-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        host = PictureHost(folder, nginx)
        pictures.lay_out(host.pictures, count)
        storage = Storage(folder, backend)
        stack.callback(storage.stop)
        databases = None
        if with_databases:
            databases = Databases(folder, host.urls())
            stack.callback(databases.stop)
        stack.callback(host.stop)
        site = Site(folder, host, storage, databases)
        site.url_file.write_text("\n".join(host.urls()))
        yield site
