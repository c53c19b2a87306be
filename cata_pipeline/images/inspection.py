"""Decides whether bytes are a picture we accept: by a full decode, which finds truncation, in worker processes.

Worker processes run `decoder.py`; this module starts, feeds, times and replaces them. Pillow is never imported into
our own process. Reasons about kinds we do not take are in `kinds.py`; whose turn it is, in `decode_turns.py`.
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from cata_pipeline.errors import CataError, StoppedError, TenantError
from cata_pipeline.images import sandbox
from cata_pipeline.images.decode_turns import DecodeTurns, Lane
from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.kinds import sniffed_kind
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.objects import PictureKind
from cata_pipeline.images.scans import has_more_scans

_LOGGER = logging.getLogger(__name__)
DECODER = Path(__file__).with_name("decoder.py")
_LONGEST_ANSWER = 1_000
_LOWEST_PRIORITY = 19
_SLOW_FACTOR = 6
"""How much longer a slow image may take by the wall clock: at the lowest priority it waits for the processor."""
_STOPPED = "the picture is damaged in a way that stops the decoder"
_CLOSED = "The run was ended before a picture was inspected; it is due as before. Start again."


class DecoderError(TenantError):
    """A decoding process does not even start, so no picture can be judged."""

    kind = "decoder"


class DecodeBudgetError(CataError):
    """The tenant's decode time of this run is used up; nothing is known of the image, and nothing was done with it."""


class Inspector:
    """The decoding processes of this process: a context manager that several tenants share.

    Processes start when first needed and end with the context (or with our own process, however it ends). One that
    crashes or takes too long rejects the image it had, and only that one; the next image gets a new process. A process
    decodes the images of one tenant only, as hostile bytes may have taken it over. Tenants take turns; an image that
    takes longer than `slow_decode_seconds` goes on at the lowest priority and gives its worker to the next one.
    """

    def __init__(
        self, limits: CopyLimits | None = None, program: Path = DECODER, *, closing_seconds: float = 1.0
    ) -> None:
        self._limits = limits or CopyLimits()
        self._program = program
        self._closing_seconds = closing_seconds
        self._freed = threading.Condition()
        self._turns = DecodeTurns(self._limits.decode_workers)
        self._lanes: dict[str, _TenantLane] = {}
        self._busy: set[_Decoder] = set()
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes, for good; those that have an image are killed after `closing_seconds`.

        Callers that wait for a process are not waited for.
        """
        with self._freed:
            self._is_closed = True
            self._freed.notify_all()
            self._freed.wait_for(lambda: not self._busy, self._closing_seconds)
            for decoder in self._busy:
                decoder.stop()
            for tenant_id in [*self._lanes]:
                self._release(tenant_id)

    def release(self, tenant_id: str) -> None:
        """End the idle processes of a tenant, and forget the decode time it used: its copy is over."""
        with self._freed:
            self._release(tenant_id)

    def inspect(self, content: bytes, tenant_id: str = "") -> PictureKind:
        """The kind of picture that `content` is, wholly decoded; blocks until it is the tenant's turn and done.

        Raises `PictureError` for what is not an acceptable picture, `DecodeBudgetError` when the tenant's time is used
        up, `DecoderError` when no process can be started, and `StoppedError` when closed before there was a verdict, so
        that nothing is known of the picture.
        """
        if sniffed_kind(content) is PictureKind.JPEG and has_more_scans(content, self._limits.max_scans):
            raise PictureError(f"the image has more than {self._limits.max_scans} scans: save it as a baseline JPEG")
        lane, decoder = self._taken(tenant_id)
        try:
            answer = self._asked(lane, decoder, content)
        finally:
            self._give_back(lane, decoder)
        if answer.get("format") not in PictureKind.__members__:
            raise PictureError(str(answer.get("reason", _STOPPED)))
        return PictureKind[answer["format"]]

    def _taken(self, tenant_id: str) -> "tuple[_TenantLane, _Decoder]":
        """A process of the caller's own, once it is the tenant's turn."""
        with self._freed:
            lane = self._lanes.setdefault(tenant_id, _TenantLane(Lane(), []))
            budget = self._limits.decode_budget_seconds
            self._turns.wait(lane.share)
            try:
                self._freed.wait_for(
                    lambda: self._is_closed or lane.share.seconds >= budget or self._turns.may_start(lane.share)
                )
            finally:
                self._turns.leave(lane.share)
                self._freed.notify_all()
            if self._is_closed:
                raise StoppedError(_CLOSED)
            if lane.share.seconds >= budget:
                raise DecodeBudgetError(f"decoding took {budget:g} seconds")
            # The process used last is taken first, so that a quiet time needs only one.
            decoder = lane.idle.pop() if lane.idle else None
            if decoder is not None and not decoder.is_usable:
                decoder.end()
                decoder = None
            # Started under the lock, so that none starts behind `close`.
            decoder = decoder or _Decoder(self._program, self._limits)
            self._turns.start(lane.share)
            self._busy.add(decoder)
            return lane, decoder

    def _asked(self, lane: "_TenantLane", decoder: "_Decoder", content: bytes) -> dict[str, str]:
        def slow_down() -> None:
            with self._freed:
                self._turns.slow_down(lane.share)
                self._freed.notify_all()

        decoder.await_ready()
        return decoder.ask(content, slow_down)

    def _give_back(self, lane: "_TenantLane", decoder: "_Decoder") -> None:
        with self._freed:
            self._busy.remove(decoder)
            self._turns.finish(lane.share, decoder.seconds, slow=decoder.is_slow)
            decoder.began, decoder.is_slow = None, False
            if decoder.is_usable:
                lane.idle.append(decoder)
            else:
                decoder.end()
            self._freed.notify_all()

    def _release(self, tenant_id: str) -> None:
        lane = self._lanes.pop(tenant_id, None)
        while lane and lane.idle:
            lane.idle.pop().end()


@dataclass(frozen=True)
class _TenantLane:
    """A tenant's turns, and its idle processes."""

    share: Lane
    idle: "list[_Decoder]"


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
        self._slow_seconds = min(limits.slow_decode_seconds, limits.decode_seconds)
        self._is_ready = False
        self._is_overdue = False
        self._is_lost = False
        self._is_low = False
        self._is_stopped = False
        self.is_slow = False
        self.began: float | None = None
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
        return not self._is_overdue and not self._is_lost and not self._is_low and self._process.poll() is None

    @property
    def seconds(self) -> float:
        """How long the image at hand has been decoded; 0 before it was sent."""
        return 0.0 if self.began is None else time.perf_counter() - self.began

    def ask(self, content: bytes, when_slow: Callable[[], None]) -> dict[str, str]:
        """Decode an image; `when_slow` is called from another thread if that takes longer than an ordinary one."""
        self.began = time.perf_counter()
        line = self._exchange(len(content).to_bytes(8, "big") + content, when_slow)
        if not line:
            self._process.kill()
        # The process limits its own processor time, which may end it first.
        if self._is_overdue or (not line and self._process.wait() == -signal.SIGXCPU):
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

    def await_ready(self) -> None:
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

    def _exchange(self, message: bytes, when_slow: Callable[[], None] | None = None) -> bytes:
        """Send and await one line; empty when the process ended or had to be ended, other than by `stop`."""
        done = threading.Event()
        watchdog = threading.Thread(target=self._watch, args=(done, when_slow), daemon=True)
        watchdog.start()
        try:
            self._stdin.write(message)
            self._stdin.flush()
            line = self._stdout.readline(_LONGEST_ANSWER)
        except OSError:
            line = b""
        finally:
            done.set()
            watchdog.join()
        if self._is_overdue or not line.endswith(b"\n"):
            self._is_lost = True
            # The picture did not do that, and must not be blamed.
            if self._is_stopped:
                raise StoppedError(_CLOSED)
            return b""
        return line

    def _watch(self, done: threading.Event, when_slow: Callable[[], None] | None) -> None:
        if when_slow is None:
            if done.wait(self._seconds):
                return
        else:
            if done.wait(self._slow_seconds):
                return
            self.is_slow = True
            # For good, as only root could raise it again: the next image gets a new process.
            self._is_low = True
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, _LOWEST_PRIORITY)
            when_slow()
            if done.wait(self._seconds * _SLOW_FACTOR - self._slow_seconds):
                return
        self._is_overdue = True
        self._process.kill()
