"""Takes the pictures of the Dagster UI that the documentation shows; `make pictures` runs it (needs chromium).

Tells the demo's story in a folder of its own, serves the UI on top of it, and lets a headless browser look.
"""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

IMAGES = Path(__file__).parent / "images"
COMMAND = str(Path(sys.executable).with_name("cata-pipeline"))
PAGES = {
    "lineage": ("assets/reconciled_items?view=lineage&lineageScope=neighbors", "1300,640"),
    "partition": ("assets/reconciled_items?view=partitions&partition=kopi-kita", "1300,1240"),
}
BROWSER = (
    "chromium",
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--virtual-time-budget=20000",
)
PATIENCE_SECONDS = 90


def main() -> None:
    """Write one PNG for each page into `docs/images`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="cata-pictures-") as folder:
        subprocess.run([COMMAND, "demo", "--state", folder], check=True)
        serving = subprocess.Popen([COMMAND, "dev", "--state", folder, "--port", str(port)], stdout=subprocess.DEVNULL)
        try:
            origin = f"http://127.0.0.1:{port}"
            wait_until("the UI answers", lambda: httpx.get(f"{origin}/server_info").is_success)
            wait_until("the sensors' runs are done", lambda: runs_are_done(origin))
            for name, (page, size) in PAGES.items():
                target = f"--screenshot={IMAGES / name}.png"
                profile = f"--user-data-dir={folder}/browser"
                subprocess.run([*BROWSER, profile, f"--window-size={size}", target, f"{origin}/{page}"], check=True)
        finally:
            serving.terminate()
            serving.wait()


def wait_until(what: str, happens: Callable[[], bool]) -> None:
    """Return once it happens; raises `TimeoutError` when it does not."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if happens():
                return
        except httpx.TransportError:
            pass
        time.sleep(1)
    raise TimeoutError(f"After {PATIENCE_SECONDS} seconds it is not so that {what}.")


def runs_are_done(origin: str) -> bool:
    """Whether a run that a sensor started is there, and no run is unfinished."""
    query = "{ runsOrError { ... on Runs { results { status tags { key } } } } }"
    runs = httpx.post(f"{origin}/graphql", json={"query": query}).json()["data"]["runsOrError"]["results"]
    from_sensor = [run for run in runs if "dagster/sensor_name" in {tag["key"] for tag in run["tags"]}]
    return bool(from_sensor) and {run["status"] for run in runs} == {"SUCCESS"}


if __name__ == "__main__":
    main()
