"""`dagster dev` with `guarded_webserver` in place of its own: `python -m cata_pipeline.orchestration.guarded_dev`."""

import subprocess
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

from dagster._cli.dev import dev_command
from dagster_shared.ipc import open_ipc_subprocess

_WEBSERVER = "dagster_webserver"
_GUARDED = "cata_pipeline.orchestration.guarded_webserver"


def _start_guarded(command: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
    return open_ipc_subprocess([_GUARDED if word == _WEBSERVER else word for word in command], **options)


if __name__ == "__main__":
    # Dagster has no option for the webserver. `patch` fails where a new version no longer has this name.
    with patch("dagster._cli.dev.open_ipc_subprocess", _start_guarded):
        dev_command()
