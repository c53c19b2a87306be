"""What a client written in Python measures of itself, in its own process: the work without start and imports.

Imported by processes of another virtual environment too: the standard library only.
"""

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def worked() -> Iterator[dict[str, object]]:
    """Prints, as one JSON line, the wall and CPU seconds of the block and whatever it puts into the dictionary.

    Children of this process count once they were waited for.
    """
    told: dict[str, object] = {}
    started, cpu_before = time.perf_counter(), _cpu_seconds()
    yield told
    measured = {"seconds": time.perf_counter() - started, "cpu_seconds": _cpu_seconds() - cpu_before}
    sys.stdout.write(json.dumps(measured | told) + "\n")


def _cpu_seconds() -> float:
    usages = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
