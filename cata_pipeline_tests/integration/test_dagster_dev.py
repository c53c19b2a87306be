"""`cata-pipeline dev` as a data engineer uses it: one terminal runs it, the UI and a second terminal do the rest."""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from cata_pipeline.demo.menu_kopi_kita import KOPI_KITA

Found = TypeVar("Found")

PROGRAM = str(Path(sys.executable).with_name("cata-pipeline"))
NEW_TENANT = "kopi-kita-two"
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


class Dev:
    """A running `cata-pipeline dev` with a state folder and a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.log = folder / "dev.log"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
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

    def log_end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-60:])

    def wait_for(self, what: str, ask: Callable[[], Found | None]) -> Found:
        """What `ask` finds once it finds something true."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := ask():
                return found
            time.sleep(0.5)
        status = self.process.poll()
        pytest.fail(f"Waited for {what}; exit status {status}. The log ends:\n{self.log_end()}")

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """One GraphQL call; the answer must be free of errors."""
        reply = httpx.post(
            f"http://127.0.0.1:{self.port}/graphql",
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


@pytest.fixture(scope="module")
def dev() -> Iterator[Dev]:
    folder = Path(tempfile.mkdtemp(prefix="cata-dev-")).resolve()
    folder.chmod(0o711)  # PostgreSQL's user has to pass through, where root runs the tests
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


def make_database(environment: Mapping[str, str], tenant_id: str) -> sa.URL:
    """What the neighbour service does for a new merchant; returns the database's URL."""
    url = sa.make_url(environment["CATA_TENANT_DATABASE_URL"].replace("{tenant}", tenant_id))
    plain = url.set(drivername="postgresql")
    with psycopg.connect(
        plain.set(database="postgres").render_as_string(hide_password=False), autocommit=True
    ) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(str(url.database))))
    schema = resources.files("cata_pipeline.demo").joinpath("tenant_schema_postgresql.sql").read_text()
    with psycopg.connect(plain.render_as_string(hide_password=False)) as connection:
        connection.execute(schema.encode())
    return url


def tenants_file(dev: Dev, tenant_id: str) -> Path:
    """A file that registers one more tenant, at the store of the demo's first one."""
    first = tomllib.loads((dev.state / "tenants.toml").read_text())["tenants"][0]
    assert first["id"] == KOPI_KITA.tenant_id
    file = dev.folder / "one-more.toml"
    file.write_text(
        f'[[tenants]]\nid = "{tenant_id}"\nprovider = "iseller"\ncredentials = "{first["credentials"]}"\n'
        "[tenants.options]\n"
        f'store_url = "{first["options"]["store_url"]}"\ntoken_url = "{first["options"]["token_url"]}"\n'
    )
    return file


def items(url: sa.URL) -> list[dict[str, Any]]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        statement = sa.text("SELECT item_code, external_image_url, main_image_url FROM items")
        return [dict(row) for row in connection.execute(statement).mappings()]


def copies(url: sa.URL, without: set[str]) -> dict[str, str] | None:
    """The paths of all copies by item code, once only these items lack one."""
    pictured = {row["item_code"]: row["main_image_url"] for row in items(url) if row["external_image_url"]}
    return pictured if {code for code, path in pictured.items() if path is None} == without else None


def test_a_registered_tenant_is_synced_and_its_pictures_follow_by_themselves(dev: Dev) -> None:
    demo = dev.wait_for("the partitions of the demo's tenants", dev.partitions)
    assert sorted(demo) == ["kopi-kita", "roti-pagi", "warung-nusantara"]

    environment = dev.environment()
    url = make_database(environment, NEW_TENANT)
    told = subprocess.run(
        [PROGRAM, "tenants", "import", str(tenants_file(dev, NEW_TENANT))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, f"added: {NEW_TENANT}\n", "")
    keys = dev.wait_for("the new tenant's partition", lambda: dev.partitions() if len(dev.partitions()) > 3 else None)
    assert keys == [*demo, NEW_TENANT]

    first_sync = [{"key": "dagster/partition", "value": NEW_TENANT}, {"key": "trigger", "value": "first sync"}]
    dev.wait_for("the first sync", lambda: dev.finished_run(tags=first_sync))
    codes = {product.item_code for product in KOPI_KITA.products if product.name}
    assert {row["item_code"] for row in items(url)} == codes

    expected = {KOPI_KITA.cases.broken_picture, KOPI_KITA.cases.missing_picture}
    pictured = dev.wait_for("the image copy", lambda: copies(url, without=expected))
    with httpx.Client(base_url=environment["CATA_IMAGE_BASE_URL"], trust_env=False) as bucket:
        for path in filter(None, pictured.values()):
            picture = bucket.get(path).raise_for_status()
            assert path.startswith(f"{NEW_TENANT}/items/{hashlib.sha256(picture.content).hexdigest()}.")


def test_a_termination_signal_lets_the_run_under_way_finish_and_ends_everything(dev: Dev) -> None:
    dev.wait_for("the UI", dev.partitions)
    run_id = dev.launch(KOPI_KITA.tenant_id)
    dev.wait_for("the run's start", lambda: dev.has_run(runIds=[run_id], statuses=["STARTED", "SUCCESS"]))
    names = {process.name() for process in dev.processes()}
    assert any("postgres" in name for name in names)
    assert any("gcs" in name for name in names)
    dev.process.send_signal(signal.SIGTERM)
    assert dev.process.wait(PATIENCE_SECONDS) == 0, dev.log_end()
    assert [" ".join(process.cmdline()) for process in dev.processes()] == []
    assert f"Synced {KOPI_KITA.tenant_id}: " in dev.log.read_text(), dev.log_end()
