"""The certificate is checked against the host's name, whatever address it turns out to have."""

import asyncio
import functools
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_proto import ResponseHandler
from cryptography import x509

from cata_pipeline.images import guard
from cata_pipeline.images.failure import HostFault, PictureError
from cata_pipeline.images.fetch import Fetched
from cata_pipeline.images.guard import guarded_session
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.validators import NO_VALIDATORS
from cata_pipeline_tests.certificates import Authority, write_server_certificate
from cata_pipeline_tests.images.hosts import LOOPBACK, listener, policy_for, says
from cata_pipeline_tests.images.test_fetch import get
from cata_pipeline_tests.images.test_guard import answer_with, ask

NAME = "good.example"
Certificate = Callable[..., Path]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture
def certificate(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """Makes a certificate and its key, in one file; the authority that signs it is trusted by our client."""
    trusted, create = authority.write(tmp_path / "authority.pem"), ssl.create_default_context

    def strict_context() -> ssl.SSLContext:
        context = create(cafile=trusted)
        # The default from Python 3.13 on: with an older one, too, the tests notice a certificate that it would refuse.
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict_context)
    monkeypatch.setattr(guard, "_tls", functools.cache(guard._tls.__wrapped__))

    def make(*names: x509.GeneralName, left: timedelta = timedelta(days=1), self_signed: bool = False) -> Path:
        return write_server_certificate(tmp_path / "host.pem", names, None if self_signed else authority, left)

    return make


@contextmanager
def tls_host(certificate: Path, newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> Iterator[int]:
    """Serves a picture over TLS; yields the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = newest
    ready, ports = threading.Event(), []
    loop: Any = None
    stop: Any = None

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(body=b"bytes")

    async def serve() -> None:
        nonlocal loop, stop
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(lambda *_: None)
        runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, 0, ssl_context=context).start()
        ports.append(runner.addresses[0][1])
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


IP = x509.IPAddress(ip_address(LOOPBACK))


def test_a_trusted_certificate_for_the_host_is_accepted(certificate: Certificate) -> None:
    with tls_host(certificate(IP)) as port:
        assert get(f"https://{LOOPBACK}:{port}/", policy_for(port)) == Fetched(b"bytes", NO_VALIDATORS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"self_signed": True},
        {"left": timedelta(days=-1)},
        {"names": [x509.DNSName(NAME)]},
        {"names": [x509.IPAddress(ip_address("127.0.0.2"))]},
    ],
    ids=["self-signed", "expired", "another name", "another address"],
)
def test_any_other_certificate_is_refused_for_good(certificate: Certificate, wrong: dict[str, Any]) -> None:
    arguments = {"names": [IP]} | wrong
    with tls_host(certificate(*arguments.pop("names"), **arguments)) as port, pytest.raises(PictureError) as refusal:
        get(f"https://{LOOPBACK}:{port}/", policy_for(port))
    assert refusal.value.reason == "the picture's host has no valid certificate"
    assert not refusal.value.transient


def test_a_protocol_of_the_past_is_not_spoken(certificate: Certificate) -> None:
    with (
        tls_host(certificate(IP), newest=ssl.TLSVersion.TLSv1_1) as port,
        pytest.raises(PictureError, match="did not answer properly"),
    ):
        get(f"https://{LOOPBACK}:{port}/", policy_for(port))


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.9\r\n"])
def test_a_host_that_speaks_no_tls_is_this_urls_own_fault(certificate: Certificate, answer: bytes) -> None:
    with listener(says(answer)) as port, pytest.raises(PictureError, match="does not speak https") as refusal:
        get(f"https://{LOOPBACK}:{port}/", policy_for(port))
    assert (refusal.value.transient, refusal.value.host_fault) == (False, None)


def test_plain_http_at_a_port_of_tls_is_this_urls_own_fault(certificate: Certificate) -> None:
    with tls_host(certificate(IP)) as port, pytest.raises(PictureError, match="expects https") as refusal:
        get(f"http://{LOOPBACK}:{port}/", policy_for(port))
    assert (refusal.value.transient, refusal.value.host_fault) == (False, None)


def test_an_alert_of_tls_in_answer_to_plain_http_is_this_urls_own_fault() -> None:
    with (
        listener(says(b"\x15\x03\x01\x00\x02\x02\x0a")) as port,
        pytest.raises(PictureError, match="expects https") as refusal,
    ):
        get(f"http://{LOOPBACK}:{port}/", policy_for(port))
    assert (refusal.value.transient, refusal.value.host_fault) == (False, None)


def test_a_host_that_ends_the_handshake_may_serve_later_and_is_no_evidence_for_other_tenants(
    certificate: Certificate,
) -> None:
    with listener(says(b"")) as port, pytest.raises(PictureError, match="did not answer properly") as refusal:
        get(f"https://{LOOPBACK}:{port}/", policy_for(port))
    assert (refusal.value.transient, refusal.value.host_fault) == (True, HostFault.UNSERVED)


def test_two_names_at_one_address_each_need_their_own_certificate(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, [LOOPBACK])

    async def run(port: int) -> None:
        async with guarded_session(policy_for(port), CopyLimits()) as session:
            for _ in range(2):
                assert await ask(session, f"https://{NAME}:{port}/") == b"bytes"
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await ask(session, f"https://evil.example:{port}/")

    with tls_host(certificate(x509.DNSName(NAME))) as port:
        asyncio.run(run(port))


def test_time_that_is_up_as_the_handshake_ends_leaves_nothing_to_trip_the_next_connection(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ResponseHandler.connection_made

    async def run(port: int) -> None:
        async with guarded_session(policy_for(port), CopyLimits()) as session:
            task = asyncio.current_task()
            assert task is not None

            def cancelling(connection: ResponseHandler, transport: asyncio.BaseTransport) -> None:
                made(connection, transport)
                task.cancel()

            with monkeypatch.context() as patch:
                patch.setattr(ResponseHandler, "connection_made", cancelling)
                with pytest.raises(asyncio.CancelledError):
                    await ask(session, f"https://{LOOPBACK}:{port}/")
            task.uncancel()
            # Its socket has the number that the first one had.
            assert await ask(session, f"https://{LOOPBACK}:{port}/") == b"bytes"

    with tls_host(certificate(IP)) as port:
        asyncio.run(run(port))


def test_nothing_is_requested_on_a_connection_whose_server_sends_data_with_the_handshake(
    certificate: Certificate,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(IP))
    # Here the server ends the handshake, so that data can arrive with its end.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    received: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(65_536))
        tls.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        connection.sendall(outgoing.read())
        received.append(connection.recv(65_536))

    with listener(talk) as port, pytest.raises(PictureError, match="did not answer properly"):
        get(f"https://{LOOPBACK}:{port}/", policy_for(port))
    assert received
    assert {data[:1] for data in received} <= {b"", b"\x15"}, "more than an alert was sent"


def test_a_connection_that_is_given_up_ends_although_its_server_does_not_agree(certificate: Certificate) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(IP))
    requested, ended = threading.Event(), threading.Event()

    def talk(connection: socket.socket) -> None:
        tls = context.wrap_socket(connection, server_side=True)
        tls.recv(65_536)
        requested.set()
        with socket.socket(fileno=tls.detach()) as raw:
            while raw.recv(65_536):
                pass
        ended.set()

    async def run(port: int) -> bool:
        async with guarded_session(policy_for(port), CopyLimits()) as session:
            request = asyncio.create_task(ask(session, f"https://{LOOPBACK}:{port}/"))
            assert await asyncio.to_thread(requested.wait, 10)
            request.cancel()
            return await asyncio.to_thread(ended.wait, 10)

    with listener(talk) as port:
        assert asyncio.run(run(port))


def test_for_a_denied_address_there_is_not_even_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    make = guard._judged_socket

    def watching(*arguments: Any) -> Any:
        made.append(make(*arguments))
        return made[-1]

    monkeypatch.setattr(guard, "_judged_socket", watching)
    with pytest.raises(PictureError, match="address not allowed"):
        get("https://127.0.0.1/", policy_for())
    assert made == []
