"""A TCP proxy that delivers what a server sends some time later, as a distant host does; requests pass at once.

Arguments: the port to listen on, the port to forward to (both on loopback), and the delay in seconds.
"""

import asyncio
import contextlib
import sys

_HOST = "127.0.0.1"
_PIECE = 65_536


async def main(port: int, target: int, seconds: float) -> None:
    """Forward until the process is ended."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near, far = await asyncio.open_connection(_HOST, target)
        with contextlib.suppress(OSError):
            await asyncio.gather(_pass_on(reader, far, 0.0), _pass_on(near, writer, seconds))
        writer.close()
        far.close()

    server = await asyncio.start_server(forward, _HOST, port)
    await server.serve_forever()


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    while data := await source.read(_PIECE):
        if seconds:
            loop.call_later(seconds, sink.write, data)
        else:
            sink.write(data)
    await asyncio.sleep(seconds)
    sink.write_eof()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
