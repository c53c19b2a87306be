"""The clients that are compared: how each is called, what it does and what it leaves out.

Add a peer here as one more function that returns a `Client`; what it runs, where it is Python, is a module beside.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from benchmarks.images.site import Site
from benchmarks.images.storage import BUCKET

IMG2DATASET_PYTHON = Path(".venv-bench-images/bin/python")


class Stage(Enum):
    """What a client is asked to do, one after the other on the same servers."""

    FIRST = "first copy"
    UNCHANGED = "re-copy, nothing changed, host 20 ms away"
    CHANGED = "re-copy, 5 % changed"

    @property
    def delay_seconds(self) -> float:
        """How much later each response of the image host arrives."""
        return 0.02 if self is Stage.UNCHANGED else 0.0


@dataclass(frozen=True)
class Client:
    """A way to copy pictures; `note` says what it checks and what it does not do.

    `command` is run once a stage, with `environment` beside the ordinary one. `reports_work` when it prints what
    `work.worked` measures; otherwise its whole process counts.
    """

    name: str
    note: str
    command: Callable[[Site], Sequence[str]]
    stages: tuple[Stage, ...] = tuple(Stage)
    reports_work: bool = True
    with_databases: bool = False
    stores: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)


def ours() -> Client:
    """This project."""
    return Client(
        "cata_pipeline",
        "asks conditionally; guards addresses; decodes in other processes; SHA-256; CRC32C; ledger and write-back on"
        " PostgreSQL",
        _our_command,
        with_databases=True,
    )


def rclone(program: str) -> Client:
    """`rclone copy` of the whole folder, as its documentation shows it; it sends as many requests at once as we do."""

    def command(site: Site) -> list[str]:
        return [
            *(program, "copy", ":http:", f":gcs:{BUCKET}/bench/items", "--transfers", "16", "--checkers", "8"),
            *("--http-url", site.pictures.origin, "--gcs-endpoint", f"{site.storage.origin}/storage/v1/"),
            *("--gcs-anonymous", "--gcs-no-check-bucket", "--quiet"),
        ]

    return Client(
        "rclone",
        "lists the folder, one HEAD a picture, compares size and date, GET, upload; checks the size only (HTTP offers"
        " no hash); overwrites by name; no decoding, no guard, no memory, no database",
        command,
        reports_work=False,
        environment={"RCLONE_CONFIG": os.devnull},
    )


def by_hand() -> Client:
    """A thread pool as people write it."""
    return Client(
        "requests + google-cloud-storage",
        "16 threads; SHA-256; create-only; downloads everything every time; no decoding, no guard, no memory",
        lambda site: [
            *(sys.executable, "-m", "benchmarks.images.by_hand"),
            *(str(site.url_file), site.storage.origin, BUCKET),
        ],
    )


def img2dataset() -> Client:
    """The download half of an image pipeline."""
    return Client(
        "img2dataset (download only)",
        "into a folder, nothing is uploaded; 16 threads in each of as many processes as there are cores; SHA-256; its"
        " processes start inside the work",
        lambda site: [
            *(str(IMG2DATASET_PYTHON), "-m", "benchmarks.images.download_half"),
            *(str(site.url_file), str(site.downloads), str(len(site.pictures.urls()))),
        ],
        stages=(Stage.FIRST,),
        stores=False,
        # Two of its dependencies ask the internet, for newer versions and to report.
        environment={"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"},
    )


def why_no_img2dataset() -> str | None:
    """The reason why img2dataset cannot take part; None when it can."""
    if not IMG2DATASET_PYTHON.exists():
        return f"{IMG2DATASET_PYTHON} is not there; make bench-images installs benchmarks/images-requirements.txt"
    tried = subprocess.run(
        [str(IMG2DATASET_PYTHON), "-c", "import img2dataset"],
        env={**os.environ, **img2dataset().environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode == 0:
        return None
    last_line: str = (tried.stderr.strip().splitlines() or [f"its import ended with {tried.returncode}"])[-1]
    return last_line


def _our_command(site: Site) -> list[str]:
    assert site.databases is not None
    return [
        *(sys.executable, "-m", "benchmarks.images.ours", site.databases.control_url, site.databases.tenant_url),
        *(site.storage.origin, BUCKET, site.pictures.origin.removeprefix("http://")),
    ]
