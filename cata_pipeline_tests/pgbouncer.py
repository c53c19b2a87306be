"""PgBouncer in transaction mode in front of the embedded PostgreSQL."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from cata_pipeline_tests.mysql_servers import find_program

_PATIENCE_SECONDS = 30.0


@contextmanager
def pooled(database: URL, connections: int) -> Iterator[URL]:
    """The database through PgBouncer in transaction mode, with at most so many connections to the server."""
    program = find_program("pgbouncer")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    folder = Path(tempfile.mkdtemp(prefix="cata-pool-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n* = host={database.query['host']} user={database.username}\n"
        "[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nauth_type = any\npool_mode = transaction\ndefault_pool_size = {connections}\n"
        f"server_reset_query =\nlogfile = {folder / 'log'}\nunix_socket_dir =\n"
    )
    owner = Path(str(database.query["host"])).stat()  # PgBouncer refuses to run as root, as PostgreSQL does
    for path in (folder, configuration):
        os.chown(path, owner.st_uid, owner.st_gid)
    process = subprocess.Popen(
        [str(program), str(configuration)], stderr=subprocess.DEVNULL, user=owner.st_uid, group=owner.st_gid
    )
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _is_open(port):
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.02)
        yield database.set(host="127.0.0.1", port=port, query={})
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
