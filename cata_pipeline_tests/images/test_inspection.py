from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.inspection import DecoderError, Inspector
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.objects import PictureKind
from cata_pipeline_tests.images.pictures import blank, draw, phone_picture

DECODER_THAT_OBEYS = """
import os, sys, time
sys.stdout.write("{}\\n"); sys.stdout.flush()
while len(head := sys.stdin.buffer.read(8)) == 8:
    content = sys.stdin.buffer.read(int.from_bytes(head, "big"))
    if b"crash" in content:
        os.abort()
    if b"hang" in content:
        time.sleep(3600)
    if b"environment" in content:
        print('{"reason": "%d variables"}' % len(os.environ), flush=True)
    print('{"format": "JPEG"}', flush=True)
"""
JPEG_HEAD = b"\xff\xd8\xff"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    program = tmp_path / "decoder.py"
    program.write_text(DECODER_THAT_OBEYS)
    return program


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (draw(), PictureKind.JPEG),
        (draw(mode="L"), PictureKind.JPEG),
        (draw(mode="CMYK"), PictureKind.JPEG),
        (phone_picture(), PictureKind.JPEG),
        (draw() + b"trailing bytes", PictureKind.JPEG),
        (draw(kind="PNG"), PictureKind.PNG),
        (draw(kind="PNG", mode="RGBA"), PictureKind.PNG),
        (blank("PNG", (7000, 7000), "1"), PictureKind.PNG),
        (draw(kind="WEBP"), PictureKind.WEBP),
    ],
)
def test_a_sound_picture_is_accepted_by_its_content(inspector: Inspector, content: bytes, kind: PictureKind) -> None:
    assert inspector.inspect(content) is kind


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (draw()[:-2], "the file ends early"),
        (draw()[: len(draw()) // 2], "the file ends early"),
        (draw(kind="PNG")[:-100], "the file ends early"),
        (draw(kind="WEBP")[:-10], "the file ends early"),
        (draw()[:20], "damaged"),
        (JPEG_HEAD, "damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "damaged"),
        (b"RIFF\x10\x00\x00\x00WEBP" + bytes(100), "damaged"),
        (blank("PNG", (13_000, 13_000), "1"), "50 megapixels"),
        (blank("PNG", (12_001, 1), "1"), "12,000 a side"),
        (blank("PNG", (20_000, 20_000), "1"), "50 megapixels"),
        (draw(kind="GIF", mode="P"), "GIF is not supported: use JPEG, PNG or WebP"),
        (draw(kind="BMP"), "BMP is not supported"),
        (draw(kind="TIFF"), "TIFF is not supported"),
        (draw(kind="AVIF"), "AVIF is not supported"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "HEIC is not supported"),
        (b"%PDF-1.7", "PDF is not supported"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG is not supported"),
        (b"\n <!DOCTYPE HTML><p>", "web page"),
        (b'{"error": 404}', "not a picture"),
        (b"\x00", "not a picture"),
    ],
)
def test_anything_else_is_refused_in_a_merchants_words(inspector: Inspector, content: bytes, reason: str) -> None:
    with pytest.raises(PictureError, match=reason) as refusal:
        inspector.inspect(content)

    assert not refusal.value.transient


def test_a_picture_that_needs_too_much_memory_is_refused_and_the_next_one_is_not() -> None:
    with Inspector(CopyLimits(decode_bytes=200_000_000)) as inspector:
        with pytest.raises(PictureError, match="too much memory"):
            inspector.inspect(blank("PNG", (7000, 7000), "RGBA"))
        assert inspector.inspect(draw()) is PictureKind.JPEG


def test_a_crashed_process_rejects_its_picture_and_is_replaced(program: Path) -> None:
    with Inspector(CopyLimits(decode_workers=1), program) as inspector:
        for _ in range(2):
            with pytest.raises(PictureError, match="stops the decoder") as refusal:
                inspector.inspect(JPEG_HEAD + b"crash")
            assert not refusal.value.transient
            assert inspector.inspect(JPEG_HEAD) is PictureKind.JPEG


def test_a_hung_process_rejects_its_picture_and_is_replaced(program: Path) -> None:
    with Inspector(CopyLimits(decode_workers=1, decode_seconds=0.5), program) as inspector:
        with pytest.raises(PictureError, match=r"longer than 0\.5 seconds") as refusal:
            inspector.inspect(JPEG_HEAD + b"hang")
        assert refusal.value.transient
        assert inspector.inspect(JPEG_HEAD) is PictureKind.JPEG


def test_a_crash_blames_no_other_picture_in_flight(program: Path) -> None:
    def accepted(content: bytes) -> bool:
        try:
            return inspector.inspect(content) is PictureKind.JPEG
        except PictureError:
            return False

    pictures = [JPEG_HEAD + (b"crash" if number % 5 == 0 else b"") for number in range(40)]
    with Inspector(CopyLimits(decode_workers=2), program) as inspector, ThreadPoolExecutor(8) as threads:
        verdicts = list(threads.map(accepted, pictures))

    assert verdicts == [number % 5 != 0 for number in range(40)]


def test_a_decoding_process_has_no_environment(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    monkeypatch.setenv("SOME_SECRET", "hush")
    # Python itself may add LC_CTYPE.
    with (
        Inspector(CopyLimits(), program) as inspector,
        pytest.raises(PictureError, match=r"^[01] variables"),
    ):
        inspector.inspect(JPEG_HEAD + b"environment")


def test_a_decoder_that_cannot_start_is_not_blamed_on_the_picture(tmp_path: Path) -> None:
    broken = tmp_path / "decoder.py"
    broken.write_text("import a_module_that_is_not_there")

    with Inspector(program=broken) as inspector, pytest.raises(DecoderError, match="exit code"):
        inspector.inspect(draw())


def test_a_closed_inspector_starts_again_when_asked() -> None:
    inspector = Inspector()
    assert inspector.inspect(draw()) is PictureKind.JPEG
    inspector.close()
    assert inspector.inspect(draw()) is PictureKind.JPEG
    inspector.close()
