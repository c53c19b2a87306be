"""Fixture servers full of products, answering from memory.

Any provider's fixture server will do: add it to `STORES`. One fetch fills it; from then on each request gets the bytes
that it got then, so that no measurement contains the making of a page.
"""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from benchmarks.measure import BenchmarkError
from cata_pipeline.providers.conformance.pos_server import PosServer, Sold
from cata_pipeline.providers.conformance.scripted_server import Answer, Received, answer, running
from cata_pipeline.providers.http import Patience
from cata_pipeline.providers.pacing import Pacing
from cata_pipeline.providers.secrets import Secrets

UNPACED = Patience(pacing=Pacing(interval=0))
_ADDED_BY_THE_CLIENT = frozenset({"host", "content-length", "connection", "accept-encoding"})


@dataclass(frozen=True)
class Store:
    """A fixture server's class, how many products the provider has on a page, and the form of a page."""

    server: str
    products_a_page: int
    form: Literal["json", "json lines", "csv"] = "json"


STORES = {
    "iseller": Store("cata_pipeline_tests.providers.iseller_pos:ISellerPos", 200),
    "square": Store("cata_pipeline_tests.providers.square_pos:SquarePos", 250),
    "loyverse": Store("cata_pipeline_tests.providers.loyverse_pos:LoyversePos", 250),
    "feed": Store("cata_pipeline_tests.providers.feed_pos:FeedPos", 10_000, "json lines"),
    "feed-csv": Store("cata_pipeline_tests.providers.feed_pos:CsvFeedPos", 10_000, "csv"),
}


@dataclass(frozen=True)
class Request:
    """One request of a fetch, as any client can send it."""

    method: str
    url: str
    headers: dict[str, str]
    body: str


@dataclass(frozen=True)
class OpenStore:
    """A server that answers from memory: what a fetch needs, the requests that it makes, the form of its pages."""

    slug: str
    form: str
    options: dict[str, object]
    secrets: dict[str, str]
    port: int
    requests: tuple[Request, ...]
    bytes_served: int


@contextmanager
def open_store(name: str, size: int) -> Iterator[OpenStore]:
    """A store with `size` products, until the block ends."""
    store = STORES[name]
    module, _, attribute = store.server.partition(":")
    server_class: Any = getattr(importlib.import_module(module), attribute)
    with running(server_class()) as server:
        assert isinstance(server, PosServer)
        products = [_product(number) for number in range(size)]
        step = store.products_a_page
        server.sell(*[products[start : start + step] for start in range(0, size, step)])
        catalog = server.provider.fetch(server.options(), Secrets(server.secrets()), server.policy, UNPACED)
        if len(catalog.items) != size or catalog.warnings:
            raise BenchmarkError(f"{name}: {len(catalog.items)} of {size} items came, warnings: {catalog.warnings}.")
        asked = list(server.received)
        answers = _remembered(server, asked)
        server.answer_to = lambda received: answers[_key(received)][1]  # type: ignore[method-assign]
        requests = tuple(_request(server.origin, received) for received in asked)
        served = sum(answers[_key(received)][0] for received in asked)
        yield OpenStore(
            server.provider.slug, store.form, server.options(), server.secrets(), server.port, requests, served
        )


def _remembered(server: PosServer, asked: Sequence[Received]) -> dict[object, tuple[int, Answer]]:
    """Every answer as bytes, by what was asked, with its length."""
    remembered: dict[object, tuple[int, Answer]] = {}
    with httpx.Client(trust_env=False) as client:
        for received in asked:
            request = _request(server.origin, received)
            reply = client.request(request.method, request.url, headers=request.headers, content=request.body)
            kind = reply.headers["content-type"]
            remembered[_key(received)] = (len(reply.content), answer(reply.content, content_type=kind))
    return remembered


def _key(received: Received) -> object:
    return received.method, received.path, received.body


def _request(origin: str, received: Received) -> Request:
    headers = {key: value for key, value in received.headers.items() if key.lower() not in _ADDED_BY_THE_CLIENT}
    return Request(received.method, f"{origin}{received.path}", headers, received.body.decode())


def _product(number: int) -> Sold:
    return Sold(
        code=f"SKU-{number:06}",
        name=f"Es Kopi Susu Gula Aren No. {number}",
        description=f"Cold milk coffee with palm sugar, the house blend, number {number} & counting.",
        category=f"Category {number % 40}",
        image=f"https://cdn.example.com/pictures/{number:06}.jpg",
    )
