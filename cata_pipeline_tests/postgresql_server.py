"""A private PostgreSQL server of the distribution's, which has what the embedded one lacks: citext and ICU."""

import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import URL


def find_postgresql() -> Path | None:
    """Return the folder of the newest installed server's programs, None where there is none with citext."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    complete = [path.parent for path in found if _extension(path.parts[-3]).exists()]
    return complete[-1] if complete else None


def _extension(version: str) -> Path:
    return Path("/usr/share/postgresql") / version / "extension" / "citext.control"


@contextmanager
def postgresql_server(folder: Path) -> Iterator[URL]:
    """Run a server in an empty `folder` whose path is short enough for a socket; yields the URL of its `postgres`."""
    programs = find_postgresql()
    assert programs is not None
    account = pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if account is not None:
        os.chown(folder, account, -1)
    data = folder / "data"
    initdb = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run([*initdb, "--locale=C.UTF-8"], check=True, capture_output=True, user=account, cwd=folder)
    arguments = ["-D", str(data), "-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(programs / "postgres"), *arguments], stdout=log, stderr=log, user=account, cwd=folder
        )
    try:
        ready = [str(programs / "pg_isready"), "-q", "-h", str(folder)]
        while subprocess.run(ready, check=False).returncode:
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield URL.create("postgresql+psycopg", username="postgres", database="postgres", query={"host": str(folder)})
    finally:
        process.terminate()
        process.wait()
