"""Runs of the two jobs on a real instance, against the demo POS, real databases and a fake GCS."""

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import dagster as dg
import httpx
import pytest
import sqlalchemy as sa
from dagster._core.storage.partition_status_cache import AssetPartitionStatus
from sqlalchemy.engine import URL, Engine

from cata_pipeline.definitions import build_defs
from cata_pipeline.demo import pos_web
from cata_pipeline.demo.menus import KOPI_KITA, MENUS
from cata_pipeline.demo.pos import DemoPos
from cata_pipeline.images import progress
from cata_pipeline.orchestration import assets
from cata_pipeline.orchestration.image_sensor import image_copies
from cata_pipeline.orchestration.metadata import IMAGES, RECONCILED, SNAPSHOT, sync_events
from cata_pipeline.orchestration.partitions import TENANTS, range_tags
from cata_pipeline.orchestration.resources import shared_pipeline
from cata_pipeline.outcomes import SyncOutcome
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.reconcile.changes import read_changes
from cata_pipeline.tenants.model import Tenant

KOPI, WARUNG, ROTI = EVERYBODY = [menu.tenant_id for menu in MENUS]
MATERIALIZED, FAILED = AssetPartitionStatus.MATERIALIZED, AssetPartitionStatus.FAILED
DATABASE_PASSWORD = "hush-database"
RECONCILED_COUNTS = {
    *("items_in_snapshot", "rejected", "inserted", "updated", "unchanged", "renamed", "names_kept", "hidden", "shown"),
    *("image_urls_changed", "stale", "seconds_fetch", "seconds_write"),
}
IMAGE_COUNTS = {
    *("considered", "not_modified", "downloaded", "bytes_downloaded", "uploaded", "already_stored"),
    *("written_back", "overridden", "failed", "deferred", "seconds"),
}


@dataclass(frozen=True)
class Fleet:
    """The demo's tenants, registered and with partitions, and how to run jobs for them."""

    instance: dg.DagsterInstance
    pos: DemoPos
    pipeline: Pipeline
    engines: Mapping[str, Engine]

    def sync(
        self, *tenant_ids: str, only: dg.AssetKey | None = None, tags: Mapping[str, str] | None = None, **config: Any
    ) -> dg.ExecuteInProcessResult:
        tags = range_tags(tenant_ids) if tags is None else tags
        return self.run("sync_tenants", tags, only=only, config={"catalog_sync": config})

    def copy(self, *tenant_ids: str) -> dg.ExecuteInProcessResult:
        return self.run("copy_images", range_tags(tenant_ids))

    def run(
        self,
        job: str,
        tags: Mapping[str, str],
        *,
        only: dg.AssetKey | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> dg.ExecuteInProcessResult:
        definitions = build_defs(pipeline=shared_pipeline(self.pipeline))
        return definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            tags=tags,
            asset_selection=[only] if only else None,
            run_config={"ops": {op: {"config": settings} for op, settings in (config or {}).items()}},
            raise_on_error=False,
        )

    def statuses(self, key: dg.AssetKey) -> list[AssetPartitionStatus | None]:
        """What the UI shows for each tenant, in the order of `EVERYBODY`."""
        statuses = self.instance.get_status_by_partition(key, EVERYBODY, TENANTS) or {}
        return [statuses.get(tenant_id) for tenant_id in EVERYBODY]

    def materialized(self, key: dg.AssetKey) -> int:
        """How many materializations of an asset there are, of whatever partition."""
        return len(self.instance.fetch_materializations(key, limit=100).records)

    def rows(self, tenant_id: str, statement: str = "SELECT * FROM items ORDER BY item_code") -> list[dict[str, Any]]:
        with self.engines[tenant_id].connect() as connection:
            return [dict(row) for row in connection.execute(sa.text(statement)).mappings()]

    def item(self, tenant_id: str, code: str) -> dict[str, Any]:
        return next(row for row in self.rows(tenant_id) if row["item_code"] == code)

    def edit(self, tenant_id: str, statement: str) -> None:
        with self.engines[tenant_id].begin() as connection:
            connection.execute(sa.text(statement))


@pytest.fixture
def fleet(
    instance: dg.DagsterInstance,
    pos: DemoPos,
    new_pipeline: Callable[..., Pipeline],
    monkeypatch: pytest.MonkeyPatch,
    tenant_database_template: str,
    tenant_database_url: URL,
    new_tenant_database: Callable[[str], URL],
) -> Iterator[Fleet]:
    # The server asks for no password, so it does not mind one that only a leak would show.
    template = tenant_database_template.replace("@", f":{DATABASE_PASSWORD}@")
    pipeline = new_pipeline(CATA_TENANT_DATABASE_URL=template)
    urls = {KOPI: tenant_database_url, **{tenant_id: new_tenant_database(tenant_id) for tenant_id in (WARUNG, ROTI)}}
    for tenant_id in EVERYBODY:
        monkeypatch.setenv(credentials_of(tenant_id), json.dumps(pos.store(tenant_id).credentials))
    pipeline.registry.import_tenants([tenant(pos, tenant_id) for tenant_id in EVERYBODY])
    instance.add_dynamic_partitions("tenants", EVERYBODY)
    engines = {tenant_id: sa.create_engine(url, poolclass=sa.NullPool) for tenant_id, url in urls.items()}
    yield Fleet(instance, pos, pipeline, engines)
    for engine in engines.values():
        engine.dispose()


def credentials_of(tenant_id: str) -> str:
    return f"CREDENTIALS_{EVERYBODY.index(tenant_id)}"


def tenant(pos: DemoPos, tenant_id: str) -> Tenant:
    options = {"store_url": pos.store(tenant_id).url, "token_url": pos.token_url}
    return Tenant(tenant_id, "iseller", f"env:{credentials_of(tenant_id)}", options=options)


def message(result: dg.ExecuteInProcessResult) -> str:
    """What the failed step of a run says."""
    assert not result.success
    [failure] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    if failure.user_failure_data:
        return failure.user_failure_data.description or ""
    assert failure.error
    return (failure.error.cause or failure.error).message


def told(
    result: dg.ExecuteInProcessResult, key: dg.AssetKey, tenant_id: str = KOPI, *, observed: bool = False
) -> dict[str, Any]:
    """The metadata that a run recorded for an asset of a tenant."""
    events: Sequence[dg.AssetMaterialization | dg.AssetObservation] = [
        event.asset_observation_data.asset_observation
        if event.event_type is dg.DagsterEventType.ASSET_OBSERVATION
        else event.step_materialization_data.materialization
        for event in result.all_events
        if event.event_type
        is (dg.DagsterEventType.ASSET_OBSERVATION if observed else dg.DagsterEventType.ASSET_MATERIALIZATION)
    ]
    [event] = [event for event in events if (event.asset_key, event.partition) == (key, tenant_id)]
    return dict(event.metadata)


def number(metadata: Mapping[str, Any], name: str) -> int | float:
    value = metadata[name].value
    # Anything else draws no plot.
    assert type(value) in {int, float}
    return value  # type: ignore[no-any-return]


def orders(pos: DemoPos) -> int:
    """Calls of the POS's product API so far."""
    return sum(pos.store(tenant_id).requests_served["products"] for tenant_id in EVERYBODY)


def test_one_run_serves_three_tenants(fleet: Fleet) -> None:
    result = fleet.sync(*EVERYBODY)
    assert result.success
    assert fleet.statuses(SNAPSHOT) == fleet.statuses(RECONCILED) == [MATERIALIZED] * 3
    for tenant_id in EVERYBODY:
        codes = {product.item_code for product in fleet.pos.store(tenant_id).products if product.name}
        assert {row["item_code"] for row in fleet.rows(tenant_id)} == codes
        assert number(told(result, RECONCILED, tenant_id), "inserted") == len(codes)


def test_one_tenants_wrong_credentials_cost_the_others_nothing(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = fleet.pos.store(WARUNG).credentials | {"api_secret": "mistyped"}
    monkeypatch.setenv(credentials_of(WARUNG), json.dumps(wrong))
    result = fleet.sync(*EVERYBODY)
    assert "1 of 3 tenants failed" in message(result)
    assert f"{WARUNG}: The POS does not accept the credentials" in message(result)
    assert KOPI not in message(result)
    assert fleet.statuses(SNAPSHOT) == fleet.statuses(RECONCILED) == [MATERIALIZED, FAILED, MATERIALIZED]
    assert [bool(fleet.rows(tenant_id)) for tenant_id in EVERYBODY] == [True, False, True]


def test_a_tenant_whose_tables_are_gone_keeps_its_snapshot_and_fails_only_the_reconcile(fleet: Fleet) -> None:
    fleet.edit(WARUNG, "DROP TABLE items CASCADE")
    assert f"{WARUNG}: The tenant database has no table items" in message(fleet.sync(*EVERYBODY))
    assert fleet.statuses(SNAPSHOT) == [MATERIALIZED] * 3
    assert fleet.statuses(RECONCILED) == [MATERIALIZED, FAILED, MATERIALIZED]


def test_a_tenant_that_is_retired_when_its_run_starts_fails_alone(fleet: Fleet) -> None:
    fleet.pipeline.registry.retire([WARUNG])
    assert f"1 of 3 tenants failed: {WARUNG}: Tenant '{WARUNG}' was retired" in message(fleet.sync(*EVERYBODY))
    assert fleet.statuses(RECONCILED) == [MATERIALIZED, FAILED, MATERIALIZED]


def test_a_failed_tenant_is_materialized_again_by_a_run_of_its_own(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(credentials_of(WARUNG), "no JSON")
    fleet.sync(*EVERYBODY)
    monkeypatch.setenv(credentials_of(WARUNG), json.dumps(fleet.pos.store(WARUNG).credentials))
    assert fleet.sync(WARUNG).success
    assert fleet.statuses(SNAPSHOT) == fleet.statuses(RECONCILED) == [MATERIALIZED] * 3


def test_a_failed_run_lists_every_tenant_that_failed(fleet: Fleet) -> None:
    fleet.pipeline.registry.retire(EVERYBODY)
    result = fleet.sync(*EVERYBODY)
    [failure] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data
    failed = failure.user_failure_data.metadata["failed"].value
    assert isinstance(failed, dict)
    assert failed.keys() == set(EVERYBODY)


def test_every_tenant_of_a_run_has_its_line_in_the_runs_log(fleet: Fleet) -> None:
    fleet.pipeline.registry.retire([ROTI])
    result = fleet.sync(*EVERYBODY)
    lines = [entry.user_message for entry in fleet.instance.all_logs(result.run_id) if not entry.is_dagster_event]
    for start in (f"Synced {KOPI}: ", f"Synced {WARUNG}: ", f"Not synced {ROTI}: "):
        assert len([line for line in lines if line.startswith(start)]) == 1


@pytest.mark.parametrize(
    "tags",
    [
        {"dagster/asset_partition_range_start": ROTI, "dagster/asset_partition_range_end": KOPI},
        {},
    ],
    ids=["reversed", "none"],
)
def test_a_run_without_a_tenant_fails_and_records_nothing(tags: dict[str, str], fleet: Fleet) -> None:
    assert "This run names no tenant" in message(fleet.sync(tags=tags))
    assert "This run names no tenant" in message(fleet.run("copy_images", tags))
    assert [fleet.materialized(key) for key in (SNAPSHOT, RECONCILED, IMAGES)] == [0, 0, 0]


def test_a_snapshot_alone_writes_no_row(fleet: Fleet) -> None:
    result = fleet.sync(KOPI, only=SNAPSHOT)
    assert result.success
    assert fleet.rows(KOPI) == []
    assert fleet.statuses(SNAPSHOT) == [MATERIALIZED, None, None]
    assert fleet.statuses(RECONCILED) == [None, None, None]
    metadata = told(result, SNAPSHOT)
    assert number(metadata, "items") == number(metadata, "dagster/partition_row_count") > 30
    assert metadata["gcs"].value in {
        f"gs://{fleet.pipeline.snapshot_bucket.name}/{name}"
        for name in fleet.pipeline.snapshot_bucket.names(f"{KOPI}/")
    }


def test_reconciling_alone_applies_the_newest_snapshot_and_asks_the_pos_nothing(fleet: Fleet) -> None:
    fleet.sync(KOPI, only=SNAPSHOT)
    code = KOPI_KITA.cases.to_rename_by_pos
    fleet.pos.store(KOPI).rename(code, "Name in the newest snapshot")
    newest = told(fleet.sync(KOPI, only=SNAPSHOT), SNAPSHOT)["snapshot"].value
    fleet.pos.store(KOPI).rename(code, "Name that nobody fetched")
    before = orders(fleet.pos)
    result = fleet.sync(KOPI, only=RECONCILED)
    assert result.success
    assert orders(fleet.pos) == before
    assert fleet.item(KOPI, code)["name"] == "Name in the newest snapshot"
    assert told(result, RECONCILED)["snapshot"].value == newest
    assert fleet.materialized(SNAPSHOT) == 2


def test_reconciling_alone_without_any_snapshot_fails_with_the_next_step(fleet: Fleet) -> None:
    assert "has no snapshot yet. Run a sync that fetches one first." in message(fleet.sync(KOPI, only=RECONCILED))
    assert fleet.statuses(RECONCILED) == [FAILED, None, None]


def test_an_older_snapshot_can_be_applied_again(fleet: Fleet) -> None:
    code = KOPI_KITA.cases.to_rename_by_pos
    first = fleet.sync(KOPI)
    older = told(first, RECONCILED)["snapshot"].value
    name = fleet.item(KOPI, code)["name"]
    fleet.pos.store(KOPI).rename(code, "A name of today")
    fleet.sync(KOPI)
    assert fleet.item(KOPI, code)["name"] == "A name of today"
    before = orders(fleet.pos)
    result = fleet.sync(KOPI, from_snapshot=older)
    assert result.success
    assert fleet.item(KOPI, code)["name"] == name
    assert orders(fleet.pos) == before
    metadata = told(result, RECONCILED)
    assert (metadata["snapshot"].value, number(metadata, "renamed"), number(metadata, "updated")) == (older, 1, 1)
    assert fleet.materialized(SNAPSHOT) == 2
    assert fleet.statuses(SNAPSHOT) == fleet.statuses(RECONCILED) == [MATERIALIZED, None, None]


def test_another_tenants_snapshot_is_refused(fleet: Fleet) -> None:
    theirs = told(fleet.sync(WARUNG, only=SNAPSHOT), SNAPSHOT, WARUNG)["snapshot"].value
    assert f"that id belongs to tenant {WARUNG}" in message(fleet.sync(KOPI, from_snapshot=theirs))
    assert fleet.rows(KOPI) == []


def test_replaying_a_snapshot_without_reconciling_fails_instead_of_doing_nothing(fleet: Fleet) -> None:
    mine = told(fleet.sync(KOPI, only=SNAPSHOT), SNAPSHOT)["snapshot"].value
    assert "reconciled_items" in message(fleet.sync(KOPI, only=SNAPSHOT, from_snapshot=mine))


def test_a_dry_run_shows_the_plan_and_leaves_no_mark(fleet: Fleet) -> None:
    result = fleet.sync(KOPI, dry_run=True)
    assert result.success
    metadata = told(result, RECONCILED, observed=True)
    assert number(metadata, "inserted") == number(metadata, "items_in_snapshot") > 30
    assert len(metadata["changes"].records) == 20
    assert "changes_file" not in metadata
    assert fleet.rows(KOPI) == []
    assert [fleet.materialized(key) for key in (SNAPSHOT, RECONCILED)] == [0, 0]
    assert fleet.statuses(SNAPSHOT) == fleet.statuses(RECONCILED) == [None, None, None]
    assert fleet.pipeline.history.newest([KOPI]) == {}


def test_a_dry_run_whose_plan_is_longer_than_its_table_links_the_whole_plan(fleet: Fleet) -> None:
    metadata = told(fleet.sync(KOPI, dry_run=True), RECONCILED, observed=True)
    bucket = fleet.pipeline.snapshot_bucket
    path = metadata["plan_file"].value.removeprefix(f"gs://{bucket.name}/")
    plan = list(read_changes(bucket.read(path)))
    assert len(plan) == number(metadata, "plan_rows") > len(metadata["changes"].records)
    assert {change.action for change in plan} == {"inserted"}
    assert metadata["browse"].value.endswith(f"/{bucket.name}/{path.rpartition('/')[0]}")
    assert {record.data["verdict"] for record in metadata["guards"].records} == {"lets through"}
    assert fleet.statuses(RECONCILED) == [None, None, None]


def test_items_that_are_stale_are_shown_with_since_when(fleet: Fleet) -> None:
    fleet.sync(KOPI)
    code = KOPI_KITA.cases.to_remove
    fleet.pos.store(KOPI).remove(code)
    first, again = (told(fleet.sync(KOPI), RECONCILED)["stale_sample"].records for _ in range(2))
    assert [record.data["item_code"] for record in first] == [code]
    assert [record.data for record in again] == [record.data for record in first]


def test_the_newest_pictures_of_a_copy_are_shown_where_a_browser_finds_them(fleet: Fleet) -> None:
    fleet.sync(KOPI)
    shown = told(fleet.copy(KOPI), IMAGES)["newest"].value
    urls = re.findall(r"\]\((\S+)\)", shown)
    assert 0 < len(urls) <= 6
    for url in urls:
        assert httpx.get(url).headers["Content-Type"].startswith("image/")
    assert len(re.findall(r"\]\((\S+)\)", told(fleet.copy(KOPI), IMAGES)["newest"].value)) == len(urls)


def test_a_long_image_copy_says_in_the_runs_log_how_far_it_is(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_URLS", 10)
    fleet.sync(KOPI)
    result = fleet.copy(KOPI)
    lines = [entry.user_message for entry in fleet.instance.all_logs(result.run_id) if not entry.is_dagster_event]
    total = number(told(result, IMAGES), "considered")
    assert [line for line in lines if line.startswith("Pictures of")] == [
        line for line in lines if re.fullmatch(rf"Pictures of {KOPI}: \d+0 of \d+ URLs done, \d failed", line)
    ]
    assert len([line for line in lines if line.startswith("Pictures of")]) >= 2 < total


def test_an_outcome_that_cannot_be_shown_fails_its_tenant_and_costs_the_others_nothing(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unshowable(outcome: SyncOutcome, *arguments: Any, **options: Any) -> Iterator[Any]:
        events = sync_events(outcome, *arguments, **options)
        if outcome.tenant_id == WARUNG:
            yield next(events)
            raise ZeroDivisionError("a mistake of ours")
        yield from events

    monkeypatch.setattr(assets, "sync_events", unshowable)
    result = fleet.sync(*EVERYBODY)
    assert f"1 of 3 tenants failed: {WARUNG}: It was served, but what became of it cannot be shown" in message(result)
    assert "(ZeroDivisionError)" in message(result)
    assert fleet.statuses(SNAPSHOT) == [MATERIALIZED] * 3
    assert fleet.statuses(RECONCILED) == [MATERIALIZED, FAILED, MATERIALIZED]
    assert all(fleet.rows(tenant_id) for tenant_id in EVERYBODY)
    assert "An outcome cannot be shown" in [entry.user_message for entry in fleet.instance.all_logs(result.run_id)]


def test_a_dry_run_after_a_sync_leaves_the_tenant_as_it_was(fleet: Fleet) -> None:
    fleet.sync(KOPI)
    before, history = fleet.rows(KOPI), fleet.pipeline.history.newest([KOPI])
    fleet.pos.store(KOPI).rename(KOPI_KITA.cases.to_rename_by_pos, "Only planned")
    metadata = told(fleet.sync(KOPI, dry_run=True), RECONCILED, observed=True)
    assert (number(metadata, "updated"), number(metadata, "renamed")) == (1, 1)
    assert "Only planned" in {record.data["new"] for record in metadata["changes"].records}
    assert (fleet.rows(KOPI), fleet.pipeline.history.newest([KOPI])) == (before, history)
    assert fleet.statuses(RECONCILED) == [MATERIALIZED, None, None]


def test_a_dry_run_without_reconciling_is_refused_before_the_pos_is_asked(fleet: Fleet) -> None:
    assert "A dry run" in message(fleet.sync(KOPI, only=SNAPSHOT, dry_run=True))
    assert orders(fleet.pos) == 0


def test_a_guard_refuses_with_counts_and_an_operators_ceiling_admits_one_run(fleet: Fleet) -> None:
    fleet.sync(KOPI)
    store = fleet.pos.store(KOPI)
    for product in [product for product in store.products if product.is_active and product.name][:25]:
        store.deactivate(product.item_code)
    before = fleet.rows(KOPI)
    refused = message(fleet.sync(KOPI))
    assert "it would hide 25 of" in refused
    assert "--allow hide=25" in refused
    assert fleet.rows(KOPI) == before
    assert (fleet.statuses(SNAPSHOT)[0], fleet.statuses(RECONCILED)[0]) == (MATERIALIZED, FAILED)
    too_low = message(fleet.sync(KOPI, allow={"hide": 24}))
    assert "it would hide 25 of" in too_low
    allowed = fleet.sync(KOPI, allow={"hide": 25})
    assert allowed.success
    assert number(told(allowed, RECONCILED), "hidden") == 25
    assert told(allowed, RECONCILED)["allowed"].value == {"hide": 25}
    assert "allowed" not in told(fleet.sync(KOPI), RECONCILED)


def test_an_unknown_guard_is_refused_before_the_pos_is_asked(fleet: Fleet) -> None:
    assert "hides is no guard" in message(fleet.sync(KOPI, allow={"hides": 25}))
    assert orders(fleet.pos) == 0


def test_every_count_of_the_contract_is_there_even_when_nothing_happened(fleet: Fleet) -> None:
    fleet.sync(KOPI)
    fleet.copy(KOPI)
    quiet, idle = told(fleet.sync(KOPI), RECONCILED), told(fleet.copy(KOPI), IMAGES)
    counts = {name: number(quiet, name) for name in RECONCILED_COUNTS}
    assert counts["unchanged"] == counts["items_in_snapshot"] > 30
    zeros = RECONCILED_COUNTS - {"unchanged", "items_in_snapshot", "rejected", "seconds_fetch", "seconds_write"}
    assert {name for name in zeros if counts[name] != 0} == set()
    counts = {name: number(idle, name) for name in IMAGE_COUNTS}
    assert {name for name in IMAGE_COUNTS - {"seconds"} if counts[name] != 0} == set()


def test_inserted_updated_and_unchanged_add_up_to_the_snapshot(fleet: Fleet) -> None:
    fleet.sync(KOPI)
    cases = KOPI_KITA.cases
    fleet.edit(KOPI, f"DELETE FROM items WHERE item_code = '{cases.to_photo_by_pos}'")
    fleet.pos.store(KOPI).rename(cases.to_rename_by_pos, "Renamed at the till")
    metadata = told(fleet.sync(KOPI), RECONCILED)
    inserted, updated, unchanged = (number(metadata, name) for name in ("inserted", "updated", "unchanged"))
    assert (inserted, updated) == (1, 1)
    assert inserted + updated + unchanged == number(metadata, "items_in_snapshot")


def test_every_good_picture_gets_its_copy_and_every_other_a_reason(fleet: Fleet) -> None:
    fleet.sync(KOPI)
    result = fleet.copy(KOPI)
    assert result.success
    assert fleet.statuses(IMAGES) == [MATERIALIZED, None, None]
    objects = set(fleet.pipeline.image_bucket.names(f"{KOPI}/items/"))
    shown = {row["item_code"]: row["main_image_url"] for row in fleet.rows(KOPI) if row["external_image_url"]}
    broken = {KOPI_KITA.cases.broken_picture, KOPI_KITA.cases.missing_picture}
    assert {code for code, path in shown.items() if path is None} == broken
    assert {path for path in shown.values() if path} == objects
    metadata = told(result, IMAGES)
    assert number(metadata, "written_back") == len(shown) - 2
    assert number(metadata, "uploaded") == len(objects)
    assert number(metadata, "failed") == 2
    assert {record.data["item_code"] for record in metadata["failures"].records} == broken


def test_one_tenants_missing_tables_do_not_cost_the_others_their_pictures(fleet: Fleet) -> None:
    for tenant_id in (WARUNG, ROTI):
        fleet.edit(tenant_id, "DROP TABLE items CASCADE")
    fleet.sync(KOPI)
    said = message(fleet.copy(*EVERYBODY))
    assert "2 of 3 tenants failed" in said
    assert f"{WARUNG}: " in said
    assert fleet.statuses(IMAGES) == [MATERIALIZED, FAILED, FAILED]


def test_what_the_sensor_asks_for_after_a_sync_fills_the_pictures_in(fleet: Fleet) -> None:
    fleet.sync(KOPI, WARUNG)
    asked = image_copies(fleet.instance, 0, now=4e9)
    assert isinstance(asked, dg.SensorResult)
    [request] = asked.run_requests or []
    assert fleet.run("copy_images", request.tags).success
    assert fleet.statuses(IMAGES) == [MATERIALIZED, MATERIALIZED, None]
    for tenant_id in (KOPI, WARUNG):
        assert any(row["main_image_url"] for row in fleet.rows(tenant_id))


def test_no_secret_is_told_by_a_run(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    numbers = itertools.count()
    monkeypatch.setattr(pos_web, "secrets", SimpleNamespace(token_hex=lambda _: f"hush-token-{next(numbers)}"))
    wrong = fleet.pos.store(WARUNG).credentials | {"api_secret": "hush-mistyped"}
    monkeypatch.setenv(credentials_of(WARUNG), json.dumps(wrong))
    unreachable = "postgresql+psycopg://cata:hush-own-password@127.0.0.1:1/menu"
    fleet.pipeline.registry.import_tenants([replace(tenant(fleet.pos, ROTI), database_url=unreachable)])
    results = [fleet.sync(*EVERYBODY), fleet.copy(*EVERYBODY)]
    [served] = fleet.rows(KOPI, "SELECT count(*) AS items, count(main_image_url) AS pictures FROM items")
    assert served["items"] > served["pictures"] > 30
    assert "2 of 3 tenants failed" in message(results[0])
    secrets = {
        *(DATABASE_PASSWORD, "hush-token-", "hush-mistyped", "hush-own-password"),
        *(fleet.pos.store(tenant_id).credentials["api_secret"] for tenant_id in EVERYBODY),
    }
    for result in results:
        entries = fleet.instance.all_logs(result.run_id)
        assert any(KOPI in entry.user_message for entry in entries)
        everything = [dg.serialize_value(entry) for entry in entries]
        everything += [dg.serialize_value(result.dagster_run), json.dumps(result.dagster_run.tags)]
        assert {secret for secret in secrets if any(secret in text for text in everything)} == set()
    printed = "".join(capfd.readouterr())
    assert WARUNG in printed
    assert {secret for secret in secrets if secret in printed} == set()
