"""`python -m benchmarks.fleet.pos STORES ITEMS PORT`: every store of the fleet, in one process of its own.

It answers from prepared bytes, without a web framework, so that the POS costs a small part of what is measured. What a
store sells is in `stores.py`.
"""

import asyncio
import sys
from contextlib import AsyncExitStack

from benchmarks.fleet import stores

_TOKEN = b'{"access_token": "fleet", "token_type": "bearer", "expires_in": 1209599}'
_NO_PRODUCTS = b'{"products": [], "has_next_item": false, "status": true, "error_message": null}'
_HEAD_END = b"\r\n\r\n"
_LOOPBACK = "127.0.0.1"


class _Conversation(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self, items: int, port: int) -> None:
        self._items = items
        self._port = port
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._origin = f"http://{transport.get_extra_info('sockname')[0]}:{self._port}"

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(_HEAD_END)
        length = _content_length(head)
        if not end or len(rest) < length:
            return
        self._received = rest[length:]
        path = head.split(b" ", 2)[1]
        if path.startswith(b"/pictures/"):
            self._answer_picture(head, int(path.removeprefix(b"/pictures/").removesuffix(b".jpg")))
        elif path == b"/oauth/token":
            self._answer(b"200 OK", b"application/json", _TOKEN)
        else:
            tracked = b'"track_inventory":true' in rest[:length].replace(b" ", b"")
            body = _NO_PRODUCTS if tracked else stores.products_page(self._items, self._origin)
            self._answer(b"200 OK", b"application/json", body)

    def _answer_picture(self, head: bytes, number: int) -> None:
        tag = b'ETag: "%d"\r\n' % number
        if b"if-none-match" in head.lower():
            self._transport.write(b"HTTP/1.1 304 Not Modified\r\n" + tag + b"\r\n")
        else:
            self._answer(b"200 OK", b"image/jpeg", stores.picture(number), tag)

    def _answer(self, status: bytes, kind: bytes, body: bytes, more: bytes = b"") -> None:
        head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n" % (status, kind, len(body))
        self._transport.write(head + more + b"\r\n" + body)


def _content_length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)


async def _serve(count: int, items: int, port: int) -> None:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        # Its own address last: whoever waits for that one finds all the others.
        for host in [*map(stores.address, range(count)), _LOOPBACK]:
            server = await loop.create_server(lambda: _Conversation(items, port), host, port)
            await stack.enter_async_context(server)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(*map(int, sys.argv[1:4])))
