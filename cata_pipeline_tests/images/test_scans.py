"""How many scans a JPEG has, whatever else is in the file."""

import io

import pytest
from PIL import Image

from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.inspection import Inspector
from cata_pipeline.images.objects import PictureKind
from cata_pipeline.images.scans import has_more_scans
from cata_pipeline_tests.images.pictures import draw, phone_picture, saved, with_scans

PROGRESSIVE = saved(Image.open(io.BytesIO(draw())), "JPEG", progressive=True)
SCAN = b"\xff\xda"


def segment(payload: bytes, code: int = 0xE7) -> bytes:
    return bytes((0xFF, code)) + (len(payload) + 2).to_bytes(2, "big") + payload


def scans(jpeg: bytes) -> int:
    return next(count for count in range(10_000) if not has_more_scans(jpeg, count))


def with_segment(jpeg: bytes, added: bytes) -> bytes:
    return jpeg[:2] + added + jpeg[2:]


def test_scans_are_counted() -> None:
    assert scans(draw()) == 1
    assert scans(PROGRESSIVE) == PROGRESSIVE.count(SCAN) == 10
    assert scans(with_scans(60)) == 60


@pytest.mark.parametrize(
    "harmless",
    [
        with_segment(draw(), segment(SCAN * 1_000)),
        with_segment(draw(), segment(b"\xff\xd9" + SCAN * 1_000)),
        draw() + SCAN * 1_000,
        draw() + with_scans(500),
        phone_picture() + SCAN * 1_000,
    ],
    ids=["metadata", "end in metadata", "behind the end", "another file", "second frame"],
)
def test_what_no_decoder_takes_for_a_scan_does_not_count(harmless: bytes) -> None:
    assert scans(harmless) == 1


@pytest.mark.parametrize(
    "disguised",
    [
        with_scans(60).replace(SCAN, b"\xff\xff\xff" + SCAN),
        with_scans(60).replace(SCAN, b"\x00\x00" + SCAN),
        with_scans(60).replace(SCAN, segment(b"note", 0xFE) + SCAN),
        with_segment(with_scans(60), segment(SCAN * 100)),
        with_scans(60)[:-2],
    ],
    ids=["fill bytes", "garbage", "comments", "metadata", "no end"],
)
def test_a_scan_is_counted_however_it_is_introduced(disguised: bytes) -> None:
    assert scans(disguised) == 60


@pytest.mark.parametrize("cut", range(2, 60))
def test_a_damaged_file_has_some_number_of_scans(cut: int) -> None:
    assert not has_more_scans(with_scans(60)[:-cut], 60)


def test_a_jpeg_with_more_scans_than_allowed_is_refused_for_good_before_any_process_has_it() -> None:
    with Inspector() as inspector:
        for scans in (4_000, 51):
            with pytest.raises(PictureError, match="more than 50 scans: save it as a baseline JPEG") as refusal:
                inspector.inspect(with_scans(scans))
            assert not refusal.value.transient
        assert not inspector._lanes
        assert inspector.inspect(with_scans(50)) is PictureKind.JPEG
        assert inspector.inspect(PROGRESSIVE) is PictureKind.JPEG
