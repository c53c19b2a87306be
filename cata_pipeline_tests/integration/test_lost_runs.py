"""Runs whose process is gone, with the real daemon and the project's `dagster.yaml`: failed, and started again."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import psutil
import pytest
import sqlalchemy as sa
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceRequestContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster_postgres import PostgresRunStorage
from sqlalchemy.engine import URL

from cata_pipeline.control.database import open_control_database
from cata_pipeline.definitions import defs
from cata_pipeline.demo.surroundings import PROJECT
from cata_pipeline.orchestration.partitions import range_tags
from cata_pipeline.orchestration.run_lock import run_lock_is_held
from cata_pipeline.settings import Settings
from cata_pipeline.tenants.model import Tenant
from cata_pipeline.tenants.registry import Registry
from cata_pipeline_tests.integration.processes import kill_session
from cata_pipeline_tests.integration.till import CODES, TOKEN, Till

PATIENCE_SECONDS = 600.0

TENANTS = [f"warung-{number:02}" for number in range(14)]
IMAGES = 3
PROCESS_OF = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'cata_pipeline run ' || :run_id
"""
UNDER_WAY, SUCCESS, FAILURE = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE


def secret(tenant_id: str) -> str:
    return tenant_id.upper().replace("-", "_")


def is_running(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)  # which nobody may be there to reap
    except psutil.NoSuchProcess:
        return False


@dataclass
class Site:
    """One machine: its instance, its tenants, and the programs that a test starts there."""

    folder: Path
    till: Till
    instance: dg.DagsterInstance
    environment: dict[str, str]
    databases: dict[str, URL]
    closing: ExitStack
    logs: list[Path] = field(default_factory=list)

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """One of our programs in a session of its own, that is killed with everything in it at the end."""
        self.logs.append(self.folder / f"{len(self.logs)}.log")
        with self.logs[-1].open("wb") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name(words[0])), *words[1:]],
                cwd=self.folder,
                env={"PATH": os.defpath, "HOME": str(self.folder), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.closing.callback(kill_session, process)
        return process

    def daemon(self) -> "subprocess.Popen[bytes]":
        """The daemon, which starts the code server, which starts a process for each run."""
        return self.start("dagster-daemon", "run", "--workspace", str(PROJECT / "workspace.yaml"))

    def submit(self, workspace: WorkspaceRequestContext, job_name: str, tags: dict[str, str]) -> dg.DagsterRun:
        """A run that is submitted as schedules, sensors and the UI do."""
        repository = workspace.get_code_location("cata_pipeline").get_repository("__repository__")
        job = repository.get_full_job(job_name)
        run = self.instance.create_run_for_job(
            job_def=defs.resolve_job_def(job_name),
            tags=tags,
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
        )
        return self.instance.submit_run(run.run_id, workspace)

    def sync(self, workspace: WorkspaceRequestContext, tenant_id: str) -> dg.DagsterRun:
        return self.submit(workspace, "sync_tenants", range_tags([tenant_id]))

    def found(self, run: dg.DagsterRun) -> dg.DagsterRun:
        found = self.instance.get_run_by_id(run.run_id)
        assert found
        return found

    def status(self, run: dg.DagsterRun) -> dg.DagsterRunStatus:
        return self.found(run).status

    def statuses(self, runs: Sequence[dg.DagsterRun]) -> Counter[dg.DagsterRunStatus]:
        return Counter(self.status(run) for run in runs)

    def is_alive(self, run: dg.DagsterRun) -> bool:
        return run_lock_is_held(self.instance, run.run_id) is True

    def process(self, run: dg.DagsterRun) -> psutil.Process:
        """The process that serves a run."""
        for entry in self.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
            event = entry.get_dagster_event()
            if (event.message or "").startswith("Started process for run"):
                return psutil.Process(int(str(event.engine_event_data.metadata["pid"].value)))
        raise AssertionError("no process serves the run")

    def retries(self, run: dg.DagsterRun) -> list[dg.DagsterRun]:
        return [each for each in self.instance.get_runs() if each.parent_run_id == run.run_id]

    def is_done(self, tenant_id: str) -> bool:
        """Whether all items are there and all images are copied."""
        engine = sa.create_engine(self.databases[tenant_id], poolclass=sa.NullPool)
        with engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT item_code, main_image_url FROM items")).all()
        return {row.item_code for row in rows} == CODES and sum(bool(row.main_image_url) for row in rows) == IMAGES

    def wait_until(self, what: str, happens: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not happens():
            ends = "\n".join("\n".join([str(log), *log.read_text().splitlines()[-40:]]) for log in self.logs)
            runs = [f"{run.run_id} {run.job_name} {run.status} {dict(run.tags)}" for run in self.instance.get_runs()]
            assert time.monotonic() < deadline, "\n".join([f"It never came about that {what}.", *runs, ends])
            time.sleep(0.2)


@pytest.fixture
def site(
    tmp_path: Path,
    settings_environment: dict[str, str],
    new_database: Callable[..., URL],
    new_tenant_database: Callable[[str], URL],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    (tmp_path / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text())
    storage = new_database().set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    till = Till(images=IMAGES, drips=True)
    with ExitStack() as closing, till.host:
        environment = {
            **settings_environment,
            **{secret(id_): json.dumps({"api_key": id_, "api_secret": "s3cret"}) for id_ in TENANTS},
            "CATA_ALLOW_PRIVATE_ENDPOINTS": f"127.0.0.1:{till.host.port}",
            "DAGSTER_PG_URL": storage,
            "DAGSTER_HOME": str(tmp_path),
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        instance = closing.enter_context(dg.DagsterInstance.from_config(str(tmp_path)))
        # A run that the POS keeps waiting must not fail by itself.
        budgets = {"request_budget_seconds": PATIENCE_SECONDS, "fetch_budget_seconds": PATIENCE_SECONDS}
        options = {"store_url": till.host.url(""), "token_url": till.host.url(TOKEN), **budgets}
        control = open_control_database(Settings.from_environment(settings_environment).control_database)
        Registry(control).import_tenants(
            [Tenant(id_, "iseller", f"env:{secret(id_)}", options=options) for id_ in TENANTS]
        )
        instance.add_dynamic_partitions("tenants", TENANTS)
        databases = {tenant_id: new_tenant_database(tenant_id) for tenant_id in TENANTS}
        yield Site(tmp_path, till, instance, environment, databases, closing)
        till.kept_waiting.clear()


@pytest.fixture
def workspace(site: Site) -> Iterator[WorkspaceRequestContext]:
    target = ModuleTarget("cata_pipeline.definitions", None, None, "cata_pipeline")
    with create_test_daemon_workspace_context(target, site.instance) as context:
        yield context.create_request_context()


def test_after_a_power_loss_everybody_is_synced_and_all_images_are_copied_without_help(
    site: Site, workspace: WorkspaceRequestContext
) -> None:
    site.till.kept_waiting |= set(TENANTS)
    runs = [site.sync(workspace, tenant_id) for tenant_id in TENANTS]
    before = site.daemon()
    queued = {dg.DagsterRunStatus.QUEUED: 10}
    site.wait_until("four are under way", lambda: site.statuses(runs) == {UNDER_WAY: 4, **queued})
    site.wait_until("the POS keeps them waiting", lambda: sum(site.till.asking.values()) == 4)

    check = site.submit(workspace, "check_fleet", {})
    site.wait_until("the fleet is looked at meanwhile", lambda: site.found(check).is_finished)
    assert site.status(check) is SUCCESS
    assert site.statuses(runs) == {UNDER_WAY: 4, **queued}

    lost = [run for run in runs if site.status(run) is UNDER_WAY]
    processes = [site.process(run) for run in lost]
    kill_session(before)
    site.wait_until("the processes are gone", lambda: not any(map(is_running, processes)))
    assert site.statuses(runs) == {UNDER_WAY: 4, **queued}
    site.till.kept_waiting.clear()

    site.daemon()
    site.wait_until("everything is done", lambda: all(map(site.is_done, TENANTS)))
    assert site.statuses(runs) == {FAILURE: 4, SUCCESS: 10}
    for run in lost:
        [retry] = site.retries(run)
        assert site.status(retry) is SUCCESS


def test_a_killed_run_is_failed_and_repeated_and_one_that_only_lost_its_connection_is_left_alone(
    site: Site, workspace: WorkspaceRequestContext
) -> None:
    killed, cut_off, by_command = TENANTS[0], TENANTS[5], TENANTS[9]
    site.till.kept_waiting |= {killed, cut_off, by_command}
    dead, living = site.sync(workspace, killed), site.sync(workspace, cut_off)
    site.daemon()
    command = site.start("cata-pipeline", "sync", by_command)
    site.wait_until("three are under way", lambda: sum(site.till.asking.values()) == 3)
    [typed] = site.instance.get_runs(dg.RunsFilter(tags={"trigger": "command line"}))
    assert all(map(site.is_alive, (dead, living, typed)))

    assert isinstance(site.instance.run_storage, PostgresRunStorage)
    with site.instance.run_storage.connect() as connection:
        end = sa.text(f"SELECT pg_terminate_backend(pid, 5000) FROM ({PROCESS_OF}) AS holder")
        assert connection.scalars(end, {"run_id": living.run_id}).all() == [True]
    site.process(dead).kill()
    kill_session(command)
    site.till.kept_waiting -= {killed}

    site.wait_until("the killed runs have failed", lambda: site.statuses([dead, typed]) == {FAILURE: 2})
    site.wait_until("the first is repeated", lambda: site.statuses(site.retries(dead)) == {SUCCESS: 1})
    assert site.is_alive(living)
    assert site.status(living) is UNDER_WAY
    assert site.found(typed).tags["dagster/will_retry"] == "false"
    assert site.retries(typed) == []

    site.till.kept_waiting.clear()
    site.wait_until("the other is over", lambda: site.status(living) is SUCCESS)
    assert site.retries(living) == []
