"""One connection to a picture host: a request at a time, its answer, and the time that both may take.

Add rules about time and about when a connection may be used again here. What counts as an answer is `answer.py`; where
a connection may lead is `guard.py`.
"""

import asyncio
from typing import cast

from cata_pipeline.images.answer import Answer, AnswerError, BrokenOffError
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.picture_url import Origin


class DroppedError(OSError):
    """The host ended a connection without a word on it, as it may when that was kept from an earlier request."""


class Connection(asyncio.Protocol):
    """Waits for answers on one transport; a host that speaks unasked loses it.

    Answers would be parsed and kept for ever otherwise, and the first of them taken for the next one that is asked for.
    """

    def __init__(self, origin: Origin, limits: CopyLimits) -> None:
        self.origin = origin
        self.heard_at = 0.0
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._fault: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        # One timer for all requests: setting one for each would be a tenth of an unchanged picture's cost.
        self._timer: asyncio.TimerHandle | None = None
        self._end = 0.0

    @property
    def is_open(self) -> bool:
        """Whether something may be asked here, as far as is known."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes, end: float) -> Answer:
        """Send a request and wait for the head of its answer.

        Raises `TimeoutError` for one that has not come by `end` (by the loop's clock), or when nothing at all comes
        for `silence_seconds`; otherwise an `OSError`. Whoever asked goes on to `whole`, `rest` or `abort`.
        """
        if self._transport is None or not self.is_open:
            raise DroppedError("the host ended the connection before anything was asked")
        self._answer = answer = Answer(self._limits)
        self._end, self.heard_at = end, self._loop.time()
        if self._timer is None or self._timer.when() > self._patience_ends():
            self._set_timer()
        self._transport.write(request)
        while not answer.has_head:
            await self._more()
        return answer

    async def whole(self) -> bytearray:
        """Wait for the rest of the body; raises as `ask` does."""
        assert self._answer is not None
        while not self._answer.is_complete:
            await self._more()
        return self._answer.body

    def rest(self) -> bool:
        """Done with the answer; returns whether another one may be asked for here, and is closed otherwise."""
        answer, self._answer = self._answer, None
        may_go_on = answer is not None and answer.is_complete and not answer.is_last and self.is_open
        if answer is not None:
            answer.close()
        if not may_go_on:
            self.abort()
        return may_go_on

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls:

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Some bytes arrived."""
        answer = self._answer
        if answer is None or answer.is_complete:
            self.abort()
            return
        self.heard_at = self._loop.time()
        try:
            if answer.feed(data):
                self._wake()
        except OSError as error:
            self._fail(error)

    def eof_received(self) -> None:
        """The host has said all; the transport closes by itself."""
        if self._answer is None or self._fault is not None:
            return
        if not self._answer.has_begun:
            self._fail(DroppedError("the host ended the connection without a word"))
            return
        try:
            self._answer.end()
        except OSError as error:
            self._fail(error)
        else:
            self._wake()

    def connection_lost(self, _: Exception | None) -> None:
        """The transport is closed, by us, by the host or by the network."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answer = self._answer
        if answer is None:
            return
        answer.close()
        if answer.is_complete or self._fault is not None:
            return
        if not answer.has_begun:
            self._fail(DroppedError("the connection was lost without a word"))
        elif answer.has_head:
            self._fail(BrokenOffError("the connection was lost in the middle of the body"))
        else:
            self._fail(AnswerError("the connection was lost before the answer was there"))

    async def _more(self) -> None:
        """Wait until something changes for whoever waits."""
        if self._fault is not None:
            raise self._fault
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._fault = error
        self.abort()
        self._wake()

    def _patience_ends(self) -> float:
        return min(self.heard_at + self._limits.silence_seconds, self._end)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._patience_ends(), self._look)

    def _look(self) -> None:
        """The timer went off: for a request that was answered since, it is set anew or by the next one."""
        self._timer = None
        if self._answer is None or self._answer.is_complete:
            return
        if self._loop.time() < self._patience_ends():
            self._set_timer()
        else:
            self._fail(TimeoutError("the host did not answer in time"))
