"""Serves many tenants at once in threads of their own, and hands over each answer as it is there.

What is done for a tenant is the caller's; how the end of a run reaches those who work is `cata_pipeline.stopping`.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

from cata_pipeline.stopping import Stop

Answer = TypeVar("Answer")
GRACE_SECONDS = 5.0
"""What tenants under way have to finish once the batch is to end."""
_THREAD = "tenant-"


def left_behind() -> int:
    """How many threads of batches that ended are still waiting here, and hold their tenants' locks."""
    return sum(thread.name.startswith(_THREAD) for thread in threading.enumerate())


def each_served(
    tenant_ids: Sequence[str], concurrency: int, serve: Callable[[str], Answer], stop: Stop
) -> Generator[Answer, None, None]:
    """What `serve` answers for each tenant, as it is there; whoever closes this early stops those being served.

    Threads of our own, because the interpreter waits for a pool's at its end: a cancelled run must not outlive a POS
    that answers slowly. One that is left behind writes nothing more: it looks at `stop` before it does.
    """
    waiting, answers = deque(tenant_ids), SimpleQueue[Future[Answer]]()

    def work() -> None:
        while not stop.requested:
            try:
                tenant_id = waiting.popleft()
            except IndexError:
                return
            answer = Future[Answer]()
            try:
                answer.set_result(serve(tenant_id))
            except BaseException as error:  # noqa: BLE001 raised where the answer is read
                answer.set_exception(error)
            answers.put(answer)

    at_once = min(concurrency, len(tenant_ids))
    threads = [threading.Thread(target=work, name=f"{_THREAD}{number}", daemon=True) for number in range(at_once)]
    try:
        for thread in threads:
            thread.start()
        for _ in tenant_ids:
            yield answers.get().result()
    finally:
        stop.request()
        deadline = time.monotonic() + GRACE_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
