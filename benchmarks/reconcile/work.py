"""The process that is measured: `python -m benchmarks.reconcile.work TASK`, with the task as JSON.

Prints one line of JSON, the fields of `Result`. Started by `task.measure`, not by hand.
"""

import importlib
import json
import sys
from dataclasses import asdict

from benchmarks.measure import Stopwatch, own_peak_bytes
from benchmarks.reconcile.task import Result, Task, server_cpu_seconds


def main() -> None:
    """Prepare, work, and say what the work took."""
    task = Task(**json.loads(sys.argv[1]))
    work = importlib.import_module(f"benchmarks.reconcile.{task.peer}").prepare(task)
    before = server_cpu_seconds(task.server)
    with Stopwatch() as watch:
        work()
    served = server_cpu_seconds(task.server) - before
    result = Result(watch.seconds, watch.cpu_seconds, served, own_peak_bytes())
    sys.stdout.write(f"{json.dumps(asdict(result))}\n")


if __name__ == "__main__":
    main()
