"""The process that is measured: `python -m benchmarks.providers.work TASK`, where TASK is a file with a task as JSON.

Prints one line of JSON: seconds, CPU seconds and the peak of resident memory. Started by `trial`, not by hand. The
clock runs around the work only; imports and reading the task are done before.
"""

import csv
import json
import sys
from collections import deque
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx

from benchmarks.measure import BenchmarkError, Stopwatch, own_peak_bytes
from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.providers.http import Patience
from cata_pipeline.providers.pacing import Pacing
from cata_pipeline.providers.registry import provider_named
from cata_pipeline.settings import Endpoint


def ours(task: dict[str, Any]) -> Callable[[], None]:
    """This project: fetch and map; the catalog is in memory when the clock stops."""
    provider = provider_named(task["slug"])
    policy = AddressPolicy(frozenset({Endpoint(ip_address("127.0.0.1"), task["port"])}))

    # Imports its backend now: anyio would do so on the first connection.
    anyio.run(anyio.lowlevel.checkpoint)

    def work() -> None:
        catalog = provider.fetch(task["options"], task["secrets"], policy, Patience(pacing=Pacing(interval=0)))
        if len(catalog.items) != task["size"]:
            raise BenchmarkError(f"{len(catalog.items)} of {task['size']} items came.")

    return work


def floor(task: dict[str, Any]) -> Callable[[], None]:
    """The same pages with httpx and a parser of the standard library alone: each is read, parsed and forgotten."""
    parse = PARSERS[task["form"]]

    def work() -> None:
        with httpx.Client(trust_env=False) as client:
            for request in task["requests"]:
                reply = client.request(
                    request["method"], request["url"], headers=request["headers"], content=request["body"]
                )
                parse(reply.raise_for_status())

    return work


def _json(reply: httpx.Response) -> None:
    json.loads(reply.content)


def _json_lines(reply: httpx.Response) -> None:
    for line in reply.content.splitlines():
        json.loads(line)


def _csv(reply: httpx.Response) -> None:
    deque(csv.reader(reply.text.splitlines(keepends=True)), maxlen=0)


PARSERS: dict[str, Callable[[httpx.Response], None]] = {"json": _json, "json lines": _json_lines, "csv": _csv}
"""What the floor does with a page, by the form that the store's pages have."""


def main() -> None:
    """Prepare, work, and say what the work took."""
    task = json.loads(Path(sys.argv[1]).read_text())
    work = {"ours": ours, "floor": floor}[task["who"]](task)
    with Stopwatch() as watch:
        work()
    told = {"seconds": watch.seconds, "cpu_seconds": watch.cpu_seconds, "peak_bytes": own_peak_bytes()}
    sys.stdout.write(f"{json.dumps(told)}\n")


if __name__ == "__main__":
    main()
