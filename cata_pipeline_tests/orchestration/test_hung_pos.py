"""POSes that hang in different ways inside a batch, through the real assets: they cost their own budget and no more."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import AssetPartitionStatus
from sqlalchemy.engine import URL

from cata_pipeline.batch import left_behind
from cata_pipeline.definitions import build_defs
from cata_pipeline.demo.menus import MENUS
from cata_pipeline.demo.pos import DemoPos
from cata_pipeline.orchestration.metadata import RECONCILED, SNAPSHOT
from cata_pipeline.orchestration.partitions import TENANTS, range_tags
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.providers.conformance.scripted_server import Answer, ScriptedServer, answer, running
from cata_pipeline.tenants.lock import tenant_lock
from cata_pipeline.tenants.model import Tenant
from cata_pipeline_tests.orchestration.alert_daemon import Daemon

TOKEN, PRODUCTS = "/oauth/token", "/api/v2/GetProducts"
WELL = [menu.tenant_id for menu in MENUS[:2]]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
ONE_MORE = {"products": [], "has_next_item": True, "status": True, "error_message": None}
TOO_SLOW = "no complete answer within 1 s"


@dataclass(frozen=True)
class Batch:
    """A batch in which the hung tenants come first, and take every place there is at once."""

    instance: dg.DagsterInstance
    pipeline: Pipeline
    hung: list[str]

    def run(self) -> dg.ExecuteInProcessResult:
        keys = [*self.hung, *WELL]
        return (
            build_defs()
            .resolve_job_def("sync_tenants")
            .execute_in_process(
                instance=self.instance,
                tags=range_tags(keys),
                run_config={"ops": {"catalog_sync": {"config": {"concurrency": len(self.hung)}}}},
                raise_on_error=False,
            )
        )

    def statuses(self, asset: dg.AssetKey) -> list[AssetPartitionStatus | None]:
        keys = [*self.hung, *WELL]
        found = self.instance.get_status_by_partition(asset, keys, TENANTS) or {}
        return [found.get(key) for key in keys]


@pytest.fixture
def hung() -> Iterator[dict[str, ScriptedServer]]:
    """A POS for each way to hang: at an address of its own, because requests are paced by address."""
    ways: dict[str, tuple[str, Callable[[ScriptedServer], Answer]]] = {
        "silent": (PRODUCTS, lambda server: server.stall(b"")),
        "silent-at-the-door": (TOKEN, lambda server: server.stall(b"")),
        "half-an-answer": (PRODUCTS, lambda server: server.stall(HEAD + b'{"products": [')),
        "dripping": (PRODUCTS, lambda server: server.repeat(HEAD, b" ")),
        "endless": (PRODUCTS, lambda _: answer(ONE_MORE)),
    }
    with ExitStack() as started:
        servers = {}
        for tenant_id, (path, way) in ways.items():
            server = servers[tenant_id] = started.enter_context(running(ScriptedServer()))
            server.script(TOKEN, answer({"access_token": "t0ken", "token_type": "bearer"}))
            server.script(path, way(server))
        yield servers


@pytest.fixture
def batch(
    *,
    instance: dg.DagsterInstance,
    pos: DemoPos,
    new_pipeline: Callable[..., Pipeline],
    new_tenant_database: Callable[[str], URL],
    monkeypatch: pytest.MonkeyPatch,
    hung: dict[str, ScriptedServer],
) -> Batch:
    ports = ",".join(f"127.0.0.1:{server.port}" for server in hung.values())
    pipeline = new_pipeline(CATA_ALLOW_PRIVATE_ENDPOINTS=f"{pos.endpoints},{ports}")
    monkeypatch.setenv("HUNG", json.dumps({"api_key": "shop", "api_secret": "s3cret"}))
    budgets = {"request_budget_seconds": 1, "fetch_budget_seconds": 2}
    tenants = [
        Tenant(name, "iseller", "env:HUNG", options={**addresses(server.origin), **budgets})
        for name, server in hung.items()
    ]
    for number, tenant_id in enumerate(WELL):
        monkeypatch.setenv(f"WELL_{number}", json.dumps(pos.store(tenant_id).credentials))
        options = {"store_url": pos.store(tenant_id).url, "token_url": pos.token_url}
        tenants.append(Tenant(tenant_id, "iseller", f"env:WELL_{number}", options=options))
    for tenant in tenants:
        if tenant.id != "kopi-kita":  # whose database every test of this package has
            new_tenant_database(tenant.id)
    pipeline.registry.import_tenants(tenants)
    instance.add_dynamic_partitions("tenants", [*hung, *WELL])
    return Batch(instance, pipeline, list(hung))


def addresses(origin: str) -> dict[str, object]:
    return {"store_url": origin, "token_url": f"{origin}{TOKEN}"}


def test_tenants_whose_pos_hangs_fail_after_their_budget_and_the_others_of_the_batch_are_served(batch: Batch) -> None:
    result = batch.run()
    assert result.dagster_run.status is dg.DagsterRunStatus.FAILURE
    failed, served = [AssetPartitionStatus.FAILED] * len(batch.hung), [AssetPartitionStatus.MATERIALIZED] * len(WELL)
    assert batch.statuses(SNAPSHOT) == batch.statuses(RECONCILED) == [*failed, *served]
    [failure] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data
    reasons = failure.user_failure_data.metadata["failed"].value
    assert isinstance(reasons, dict)
    assert reasons.keys() == set(batch.hung)
    for tenant_id in set(batch.hung) - {"endless"}:
        assert f"{TOO_SLOW}. The POS is too slow or stalls: try again later" in reasons[tenant_id]
    assert reasons["endless"].startswith("The catalog was not complete after 2 s, so nothing was taken.")


def test_a_run_in_which_pos_hang_leaves_no_lock_and_no_thread_behind_and_says_whose_fault_it_was(batch: Batch) -> None:
    daemon = Daemon(batch.instance)
    daemon.tick()
    tags = batch.run().dagster_run.tags
    assert range_tags([*batch.hung, *WELL]).items() <= tags.items()
    newest = batch.pipeline.history.newest([*batch.hung, *WELL])
    kinds = [newest[tenant_id, "sync"].error_kind for tenant_id in (*batch.hung, *WELL)]
    assert kinds == ["provider"] * len(batch.hung) + [None] * len(WELL)
    for tenant_id in batch.hung:
        with tenant_lock(batch.pipeline.control, tenant_id, "sync", "the next run", wait_seconds=0.05):
            pass
    assert left_behind() == 0
    daemon.tick()
    assert daemon.told[0].startswith(f"*1 run failed, {len(batch.hung)} tenants*")
