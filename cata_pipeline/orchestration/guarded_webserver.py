"""The command `dagster-webserver`, behind `request_guard`: `python -m cata_pipeline.orchestration.guarded_webserver`.

`CATA_DAGSTER_URL` names the address of the UI where that is not a loopback one. `dagster dev` starts this webserver if
`guarded_dev.py` runs it.
"""

import sys
from typing import Any

from starlette.middleware import Middleware
from yarl import URL

from cata_pipeline.errors import SettingsError
from cata_pipeline.orchestration.dagster_internals import DagsterWebserver, run_webserver
from cata_pipeline.orchestration.request_guard import RequestGuard
from cata_pipeline.settings import dagster_url


class GuardedWebserver(DagsterWebserver[Any, Any]):
    """Dagster's webserver with the guard as its first middleware."""

    def build_middleware(self) -> list[Middleware]:
        """Return the guard, then Dagster's own."""
        url = dagster_url()
        return [Middleware(RequestGuard, URL(url) if url else None), *super().build_middleware()]


if __name__ == "__main__":
    try:
        run_webserver(GuardedWebserver)
    except SettingsError as error:
        sys.exit(f"Error: {error}")
