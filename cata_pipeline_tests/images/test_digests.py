import hashlib
from base64 import b64encode
from hashlib import sha256, sha512

import pytest
from aiohttp import web

from cata_pipeline.images.digests import is_altered
from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.fetch import Fetched
from cata_pipeline.images.validators import NO_VALIDATORS
from cata_pipeline_tests.images.hosts import PictureHost
from cata_pipeline_tests.images.test_fetch import get_from

CONTENT = b"picture"


def digest(name: str, value: bytes) -> str:
    return f"{name}=:{b64encode(value).decode()}:"


RIGHT = digest("sha-256", sha256(CONTENT).digest())
WRONG = digest("sha-256", sha256(b"pictur\xe5").digest())


@pytest.mark.parametrize(
    ("header", "altered"),
    [
        ("", False),
        (RIGHT, False),
        (digest("sha-512", sha512(CONTENT).digest()), False),
        (WRONG, True),
        (digest("sha-512", sha512(b"x").digest()), True),
        (f"{RIGHT}, {WRONG}", True),
        (f"unixsum=:AAA=:, {WRONG}", True),
        (digest("md5", b"x" * 16), False),
        ("sha-256=:A:", False),
        ("sha-256=nonsense", False),
    ],
)
def test_only_a_readable_digest_can_contradict_the_content(header: str, altered: bool) -> None:  # noqa: FBT001
    assert is_altered(header, CONTENT) is altered


def test_a_digest_that_is_repeated_costs_no_more_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    new = hashlib.new

    def counted(name: str, content: bytes) -> object:
        hashed.append(name)
        return new(name, content)

    monkeypatch.setattr(hashlib, "new", counted)
    assert not is_altered(", ".join([RIGHT, digest("sha-512", sha512(CONTENT).digest())] * 400), CONTENT)
    assert is_altered(", ".join([*[RIGHT] * 400, WRONG]), CONTENT)
    assert hashed == ["sha256", "sha512", "sha256"]


@pytest.mark.parametrize("sent", [RIGHT, WRONG])
def test_a_body_that_its_hosts_own_digest_contradicts_is_asked_for_again_later(host: PictureHost, sent: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=CONTENT, headers={"Content-Digest": sent})

    host.answers["/a"] = answer
    if sent == RIGHT:
        assert get_from(host, "/a") == Fetched(CONTENT, NO_VALIDATORS)
        return
    with pytest.raises(PictureError, match="altered on its way") as refusal:
        get_from(host, "/a")
    assert refusal.value.transient
    assert not refusal.value.host_fault
