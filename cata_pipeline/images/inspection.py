"""Decides whether bytes are a picture we accept: by a full decode, which finds truncation, in worker processes.

Worker processes run `decoder.py`; this module starts, feeds, times and replaces them. Pillow is never imported into
our own process. Reasons about kinds we do not take are in `kinds.py`.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from cata_pipeline.errors import StoppedError, TenantError
from cata_pipeline.images import sandbox
from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.kinds import sniffed_kind
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.objects import PictureKind

_LOGGER = logging.getLogger(__name__)
DECODER = Path(__file__).with_name("decoder.py")
_LONGEST_ANSWER = 1_000
_STOPPED = "the picture is damaged in a way that stops the decoder"
_CLOSED = "The run was ended before a picture was inspected; it is due as before. Start again."


class DecoderError(TenantError):
    """A decoding process does not even start, so no picture can be judged."""

    kind = "decoder"


class Inspector:
    """The decoding processes of this process: a context manager that several threads share.

    Processes start when first needed and end with the context (or with our own process, however it ends). One that
    crashes or takes too long rejects the picture it had, and only that one; the next picture gets a new process.
    """

    def __init__(
        self, limits: CopyLimits | None = None, program: Path = DECODER, *, closing_seconds: float = 1.0
    ) -> None:
        self._limits = limits or CopyLimits()
        self._program = program
        self._closing_seconds = closing_seconds
        self._freed = threading.Condition()
        # The process used last is taken first, so that a quiet time needs only one.
        self._idle: list[_Decoder] = []
        self._busy: set[_Decoder] = set()
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes, for good; those that have a picture are killed after `closing_seconds`.

        Whoever waits for a process is not waited for.
        """
        with self._freed:
            self._is_closed = True
            self._freed.notify_all()
            self._freed.wait_for(lambda: not self._busy, self._closing_seconds)
            for decoder in self._busy:
                decoder.stop()
            while self._idle:
                self._idle.pop().end()

    def inspect(self, content: bytes) -> PictureKind:
        """The kind of picture that `content` is, wholly decoded; blocks until a process is free and done.

        Raises `PictureError` for what is not an acceptable picture, `DecoderError` when no process can be started, and
        `StoppedError` when closed before there was a verdict, so that nothing is known of the picture.
        """
        sniffed_kind(content)
        decoder = self._taken()
        try:
            answer = decoder.ask(content)
        finally:
            self._give_back(decoder)
        if answer.get("format") not in PictureKind.__members__:
            raise PictureError(str(answer.get("reason", _STOPPED)))
        return PictureKind[answer["format"]]

    def _taken(self) -> "_Decoder":
        """A process of the caller's own, once one is free."""
        with self._freed:
            self._freed.wait_for(lambda: self._is_closed or len(self._busy) < self._limits.decode_workers)
            if self._is_closed:
                raise StoppedError(_CLOSED)
            decoder = self._idle.pop() if self._idle else None
            if decoder is not None and not decoder.is_usable:
                decoder.end()
                decoder = None
            # Started under the lock, so that none starts behind `close`.
            decoder = decoder or _Decoder(self._program, self._limits)
            self._busy.add(decoder)
            return decoder

    def _give_back(self, decoder: "_Decoder") -> None:
        with self._freed:
            self._busy.remove(decoder)
            if decoder.is_usable:
                self._idle.append(decoder)
            else:
                decoder.end()
            self._freed.notify()


@cache
def _warn_once(missing: str) -> None:
    if missing:
        _LOGGER.warning(
            "The processes that decode images run with fewer fences: this system refused %s. Run on Linux, on x86_64 or"
            " aarch64, with a container profile that allows prctl and seccomp; see docs/operations.md, Image decoders.",
            missing,
        )


def _for_decoder(limits: CopyLimits) -> dict[str, float]:
    """The arguments of `decoder.Limits`."""
    return {
        "max_pixels": limits.max_pixels,
        "min_side": limits.min_side,
        "max_side": limits.max_side,
        "max_frames": limits.max_frames,
        "address_space": limits.decode_bytes,
        "seconds": limits.decode_seconds,
    }


class _Decoder:
    """One decoding process; used by one thread at a time."""

    def __init__(self, program: Path, limits: CopyLimits) -> None:
        self._seconds = limits.decode_seconds
        self._is_ready = False
        self._is_overdue = False
        self._is_lost = False
        self._is_stopped = False
        # Secrets of all tenants are in this process's memory and environment.
        self._missing = sandbox.hide_memory()
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                str(program),
                json.dumps(_for_decoder(limits)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Hostile bytes are decoded there: no secret of ours may be in reach.
            env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
            # Ctrl-C must not end a process in the middle of a picture that would then be blamed.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin: IO[bytes] = self._process.stdin
        self._stdout: IO[bytes] = self._process.stdout

    @property
    def is_usable(self) -> bool:
        return not self._is_overdue and not self._is_lost and self._process.poll() is None

    def ask(self, content: bytes) -> dict[str, str]:
        self._await_ready()
        line = self._exchange(len(content).to_bytes(8, "big") + content)
        if self._is_overdue:
            raise PictureError(f"the picture takes longer than {self._seconds:g} seconds to decode", transient=True)
        if not line:
            raise PictureError(_STOPPED)
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not answer.keys() & {"format", "reason"}:
            # A process that a picture has taken over may say anything.
            self._is_lost = True
            raise PictureError(_STOPPED)
        return answer

    def stop(self) -> None:
        """End the process in the middle of a picture; whoever asked gets `StoppedError`."""
        self._is_stopped = True
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def _await_ready(self) -> None:
        if self._is_ready:
            return
        if not (ready := self._exchange(b"")):
            self.end()
            raise DecoderError(
                f"The process that decodes pictures did not start (exit code {self._process.returncode})."
                f" Check that {Path(sys.executable).name} -I can import PIL, and that memory is left."
            )
        _warn_once(", ".join([*self._missing, *filter(None, [json.loads(ready).get("missing")])]))
        self._is_ready = True

    def _exchange(self, message: bytes) -> bytes:
        """Send and await one line; empty when the process ended or had to be ended, other than by `stop`."""
        watchdog = threading.Timer(self._seconds, self._give_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            self._stdin.write(message)
            self._stdin.flush()
            line = self._stdout.readline(_LONGEST_ANSWER)
        except OSError:
            line = b""
        finally:
            watchdog.cancel()
            watchdog.join()
        if self._is_overdue or not line.endswith(b"\n"):
            self._is_lost = True
            # The picture did not do that, and must not be blamed.
            if self._is_stopped:
                raise StoppedError(_CLOSED)
            return b""
        return line

    def _give_up(self) -> None:
        self._is_overdue = True
        self._process.kill()
