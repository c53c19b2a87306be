"""Buckets, against the fake GCS."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from cata_pipeline.buckets import Bucket, Created, WrongBytesError
from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.errors import StorageError, TenantError


@pytest.fixture
def nowhere() -> str:
    """An origin where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_created_object_is_read_back(image_bucket: Bucket) -> None:
    assert image_bucket.create("a/b.png", b"\x89PNG", content_type="image/png") == Created("a/b.png", new=True)
    assert image_bucket.read("a/b.png") == b"\x89PNG"


def test_an_object_is_created_with_its_headers(image_bucket: Bucket, servers: EmbeddedServers) -> None:
    image_bucket.create("a.png", b"\x89PNG", content_type="image/png", cache_control="public, max-age=31536000")
    reply = httpx.get(f"{servers.gcs_origin}/storage/v1/b/{image_bucket.name}/o/a.png", trust_env=False).json()
    assert (reply["contentType"], reply["cacheControl"]) == ("image/png", "public, max-age=31536000")


def test_an_object_that_is_there_already_is_left_as_it_is(image_bucket: Bucket) -> None:
    image_bucket.create("a", b"first", content_type="text/plain")
    assert image_bucket.create("a", b"first", content_type="text/plain") == Created("a", new=False)
    with pytest.raises(
        WrongBytesError, match=r"holds other bytes than ours under a: expected 6 bytes, .*; found 5 bytes"
    ):
        image_bucket.create("a", b"second", content_type="text/plain")
    assert image_bucket.read("a") == b"first"


def test_of_many_who_create_the_same_object_one_finds_it_new(image_bucket: Bucket) -> None:
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda _: image_bucket.create("a", b"x", content_type="text/plain"), range(16)))
    assert sum(one.new for one in created) == 1


def test_an_empty_object_is_kept(image_bucket: Bucket) -> None:
    image_bucket.create("empty", b"", content_type="text/plain")
    assert image_bucket.read("empty") == b""


def test_names_are_listed_below_a_prefix_and_sorted(snapshot_bucket: Bucket) -> None:
    for name in ("t/b", "t/a", "u/c"):
        snapshot_bucket.create(name, b"x", content_type="text/plain")
    assert list(snapshot_bucket.names("t/")) == ["t/a", "t/b"]
    assert list(snapshot_bucket.names("nothing/")) == []


def test_objects_are_listed_with_size_and_age_page_by_page_in_the_order_of_their_bytes(image_bucket: Bucket) -> None:
    names = sorted(("t/a", "t/A", "t/é", "t/\U0001f35c", "t/\uffee", "t/b/c"), key=str.encode)
    before = datetime.now(UTC)
    for name in names:
        image_bucket.create(name, name.encode(), content_type="text/plain")
    listed = list(image_bucket.objects("t/"))
    assert [stored.name for stored in listed] == names
    assert [stored.size for stored in listed] == [len(name.encode()) for name in names]
    assert all(abs(stored.created_at - before) < timedelta(minutes=5) for stored in listed)


def test_reading_a_missing_object_says_what_to_check(image_bucket: Bucket) -> None:
    with pytest.raises(
        StorageError, match=rf"Bucket {image_bucket.name} did not read a/b\.png: it answered 404\. Check"
    ):
        image_bucket.read("a/b.png")


EVERY_VERB = pytest.mark.parametrize(
    ("verb", "use"),
    [
        ("store", lambda bucket: bucket.create("a", b"x", content_type="text/plain")),
        ("read", lambda bucket: bucket.read("a")),
        ("list", lambda bucket: list(bucket.names("a"))),
    ],
)


@EVERY_VERB
def test_an_unknown_bucket_is_told_by_name(
    servers: EmbeddedServers, verb: str, use: Callable[[Bucket], object]
) -> None:
    expected = rf"Bucket no-such-bucket did not {verb} a: it answered 404\. Check that the bucket exists"
    with pytest.raises(StorageError, match=expected):
        use(Bucket("no-such-bucket", servers.gcs_origin))


@EVERY_VERB
def test_storage_that_cannot_be_reached_is_told_when_the_time_for_retries_is_over(
    nowhere: str, verb: str, use: Callable[[Bucket], object]
) -> None:
    expected = rf"did not {verb} a: no usable answer in 0\.1 seconds\. Check that the storage service"
    with pytest.raises(StorageError, match=expected):
        use(Bucket("images", nowhere, retry_seconds=0.1))


def test_nothing_is_asked_in_the_background(nowhere: str) -> None:
    before = set(threading.enumerate())
    with pytest.raises(StorageError):
        Bucket("images", nowhere, retry_seconds=0.1).read("a")
    assert set(threading.enumerate()) <= before


def test_trouble_with_a_bucket_concerns_one_tenant_at_a_time() -> None:
    assert issubclass(StorageError, TenantError)
