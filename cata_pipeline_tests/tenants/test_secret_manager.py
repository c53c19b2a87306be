"""Secrets from Secret Manager, by the wire: a stand-in for it, and for the metadata server that hands out tokens."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import google_crc32c
import pytest
from google.auth import exceptions as auth_exceptions
from google.auth.compute_engine import Credentials, _metadata

from cata_pipeline.providers.conformance.scripted_server import (
    Answer,
    Received,
    ScriptedServer,
    answer,
    closed_port,
    hang_up,
    running,
)
from cata_pipeline.tenants.credentials import CredentialsError, resolve, resolve_keys
from cata_pipeline.tenants.secret_manager import RetryPolicy, SecretManager

REFERENCE = "gcp-secret:projects/cata-prod/secrets/kopi_kita"
PATH = "/v1/projects/cata-prod/secrets/kopi_kita/versions/latest:access"
METADATA = "/computeMetadata/v1/"
SECRET = "hunter2-hunter2"
PERMISSION_DENIED = {"error": {"code": 403, "message": f"Permission denied on {SECRET}", "status": "PERMISSION_DENIED"}}


def held(text: str | bytes = SECRET, **more: Any) -> Answer:
    """A version that holds `text`, as the service answers; `more` replaces parts of the payload."""
    raw = text if isinstance(text, bytes) else text.encode()
    payload = {"data": base64.b64encode(raw).decode(), "dataCrc32c": str(google_crc32c.value(raw)), **more}
    return answer({"name": "projects/4711/secrets/kopi_kita/versions/3", "payload": payload})


class GoogleCloud(ScriptedServer):
    """Both services on one port; tokens are numbered."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = 0
        self.metadata_fault: Answer | None = None
        self.accepted: set[str] | None = None

    def answer_to(self, received: Received) -> Answer:
        if received.path.startswith(METADATA):
            return self.metadata_fault or self._metadata(received)
        if self.accepted is not None and received.headers["authorization"] not in self.accepted:
            return answer(PERMISSION_DENIED, status=401)
        return self.next_answer(received.path)

    def _metadata(self, received: Received) -> Answer:
        flavor = {"Metadata-Flavor": "Google"}
        if "/token" not in received.path:
            return answer({"email": "runs@cata", "scopes": ["cloud-platform"], "aliases": ["default"]}, headers=flavor)
        self.tokens += 1
        token = {"access_token": f"token-{self.tokens}", "expires_in": 3_599, "token_type": "Bearer"}
        return answer(token, headers=flavor)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleCloud]:
    with running(GoogleCloud()) as server:
        monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", f"127.0.0.1:{server.port}")
        yield server


@pytest.fixture
def rests() -> list[float]:
    return []


@pytest.fixture
def policy(rests: list[float]) -> RetryPolicy:
    return RetryPolicy(sleep=rests.append)


@pytest.fixture
def manager(cloud: GoogleCloud, policy: RetryPolicy) -> Iterator[SecretManager]:
    manager = SecretManager(Credentials, policy, cloud.origin)
    yield manager
    manager.close()


def failure(manager: SecretManager) -> str:
    """What is said when the secret cannot be read."""
    with pytest.raises(CredentialsError) as caught:
        resolve(REFERENCE, secret_manager=manager)
    assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r}"
    message = str(caught.value)
    assert message.startswith(f"{REFERENCE} cannot be read: ")
    return message.removeprefix(f"{REFERENCE} cannot be read: ")


def test_the_newest_version_is_read_with_the_machines_own_token(cloud: GoogleCloud, manager: SecretManager) -> None:
    cloud.script(PATH, held(f"\n {SECRET}\n"))
    assert resolve(REFERENCE, secret_manager=manager) == SECRET
    [asked] = cloud.asked(PATH)
    assert (asked.method, asked.headers["authorization"]) == ("GET", "Bearer token-1")


def test_a_version_can_be_named(cloud: GoogleCloud, manager: SecretManager) -> None:
    cloud.script(PATH.replace("latest", "7"), held())
    assert resolve(f"{REFERENCE}/versions/7", secret_manager=manager) == SECRET


def test_a_secret_is_taken_apart_as_one_of_the_environment_is(cloud: GoogleCloud, manager: SecretManager) -> None:
    cloud.script(PATH, held(json.dumps({"api_key": "k", "api_secret": SECRET})))
    keys = ("api_key", "api_secret")
    assert resolve_keys(REFERENCE, keys, secret_manager=manager) == {"api_key": "k", "api_secret": SECRET}


def test_a_secret_without_a_checksum_is_taken(cloud: GoogleCloud, manager: SecretManager) -> None:
    cloud.script(PATH, answer({"payload": {"data": base64.b64encode(SECRET.encode()).decode()}}))
    assert resolve(REFERENCE, secret_manager=manager) == SECRET


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (
            400,
            "Secret Manager answered 400. The version is disabled or destroyed, or the name is not valid",
        ),
        (403, "Secret Manager answered 403. Give this service account roles/secretmanager.secretAccessor on it,"),
        (404, "Secret Manager answered 404. There is no such secret or version in that project"),
        (302, "Secret Manager answered 302. Expected 200."),
    ],
)
def test_a_refusal_is_told_once_with_what_to_do(
    cloud: GoogleCloud, manager: SecretManager, status: int, says: str
) -> None:
    cloud.script(PATH, answer(PERMISSION_DENIED, status=status, headers={"Location": f"/{SECRET}"}))
    assert failure(manager).startswith(says)
    assert len(cloud.asked(PATH)) == 1


@pytest.mark.parametrize(
    "faulty",
    [
        answer(f"<html>{SECRET}</html>", content_type="text/html"),
        answer(f'{{"payload": {{"data": "{SECRET}'),
        answer([SECRET]),
        answer(f'"{SECRET}"'),
        answer({"payload": SECRET}),
        answer({"payload": {"data": None, "note": SECRET}}),
        held(data=SECRET),
        held(data=f"{base64.b64encode(SECRET.encode()).decode()}!"),
        held(dataCrc32c=SECRET),
        held(f"{SECRET}\xff".encode("latin-1")),
    ],
)
def test_what_is_no_secret_is_told_and_never_repeated(
    cloud: GoogleCloud, manager: SecretManager, faulty: Answer
) -> None:
    cloud.script(PATH, faulty)
    assert failure(manager).startswith("the response holds no text in base64 (")
    assert len(cloud.asked(PATH)) == 1


def test_an_empty_secret_is_none(cloud: GoogleCloud, manager: SecretManager) -> None:
    cloud.script(PATH, held(" \n"))
    assert failure(manager) == "it is empty. Add a version that holds the secret."


def test_an_answer_without_end_is_not_read_to_its_end(cloud: GoogleCloud, manager: SecretManager) -> None:
    cloud.script(PATH, cloud.repeat(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"x" * 65_536))
    assert failure(manager) == "the response is longer than any secret."


@pytest.mark.parametrize(
    "passing",
    [
        answer(PERMISSION_DENIED, status=503),
        answer(PERMISSION_DENIED, status=429),
        answer(PERMISSION_DENIED, status=500),
        hang_up,
        answer(b"{", declared_length=1_000),
        held(dataCrc32c="1"),
    ],
)
def test_what_passes_is_asked_again(
    cloud: GoogleCloud, manager: SecretManager, rests: list[float], passing: Answer
) -> None:
    cloud.script(PATH, passing, passing, held())
    assert resolve(REFERENCE, secret_manager=manager) == SECRET
    assert (len(cloud.asked(PATH)), len(rests)) == (3, 2)
    assert min(rests) > 0


@pytest.mark.parametrize(
    ("passing", "says"),
    [
        (answer(PERMISSION_DENIED, status=503), "Secret Manager answered 503"),
        (hang_up, "no complete response from Secret Manager (ConnectionError)"),
        (held(dataCrc32c="1"), "the response was damaged on its way (CRC32C)"),
    ],
)
def test_what_does_not_pass_is_given_up(
    cloud: GoogleCloud, manager: SecretManager, policy: RetryPolicy, passing: Answer, says: str
) -> None:
    cloud.script(PATH, passing)
    assert failure(manager) == f"{says}, also on repetition. Try again later."
    assert len(cloud.asked(PATH)) == policy.attempts


def test_a_service_that_cannot_be_reached_is_told(cloud: GoogleCloud, policy: RetryPolicy) -> None:
    manager = SecretManager(Credentials, policy, f"http://127.0.0.1:{closed_port()}")
    assert failure(manager).startswith(
        "no complete response from Secret Manager (ConnectionError), also on repetition."
    )
    manager.close()


def test_silence_is_waited_for_only_so_long(cloud: GoogleCloud, rests: list[float]) -> None:
    cloud.script(PATH, cloud.stall(b"HTTP/1.1 200 OK\r\n"))
    manager = SecretManager(
        Credentials, RetryPolicy(silence_seconds=0.05, attempts=2, sleep=rests.append), cloud.origin
    )
    assert failure(manager).startswith("no complete response from Secret Manager (ReadTimeout), also on repetition.")
    manager.close()


@pytest.mark.parametrize("slow", ["drips", "fails"])
def test_all_tries_together_have_an_end(cloud: GoogleCloud, rests: list[float], slow: str) -> None:
    minutes = iter(range(0, 10_000, 60))
    drips = cloud.repeat(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" ")
    cloud.script(PATH, drips if slow == "drips" else hang_up)
    manager = SecretManager(Credentials, RetryPolicy(sleep=rests.append, clock=lambda: next(minutes)), cloud.origin)
    assert failure(manager) == "no complete response from Secret Manager within 30 s. Try again later."
    assert len(cloud.asked(PATH)) == 1
    manager.close()


def test_a_token_that_is_refused_is_renewed_once(cloud: GoogleCloud, manager: SecretManager) -> None:
    cloud.script(PATH, held())
    cloud.accepted = {"Bearer token-2"}
    assert resolve(REFERENCE, secret_manager=manager) == SECRET
    cloud.accepted = set()
    assert failure(manager).startswith("Secret Manager answered 401. It does not accept this machine's own token")
    assert cloud.tokens == 3


def test_a_batch_of_a_hundred_tenants_fetches_one_token_over_few_connections(
    cloud: GoogleCloud, manager: SecretManager
) -> None:
    references = [f"gcp-secret:projects/p/secrets/s-{number}" for number in range(100)]
    for number in range(100):
        cloud.script(f"/v1/projects/p/secrets/s-{number}/versions/latest:access", held(f"secret-{number}"))
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda reference: resolve(reference, secret_manager=manager), references))
    assert found == [f"secret-{number}" for number in range(100)]
    assert cloud.tokens == 1
    assert len([received for received in cloud.received if not received.path.startswith(METADATA)]) == 100
    # One for each thread, and those that the token took.
    assert cloud.connections <= 4 + 6


def test_a_machine_without_account_is_told(cloud: GoogleCloud, manager: SecretManager) -> None:
    cloud.metadata_fault = answer(PERMISSION_DENIED, status=404, headers={"Metadata-Flavor": "Google"})
    assert failure(manager) == "no token from Google (RefreshError). Check the credentials of this machine."


def test_a_token_that_cannot_be_fetched_right_now_is_asked_for_again(
    cloud: GoogleCloud, policy: RetryPolicy, rests: list[float]
) -> None:
    failures: list[Exception] = [auth_exceptions.TransportError(SECRET)] * 2

    class Shaky(Credentials):
        def refresh(self, request: object) -> None:
            if failures:
                raise failures.pop()
            super().refresh(request)  # type: ignore[no-untyped-call]

    cloud.script(PATH, held())
    manager = SecretManager(Shaky, policy, cloud.origin)
    assert resolve(REFERENCE, secret_manager=manager) == SECRET
    assert len(rests) == 2
    manager.close()
