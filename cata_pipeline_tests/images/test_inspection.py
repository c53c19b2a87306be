import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from PIL import Image

from cata_pipeline.errors import StoppedError
from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.inspection import DECODER, DecodeBudgetError, DecoderError, Inspector, _for_decoder
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.objects import PictureKind
from cata_pipeline_tests.images.conftest import Shop
from cata_pipeline_tests.images.hosts import picture
from cata_pipeline_tests.images.pictures import (
    animation,
    blank,
    chunk,
    draw,
    jpeg_that_says,
    phone_picture,
    png,
    saved,
    webp_that_says,
)

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
DECODER_THAT_WAITS = """
import os, pathlib, sys, time
print("{{}}", flush=True)
folder = pathlib.Path({folder!r})
while len(head := sys.stdin.buffer.read(8)) == 8:
    sys.stdin.buffer.read(int.from_bytes(head, "big"))
    (folder / f"asked-{{os.getpid()}}").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    print('{{"format": "JPEG"}}', flush=True)
"""
PATIENCE_SECONDS = 60.0
JPEG_HEAD = b"\xff\xd8\xff"
NOISE = random.Random(1).randbytes(100_000)  # noqa: S311 noise, not a secret
BOMB = zlib.compress(bytes(50_000_000), 9)
EXIF = Image.Exif()
EXIF[0x0112], EXIF[0x010E], EXIF[0x011A] = 6, "a cup", 72.0
TAGS = {"icc_profile": NOISE, "exif": EXIF.tobytes(), "dpi": (72, 72)}
CUP = Image.frombytes("RGB", (100, 100), NOISE[:30_000])
ALL_BUT_THE_LAST_BYTE = slice(0, -1)


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
        # I4: what is missing is not part of the picture
        (draw(kind="PNG")[ALL_BUT_THE_LAST_BYTE], PictureKind.PNG),
        (draw(kind="PNG")[:-12], PictureKind.PNG),
        (phone_picture()[ALL_BUT_THE_LAST_BYTE], PictureKind.JPEG),
        # I3: more than a picture
        (draw(kind="PNG") + b"<script>alert(1)</script>", PictureKind.PNG),
        (draw(kind="WEBP") + b"PK\x03\x04", PictureKind.WEBP),
        # I9: all the frames of an animation are stored, the first is looked at
        (animation("WEBP", 200), PictureKind.WEBP),
        (animation("PNG", 200), PictureKind.PNG),
        (
            saved(Image.new("RGBA", (32, 32)), "PNG", save_all=True, append_images=[CUP.convert("RGBA")]),
            PictureKind.PNG,
        ),
        # I10: unusual, and shown by every browser
        (saved(Image.new("I;16", (32, 32), 9), "PNG"), PictureKind.PNG),
        (saved(Image.new("LA", (32, 32), (0, 255)), "PNG"), PictureKind.PNG),
        (saved(CUP.convert("P"), "PNG", transparency=7), PictureKind.PNG),
        (saved(Image.new("1", (32, 32)), "PNG", **TAGS), PictureKind.PNG),
        (saved(CUP, "PNG", interlace=True, **TAGS), PictureKind.PNG),
        (saved(CUP, "JPEG", progressive=True, xmp=NOISE[:1000], comment=b"x", **TAGS), PictureKind.JPEG),
        (saved(CUP.convert("CMYK"), "JPEG", **TAGS), PictureKind.JPEG),
        (saved(CUP, "WEBP", lossless=True, xmp=NOISE, **TAGS), PictureKind.WEBP),
        (saved(CUP, "MPO", save_all=True, append_images=[CUP], **TAGS), PictureKind.JPEG),
        # large in one way only
        (blank("WEBP", (7000, 7000), "RGB"), PictureKind.WEBP),
        (blank("JPEG", (12_000, 4_000)), PictureKind.JPEG),
        (png(*[chunk(b"tEXt", b"a\x00" + bytes(1000)) for _ in range(2000)]), PictureKind.PNG),
        (png(chunk(b"eXIf", b"MM\x00*\x00\x00\x00\x08" + b"\xff" * 4_000_000)), PictureKind.PNG),
        (png(pixels=BOMB), PictureKind.PNG),
    ],
)
def test_a_sound_picture_is_accepted_by_its_content(inspector: Inspector, content: bytes, kind: PictureKind) -> None:
    assert inspector.inspect(content) is kind


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a picture"),
        (draw()[ALL_BUT_THE_LAST_BYTE], "the file ends early"),
        (saved(CUP, "JPEG", progressive=True)[ALL_BUT_THE_LAST_BYTE], "the file ends early"),
        (draw(kind="WEBP")[ALL_BUT_THE_LAST_BYTE], "the file ends early"),
        (saved(CUP, "WEBP", lossless=True)[ALL_BUT_THE_LAST_BYTE], "the file ends early"),
        (animation("WEBP", 3)[ALL_BUT_THE_LAST_BYTE], "the file ends early"),
        (saved(CUP, "JPEG", progressive=True)[:-2000], "the file ends early"),
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
        # I6, I7: bombs of each format
        (jpeg_that_says(65_500, 65_500), "50 megapixels"),
        (jpeg_that_says(12_001, 8), "12,000 a side"),
        (webp_that_says(16_383, 16_383), "50 megapixels"),
        (png(size=(50_000, 50_000), pixels=b""), "50 megapixels"),
        # I8
        (png(chunk(b"zTXt", b"a\x00\x00" + BOMB)), "too much text or too large a colour profile"),
        (png(chunk(b"iTXt", b"a\x00\x01\x00\x00\x00" + BOMB)), "too much text"),
        (png(chunk(b"iCCP", b"a\x00\x00" + BOMB)), "too large a colour profile"),
        # I9
        (animation("WEBP", 501), "an animation of more than 500 frames"),
        (png(chunk(b"acTL", b"\x7f\xff\xff\xff\x00\x00\x00\x00")), "an animation of more than 500 frames"),
        # I13
        (png(size=(1, 1)), "the picture is only 1 x 1 pixels"),
        (blank("JPEG", (7, 600)), "only 7 x 600 pixels"),
        (blank("PNG", (32, 32), "RGBA"), "wholly transparent"),
        (blank("WEBP", (32, 32), "RGBA"), "wholly transparent"),
        (saved(Image.new("P", (32, 32)), "PNG", transparency=0), "wholly transparent"),
        (png(size=(0, 0)), "damaged"),
        (png(size=(16, 0)), "damaged"),
        (jpeg_that_says(0, 48), "damaged"),
        (jpeg_that_says(64, 0), "damaged"),
        # I3: the beginning of a picture and something else behind it
        (b"GIF89a/*" + b"x" * 100 + b"*/=1", "GIF is not supported"),
        (b"\xff\xd8\xff\xe0<html><script>", "the file ends early"),
        (draw(kind="GIF", mode="P"), "GIF is not supported: use JPEG, PNG or WebP"),
        (draw(kind="BMP"), "BMP is not supported"),
        (draw(kind="TIFF"), "TIFF is not supported"),
        (draw(kind="AVIF"), "AVIF is not supported"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "HEIC is not supported"),
        (b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1heic", "HEIC is not supported"),
        (b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1avif", "AVIF is not supported"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp42", "Video is not supported"),
        (b"\x00\x00\x00\x18ftypxxxx\x00\x00\x00\x00xxxxyyyy", "not a picture"),
        (b"\xff\xff\xff\xffftyp", "not a picture"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL is not supported"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000 is not supported"),
        (b"\x00\x00\x01\x00\x01\x00", "ICO is not supported"),
        (b"8BPS\x00\x01", "PSD is not supported"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "EPS is not supported"),
        (b"PK\x03\x04", "ZIP is not supported"),
        (gzip.compress(b"<svg xmlns='http://www.w3.org/2000/svg'/>", mtime=0), "GZIP is not supported"),
        (b"<svg onload='alert(1)'/>", "SVG is not supported"),
        (b"<?xml version='1.0'?><!--" + b"-" * 2000 + b"--><svg/>", "SVG is not supported"),
        (b"<?xml version='1.0'?><rss/>", "not a picture"),
        (b"<!-- hello --><html>", "web page"),
        (b"<head><title>Log in</title>", "web page"),
        ("<html>".encode("utf-16"), "web page"),
        (b"Not found", "not a picture"),
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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_no_damage_whatsoever_ends_a_process_or_lacks_a_reason(kind: str) -> None:
    chance = random.Random(kind)  # noqa: S311 the same damage each time
    sound = saved(CUP, kind, **TAGS)
    others = set(psutil.Process().children())
    with Inspector(CopyLimits(decode_workers=1)) as inspector:
        assert inspector.inspect(sound) is PictureKind[kind]
        [process] = set(psutil.Process().children()) - others
        for _ in range(300):
            damaged = bytearray(sound)
            for _ in range(chance.choice((1, 2, 20))):
                damaged[chance.randrange(4, min(len(damaged), chance.choice((100, 1 << 20))))] = chance.randrange(256)
            if chance.random() < 0.2:
                del damaged[chance.randrange(4, len(damaged)) :]
            try:
                assert inspector.inspect(bytes(damaged)) is PictureKind[kind]
            except PictureError as refusal:
                assert "stops the decoder" not in refusal.reason  # noqa: PT017 either end is right
        assert set(psutil.Process().children()) - others == {process}


def test_a_decoding_process_that_computes_for_ever_ends_even_if_nobody_is_left_to_end_it(tmp_path: Path) -> None:
    endless = tmp_path / "endless.py"
    endless.write_text(f"""
import runpy, sys
decoder = runpy.run_path({str(DECODER)!r})
def verdict(*_):
    while True:
        pass
decoder["serve"].__globals__["verdict"] = verdict
decoder["main"](sys.argv[1:])
""")
    limits = json.dumps(_for_decoder(CopyLimits(decode_seconds=0.1)))
    done = subprocess.run(
        [sys.executable, "-I", str(endless), limits], input=bytes(8) + bytes(8), capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGXCPU


@pytest.mark.parametrize(
    "answer", ["nonsense", "[1]", '{"other": 1}', '{"format": "GIF"}', "x" * 2_000_000, '{"reason": {"a": 1}}']
)
def test_a_process_that_a_picture_has_taken_over_costs_that_picture_only(tmp_path: Path, answer: str) -> None:
    program = tmp_path / "decoder.py"
    program.write_text(f"""
import sys
print("{{}}", flush=True)
first = True
while len(head := sys.stdin.buffer.read(8)) == 8:
    content = sys.stdin.buffer.read(int.from_bytes(head, "big"))
    print({answer!r} if b"evil" in content else '{{"format": "JPEG"}}', flush=True)
""")
    with Inspector(CopyLimits(decode_workers=1), program) as inspector:
        with pytest.raises(PictureError):
            inspector.inspect(JPEG_HEAD + b"evil")
        assert inspector.inspect(JPEG_HEAD) is PictureKind.JPEG


def test_a_process_that_answers_for_ever_is_not_listened_to(tmp_path: Path) -> None:
    program = tmp_path / "decoder.py"
    program.write_text('print("{}", flush=True)\nwhile True:\n    print("x" * 65_536, end="")\n')
    with (
        Inspector(CopyLimits(decode_seconds=5), program) as inspector,
        pytest.raises(PictureError, match="stops the decoder"),
    ):
        inspector.inspect(JPEG_HEAD)


def test_limits_reach_the_decoding_process() -> None:
    limits = CopyLimits(max_pixels=2_000_000, min_side=40, max_side=2_000, max_frames=2)
    with Inspector(limits) as inspector:
        for content, reason in (
            (blank("PNG", (2_000, 1_001)), "larger than 2 megapixels or 2,000 a side"),
            (blank("PNG", (2_001, 900)), "2,000 a side"),
            (blank("PNG", (39, 900)), "only 39 x 900"),
            (animation("WEBP", 3), "16 x 16"),
        ):
            with pytest.raises(PictureError, match=reason):
                inspector.inspect(content)
    with Inspector(replace(limits, min_side=8)) as inspector:
        with pytest.raises(PictureError, match="more than 2 frames"):
            inspector.inspect(animation("WEBP", 3))
        assert inspector.inspect(animation("WEBP", 2)) is PictureKind.WEBP


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


def children() -> set[psutil.Process]:
    return set(psutil.Process().children())


def wait_until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def decoding(folder: Path, count: int) -> None:
    """Wait until so many processes of `DECODER_THAT_WAITS` have an image."""
    wait_until(lambda: len(list(folder.glob("asked-*"))) >= count)


def test_images_of_one_tenant_that_take_long_hold_up_no_other_tenant(tmp_path: Path) -> None:
    program = tmp_path / "decoder.py"
    program.write_text(DECODER_THAT_WAITS.format(folder=str(tmp_path)))
    limits = CopyLimits(decode_workers=2, decode_seconds=PATIENCE_SECONDS, slow_decode_seconds=0.01)
    with Inspector(limits, program) as inspector, ThreadPoolExecutor(6) as threads:
        slow = [threads.submit(inspector.inspect, JPEG_HEAD, "slow") for _ in range(4)]
        decoding(tmp_path, 1)
        # Were the workers still held, this would wait for as long as those.
        other = [threads.submit(inspector.inspect, JPEG_HEAD, name) for name in ("b", "c")]
        decoding(tmp_path, 4)
        assert not any(future.done() for future in (*slow, *other))
        assert 4 <= len(list(tmp_path.glob("asked-*"))) <= limits.decode_workers + 2
        ours = [process for process in children() if str(program) in process.cmdline()]
        wait_until(lambda: {os.getpriority(os.PRIO_PROCESS, process.pid) for process in ours} == {19})
        (tmp_path / "go").touch()
        assert {future.result() for future in (*slow, *other)} == {PictureKind.JPEG}
        assert not children().intersection(ours), "only root could raise their priority again"


DECODER_THAT_REMEMBERS = """
import sys
print("{}", flush=True)
seen = []
while len(head := sys.stdin.buffer.read(8)) == 8:
    seen.append(sys.stdin.buffer.read(int.from_bytes(head, "big"))[3:].decode())
    print('{"reason": "%s"}' % ",".join(seen), flush=True)
"""


def test_a_process_decodes_the_images_of_one_tenant_only(tmp_path: Path) -> None:
    program = tmp_path / "decoder.py"
    program.write_text(DECODER_THAT_REMEMBERS)
    seen = []
    with Inspector(CopyLimits(decode_workers=1), program) as inspector:
        for tenant_id in ("one", "other", "one", "other"):
            with pytest.raises(PictureError) as told:
                inspector.inspect(JPEG_HEAD + tenant_id.encode(), tenant_id)
            seen.append(told.value.reason)
    assert seen == ["one", "other", "one,one", "other,other"]


def test_the_processes_of_a_tenant_end_with_its_copy() -> None:
    others = children()
    with Inspector() as inspector:
        for tenant_id in ("one", "other"):
            inspector.inspect(draw(), tenant_id)
        assert len(children() - others) == 2
        inspector.release("one")
        assert len(children() - others) == 1


def test_a_tenant_that_used_up_its_decode_time_costs_no_other_tenant_and_begins_anew_with_the_next_copy() -> None:
    with Inspector(CopyLimits(decode_budget_seconds=1e-9)) as inspector:
        for _ in range(2):
            assert inspector.inspect(draw(), "one") is PictureKind.JPEG
            for _ in range(2):
                with pytest.raises(DecodeBudgetError):
                    inspector.inspect(draw(), "one")
            assert inspector.inspect(draw(), "other") is PictureKind.JPEG
            inspector.release("one")
            inspector.release("other")


def test_a_closed_inspector_starts_no_process() -> None:
    others = children()
    inspector = Inspector()
    assert inspector.inspect(draw()) is PictureKind.JPEG
    assert children() != others
    inspector.close()
    assert children() == others
    with pytest.raises(StoppedError, match="due as before"):
        inspector.inspect(draw())
    assert children() == others
    inspector.close()


def test_closing_ends_those_that_have_a_process_and_those_that_wait_for_one_and_blames_no_picture(
    tmp_path: Path,
) -> None:
    program, others = tmp_path / "decoder.py", children()
    program.write_text(DECODER_THAT_WAITS.format(folder=str(tmp_path)))
    limits = CopyLimits(decode_workers=2, decode_seconds=PATIENCE_SECONDS)
    inspector = Inspector(limits, program, closing_seconds=0.05)
    with ThreadPoolExecutor(8) as threads:
        verdicts = [threads.submit(inspector.inspect, JPEG_HEAD) for _ in range(8)]
        wait_until(lambda: len(list(tmp_path.glob("asked-*"))) == 2)
        inspector.close()
        assert children() == others
        assert [type(verdict.exception()) for verdict in verdicts] == [StoppedError] * 8
    assert len(list(tmp_path.glob("asked-*"))) == 2
    assert children() == others


def test_closing_lets_a_picture_that_is_being_decoded_have_its_verdict(tmp_path: Path) -> None:
    program, others = tmp_path / "decoder.py", children()
    program.write_text(DECODER_THAT_WAITS.format(folder=str(tmp_path)))
    inspector = Inspector(CopyLimits(decode_workers=1), program, closing_seconds=PATIENCE_SECONDS)
    with ThreadPoolExecutor(3) as threads:
        decoding = threads.submit(inspector.inspect, JPEG_HEAD)
        wait_until(lambda: bool(list(tmp_path.glob("asked-*"))))
        waiting = threads.submit(inspector.inspect, JPEG_HEAD)
        closing = threads.submit(inspector.close)
        assert isinstance(waiting.exception(), StoppedError)
        assert not closing.done()
        (tmp_path / "go").touch()
        assert decoding.result() is PictureKind.JPEG
        closing.result()
    assert children() == others


def test_closing_while_a_process_starts_is_not_taken_for_a_decoder_that_cannot(tmp_path: Path) -> None:
    program, others = tmp_path / "decoder.py", children()
    program.write_text("import time\ntime.sleep(3600)")
    inspector = Inspector(program=program, closing_seconds=0.05)
    with ThreadPoolExecutor(1) as threads:
        verdict = threads.submit(inspector.inspect, JPEG_HEAD)
        wait_until(lambda: children() != others)
        inspector.close()
        assert isinstance(verdict.exception(), StoppedError)
    assert children() == others


def test_a_copy_whose_inspector_was_closed_settles_nothing_and_the_next_one_does_it(shop: Shop) -> None:
    others = shop.inspector
    shop.host.answers["/latte"] = picture(draw())
    shop.add("LATTE", shop.host.url("/latte"))
    shop.inspector = Inspector()
    shop.inspector.close()
    with pytest.raises(StoppedError):
        shop.copy()
    with shop.control.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM image_urls")).scalar() == 0

    shop.inspector = others
    assert shop.copy().written_back == 1
