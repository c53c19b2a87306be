"""Runs in processes of their own that are cancelled while a host or a POS keeps them waiting."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import sqlalchemy as sa
from aiohttp import web
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from sqlalchemy.engine import URL, Engine

from cata_pipeline.definitions import defs
from cata_pipeline.demo.menus import MENUS
from cata_pipeline.demo.pos import DemoPos
from cata_pipeline.orchestration.metadata import SNAPSHOT
from cata_pipeline.orchestration.partitions import range_tags
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.tenants.lock import tenant_lock
from cata_pipeline.tenants.model import Tenant
from cata_pipeline_tests.images.hosts import PictureHost, picture
from cata_pipeline_tests.images.pictures import draw

PROGRAM = str(Path(sys.executable).with_name("cata-pipeline"))
PATIENCE_SECONDS = 120.0
GOOD, STALLED, AT_ONCE = 3, 30, 8
TOKEN, PRODUCTS = "/oauth/token", "/api/v2/GetProducts"


async def never(_: web.Request) -> web.StreamResponse:
    """Keeps whoever asks waiting until he leaves."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets this event")


async def token(_: web.Request) -> web.Response:
    return web.json_response({"access_token": "t0ken", "token_type": "bearer"})


@dataclass
class Shop:
    """A registered tenant, at a POS that never answers, with a few good pictures and many that never come."""

    tenant_id: str
    pipeline: Pipeline
    instance: dg.DagsterInstance
    engine: Engine
    host: PictureHost
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        """The program in a process of its own."""
        return self.shell(*arguments, self.tenant_id, "--json")

    def shell(self, *arguments: str) -> subprocess.Popen[str]:
        """The program with these words and no others."""
        words = [PROGRAM, *arguments]
        self.processes.append(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        return self.processes[-1]

    def asked(self, word: str) -> int:
        return sum(word in seen.path for seen in self.host.seen)

    def copies_are_stored(self) -> bool:
        """Whether the good pictures are in the bucket, and as many others as may be are waited for."""
        stored = len(list(self.pipeline.image_bucket.names(f"{self.tenant_id}/items/")))
        return stored == GOOD and self.asked("stalled") == AT_ONCE

    def shown(self) -> int:
        """How many items show a copy."""
        with self.engine.connect() as connection:
            return int(connection.execute(sa.text("SELECT count(main_image_url) FROM items")).scalar_one())

    def ledger(self) -> list[Any]:
        """(copied, failures) of every URL that is settled."""
        statement = sa.text("SELECT path IS NOT NULL, failures FROM image_urls WHERE tenant_id = :tenant")
        with self.pipeline.control.connect() as connection:
            return [tuple(row) for row in connection.execute(statement, {"tenant": self.tenant_id})]

    def lock_is_free(self, purpose: str) -> bool:
        with tenant_lock(self.pipeline.control, self.tenant_id, purpose, "test", wait_seconds=0.05):
            return True

    def told_of_snapshot(self, tenant_id: str) -> bool:
        """Whether a run has an event, of a dry run or not, of a tenant's snapshot."""
        kinds = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION}
        return any(
            entry.get_dagster_event().asset_key == SNAPSHOT and entry.get_dagster_event().partition == tenant_id
            for run in self.instance.get_runs()
            for entry in self.instance.all_logs(run.run_id, of_type=kinds)
        )

    def run_status(self) -> dg.DagsterRunStatus:
        [run] = self.instance.get_runs()
        return run.status


@pytest.fixture
def shop(
    instance: dg.DagsterInstance,
    pos: DemoPos,
    new_pipeline: Callable[..., Pipeline],
    tenant_id: str,
    tenant_engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shop]:
    with PictureHost() as host:
        pipeline = new_pipeline(CATA_ALLOW_PRIVATE_ENDPOINTS=f"{pos.endpoints},127.0.0.1:{host.port}")
        monkeypatch.setenv("SHOP", json.dumps({"api_key": "shop", "api_secret": "s3cret"}))
        monkeypatch.setenv("DAGSTER_PG_URL", instance.run_storage.postgres_url)  # type: ignore[attr-defined]
        host.answers |= {TOKEN: token, PRODUCTS: never}
        options = {"store_url": host.url(""), "token_url": host.url(TOKEN)}
        pipeline.registry.import_tenants([Tenant(tenant_id, "iseller", "env:SHOP", options=options)])
        instance.add_dynamic_partitions("tenants", [tenant_id])
        with tenant_engine.begin() as connection:
            for number in range(GOOD + STALLED):
                # The good ones come first, so that they are stored while the others are waited for.
                path = f"/{'good' if number < GOOD else 'stalled'}-{number}"
                host.answers[path] = picture(draw(number)) if number < GOOD else never
                connection.execute(
                    sa.text("INSERT INTO items (item_code, external_image_url) VALUES (:code, :url)"),
                    {"code": f"I{number:03}", "url": host.url(path)},
                )
        shop = Shop(tenant_id, pipeline, instance, tenant_engine, host)
        yield shop
        for process in shop.processes:
            process.kill()
            process.communicate()


def wait_until(what: str, happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happens():
        assert time.monotonic() < deadline, f"It never came about that {what}."
        time.sleep(0.05)


def alive(processes: list[psutil.Process]) -> list[str]:
    return [
        process.name() for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


def assert_nothing_finished_is_lost(shop: Shop) -> None:
    """What had arrived is shown and settled, nobody waited for the rest, and the next copy does only that."""
    assert shop.shown() == GOOD
    assert shop.ledger() == [(True, 0)] * GOOD
    assert shop.asked("stalled") == AT_ONCE
    assert shop.lock_is_free("images")
    [run] = shop.pipeline.history.newest([shop.tenant_id]).values()
    assert run.error is not None
    assert run.error.startswith(f"The copy was ended after {GOOD} of {GOOD + STALLED} pictures; these are done")
    for number in range(GOOD, GOOD + STALLED):
        shop.host.answers[f"/stalled-{number}"] = picture(draw(number))
    [outcome] = shop.pipeline.copy_images_batch([shop.tenant_id], "next", concurrency=1)
    assert (outcome.error, outcome.counts["considered"], outcome.counts["written_back"]) == (None, STALLED, STALLED)
    assert shop.asked("good") == GOOD


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_image_copy_at_the_command_line_and_loses_nothing_finished(
    shop: Shop, number: signal.Signals
) -> None:
    process = shop.command("images")
    wait_until("pictures are stored and waited for", shop.copies_are_stored)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    process.send_signal(number)
    told = json.loads(process.communicate(timeout=PATIENCE_SECONDS)[0])
    assert process.returncode == 1
    assert told["tenants"][shop.tenant_id]["ok"] is False
    assert "was cancelled" in told["tenants"][shop.tenant_id]["error"]
    assert shop.run_status() is dg.DagsterRunStatus.CANCELED
    assert alive(workers) == []
    assert_nothing_finished_is_lost(shop)


def test_terminating_a_run_from_the_ui_ends_its_image_copy_and_loses_nothing_finished(shop: Shop) -> None:
    target = ModuleTarget("cata_pipeline.definitions", None, None, "cata_pipeline")
    with create_test_daemon_workspace_context(target, shop.instance) as context:
        workspace = context.create_request_context()
        job = workspace.get_code_location("cata_pipeline").get_repository("__repository__").get_full_job("copy_images")
        run = shop.instance.create_run_for_job(
            job_def=defs.resolve_job_def("copy_images"),
            tags=range_tags([shop.tenant_id]),
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
        )
        shop.instance.launch_run(run.run_id, workspace)
        wait_until("pictures are stored and waited for", shop.copies_are_stored)
        assert shop.instance.run_launcher.terminate(run.run_id)
        wait_until("the run is over", lambda: shop.run_status() is dg.DagsterRunStatus.CANCELED)
    assert_nothing_finished_is_lost(shop)


def test_a_signal_ends_a_sync_whose_pos_does_not_answer(shop: Shop) -> None:
    process = shop.command("sync")
    wait_until("the POS is asked for products", lambda: shop.asked(PRODUCTS) == 1)
    process.send_signal(signal.SIGTERM)
    told = json.loads(process.communicate(timeout=PATIENCE_SECONDS)[0])
    assert (process.returncode, told["tenants"][shop.tenant_id]["ok"]) == (1, False)
    assert shop.run_status() is dg.DagsterRunStatus.CANCELED
    assert shop.asked(PRODUCTS) == 1, "nobody waited until the next try"
    assert shop.lock_is_free("sync")


@pytest.fixture
def bare(shop: Shop, pos: DemoPos, new_tenant_database: Callable[[str], URL], monkeypatch: pytest.MonkeyPatch) -> str:
    """A second tenant, whose POS answers and whose table `items` is gone."""
    tenant_id = MENUS[1].tenant_id
    engine = sa.create_engine(new_tenant_database(tenant_id), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE items CASCADE"))
    monkeypatch.setenv("BARE", json.dumps(pos.store(tenant_id).credentials))
    options = {"store_url": pos.store(tenant_id).url, "token_url": pos.token_url}
    shop.pipeline.registry.import_tenants([Tenant(tenant_id, "iseller", "env:BARE", options=options)])
    shop.instance.add_dynamic_partitions("tenants", [tenant_id])
    return tenant_id


@pytest.mark.parametrize("dry_run", [False, True], ids=["sync", "dry run"])
def test_a_cancelled_sync_tells_why_a_tenant_had_failed_although_its_snapshot_was_taken(
    shop: Shop, bare: str, *, dry_run: bool
) -> None:
    words = ("--dry-run",) if dry_run else ("--json",)
    process = shop.shell("sync", shop.tenant_id, bare, *words)
    wait_until("the snapshot is told", lambda: shop.told_of_snapshot(bare) and shop.asked(PRODUCTS) == 1)
    # The asset puts the failure aside right after it told of the snapshot.
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=PATIENCE_SECONDS)[0]
    assert process.returncode == 1
    reason = "The tenant database has no table items"
    if dry_run:
        assert f"{bare}: FAILED: {reason}" in output
        assert f"{shop.tenant_id}: FAILED: The run was cancelled before" in output
    else:
        told = json.loads(output)["tenants"]
        assert (told[bare]["ok"], told[shop.tenant_id]["ok"]) == (False, False)
        assert told[bare]["error"].startswith(reason)
        assert told[shop.tenant_id]["error"].startswith("The run was cancelled before")
    assert shop.run_status() is dg.DagsterRunStatus.CANCELED
