"""The picture copy and a bucket that does not play along."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import pytest
import sqlalchemy as sa

from cata_pipeline.buckets import Bucket
from cata_pipeline.errors import StorageError
from cata_pipeline.images.copy import copy_images
from cata_pipeline.images.progress import Progress
from cata_pipeline.images.result import ImageResult
from cata_pipeline.images.tenant_images import TenantImages
from cata_pipeline.images.tenant_items import Verdict, WriteBack
from cata_pipeline.uploads import Patience, Uploads, open_uploads
from cata_pipeline_tests.images.conftest import Shop
from cata_pipeline_tests.images.hosts import picture
from cata_pipeline_tests.images.pictures import draw
from cata_pipeline_tests.images.test_copy import path_of
from cata_pipeline_tests.reconcile.conftest import until
from cata_pipeline_tests.scripted_gcs import (
    Hangup,
    Reply,
    ScriptedGcs,
    Upload,
    answers,
    hangs_up,
    scripted_gcs,
    stores_and,
)


@pytest.fixture
def gcs() -> Iterator[ScriptedGcs]:
    with scripted_gcs() as gcs:
        yield gcs


class RestlessBucket(Bucket):
    """Asks again without resting."""

    def uploads(self, concurrency: int) -> AbstractAsyncContextManager[Uploads]:
        async def no_rest(_seconds: float) -> None:
            """Goes on at once."""

        return open_uploads(self.name, self._emulator, concurrency, Patience(sleep=no_rest))


def copy_to(gcs: ScriptedGcs, shop: Shop, tenant: TenantImages | None = None) -> ImageResult:
    return copy_images(
        shop.tenant_id,
        tenant=tenant or TenantImages(shop.tenant_engine),
        control=shop.control,
        bucket=RestlessBucket("pictures", gcs.origin),
        policy=shop.policy,
        inspector=shop.inspector,
        now=shop.clock,
        limits=shop.limits,
    )


def offer(shop: Shop, count: int) -> None:
    for number in range(count):
        shop.host.answers[f"/{number}"] = picture(draw(number))
    with shop.tenant_engine.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO items (item_code, external_image_url) VALUES (:code, :url)"),
            [{"code": f"ITEM-{number:03}", "url": shop.host.url(f"/{number}")} for number in range(count)],
        )


@pytest.mark.parametrize("status", [403, 404])
def test_a_bucket_that_refuses_ends_the_copy_with_its_first_answers(shop: Shop, gcs: ScriptedGcs, status: int) -> None:
    gcs.always(answers(status))
    offer(shop, 200)
    with pytest.raises(
        StorageError, match=rf"Bucket pictures did not store kopi-kita/items/.*: it answered {status}\. Check"
    ):
        copy_to(gcs, shop)
    assert 1 <= len(gcs.uploads) <= shop.limits.concurrency
    assert len(shop.host.seen) < 200
    assert shop.shown("ITEM-000") is None


def test_what_was_stored_before_a_bucket_refused_is_shown_and_not_downloaded_again(
    shop: Shop, gcs: ScriptedGcs
) -> None:
    shop.limit(concurrency=1)
    gcs.script(*[ScriptedGcs.behave] * 3, answers(403))
    offer(shop, 5)
    with pytest.raises(StorageError, match=r"it answered 403"):
        copy_to(gcs, shop)
    assert [shop.shown(f"ITEM-{number:03}") is not None for number in range(5)] == [True] * 3 + [False] * 2
    shop.host.seen.clear()

    assert copy_to(gcs, shop).written_back == 2
    assert len(shop.host.seen) == 2


def test_a_bucket_that_stumbles_costs_no_picture(shop: Shop, gcs: ScriptedGcs) -> None:
    gcs.script(answers(503), stores_and(hangs_up), answers(429))
    offer(shop, 12)
    result = copy_to(gcs, shop)
    assert (result.written_back, result.failed) == (12, 0)
    assert (result.uploaded, result.already_stored, len(gcs.uploads)) == (11, 1, 15)
    assert gcs.objects == {path_of(draw(number)): draw(number) for number in range(12)}


def test_an_object_with_other_bytes_costs_its_own_picture_only(shop: Shop) -> None:
    shop.bucket.create(path_of(draw(1)), b"somebody else's", content_type="image/jpeg")
    offer(shop, 3)
    result = shop.copy()
    assert (result.uploaded, result.written_back, result.failed) == (2, 2, 1)
    [failure] = result.failures
    assert (failure.item_code, "damaged" in failure.reason) == ("ITEM-001", True)
    assert shop.shown("ITEM-001") is None
    assert shop.shown("ITEM-002") == path_of(draw(2))


class PatientImages(TenantImages):
    """Writes back only once the bucket has refused."""

    refused: threading.Event

    def write_back(self, wishes: Sequence[WriteBack]) -> Mapping[str, Verdict]:
        assert self.refused.wait(30)
        return super().write_back(wishes)


def test_a_batch_that_waits_for_its_turn_while_the_bucket_goes_away_is_settled_all_the_same(
    shop: Shop, gcs: ScriptedGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    monkeypatch.setattr(Progress, "add", lambda _progress, *, failed: done.append(failed))
    tenant = PatientImages(shop.tenant_engine)
    tenant.refused = threading.Event()

    def refuses_once_two_are_done(gcs: ScriptedGcs, upload: Upload) -> Reply | Hangup:
        until(lambda: len(done) == 2)
        tenant.refused.set()
        return answers(403)(gcs, upload)

    shop.limit(flush_urls=1, concurrency=3, concurrency_per_host=3)
    gcs.script(*[ScriptedGcs.behave] * 2, refuses_once_two_are_done)
    offer(shop, 3)
    with pytest.raises(StorageError, match=r"it answered 403"):
        copy_to(gcs, shop, tenant)
    shown = {shop.shown(f"ITEM-{number:03}") for number in range(3)}
    assert shown == {*gcs.objects, None}
    assert len(gcs.objects) == 2
