"""Uploads, against a GCS that misbehaves on purpose; what holds for Google's library in `Bucket` is asked of both."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx
import pytest
from google.auth import exceptions as auth_exceptions
from google.auth.credentials import Credentials

from cata_pipeline import uploads as uploads_module
from cata_pipeline.buckets import Bucket, Created, WrongBytesError
from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.errors import StorageError
from cata_pipeline.google_token import GoogleToken
from cata_pipeline.uploads import Patience, Uploads, open_uploads
from cata_pipeline_tests.scripted_gcs import (
    ScriptedGcs,
    Step,
    alters,
    answers,
    claims,
    hangs_up,
    lags,
    resets,
    scripted_gcs,
    stalls,
    stores_and,
)

PICTURE = bytes(range(256)) * 40
NAME = "kopi-kita/items/a b+ü.jpg"
FOREVER = "public, max-age=31536000, immutable"


@pytest.fixture
def gcs() -> Iterator[ScriptedGcs]:
    with scripted_gcs() as gcs:
        yield gcs


@dataclass
class Time:
    """Passes only while somebody rests."""

    now: float = 0.0
    rests: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now

    def patience(self, answer_seconds: float = 5.0) -> Patience:
        return Patience(answer_seconds=answer_seconds, sleep=self.sleep, clock=self.clock)


@pytest.fixture
def time() -> Time:
    return Time()


class QuickBucket(Bucket):
    """Google's library, resting a hundredth of the time."""

    def _retry(self) -> Any:
        return super()._retry().with_delay(initial=0.005, maximum=0.08, multiplier=2.0)


Create = Callable[[str, bytes], Created]


@pytest.fixture(params=["uploads", "bucket"])
def create(request: pytest.FixtureRequest, gcs: ScriptedGcs, time: Time) -> Iterator[Create]:
    """Creates an object by either client."""
    if request.param == "bucket":
        bucket = QuickBucket("images", gcs.origin)
        yield lambda name, content: bucket.create(name, content, content_type="image/jpeg", cache_control=FOREVER)
        from cata_pipeline.buckets import _client

        _client(gcs.origin).close()
    else:
        yield lambda name, content: upload(gcs.origin, time.patience(), name, content)


def upload(origin: str, patience: Patience, name: str = NAME, content: bytes = PICTURE) -> Created:
    async def run() -> Created:
        async with open_uploads("images", origin, 4, patience) as uploads:
            return await uploads.create(name, content, content_type="image/jpeg", cache_control=FOREVER)

    return asyncio.run(run())


def test_an_upload_creates_only_and_brings_its_headers_and_checksum(create: Create, gcs: ScriptedGcs) -> None:
    assert create(NAME, PICTURE) == Created(NAME, new=True)
    [sent] = gcs.uploads
    assert gcs.objects == {NAME: PICTURE}
    assert (sent.bucket, sent.query["uploadType"], sent.query["ifGenerationMatch"]) == ("images", "multipart", "0")
    assert sent.content_type == "image/jpeg"
    assert sent.metadata["cacheControl"] == FOREVER
    assert len(sent.metadata["crc32c"]) == 8


PASSING = {
    **{str(status): answers(status) for status in (408, 429, 500, 502, 503, 504)},
    "hung up": hangs_up,
    "reset": resets,
}


@pytest.mark.parametrize("trouble", PASSING.values(), ids=PASSING)
def test_trouble_in_passing_is_outlived(create: Create, gcs: ScriptedGcs, trouble: Step) -> None:
    gcs.script(trouble, trouble)
    assert create(NAME, PICTURE) == Created(NAME, new=True)
    assert (len(gcs.uploads), gcs.objects) == (3, {NAME: PICTURE})


LOST = {
    "503": stores_and(answers(503)),
    "hung up": stores_and(hangs_up),
    "reset": stores_and(resets),
}


@pytest.mark.parametrize("reply", LOST.values(), ids=LOST)
def test_an_object_whose_answer_got_lost_is_found_by_the_next_try(
    create: Create, gcs: ScriptedGcs, reply: Step
) -> None:
    gcs.script(reply)
    assert create(NAME, PICTURE) == Created(NAME, new=False)
    assert (len(gcs.uploads), gcs.objects) == (2, {NAME: PICTURE})


def test_an_equal_object_that_is_there_is_success(create: Create, gcs: ScriptedGcs) -> None:
    gcs.objects[NAME] = PICTURE
    assert create(NAME, PICTURE) == Created(NAME, new=False)
    assert len(gcs.uploads) == 1


def test_an_object_that_holds_other_bytes_is_no_success_and_stays(create: Create, gcs: ScriptedGcs) -> None:
    gcs.objects[NAME] = b"somebody else's"
    with pytest.raises(WrongBytesError, match=r"images holds other bytes than ours under kopi-kita/items/a b\+ü\.jpg"):
        create(NAME, PICTURE)
    assert gcs.objects[NAME] == b"somebody else's"


@pytest.mark.parametrize("account", [{"crc32c": "AAAAAA=="}, {"size": "17"}])
def test_an_answer_with_another_checksum_or_size_does_not_count_as_stored(
    create: Create, gcs: ScriptedGcs, account: dict[str, str]
) -> None:
    gcs.script(claims(**account))
    with pytest.raises(
        WrongBytesError, match=rf"expected 10240 bytes, CRC32C .*; found .*{next(iter(account.values()))}"
    ):
        create(NAME, PICTURE)
    assert len(gcs.uploads) == 1
    assert create(NAME, PICTURE) == Created(NAME, new=False)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (308, "answered 308"),
        (400, "answered 400, which asking again would not change"),
        (401, r"answered 401\. Check the roles of this service account"),
        (403, r"answered 403\. Check the roles of this service account"),
        (404, r"answered 404\. Check that the bucket exists and that the name in the settings is right"),
        (413, "answered 413, which asking again would not change"),
    ],
)
def test_a_final_answer_is_told_at_once(gcs: ScriptedGcs, time: Time, status: int, told: str) -> None:
    gcs.always(answers(status, {"error": {"message": "no"}}))
    with pytest.raises(StorageError, match=rf"Bucket images did not store kopi-kita/items/.*: it {told}"):
        upload(gcs.origin, time.patience())
    assert (len(gcs.uploads), time.rests) == (1, [])


@pytest.mark.parametrize("status", [400, 403, 404])
def test_the_library_tells_a_final_answer_in_the_same_words(gcs: ScriptedGcs, time: Time, status: int) -> None:
    gcs.always(answers(status, {"error": {"message": "no"}}))
    with pytest.raises(StorageError) as ours:
        upload(gcs.origin, time.patience())
    with pytest.raises(StorageError) as theirs:
        QuickBucket("images", gcs.origin).create(NAME, PICTURE, content_type="image/jpeg")
    assert str(ours.value) == str(theirs.value)


def test_a_redirect_is_not_followed(gcs: ScriptedGcs, time: Time) -> None:
    gcs.always(answers(307, Location=f"{gcs.origin}/elsewhere"))
    with pytest.raises(StorageError, match="answered 307"):
        upload(gcs.origin, time.patience())
    assert len(gcs.uploads) == 1


UNCLEAR = {
    "garbage": stores_and(answers(200, b"<html>")),
    "nothing": stores_and(answers(200)),
    "no account": stores_and(answers(200, {"name": NAME})),
    "a list": stores_and(answers(200, [])),
}


@pytest.mark.parametrize("reply", UNCLEAR.values(), ids=UNCLEAR)
def test_an_answer_that_leaves_the_outcome_open_is_asked_for_again(gcs: ScriptedGcs, time: Time, reply: Step) -> None:
    gcs.script(reply)
    assert upload(gcs.origin, time.patience()) == Created(NAME, new=False)
    assert (len(gcs.uploads), gcs.looks) == (2, 1)


def test_an_answer_that_does_not_come_is_not_waited_for(gcs: ScriptedGcs, time: Time) -> None:
    gcs.script(stores_and(stalls))
    assert upload(gcs.origin, time.patience(answer_seconds=0.3)) == Created(NAME, new=False)
    assert time.rests


def test_content_that_was_altered_on_its_way_is_refused_and_sent_again(gcs: ScriptedGcs, time: Time) -> None:
    gcs.script(alters)
    assert upload(gcs.origin, time.patience()) == Created(NAME, new=True)
    assert (len(gcs.uploads), gcs.objects) == (2, {NAME: PICTURE})


def test_an_object_that_is_gone_again_is_created_after_all(gcs: ScriptedGcs, time: Time) -> None:
    gcs.script(answers(412))
    assert upload(gcs.origin, time.patience()) == Created(NAME, new=True)
    assert (len(gcs.uploads), gcs.looks) == (2, 1)


def test_rests_double_up_to_a_limit_and_end_within_the_time_for_retries(gcs: ScriptedGcs, time: Time) -> None:
    gcs.always(answers(503))
    with pytest.raises(
        StorageError,
        match=r"images did not store .*: no usable answer in 30 seconds; try \d+ came to this: it answered 503\.",
    ):
        upload(gcs.origin, time.patience())
    longest = [min(0.5 * 2**number, 8.0) for number in range(len(time.rests))]
    assert all(limit / 2 <= rest <= limit for rest, limit in zip(time.rests, longest, strict=True))
    assert 22 < sum(time.rests) <= 30
    assert len(gcs.uploads) == len(time.rests) + 1


def test_the_rest_that_the_bucket_asks_for_is_kept(gcs: ScriptedGcs, time: Time) -> None:
    gcs.script(answers(429, Retry_After="7"), answers(503, Retry_After="soon"))
    upload(gcs.origin, time.patience())
    first, second = time.rests
    assert first == 7.0
    assert 0.5 <= second <= 1.0


def test_a_longer_rest_than_there_is_time_for_ends_the_upload_now(gcs: ScriptedGcs, time: Time) -> None:
    gcs.always(answers(429, Retry_After="31"))
    with pytest.raises(StorageError, match="try 1 came to this: it answered 429"):
        upload(gcs.origin, time.patience())
    assert (len(gcs.uploads), time.rests) == (1, [])


def test_a_bucket_that_never_answers_is_given_up(gcs: ScriptedGcs) -> None:
    gcs.always(stalls)
    with pytest.raises(StorageError, match=r"try 1 came to this: no answer within 0\.1\d* seconds"):
        upload(gcs.origin, Patience(retry_seconds=0.1, answer_seconds=0.1))


def test_a_larger_body_is_given_more_time(gcs: ScriptedGcs, time: Time) -> None:
    gcs.script(lags(0.2))
    assert upload(gcs.origin, time.patience(answer_seconds=0.1), content=bytes(1_000_000)) == Created(NAME, new=True)
    assert time.rests == []


def test_storage_that_cannot_be_reached_is_told(time: Time) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(StorageError, match=r"the connection failed \(ClientConnectorError\)\. Check that the storage"):
        upload(f"http://127.0.0.1:{port}", time.patience())


@pytest.mark.parametrize("content", [b"", bytes(range(256)) * 20_000], ids=["empty", "5 MB"])
def test_every_byte_arrives(servers: EmbeddedServers, image_bucket: Bucket, content: bytes) -> None:
    async def run() -> None:
        async with image_bucket.uploads(1) as uploads:
            await uploads.create(NAME, content, content_type="image/png", cache_control=FOREVER)

    asyncio.run(run())
    assert image_bucket.read(NAME) == content
    reply = httpx.get(f"{servers.gcs_origin}/storage/v1/b/{image_bucket.name}/o", trust_env=False).json()
    [told] = reply["items"]
    assert (told["name"], told["contentType"], told["cacheControl"]) == (NAME, "image/png", FOREVER)


def test_of_many_who_create_the_same_object_one_finds_it_new(image_bucket: Bucket) -> None:
    async def run() -> list[Created]:
        async with image_bucket.uploads(8) as uploads:
            return await asyncio.gather(*(uploads.create("a", PICTURE, content_type="image/jpeg") for _ in range(16)))

    assert sum(created.new for created in asyncio.run(run())) == 1


class Badge(Credentials):
    """Credentials whose tokens are numbered; a refresh may fail."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.failures = list(failures)
        self.refreshes = 0

    def refresh(self, _request: object) -> None:
        self.refreshes += 1
        threading.Event().wait(0.05)  # long enough for others to come along meanwhile
        if self.failures:
            raise self.failures.pop(0)
        self.token = f"token-{self.refreshes}"


def wants(token: str) -> Step:
    def step(gcs: ScriptedGcs, upload: Any) -> Any:
        if upload.headers.get("authorization") != f"Bearer {token}":
            return answers(401)(gcs, upload)
        return gcs.behave(upload)

    return step


def upload_many(gcs: ScriptedGcs, time: Time, token: GoogleToken, names: list[str]) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            uploads = Uploads("images", gcs.origin, session, token, time.patience())
            creations: list[Awaitable[Created]] = [
                uploads.create(name, PICTURE, content_type="image/jpeg") for name in names
            ]
            await asyncio.gather(*creations)

    asyncio.run(run())


def test_many_uploads_fetch_one_token(gcs: ScriptedGcs, time: Time) -> None:
    badge = Badge()
    gcs.always(wants("token-1"))
    upload_many(gcs, time, GoogleToken(lambda: badge), [str(number) for number in range(16)])
    assert (len(gcs.objects), badge.refreshes) == (16, 1)


def test_a_token_that_is_refused_is_renewed_once(gcs: ScriptedGcs, time: Time) -> None:
    badge = Badge()
    gcs.always(wants("token-2"))
    upload_many(gcs, time, GoogleToken(lambda: badge), [str(number) for number in range(4)])
    assert (len(gcs.objects), badge.refreshes, time.rests) == (4, 2, [])


def test_a_renewed_token_that_is_refused_too_ends_the_upload(gcs: ScriptedGcs, time: Time) -> None:
    badge = Badge()
    gcs.always(answers(401))
    with pytest.raises(StorageError, match=r"answered 401\. Check the roles"):
        upload_many(gcs, time, GoogleToken(lambda: badge), [NAME])
    assert (len(gcs.uploads), badge.refreshes) == (2, 2)


def test_a_token_that_cannot_be_fetched_right_now_is_fetched_later(gcs: ScriptedGcs, time: Time) -> None:
    badge = Badge(auth_exceptions.TransportError("unreachable"), auth_exceptions.RefreshError("503", retryable=True))
    upload_many(gcs, time, GoogleToken(lambda: badge), [NAME])
    assert (list(gcs.objects), badge.refreshes, len(time.rests)) == ([NAME], 3, 2)


def test_a_machine_without_credentials_is_told(gcs: ScriptedGcs, time: Time) -> None:
    def load() -> Credentials:
        raise auth_exceptions.DefaultCredentialsError("none")

    with pytest.raises(StorageError, match=r"no token from Google \(DefaultCredentialsError\)\. Check the credentials"):
        upload_many(gcs, time, GoogleToken(load), [NAME])
    assert gcs.uploads == []


def test_google_is_reached_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch, time: Time) -> None:
    monkeypatch.setattr(uploads_module, "token_of_this_machine", lambda: None)
    asked: list[bytes] = []

    def listen(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(65_536))
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    async def run() -> None:
        patience = Patience(retry_seconds=0, sleep=time.sleep, clock=time.clock)
        async with open_uploads("images", None, 1, patience) as uploads:
            await uploads.create(NAME, PICTURE, content_type="image/jpeg")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=listen, args=(listener,))
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://us:er@127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(StorageError, match="the connection failed"):
            asyncio.run(run())
        thread.join()
    [head] = asked
    assert head.startswith(b"CONNECT storage.googleapis.com:443 ")
    assert b"\r\nProxy-Authorization: Basic dXM6ZXI=\r\n" in head
