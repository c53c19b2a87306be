"""Runs on Celery workers, with the configuration that `deploy/celery` ships: spread, ended, and lost with a worker."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import psutil
import pytest
import sqlalchemy as sa
import yaml
from dagster._core.launcher import WorkerStatus
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceRequestContext
from dagster._core.workspace.load_target import ModuleTarget
from sqlalchemy.engine import URL, Engine

from cata_pipeline.buckets import Bucket
from cata_pipeline.control.database import open_control_database
from cata_pipeline.definitions import defs
from cata_pipeline.demo.detached import Program, end, own_account
from cata_pipeline.demo.surroundings import PROJECT
from cata_pipeline.errors import TenantBusyError
from cata_pipeline.orchestration.partitions import range_tags
from cata_pipeline.settings import Settings
from cata_pipeline.tenants.lock import tenant_lock
from cata_pipeline.tenants.model import Tenant
from cata_pipeline.tenants.registry import Registry
from cata_pipeline_tests.integration.processes import kill_session
from cata_pipeline_tests.integration.till import CODES, TOKEN, Till
from cata_pipeline_tests.mysql_servers import find_program

pytestmark = pytest.mark.filterwarnings("ignore:Task name 'execute_job'")  # as the launcher says, and pytest forgets

PATIENCE_SECONDS = 240.0
WORKER = (
    "celery",
    "--app",
    "cata_pipeline.orchestration.celery_worker",
    "worker",
    "--concurrency",
    "1",
    "--loglevel",
    "INFO",
)
DAEMON = ("dagster-daemon", "run", "--workspace", str(PROJECT / "workspace.yaml"))


@dataclass
class Machines:
    """Broker, storage and tenants that every process leads to, and the processes that a test starts."""

    folder: Path
    till: Till
    instance: dg.DagsterInstance
    control: Engine
    databases: dict[str, URL]
    of_dagster: dict[str, str]
    of_workers: dict[str, str]
    closing: ExitStack
    logs: list[Path] = field(default_factory=list)

    def start(self, *words: str, name: str, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        """One of our programs in a session of its own, that is killed with everything in it at the end."""
        self.logs.append(self.folder / f"{name}.log")
        with self.logs[-1].open("wb") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name(words[0])), *words[1:]],
                cwd=self.folder,
                env={"PATH": os.defpath, "HOME": str(self.folder), **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.closing.callback(kill_session, process)
        return process

    def worker(self, name: str) -> "subprocess.Popen[bytes]":
        """A worker that is ready for runs."""
        words = (*WORKER, "--hostname", f"{name}@%h")
        process = self.start(*words, name=name, environment=self.of_dagster | self.of_workers)
        self.wait_until(f"worker {name} is ready", lambda: b" ready." in self.logs[-1].read_bytes())
        return process

    def daemon(self) -> None:
        """The daemon; it does not know where tenants, buckets and credentials are."""
        self.start(*DAEMON, name="daemon", environment=self.of_dagster)

    def new_run(
        self, workspace: WorkspaceRequestContext, tenant_ids: Sequence[str], job_name: str = "sync_tenants"
    ) -> dg.DagsterRun:
        """A run that serves neighbours, or no tenant, not yet submitted."""
        repository = workspace.get_code_location("cata_pipeline").get_repository("__repository__")
        job = repository.get_full_job(job_name)
        return self.instance.create_run_for_job(
            job_def=defs.resolve_job_def(job_name),
            tags=range_tags(tenant_ids) if tenant_ids else {},
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
        )

    def health(self, run: dg.DagsterRun) -> WorkerStatus:
        """What run monitoring would be told."""
        found = self.instance.get_run_by_id(run.run_id)
        assert found
        return self.instance.run_launcher.check_run_worker_health(found).status

    def status(self, run: dg.DagsterRun) -> dg.DagsterRunStatus:
        found = self.instance.get_run_by_id(run.run_id)
        assert found
        return found.status

    def served_by(self, run: dg.DagsterRun) -> int | None:
        """The process that serves or served a run, None while none does."""
        for entry in self.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
            event = entry.get_dagster_event()
            if (event.message or "").startswith("Started process for run"):
                return int(str(event.engine_event_data.metadata["pid"].value))
        return None

    def steps_run_in(self, run: dg.DagsterRun) -> set[str]:
        """The processes in which the executor says that steps ran."""
        messages = [
            entry.get_dagster_event().message or ""
            for entry in self.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
        ]
        return {message for message in messages if message.startswith("Executing steps in process")}

    def items(self, tenant_id: str) -> set[tuple[str, str]]:
        engine = sa.create_engine(self.databases[tenant_id], poolclass=sa.NullPool)
        with engine.connect() as connection:
            return {
                (row.item_code, row.name) for row in connection.execute(sa.text("SELECT item_code, name FROM items"))
            }

    def lock_is_free(self, tenant_id: str) -> bool:
        try:
            with tenant_lock(self.control, tenant_id, "sync", "test", wait_seconds=0.05):
                return True
        except TenantBusyError:
            return False

    def wait_until(self, what: str, happens: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not happens():
            ends = "\n".join("\n".join([str(log), *log.read_text().splitlines()[-25:]]) for log in self.logs)
            assert time.monotonic() < deadline, f"It never came about that {what}.\n{ends}"
            time.sleep(0.1)


class Broker:
    """A private Redis on a socket; it keeps nothing on disk."""

    def __init__(self, executable: Path, folder: Path) -> None:
        self._socket = folder / "socket"
        self.url = f"redis+socket://{self._socket}"
        self._program = Program(executable, folder, folder / "log", own_account())
        self._arguments = ["--port", "0", "--unixsocket", str(self._socket), "--save", "", "--dir", str(folder)]
        self._process = self._started()

    def _started(self) -> psutil.Process:
        return self._program.ensure(lambda: self._arguments, lambda _: self._socket.exists())

    def stop(self) -> None:
        end(self._process, signal.SIGTERM)

    def restart(self) -> None:
        self.stop()
        self._process = self._started()


@pytest.fixture
def broker() -> Iterator[Broker]:
    executable = find_program("redis-server")
    if executable is None:
        pytest.skip("redis-server is not installed")
    folder = Path(tempfile.mkdtemp(prefix="cata-redis-"))
    started = Broker(executable, folder)
    try:
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A DAGSTER_HOME with the shipped configuration; lost runs are looked for every second, and code servers end."""
    config = yaml.safe_load((PROJECT / "deploy" / "celery" / "dagster.yaml").read_text())
    config["run_monitoring"]["poll_interval_seconds"] = 1
    config["code_servers"] = {"wait_for_local_processes_on_shutdown": True}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


@pytest.fixture
def machines(
    broker: Broker,
    home: Path,
    settings_environment: dict[str, str],
    new_database: Callable[..., URL],
    new_tenant_database: Callable[[str], URL],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Machines]:
    storage = new_database().set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    of_dagster = {"DAGSTER_HOME": str(home), "DAGSTER_PG_URL": storage, "CATA_CELERY_BROKER_URL": broker.url}
    for name, value in (of_dagster | settings_environment).items():  # what the code location of `workspace` has
        monkeypatch.setenv(name, value)
    tenant_ids = [f"warung-{number}" for number in range(12)]
    control = open_control_database(Settings.from_environment(settings_environment).control_database)
    till = Till()
    with ExitStack() as closing, till.host, dg.DagsterInstance.from_config(str(home)) as instance:
        options = {"store_url": till.host.url(""), "token_url": till.host.url(TOKEN)}
        Registry(control).import_tenants(
            [Tenant(id_, "iseller", f"env:{secret(id_)}", options=options) for id_ in tenant_ids]
        )
        instance.add_dynamic_partitions("tenants", tenant_ids)
        yield Machines(
            folder=home,
            till=till,
            instance=instance,
            control=control,
            databases={tenant_id: new_tenant_database(tenant_id) for tenant_id in tenant_ids},
            of_dagster=of_dagster,
            of_workers=settings_environment
            | {"CATA_ALLOW_PRIVATE_ENDPOINTS": f"127.0.0.1:{till.host.port}"}
            | {secret(id_): json.dumps({"api_key": id_, "api_secret": "s3cret"}) for id_ in tenant_ids},
            closing=closing,
        )
        till.kept_waiting.clear()


def secret(tenant_id: str) -> str:
    return tenant_id.upper().replace("-", "_")


@pytest.fixture
def workspace(machines: Machines) -> Iterator[WorkspaceRequestContext]:
    target = ModuleTarget("cata_pipeline.definitions", None, None, "cata_pipeline")
    with create_test_daemon_workspace_context(target, machines.instance) as context:
        yield context.create_request_context()


def test_a_fleet_is_spread_over_two_workers_and_the_work_of_a_killed_one_is_finished_by_the_other(
    machines: Machines, workspace: WorkspaceRequestContext
) -> None:
    tenant_ids, till = list(machines.databases), machines.till
    batches = [tenant_ids[start : start + 3] for start in range(0, len(tenant_ids), 3)]
    till.kept_waiting |= {batch[1] for batch in batches}
    machines.daemon()
    workers = {name: machines.worker(name) for name in ("left", "right")}
    runs = [machines.new_run(workspace, batch) for batch in batches]
    for run in runs:
        machines.instance.submit_run(run.run_id, workspace)

    def under_way() -> list[dg.DagsterRun]:
        return [
            run
            for run, batch in zip(runs, batches, strict=True)
            if till.asking[batch[1]] and all(machines.items(tenant_id) for tenant_id in (batch[0], batch[2]))
        ]

    machines.wait_until("each worker is in the midst of a run", lambda: len(under_way()) == len(workers))
    children = {
        name: {child.pid for child in psutil.Process(worker.pid).children()} for name, worker in workers.items()
    }
    serving = {machines.served_by(run): run for run in under_way()}
    assert {name for name, pids in children.items() if pids & serving.keys()} == {"left", "right"}
    [lost] = [run for pid, run in serving.items() if pid in children["left"]]

    os.killpg(workers["left"].pid, signal.SIGKILL)
    till.kept_waiting.clear()

    def everything() -> list[dg.DagsterRun]:
        return list(machines.instance.get_runs(dg.RunsFilter(job_name="sync_tenants")))

    machines.wait_until(
        "every run is over, the repeated one too",
        lambda: len(everything()) == len(runs) + 1 and all(run.is_finished for run in everything()),
    )
    [repeated] = [run for run in everything() if run.parent_run_id]
    assert repeated.parent_run_id == lost.run_id
    assert {run.run_id for run in everything() if run.status is not dg.DagsterRunStatus.SUCCESS} == {lost.run_id}
    finished = [run for run in everything() if run.run_id != lost.run_id]
    assert {machines.served_by(run) for run in finished} == children["right"], "one warm process served them all"
    for run in finished:
        assert machines.steps_run_in(run) == {f"Executing steps in process (pid: {machines.served_by(run)})"}
    for tenant_id in tenant_ids:
        assert machines.items(tenant_id) == {(code, f"{code} of {tenant_id}") for code in CODES}
        assert machines.lock_is_free(tenant_id)
    assert till.at_once == dict.fromkeys(tenant_ids, 1)


def test_terminating_a_run_ends_it_on_its_worker_which_then_serves_the_next_and_leaves_in_good_order(
    machines: Machines, workspace: WorkspaceRequestContext
) -> None:
    [first, second, third] = list(machines.databases)[:3]
    machines.till.kept_waiting |= {first}
    worker = machines.worker("left")
    ended, waiting, following = (machines.new_run(workspace, [tenant_id]) for tenant_id in (first, second, third))
    for run in (ended, waiting, following):
        machines.instance.launch_run(run.run_id, workspace)
    machines.wait_until("the run is under way", lambda: machines.till.asking[first] == 1)
    for run in (ended, waiting):
        assert machines.instance.run_launcher.terminate(run.run_id)
    machines.wait_until("the run is over", lambda: machines.status(ended) is dg.DagsterRunStatus.CANCELED)
    machines.wait_until("its lock is free", lambda: machines.lock_is_free(first))
    assert machines.till.asking[first] == 1, "the POS still keeps it waiting"
    machines.wait_until("the next is over", lambda: machines.status(following) is dg.DagsterRunStatus.SUCCESS)
    assert machines.status(waiting) is dg.DagsterRunStatus.CANCELING
    assert machines.items(second) == set()
    [between_two_runs] = psutil.Process(worker.pid).children()
    between_two_runs.terminate()
    machines.wait_until("a signal ends the process", lambda: not between_two_runs.is_running())
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE_SECONDS) == 0


def test_a_run_goes_on_although_redis_restarts_and_forgets_everything_and_is_lost_only_with_its_process(
    machines: Machines, broker: Broker, workspace: WorkspaceRequestContext
) -> None:
    [first, second] = list(machines.databases)[:2]
    machines.till.kept_waiting |= {first}
    worker = machines.worker("left")
    run, next_run = (machines.new_run(workspace, [tenant_id]) for tenant_id in (first, second))
    machines.instance.launch_run(run.run_id, workspace)
    machines.wait_until("the run is under way", lambda: machines.till.asking[first] == 1)
    assert machines.health(run) is WorkerStatus.RUNNING
    broker.restart()
    assert b"Connection to broker lost" in machines.logs[-1].read_bytes()
    assert machines.health(run) is WorkerStatus.RUNNING
    machines.instance.launch_run(next_run.run_id, workspace)
    [serving] = psutil.Process(worker.pid).children()
    serving.kill()
    machines.wait_until("its loss is noticed", lambda: machines.health(run) is WorkerStatus.FAILED)
    machines.wait_until("the next is over", lambda: machines.status(next_run) is dg.DagsterRunStatus.SUCCESS)


def test_the_run_that_watches_the_fleet_starts_although_every_process_of_every_worker_is_taken(
    machines: Machines, workspace: WorkspaceRequestContext
) -> None:
    first = next(iter(machines.databases))
    machines.till.kept_waiting |= {first}
    machines.worker("left")
    busy, check = machines.new_run(workspace, [first]), machines.new_run(workspace, [], "check_fleet")
    machines.instance.launch_run(busy.run_id, workspace)
    machines.wait_until("the worker is busy", lambda: machines.till.asking[first] == 1)
    machines.instance.submit_run(check.run_id, workspace)
    machines.wait_until("the fleet is looked at", lambda: machines.status(check) is dg.DagsterRunStatus.SUCCESS)
    assert machines.status(busy) is dg.DagsterRunStatus.STARTED


def test_what_a_run_printed_is_read_from_the_bucket_once_its_worker_is_gone(
    machines: Machines, workspace: WorkspaceRequestContext
) -> None:
    first = next(iter(machines.databases))
    worker, run = machines.worker("left"), machines.new_run(workspace, [first])
    machines.instance.launch_run(run.run_id, workspace)
    machines.wait_until("the run is over", lambda: machines.status(run) is dg.DagsterRunStatus.SUCCESS)
    worker.kill()
    shutil.rmtree(machines.folder / "storage", ignore_errors=True)
    [captured] = machines.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED)
    file = captured.get_dagster_event().logs_captured_data.file_key
    log = machines.instance.compute_log_manager.get_log_data([run.run_id, "compute_logs", file])
    assert f"Synced {first}: ".encode() in (log.stderr or b"")
    [bucket] = {machines.of_workers["CATA_SNAPSHOT_BUCKET"]}
    names = Bucket(bucket, machines.of_workers["STORAGE_EMULATOR_HOST"]).names("compute-logs/")
    assert any(run.run_id in name for name in names)


def test_what_celery_changes_of_the_instance_is_the_launcher_waiting_times_and_printed_output() -> None:
    here, there = (
        yaml.safe_load((PROJECT / path).read_text()) for path in ("dagster.yaml", "deploy/celery/dagster.yaml")
    )
    assert there.pop("run_launcher")["class"] == "WarmRunLauncher"
    assert there.pop("compute_logs")["class"] == "GCSComputeLogManager"
    assert here.pop("run_launcher")["class"] == "LocalRunLauncher"
    for config in (here, there):
        del config["run_monitoring"]["start_timeout_seconds"]
    assert there == here
