"""A connection that breaks while the tenant database commits: nobody can know, and the next sync tells."""

import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from cata_pipeline.errors import DatabaseError
from cata_pipeline_tests.reconcile.conftest import EVERY_ENGINE, SyncedTenant, latte

ENGINES = EVERY_ENGINE
# A whole statement: sessions also say AUTOCOMMIT.
COMMIT = re.compile(rb"(?<![A-Z])COMMIT(\x00|$)")


class BreakingLine:
    """A unix socket that leads to a server, until a client says COMMIT; `arrives` says whether the server hears it."""

    def __init__(self, path: Path, server: Path, *, arrives: bool) -> None:
        self._server, self._arrives = server, arrives
        self.commits = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        """One connection from beginning to end: a reconcile has one at a time."""
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self._server))
            broken = threading.Event()
            back = threading.Thread(target=self._bring_back, args=(server, client, broken))
            back.start()
            while said := client.recv(65_536):
                if COMMIT.search(said):
                    self.commits += 1
                    broken.set()
                    if self._arrives:
                        server.sendall(said)
                    # The server's last words are awaited, so that it has committed by the time the client knows.
                    server.shutdown(socket.SHUT_WR)
                    break
                server.sendall(said)
            with suppress(OSError):
                server.shutdown(socket.SHUT_WR)
            back.join()

    @staticmethod
    def _bring_back(server: socket.socket, client: socket.socket, broken: threading.Event) -> None:
        with suppress(OSError):
            while answered := server.recv(65_536):
                if not broken.is_set():
                    client.sendall(answered)


@pytest.fixture(params=[True, False], ids=["it arrived", "it never arrived"])
def line(request: pytest.FixtureRequest, tenant: SyncedTenant) -> Iterator[tuple[BreakingLine, URL]]:
    """A line that breaks at the commit, and the tenant's URL through it."""
    folder = Path(tempfile.mkdtemp(prefix="cata-line-"))
    if tenant.on_mysql:
        server, own = Path(str(tenant.url.query["unix_socket"])), folder / "socket"
        # Without TLS, which PyMySQL negotiates wherever the server offers it: the line reads what passes through.
        url = tenant.url.set(query={"unix_socket": str(own), "ssl_disabled": "true"})
    else:
        name = ".s.PGSQL.5432"
        server, own = Path(str(tenant.url.query["host"])) / name, folder / name
        url = tenant.url.set(query={**tenant.url.query, "host": str(folder)})
    running = BreakingLine(own, server, arrives=request.param)
    yield running, url
    running.close()
    shutil.rmtree(folder)


def test_a_lost_answer_to_the_commit_is_told_as_not_known_and_the_next_sync_tells(
    request: pytest.FixtureRequest, tenant: SyncedTenant, line: tuple[BreakingLine, URL]
) -> None:
    breaking, url = line
    arrived = request.node.callspec.params["line"]
    tenant.sync(latte())
    snapshot = tenant.snapshot([latte(name="New"), latte(item_code="MORE")])
    with pytest.raises(DatabaseError, match=r"It is not known whether the rows were written\. Sync again"):
        replace(tenant, url=url).apply(snapshot)
    assert breaking.commits == 1
    report = tenant.apply(snapshot)
    assert (report.items.inserted, report.items.updated) == ((0, 0) if arrived else (1, 1))
    assert [row["name"] for row in tenant.rows("SELECT name FROM items ORDER BY item_code")] == ["New", "Latte"]
