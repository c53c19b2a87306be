"""A running `cata-pipeline dev` for tests and pictures: started, waited for, asked, and ended with all its processes.

Add here what several users of it need. What a person does in its UI is `dagster_ui`.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

Found = TypeVar("Found")

PROGRAM = str(Path(sys.executable).with_name("cata-pipeline"))
PATIENCE_SECONDS = 240.0

PARTITIONS = """
{ assetNodes(assetKeys: [{path: ["reconciled_items"]}]) { partitionKeys } }
"""
LAUNCH = """
mutation ($run: ExecutionParams!) {
  launchRun(executionParams: $run) { __typename ... on LaunchRunSuccess { run { runId } } }
}
"""
RUNS = """
query ($filter: RunsFilter!) {
  runsOrError(filter: $filter) { ... on Runs { results { status tags { key value } } } }
}
"""


def unused_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Dev:
    """A running `cata-pipeline dev` with a state folder and a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.log = folder / "dev.log"
        self.port = unused_port()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "dev", "--state", str(self.state), "--port", str(self.port)],
                cwd=folder,
                env={"PATH": os.defpath, "HOME": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def origin(self) -> str:
        """Where the UI is."""
        return f"http://127.0.0.1:{self.port}"

    def log_end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-60:])

    def wait_for(self, what: str, ask: Callable[[], Found | None]) -> Found:
        """What `ask` finds once it finds something true; raises `TimeoutError` with the end of the log."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := ask():
                return found
            time.sleep(0.5)
        status = self.process.poll()
        raise TimeoutError(f"Waited for {what}; exit status {status}. The log ends:\n{self.log_end()}")

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """One GraphQL call; the answer must be free of errors."""
        reply = httpx.post(
            f"{self.origin}/graphql",
            json={"query": query, "variables": variables},
            timeout=60,
            trust_env=False,
        )
        answer = reply.json()
        assert "errors" not in answer, answer
        data = answer["data"]
        assert isinstance(data, dict)
        return data

    def partitions(self) -> list[str]:
        """The partitions of `reconciled_items`; none while the server does not answer yet."""
        with contextlib.suppress(httpx.TransportError):
            for node in self.ask(PARTITIONS)["assetNodes"]:
                return list(node["partitionKeys"])
        return []

    def launch(self, tenant_id: str) -> str:
        """Materialize a tenant's partition, as the button in the UI does; returns the run's id."""
        selector = {"repositoryName": "__repository__", "repositoryLocationName": "cata_pipeline"}
        tags = [{"key": "dagster/partition", "value": tenant_id}]
        run = {"selector": selector | {"jobName": "sync_tenants"}, "executionMetadata": {"tags": tags}}
        launched = self.ask(LAUNCH, run=run)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess"
        return str(launched["run"]["runId"])

    def has_run(self, **wanted: Any) -> bool:
        return bool(self.ask(RUNS, filter=wanted)["runsOrError"]["results"])

    def finished_run(self, **wanted: Any) -> dict[str, Any] | None:
        """The one run that was asked for, once it succeeded."""
        for run in self.ask(RUNS, filter=wanted)["runsOrError"]["results"]:
            assert run["status"] not in {"FAILURE", "CANCELED"}, self.log_end()
            if run["status"] == "SUCCESS":
                return dict(run)
        return None

    def environment(self) -> dict[str, str]:
        """The variables of a second terminal, after `. STATE/environment`."""
        done = subprocess.run(
            ["/bin/sh", "-c", '. "$1" && exec env -0', "sh", str(self.state / "environment")],
            env={"PATH": os.defpath},
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)

    def mix_up_credentials(self, tenant_id: str, others_id: str) -> None:
        """Register a demo tenant again with another one's credentials, as a slip in the tenants file does."""
        tenants = (self.state / "tenants.toml").read_text().split("\n\n")
        section = next(text for text in tenants if f'"{tenant_id}"' in text)
        credentials = {name: f'"env:{name.upper().replace("-", "_")}_ISELLER"' for name in (tenant_id, others_id)}
        file = self.folder / "mixed-up.toml"
        file.write_text(section.replace(credentials[tenant_id], credentials[others_id]))
        command = [PROGRAM, "tenants", "import", str(file)]
        told = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=True)
        assert told.stdout == f"changed: {tenant_id}\n"

    def processes(self) -> list[psutil.Process]:
        """Every living process that belongs to the state folder, by arguments, folder or environment."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def _owns(self, process: psutil.Process) -> bool:
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                return False
            words = [*process.cmdline(), process.cwd(), *process.environ().values()]
        except psutil.Error:
            return False
        return any(str(self.folder) in word for word in words)


@contextlib.contextmanager
def running_dev(*, after_demo: bool = False) -> Iterator[Dev]:
    """A `Dev` that has only just been started, on top of the demo's story if wanted; at the end nothing is left."""
    folder = Path(tempfile.mkdtemp(prefix="cata-dev-")).resolve()
    folder.chmod(0o711)  # PostgreSQL's user has to pass through, where root runs the tests
    if after_demo:
        subprocess.run([PROGRAM, "demo", "--state", str(folder / "state")], check=True)
    running = Dev(folder)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.process.wait(60)
        for process in running.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        running.process.wait()
        shutil.rmtree(folder)
