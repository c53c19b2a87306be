"""One client on fresh servers, through its stages: what it took, what crossed the wire, and whether all is there."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.images import pictures
from benchmarks.images.clients import Client, Stage
from benchmarks.images.picture_host import Served
from benchmarks.images.site import Site, fresh_site
from benchmarks.images.storage import Received
from benchmarks.measure import BenchmarkError, Cost, run_measured


@dataclass(frozen=True)
class Means:
    """What every trial's servers are made with: the program nginx, and where the fake GCS keeps its objects."""

    nginx: str
    backend: str


@dataclass(frozen=True)
class Figures:
    """What one stage took.

    `seconds` and `cpu_seconds` are the client's work, all of its processes; `start_seconds` is what its process took
    beside (interpreter and imports), 0 where that was not taken apart. `peak_bytes` is its resident memory, summed
    over its processes. `host_`, `storage_` and `database_cpu_seconds` are the servers'.
    """

    seconds: float
    cpu_seconds: float
    start_seconds: float
    peak_bytes: int
    host_cpu_seconds: float
    storage_cpu_seconds: float
    database_cpu_seconds: float
    served: Served
    received: Received

    def all_cpu_seconds(self) -> float:
        """The client's and the servers': less noisy than the wall clock, and its floor where all share few cores."""
        servers = self.host_cpu_seconds + self.storage_cpu_seconds + self.database_cpu_seconds
        return self.cpu_seconds + servers


def run_trial(client: Client, count: int, means: Means, stages: Sequence[Stage] | None = None) -> dict[Stage, Figures]:
    """Take `client` through its stages; raises `BenchmarkError` when it fails or a picture is not there afterwards."""
    figures: dict[Stage, Figures] = {}
    with fresh_site(count, means.nginx, means.backend, with_databases=client.with_databases) as site:
        for stage in stages or client.stages:
            if stage is Stage.CHANGED:
                pictures.change(site.pictures.pictures)
            figures[stage] = _run_stage(client, stage, site)
            _check(client, stage, site)
    return figures


def _run_stage(client: Client, stage: Stage, site: Site) -> Figures:
    site.pictures.start(stage.delay_seconds)
    site.storage.received()
    storage_cpu = site.storage.cpu_seconds()
    database_cpu = site.databases.cpu_seconds() if site.databases else 0.0
    cost = run_measured(client.command(site), environment={**os.environ, **client.environment})
    storage_cpu = site.storage.cpu_seconds() - storage_cpu
    database_cpu = (site.databases.cpu_seconds() if site.databases else 0.0) - database_cpu
    host_cpu = site.pictures.cpu_seconds()
    seconds, cpu_seconds = _work(client, cost)
    return Figures(
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        start_seconds=cost.seconds - seconds,
        peak_bytes=cost.peak_bytes,
        host_cpu_seconds=host_cpu,
        storage_cpu_seconds=storage_cpu,
        database_cpu_seconds=database_cpu,
        served=site.pictures.stop(),
        received=site.storage.received(),
    )


def _work(client: Client, cost: Cost) -> tuple[float, float]:
    if not client.reports_work:
        return cost.seconds, cost.cpu_seconds
    told = json.loads(cost.output.splitlines()[-1])
    if told.get("failed"):
        raise BenchmarkError(f"{client.name} could not copy {told['failed']} pictures: {', '.join(told['reasons'])}")
    return float(told["seconds"]), float(told["cpu_seconds"])


def _check(client: Client, stage: Stage, site: Site) -> None:
    """The server's MD5 of every object against the pictures': nobody is taken at their word."""
    wanted = pictures.digests(site.pictures.pictures)
    found = site.storage.digests() if client.stores else pictures.digests(site.downloads)
    if missing := len(wanted - found):
        raise BenchmarkError(
            f"After the {stage.value} by {client.name}, {missing} of {len(wanted)} pictures are missing."
        )
    if site.databases and (unserved := site.databases.unserved()):
        raise BenchmarkError(f"After the {stage.value} by {client.name}, {unserved} items show no picture.")
