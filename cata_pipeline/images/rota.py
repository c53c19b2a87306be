"""Whose turn it is: hands out due URLs, hosts one after the other, so that a slow host never holds up the others.

Add rules about order and fairness between hosts here. What is done with a URL is `copy.py`.
"""

import asyncio
from collections import Counter, defaultdict, deque

from cata_pipeline.images.picture_url import host_of
from cata_pipeline.images.work_list import DueUrl


class Rota:
    """The URLs that are still to be asked, each different, at most `per_host` of one host at once.

    Belongs to one event loop. Takes the URLs out of the list it is given, so that memory falls while they are served.
    """

    def __init__(self, urls: list[DueUrl], per_host: int) -> None:
        self._per_host = per_host
        self._queues: dict[str, deque[DueUrl]] = defaultdict(deque)
        while urls:
            due = urls.pop()
            self._queues[host_of(due.url)].appendleft(due)
        self._ready = deque(self._queues)
        self._asked: Counter[str] = Counter()
        # Parsing a URL is most of the work here, so it is done once.
        self._hosts: dict[str, str] = {}
        self._changed = asyncio.Event()

    async def next(self) -> DueUrl | None:
        """A URL whose host may be asked now; waits for one, and returns None when none is left.

        Whoever takes one says `answered` as soon as its host is done with it.
        """
        while self._queues:
            if self._ready:
                return self._take(self._ready.popleft())
            self._changed.clear()
            await self._changed.wait()
        return None

    def answered(self, due: DueUrl) -> None:
        """The host of this URL may be asked for another one."""
        host = self._hosts.pop(due.url)
        self._asked[host] -= 1
        if host in self._queues and self._asked[host] == self._per_host - 1:
            self._ready.append(host)
        if not self._asked[host]:
            del self._asked[host]
        self._changed.set()

    def close(self) -> list[DueUrl]:
        """Hand out nothing more; return what was not handed out."""
        left = [due for queue in self._queues.values() for due in queue]
        self._queues.clear()
        self._ready.clear()
        self._changed.set()
        return left

    def _take(self, host: str) -> DueUrl:
        due = self._queues[host].popleft()
        self._asked[host] += 1
        self._hosts[due.url] = host
        if not self._queues[host]:
            del self._queues[host]
            self._changed.set()
        elif self._asked[host] < self._per_host:
            self._ready.append(host)
        return due
