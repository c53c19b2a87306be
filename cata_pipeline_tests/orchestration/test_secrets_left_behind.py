"""What runs leave behind that serve a tenant whose refresh token rotates, at a POS that repeats each secret it knows.

Each test ends runs in some way, then searches all that stays: Dagster's storage and files, the control and the tenant
database, both buckets, the log and the output of the process.
"""

import base64
import contextlib
import functools
import hashlib
import html
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import dagster as dg
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from google.auth.compute_engine import Credentials, _metadata
from sqlalchemy.engine import URL

from cata_pipeline import pipeline as pipeline_module
from cata_pipeline.buckets import Bucket
from cata_pipeline.definitions import build_defs
from cata_pipeline.errors import ProviderError, TenantError
from cata_pipeline.orchestration import image_sensor
from cata_pipeline.orchestration.partitions import range_tags
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.providers import iseller
from cata_pipeline.providers.conformance.pos_server import Sold
from cata_pipeline.providers.conformance.scripted_server import Answer, Received, ScriptedServer, answer, running
from cata_pipeline.providers.pacing import OF_THIS_PROCESS
from cata_pipeline.tenants import credentials
from cata_pipeline.tenants.model import Tenant
from cata_pipeline.tenants.secret_manager import SecretManager
from cata_pipeline.tenants.tokens import TokenStore
from cata_pipeline_tests.providers.iseller_pos import TOKEN, ISellerPos
from cata_pipeline_tests.tenants.test_secret_manager import PATH as SECRET_PATH
from cata_pipeline_tests.tenants.test_secret_manager import REFERENCE as SECRET_REFERENCE
from cata_pipeline_tests.tenants.test_secret_manager import GoogleCloud, held
from cata_pipeline_tests.tenants.test_tokens import refuse_tokens

KOPI = "kopi-kita"
KEY, OTHER_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()
FIRST = "hush/first+refresh=token"
NO_KEY = "hush/no+fernet+key"
Say = Callable[[str], Answer]
"""An answer that holds a text."""


def token(kind: str, number: int) -> str:
    """One that looks like no other."""
    return f"{base64.b64encode(hashlib.sha256(f'{kind} {number}'.encode()).digest()).decode()}/+={kind}"


class ParrotPos(ISellerPos):
    """Takes each refresh token once and gives the next one; a token that comes again ends the chain.

    `in_play` is every secret ever, `met` what the run knows that is being served; answers its second exchange with
    `refusal`, if there is one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.valid = FIRST
        self.spent: list[str] = []
        self.refusal: Say | None = None
        self._exchanging = threading.Lock()
        self.in_play = {FIRST, *self.secrets().values()}
        self.met: set[str] = set()
        self.sell([Sold("K-1")])

    def secrets(self) -> dict[str, str]:
        return {"api_key": "hush/client+id&of kopi", "api_secret": 'hush/client"secret\\<of>kopi é'}

    def begin(self) -> None:
        """A run begins, which knows only what its credentials hold."""
        self.met = {FIRST, *self.secrets().values()}

    def other(self, received: Received) -> Answer:
        if received.path != TOKEN:
            return super().other(received)
        with self._exchanging:
            if received.form["refresh_token"] != self.valid:
                self.valid = "revoked"
                return answer({"error": "invalid_grant"}, status=400)
            self.spent.append(self.valid)
            self.valid, access = token("refresh", len(self.spent)), token("access", len(self.spent))
            self.met |= {self.spent[-1], self.valid, access}
            self.in_play |= self.met
            if self.refusal and len(self.spent) > 1:
                return self.refusal(" ".join(sorted(self.met)))
            return answer({"access_token": access, "refresh_token": self.valid})

    def parrot(self, echo: Say) -> None:
        """Answer for products with every secret that the run has met by then."""

        def send(handler: BaseHTTPRequestHandler) -> None:
            echo(" ".join(sorted(self.met)))(handler)

        self.misbehave_for_ever(1, send)

    def connect_anew(self) -> str:
        """A new connection of the account; returns its first token."""
        self.valid = token("first", len(self.spent))
        self.in_play.add(self.valid)
        return self.valid


@dataclass
class Scene:
    """The tenant, its POS, and all that a run may leave something in."""

    pos: ParrotPos
    instance: dg.DagsterInstance
    pipeline: Pipeline
    databases: list[URL]
    buckets: list[Bucket]
    capture: Callable[[], str]

    def register(self, first: str = FIRST, **options: object) -> None:
        """The tenant, and the refresh token that its credentials hold from now on."""
        os.environ["KOPI_CREDENTIALS"] = json.dumps({**self.pos.secrets(), "refresh_token": first})
        options = {**self.pos.options(), "request_budget_seconds": 1, **options}
        self.pipeline.registry.import_tenants([Tenant(KOPI, "iseller", "env:KOPI_CREDENTIALS", options=options)])

    def sync(self) -> dg.ExecuteInProcessResult:
        self.pos.begin()
        return (
            build_defs()
            .resolve_job_def("sync_tenants")
            .execute_in_process(instance=self.instance, tags=range_tags([KOPI]), raise_on_error=False)
        )

    def failed_sync(self) -> str:
        """Sync, expect a failure, and return what the run says of it."""
        result = self.sync()
        assert not result.success
        [failure] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
        error = failure.user_failure_data.description if failure.user_failure_data else failure.error_display_string
        assert error
        return error

    def left_behind(self) -> Mapping[str, str]:
        """All that is there now, by place."""
        places = {"log and output": self.capture()}
        for url in self.databases:
            for table, text in rows_of(url):
                places[f"{url.database}.{table}"] = text
        for bucket in self.buckets:
            for name in bucket.names(""):
                places[f"{bucket.name}/{name}"] = text_of(bucket.read(name))
        folder = Path(self.instance.storage_directory()).parent
        for file in folder.rglob("*"):
            if file.is_file():
                places[str(file.relative_to(folder))] = file.read_text(errors="replace")
        return places

    def leaks(self) -> dict[str, list[str]]:
        """Every place that tells a secret, and which."""
        found = {
            place: [secret for secret in self.secrets() if any(form in text.lower() for form in forms(secret))]
            for place, text in self.left_behind().items()
        }
        return {place: secrets for place, secrets in found.items() if secrets}

    def secrets(self) -> set[str]:
        return self.pos.in_play | {KEY, OTHER_KEY, NO_KEY}


def forms(secret: str) -> set[str]:
    """How a secret may be spelled by whoever repeats it, in lower case."""
    raw = secret.encode()
    inner = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    spelled = {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        html.escape(secret),
        raw.hex(),
    } | inner
    spelled |= {text.replace("/", "\\/") for text in inner}
    for shift in range(3):
        # What stands before the secret shifts its bits; the characters that others share are cut off.
        encoded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        cut = encoded[(0, 2, 3)[shift] : len(encoded) - bool((len(raw) + shift) % 3)]
        spelled |= {cut, cut.replace("+", "-").replace("/", "_")}
    return {text.lower() for text in spelled}


def rows_of(url: URL) -> Iterator[tuple[str, str]]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        for table in sa.inspect(connection).get_table_names():
            rows = connection.execute(sa.text(f'SELECT * FROM "{table}"')).all()
            yield table, "\n".join(text_of(value) for row in rows for value in row)
    engine.dispose()


def text_of(value: object) -> str:
    if not isinstance(value, bytes | memoryview):
        return str(value)
    raw = bytes(value)
    if raw.startswith(b"PAR1"):
        return str(pq.read_table(io.BytesIO(raw)).to_pylist()) + raw.decode("latin-1")
    with contextlib.suppress(zlib.error):
        raw = zlib.decompress(raw)
    return raw.decode("latin-1")


@pytest.fixture
def scene(
    instance: dg.DagsterInstance,
    new_pipeline: Callable[..., Pipeline],
    monkeypatch: pytest.MonkeyPatch,
    dagster_database: URL,
    control_database_url: URL,
    tenant_database_url: URL,
    snapshot_bucket: Bucket,
    image_bucket: Bucket,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Scene]:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(OF_THIS_PROCESS, "_interval", 0)
    monkeypatch.setenv("KOPI_CREDENTIALS", "")
    printed: list[str] = []

    def capture() -> str:
        printed.extend(capfd.readouterr())
        return caplog.text + "".join(printed)

    with running(ParrotPos()) as pos:
        endpoint = f"127.0.0.1:{pos.port}"
        pipeline = new_pipeline(CATA_ALLOW_PRIVATE_ENDPOINTS=endpoint, CATA_TOKEN_KEYS=KEY)
        instance.add_dynamic_partitions("tenants", [KOPI])
        databases = [dagster_database, control_database_url, tenant_database_url]
        scene = Scene(pos, instance, pipeline, databases, [snapshot_bucket, image_bucket], capture)
        scene.register()
        yield scene


@pytest.fixture
def with_keys(
    scene: Scene, new_pipeline: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Runs from now on have these keys."""

    def change(keys: str) -> None:
        monkeypatch.setenv("CATA_TOKEN_KEYS", keys)

    return change


def test_a_secret_that_is_told_is_found_wherever_it_stays(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    told = base64.b64encode(f"Basic {scene.pos.secrets()['api_secret']}".encode()).decode()
    take = iseller._Gathered.take

    def tell(gathered: Any, rows: list[Any]) -> None:
        logging.getLogger("cata_pipeline.providers.iseller").info("%s", told)
        for row in rows:
            row["name"] = quote(FIRST)
        take(gathered, rows)

    monkeypatch.setattr(iseller._Gathered, "take", tell)
    assert scene.sync().success
    found = {re.sub(r"test_\d+(_kopi-kita)?\.|^.*/|-[0-9a-f-]{36}", "", place) for place in scene.leaks()}
    assert found >= {"log and output", "event_logs", "items", "catalog.parquet", "changes.parquet"}
    assert [place for place in scene.leaks() if place.endswith(".err")], "what a step printed is kept in a file"


def test_runs_that_go_well_use_the_token_that_the_last_one_kept_and_tell_none(scene: Scene) -> None:
    assert [scene.sync().success for _ in range(3)] == [True] * 3
    assert scene.pos.spent == [FIRST, token("refresh", 1), token("refresh", 2)]
    places = scene.left_behind()
    assert any(place.endswith("refresh_tokens") and text for place, text in places.items())
    assert any(place.endswith(".parquet") for place in places)
    assert scene.leaks() == {}


def in_error(status: int, spell: Callable[[str], str] = str, *, retry_after: str = "0") -> Say:
    headers = {"Retry-After": retry_after}
    return lambda text: answer({"error_message": spell(text)}, status=status, headers=headers)


def in_body(body: str, content_type: str = "application/json") -> Say:
    return lambda text: answer(body.format(json.dumps(text)[1:-1]), content_type=content_type)


def in_head(head: str) -> Say:
    """In the lines before the body, where anything may stand."""

    def say(text: str) -> Answer:
        def send(handler: BaseHTTPRequestHandler) -> None:
            handler.wfile.write(head.format(text).encode("latin-1") + b"\r\nContent-Length: 0\r\n\r\n")
            handler.close_connection = True

        return send

    return say


ECHOES: list[tuple[Say, str]] = [
    (in_error(400), "HTTP 400"),
    (in_error(400, quote), "HTTP 400"),
    (in_error(400, quote_plus), "HTTP 400"),
    (in_error(400, html.escape), "HTTP 400"),
    (in_error(400, json.dumps), "HTTP 400"),
    (in_error(400, lambda text: base64.b64encode(f"as {text}".encode()).decode()), "HTTP 400"),
    (in_error(400, lambda text: text.upper()), "HTTP 400"),
    (in_error(400, lambda text: f"{'.' * 180}{text}"), "HTTP 400"),
    (in_error(403), "HTTP 403"),
    (lambda text: answer({"errors": [{"code": text, "detail": text}]}, status=400), "HTTP 400"),
    (in_error(503, retry_after="9999"), "wants 9999 s of rest"),
    (lambda text: answer({"status": False, "error_message": text}), "iSeller reports a failure"),
    (lambda text: answer(b"", status=302, headers={"Location": f"https://x.example/?{quote(text)}"}), "Redirects are"),
    (lambda text: answer(b"", content_type=f"text/{text}"), "is something that is too long for a name instead"),
    (lambda text: answer(b"", content_type=f"text/{max(text.split(), key=len)}"), "is text/(redacted) instead of JSON"),
    (lambda text: answer(b"{}", status=400, content_type=f"text/{text}"), "HTTP 400 (no content type)"),
    (lambda text: answer(b"{{}}", headers={"Content-Encoding": text}), "encoded as something"),
    (in_body("<html>{}</html>", "text/html"), "text/html instead of JSON"),
    (in_body('{{"products": ["{}'), "not valid JSON"),
    (in_body('["{}"]'), "is JSON, but no object"),
    (in_body('{{"status": true, "products": "{}"}}'), "has no list of products"),
    (in_body('{{"status": true, "products": [], "has_next_item": "{}"}}'), "has_next_item is neither"),
    (in_head("HTTP/1.1 418 {}"), "HTTP 418"),
    (in_head("HTTP/1.1 200 OK\r\n{}"), "the connection broke"),
]


def test_whatever_the_pos_repeats_of_a_secret_is_told_nowhere(scene: Scene) -> None:
    for echo, told in ECHOES:
        scene.pos.parrot(echo)
        assert told in scene.failed_sync()
    assert len(scene.pos.spent) == len(ECHOES)
    assert scene.leaks() == {}


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (in_error(400), "does not accept the credentials"),
        (lambda text: answer({"error": "invalid_grant", "error_description": text}, status=401), "HTTP 401"),
        (in_error(500, retry_after="9999"), "wants 9999 s of rest"),
        (in_body('{{"access_token": "{}"}}'), "no usable access_token"),
        (in_body('{{"access_token": "usable", "resource_url": "https://{}"}}'), "Store mismatch"),
        (in_body('{{"message": "{}"}}'), "no usable access_token"),
    ],
)
def test_a_token_address_that_refuses_after_the_rotation_and_repeats_all_is_told_nowhere(
    scene: Scene, refusal: Say, told: str
) -> None:
    scene.pos.refusal = refusal
    scene.pos.parrot(in_error(401))
    assert told in scene.failed_sync()
    assert len(scene.pos.spent) == 2, "the run renewed its token"
    assert scene.leaks() == {}


def test_a_control_database_that_does_not_take_the_new_token_is_told_without_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "TokenStore", functools.partial(TokenStore, write_seconds=0.1))
    refuse_tokens(scene.pipeline.control)
    assert "the token is lost. Check that database, then connect" in scene.failed_sync()
    assert scene.pos.spent == [FIRST]
    assert scene.leaks() == {}


def test_without_key_and_with_a_wrong_one_nothing_is_sent_and_the_chain_goes_on_with_the_right_one(
    scene: Scene, with_keys: Callable[[str], None]
) -> None:
    assert scene.sync().success
    for keys, told in (
        ("", "CATA_TOKEN_KEYS is not set. Nothing was sent"),
        (OTHER_KEY, "sealed with a key that CATA_TOKEN_KEYS does not hold"),
        (NO_KEY, "CATA_TOKEN_KEYS holds, as key 1, no Fernet key"),
    ):
        with_keys(keys)
        assert told in scene.failed_sync()
    assert scene.pos.spent == [FIRST]
    with_keys(f"{OTHER_KEY},{KEY}")
    assert scene.sync().success
    with_keys(OTHER_KEY)
    assert scene.sync().success
    assert scene.leaks() == {}


class UnforeseenError(Exception):
    """A mistake in a provider."""


@pytest.mark.parametrize("kind", ["plain", "cause", "note", "group", "of ours"])
def test_a_mistake_in_a_provider_is_traced_without_the_secrets_it_quotes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def stumble(gathered: object, rows: object) -> None:
        everything = {secret: secret for secret in scene.pos.met | {KEY}}
        error = UnforeseenError(f"stumbled over {everything} {quote(str(everything))} {str(everything).encode()!r}")
        if kind == "of ours":
            raise ProviderError(f"stumbled over {everything}")
        if kind == "cause":
            raise UnforeseenError("stumbled over something") from error
        if kind == "group":
            raise ExceptionGroup("stumbled over some", [error])
        if kind == "note":
            error = UnforeseenError("stumbled over something")
            error.add_note(str(everything))
        raise error

    monkeypatch.setattr(iseller._Gathered, "take", stumble)
    scene.failed_sync()
    scene.pos.begin()
    with pytest.raises(TenantError):
        scene.pipeline.sample(KOPI)
    assert "stumbled over" in scene.capture()
    assert ("in stumble" in scene.capture()) == (kind != "of ours")
    assert scene.leaks() == {}


def test_the_ticks_that_follow_and_the_alert_tell_no_secret(
    tick_sensors: Callable[[], None], scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(ScriptedServer()) as webhook:
        webhook.script("/hook", answer(b""))
        monkeypatch.setenv("CATA_ALERT_WEBHOOK_URL", f"{webhook.origin}/hook")
        monkeypatch.setattr(image_sensor, "SETTLE_SECONDS", 0)
        tick_sensors()
        scene.pos.parrot(in_error(400))
        scene.failed_sync()
        tick_sensors()
        [alert] = webhook.received
    assert KOPI in alert.body.decode()
    assert not [
        secret for secret in scene.secrets() if any(form in alert.body.decode().lower() for form in forms(secret))
    ]
    assert any(place.endswith(".job_ticks") and text for place, text in scene.left_behind().items())
    assert scene.leaks() == {}


def test_an_account_that_was_connected_again_is_served_again(scene: Scene) -> None:
    assert scene.sync().success
    scene.pos.valid = "revoked"
    assert "connect the tenant's store again" in scene.failed_sync()
    scene.register(first=scene.pos.connect_anew())
    assert [scene.sync().success for _ in range(2)] == [True] * 2
    assert scene.leaks() == {}


def test_a_secret_in_secret_manager_serves_its_tenant_or_is_told_by_its_name_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(GoogleCloud()) as cloud:
        monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", f"127.0.0.1:{cloud.port}")
        manager = SecretManager(Credentials, origin=cloud.origin)
        monkeypatch.setattr(credentials, "secret_manager_of_this_machine", lambda: manager)
        scene.pipeline.registry.import_tenants(
            [replace(scene.pipeline.registry.tenant(KOPI), credentials=SECRET_REFERENCE)]
        )
        cloud.script(SECRET_PATH, held(json.dumps({**scene.pos.secrets(), "refresh_token": FIRST})))
        assert scene.sync().success
        cloud.script(SECRET_PATH, answer({"error": {"message": FIRST}}, status=403))
        assert f"1 of 1 tenants failed: {KOPI}: {SECRET_REFERENCE} cannot be read: Secret" in scene.failed_sync()
        cloud.script(SECRET_PATH, held(FIRST))
        assert f"{KOPI}: {SECRET_REFERENCE} does not hold a JSON object" in scene.failed_sync()
        manager.close()
    assert scene.leaks() == {}


LOOK = f"""
import sys
from cata_pipeline.cli.arguments import open_pipeline

pipeline = open_pipeline()
pipeline.control
print("ready", flush=True)
sys.stdin.readline()
for _ in range(3):
    pipeline.sample("{KOPI}")
"""


def test_two_processes_at_once_exchange_one_after_the_other(scene: Scene) -> None:
    start = functools.partial(
        subprocess.Popen, [sys.executable, "-c", LOOK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with start() as one, start() as other:
        for process in (one, other):
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in (one, other):
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        assert [process.wait(60) for process in (one, other)] == [0, 0]
    assert len(scene.pos.spent) == 6
    assert scene.sync().success
    assert scene.leaks() == {}
