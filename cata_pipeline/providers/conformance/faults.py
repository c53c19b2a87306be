"""What a page of a POS can be instead of a page: each with a name, and whether asking again may help.

Add a fault here when a POS was seen to have it; every provider is then tested with it. What must come of each is
`suite.py`.
"""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from cata_pipeline.providers.conformance.pos_server import PosServer
from cata_pipeline.providers.conformance.scripted_server import Answer, answer, hang_up

_JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@dataclass(frozen=True)
class Fault:
    """One way to misbehave; `make` gets the server because some answers end only when it does."""

    name: str
    make: Callable[[PosServer], Answer]

    def __str__(self) -> str:
        return self.name


def _is(given: Answer) -> Callable[[PosServer], Answer]:
    return lambda _: given


def _bomb(_: PosServer) -> Answer:
    """64 MiB of JSON in 64 kB."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    body = b"".join([packer.compress(b"["), *(packer.compress(b" " * (1 << 20)) for _ in range(64)), packer.flush()])
    return answer(body, headers={"Content-Encoding": "gzip"})


PASSING = (
    Fault("500", _is(answer(b"", status=500))),
    Fault("502 with an HTML page", _is(answer("<h1>Bad gateway</h1>", status=502, content_type="text/html"))),
    Fault("503", _is(answer(b"", status=503))),
    Fault("504", _is(answer(b"", status=504))),
    Fault("429 that wants a second", _is(answer(b"", status=429, headers={"Retry-After": "1"}))),
    Fault("429 that wants nothing", _is(answer(b"", status=429))),
    Fault("JSON that is cut", _is(answer(b'{"items": [{"id": "', without_length=True))),
    Fault("JSON that is cut, with the right length", _is(answer(b'{"items": [{"id": "'))),
    Fault("a body shorter than its length", _is(answer(b"{", declared_length=999))),
    Fault("a connection that closes", _is(hang_up)),
)
"""Gone when asked again: the catalog is then complete."""

FINAL = (
    Fault("400", _is(answer({"message": "bad request"}, status=400))),
    Fault("401", _is(answer({"message": "who are you"}, status=401))),
    Fault("402", _is(answer({"message": "pay first"}, status=402))),
    Fault("403", _is(answer({"message": "not yours"}, status=403))),
    Fault("404", _is(answer({"message": "nothing here"}, status=404))),
    Fault("200 with a login page", _is(answer("<html><form>Log in</form></html>", content_type="text/html"))),
    Fault("200 with a login page called JSON", _is(answer("<html><form>Log in</form></html>"))),
    Fault("200 with null", _is(answer(b"null"))),
    Fault("200 with a text", _is(answer(b'"maintenance"'))),
    Fault("200 with NaN", _is(answer(b'{"price": NaN}'))),
    Fault("200 with a number of 5,000 digits", _is(answer(b'{"price": ' + b"9" * 5_000 + b"}"))),
    Fault("200 nested 100,000 deep", _is(answer(b'{"a":' * 100_000))),
    Fault("200 with bytes that are no text", _is(answer(b'{"name": "\xff\xfe"}'))),
    Fault("200 with a gzip bomb", _bomb),
    Fault("200 that says gzip and is not", _is(answer(b"{}", headers={"Content-Encoding": "gzip"}))),
    Fault("200 in an encoding nobody offered", _is(answer(b"{}", headers={"Content-Encoding": "br"}))),
    Fault("a body that drips", lambda pos: pos.repeat(_JSON_HEAD + b"Content-Length: 99999\r\n\r\n", b" ")),
    Fault(
        "headers that never end", lambda pos: pos.repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 103 E\r\n\r\n")
    ),
    Fault("a body that stalls", lambda pos: pos.stall(_JSON_HEAD + b"Content-Length: 10\r\n\r\n")),
    Fault("503 for ever", _is(answer(b"", status=503))),
    Fault("429 that wants a day", _is(answer(b"", status=429, headers={"Retry-After": "86400"}))),
    Fault("a connection that always closes", _is(hang_up)),
)
"""There is no complete catalog, however often one asks."""

EMPTY_OBJECT = Fault("200 with an empty object", _is(answer(b"{}")))
EMPTY_LIST = Fault("200 with an empty list", _is(answer(b"[]")))
ERROR_OBJECT = Fault("200 with an error object", _is(answer(json.dumps({"error": "out of order"}))))
