"""A make-believe iSeller on loopback: real sockets, real tokens, real pictures, three stores.

Here is only how it is started and stopped, and on which ports it listens: first the origin of accounts and pictures,
then each store in the order of the menus. What it answers lives in `cata_pipeline.demo.pos_web`, what merchants edit
in `cata_pipeline.demo.pos_store`.
"""

import asyncio
import contextlib
import functools
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from aiohttp import web

from cata_pipeline.demo.menus import MENUS
from cata_pipeline.demo.picture_shelf import PictureShelf
from cata_pipeline.demo.pos_store import DemoStore
from cata_pipeline.demo.pos_web import Accounts, StoreFront
from cata_pipeline.demo.products import Menu

__all__ = ["DemoPos", "DemoStore"]

_HOST = "127.0.0.1"
_BACKLOG = 128
_LAST_WORDS_SECONDS = 0.2  # what a request in flight gets to finish when the POS stops


class DemoPos:
    """The demo POS, served by a thread of its own from `start` to `stop` (or within a `with` block).

    `ports` are tried in order, accounts first, then the stores; a free one is taken where a port is taken or none is
    given. A stopped POS can be started again: it keeps its edits and tries its former ports first, but every token it
    issued is void.
    """

    def __init__(self, menus: Sequence[Menu] = MENUS, *, ports: Sequence[int] = ()) -> None:
        shelf = PictureShelf()
        self._stores = {menu.tenant_id: DemoStore(menu, shelf) for menu in menus}
        self._shelf = shelf
        self._wanted_ports = tuple(ports)
        self._ports: tuple[int, ...] = ()
        self._thread: threading.Thread | None = None
        self._end: Callable[[], object] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports in use: accounts and pictures, then each store. Raises `RuntimeError` before the first start."""
        if not self._ports:
            raise RuntimeError("The demo POS has no ports yet; call start() first.")
        return self._ports

    @property
    def token_url(self) -> str:
        """Where clients exchange their credentials for a token."""
        return f"{_origin(self.ports[0])}/oauth/token"

    @property
    def endpoints(self) -> str:
        """The value of `CATA_ALLOW_PRIVATE_ENDPOINTS` that lets a run reach this POS."""
        return ",".join(f"{_HOST}:{port}" for port in self.ports)

    def store(self, tenant_id: str) -> DemoStore:
        """The store of this tenant; raises `LookupError` that names the known ones."""
        if tenant_id not in self._stores:
            raise LookupError(f"No demo store is called {tenant_id!r}; expected one of {', '.join(self._stores)}.")
        return self._stores[tenant_id]

    def start(self) -> None:
        """Listen; returns as soon as requests are answered. Does nothing when already started.

        Raises `OSError` when no port can be had.
        """
        if self._thread is not None:
            return
        sockets = _listen(len(self._stores) + 1, self._ports or self._wanted_ports)
        self._ports = tuple(listener.getsockname()[1] for listener in sockets)
        for store, port in zip(self._stores.values(), self._ports[1:], strict=True):
            store.url = _origin(port)
        ready: Future[None] = Future()
        thread = threading.Thread(target=self._run, args=(sockets, ready), name="demo-pos", daemon=True)
        thread.start()
        ready.result()
        self._thread = thread

    def stop(self) -> None:
        """Close every connection and wait until the thread is gone. Does nothing when not started."""
        thread, self._thread = self._thread, None
        if thread is None or self._end is None:
            return
        self._end()
        thread.join()

    def _run(self, sockets: Sequence[socket.socket], ready: Future[None]) -> None:
        try:
            asyncio.run(self._serve(sockets, ready))
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)  # or `start` would wait for ever
        finally:
            for listener in sockets:
                listener.close()

    async def _serve(self, sockets: Sequence[socket.socket], ready: Future[None]) -> None:
        stopping = asyncio.Event()
        self._end = functools.partial(asyncio.get_running_loop().call_soon_threadsafe, stopping.set)
        accounts = Accounts(self._stores, self._shelf)
        pictures = _origin(self._ports[0])
        fronts = [StoreFront(store, accounts, pictures).application() for store in self._stores.values()]
        async with contextlib.AsyncExitStack() as stack:
            for application, listener in zip((accounts.application(), *fronts), sockets, strict=True):
                runner = web.AppRunner(application, access_log=None, shutdown_timeout=_LAST_WORDS_SECONDS)
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                await web.SockSite(runner, listener, backlog=_BACKLOG).start()
            ready.set_result(None)
            await stopping.wait()


def _origin(port: int) -> str:
    return f"http://{_HOST}:{port}"


def _listen(count: int, wanted: Sequence[int]) -> list[socket.socket]:
    ports = [*wanted[:count], *[0] * (count - len(wanted))]
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(_listener(port)) for port in ports]
        stack.pop_all()
    return sockets


def _listener(port: int) -> socket.socket:
    try:
        return socket.create_server((_HOST, port), backlog=_BACKLOG)
    except OSError:
        return socket.create_server((_HOST, 0), backlog=_BACKLOG)
