"""Whole syncs and image copies on real servers: batches in which every tenant meets a fault of its own."""

import itertools
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self

import pytest
import sqlalchemy as sa

from cata_pipeline.buckets import Bucket, Created
from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.errors import UsageError
from cata_pipeline.images.inspection import Inspector
from cata_pipeline.outcomes import ImageOutcome, SyncOrder, SyncOutcome
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.providers.conformance.scripted_server import Answer, ScriptedServer, answer, closed_port
from cata_pipeline.settings import Endpoint
from cata_pipeline.tenants.model import Tenant
from cata_pipeline_tests.images.pictures import draw
from cata_pipeline_tests.tenant_fleet import LOOPBACK, PASSWORD, TenantFleet, open_fleet

PRODUCTS, TOKEN, PICTURE = "/api/v2/GetProducts", "/oauth/token", "/latte.jpg"
SECRET, ISSUED = "s3cret-of-the-shop", "t0ken-of-the-shop"
SECRETS = re.compile(f"{SECRET}|{ISSUED}|{PASSWORD}")
MERCHANT_ROWS = """
INSERT INTO items (item_code, original_name, name, base_price, main_image_url)
VALUES ('LAT', 'Old latte', 'Our latte', 45000, 'uploads/own.jpg'), ('OLD', 'Old tea', 'Old tea', NULL, NULL)
"""
_numbers = itertools.count(1)


def product(code: str = "LAT", **fields: object) -> dict[str, object]:
    return {"product_id": f"p-{code}", "sku": code, "name": f"Product {code}", "is_active": True} | fields


def page(*rows: object, more: bool = False) -> Answer:
    return answer({"products": list(rows), "status": True, "error_message": None, "has_next_item": more})


class Till(ScriptedServer):
    """A POS with one store, and the host of its pictures."""

    def __init__(self, *rows: object) -> None:
        super().__init__()
        self.script(TOKEN, answer({"access_token": ISSUED, "token_type": "bearer"}))
        self.script(PICTURE, answer(draw(), content_type="image/jpeg"))
        self.sell(*rows)

    def sell(self, *rows: object) -> None:
        self.script(PRODUCTS, page(*rows))

    @property
    def picture(self) -> str:
        return f"{self.origin}{PICTURE}"


class Fleet(TenantFleet):
    """Tenants whose POS is a till."""

    def till(self, *rows: object) -> Till:
        return self.run(Till(*rows))

    def add(
        self,
        tenant_id: str,
        origin: str,
        *,
        schema: bool = True,
        rows: str = "",
        credentials: str = "env:SHOP",
        database_url: str | None = None,
    ) -> str:
        options = {"store_url": origin, "token_url": f"{origin}{TOKEN}", "request_budget_seconds": 1}
        tenant = Tenant(tenant_id, "iseller", credentials, database_url, options)
        return self.register(tenant, schema=schema, rows=rows)


@pytest.fixture(scope="module")
def fleet(servers: EmbeddedServers) -> Iterator[Fleet]:
    """The same for all tests of this module; each has tenants of its own."""
    with pytest.MonkeyPatch.context() as patch, open_fleet(servers, Fleet) as fleet:
        patch.setenv("SHOP", json.dumps({"api_key": "shop", "api_secret": SECRET}))
        yield fleet


@pytest.fixture
def new_id() -> Callable[[str], str]:
    """Tenant ids that no other test has."""
    return lambda word: f"{word}-{next(_numbers)}"


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    with Inspector() as inspector:
        yield inspector


GONE, BUG = "bucket-is-gone", "meets-a-bug"
FAULTS = {
    "pos-is-down": (
        r"The token at http://127\.0\.0\.1:\d+: no complete answer within 1 s",
        "no connection",
        "try again",
    ),
    "wrong-credentials": (r"does not accept the credentials: .* HTTP 401", "Check api_key, api_secret"),
    "html-login-page": (
        r"GetProducts page 1 .*HTTP 200",
        "text/html instead of JSON",
        "Check that the URL is the API's",
    ),
    "truncated-json": (r"GetProducts page 1 .*HTTP 200", "not valid JSON, as if it were cut", "try again later"),
    "broken-off-body": ("no complete answer within 1 s", "the connection broke", "try again later"),
    "endless-pager": ("GetProducts page 2", "the pager repeats a page", "nothing was taken. Try again"),
    "emptied": (
        "Nothing was written",
        "the snapshot is empty while the tenant has 2 visible items",
        "check the provider's account, then sync again",
    ),
    "no-tables": ("has no table items", "found: none of the tables", "Check that the database URL points at"),
    "lacks-columns": (
        "items.original_name is missing",
        "items.main_image_url is missing",
        "items.visible is missing",
        "Nothing was written",
        "migrate",
    ),
    GONE: ("did not store bucket-is-gone/snapshots/", "no usable answer|ConnectionError", "can be reached"),
    "database-is-down": ("The tenant database .* cannot be reached", "refused", "Check its URL and that it runs"),
    "database-is-absent": (
        "cannot be reached",
        r'database "pipeline_\d+_database-is-absent" does not exist',
        "Check its URL",
    ),
    "unset-credentials": ("env:NOBODY_SET_THIS", "not set here", "Set NOBODY_SET_THIS"),
    "never-registered": ("'never-registered' is not registered", "tenants import FILE.toml"),
    "retired": (r"'retired' was retired on \d{4}", "To serve it again, run"),
    BUG: ("Unexpected ZeroDivisionError", "the log of this run has the trace"),
}
KINDS = dict.fromkeys(FAULTS, "provider") | {
    "emptied": "guard",
    "no-tables": "contract",
    "lacks-columns": "contract",
    GONE: "storage",
    "database-is-down": "database",
    "database-is-absent": "database",
    "unset-credentials": "credentials",
    "never-registered": "tenant",
    "retired": "tenant",
    BUG: "unforeseen",
}
FINE = ("fine", "fine-too")
LACKING = "column items.original_description is absent"
"""What the reference schema itself lacks."""
SNAPSHOT_TAKEN = {"emptied", "no-tables", "lacks-columns", "database-is-down", "database-is-absent"}


class PartlyBrokenBucket(Bucket):
    """A real bucket, except for two tenants: one's requests go where nobody listens, one's meet a mistake of ours."""

    def create(self, name: str, content: bytes, *, content_type: str, cache_control: str | None = None) -> Created:
        if name.startswith(f"{GONE}/"):
            nowhere = Bucket(self.name, f"http://127.0.0.1:{closed_port()}", retry_seconds=0.1)
            return nowhere.create(name, content, content_type=content_type)
        if name.startswith(f"{BUG}/"):
            raise ZeroDivisionError("a mistake of ours")
        return super().create(name, content, content_type=content_type, cache_control=cache_control)


@dataclass(frozen=True)
class Batch:
    """One run over every fault: what it said and logged, and the tenants' rows before and after."""

    outcomes: dict[str, SyncOutcome]
    log: str
    before: dict[str, dict[str, list[Any]]]
    after: dict[str, dict[str, list[Any]]]


@pytest.fixture(scope="module")
def batch(fleet: Fleet) -> Batch:
    good, emptied, refusing, html, cut, broken, endless = tills = [fleet.till(product()) for _ in range(7)]
    emptied.sell()
    refusing.script(TOKEN, answer({"error": "invalid_client", "error_description": f"not {SECRET}"}, status=401))
    html.script(PRODUCTS, answer("<html>Log in</html>", content_type="text/html"))
    cut.script(PRODUCTS, answer(b'{"products": [{"sku": "A"'))
    broken.script(PRODUCTS, answer(b'{"products": [{"sku": "A"', declared_length=9_999))
    endless.script(PRODUCTS, page(product(), more=True))
    down = closed_port()
    fleet.add("pos-is-down", f"http://127.0.0.1:{down}", rows=MERCHANT_ROWS)
    for tenant_id, till in (
        ("emptied", emptied),
        ("wrong-credentials", refusing),
        ("html-login-page", html),
        ("truncated-json", cut),
        ("broken-off-body", broken),
        ("endless-pager", endless),
        (GONE, good),
        (BUG, good),
        ("retired", good),
        *((tenant_id, good) for tenant_id in FINE),
    ):
        fleet.add(tenant_id, till.origin, rows=MERCHANT_ROWS)
    drop = "ALTER TABLE items DROP COLUMN original_name, DROP COLUMN main_image_url, DROP COLUMN visible"
    fleet.add("lacks-columns", good.origin, rows=f"{MERCHANT_ROWS};{drop}")
    fleet.add("no-tables", good.origin, schema=False, rows="CREATE TABLE products (id int)")
    fleet.add("unset-credentials", good.origin, rows=MERCHANT_ROWS, credentials="env:NOBODY_SET_THIS")
    fleet.add(
        "database-is-down",
        good.origin,
        database_url=f"postgresql+psycopg://cata:{PASSWORD}@127.0.0.1:{closed_port()}/shop",
    )
    absent = fleet.settings.tenant_database.url("database-is-absent").render_as_string(hide_password=False)
    fleet.add("database-is-absent", good.origin, database_url=absent)

    pipeline = fleet.pipeline(*tills)
    pipeline.policy = replace(pipeline.policy, allowed=pipeline.policy.allowed | {Endpoint(LOOPBACK, down)})
    pipeline.snapshot_bucket = PartlyBrokenBucket(fleet.settings.snapshot_bucket, fleet.settings.storage_emulator)
    pipeline.registry.retire(["retired"])
    before = {tenant_id: fleet.everything(tenant_id) for tenant_id in fleet.databases}
    with pytest.MonkeyPatch.context() as patch:
        log = _Log()
        patch.setattr(logging.getLogger(), "handlers", [*logging.getLogger().handlers, log])
        patch.setattr(logging.getLogger(), "level", logging.DEBUG)
        logging.getLogger().manager._clear_cache()  # type: ignore[attr-defined]
        outcomes = list(pipeline.sync_batch([*FAULTS, *FINE], SyncOrder(), "run-of-faults", concurrency=8))
    logging.getLogger().manager._clear_cache()  # type: ignore[attr-defined]
    after = {tenant_id: fleet.everything(tenant_id) for tenant_id in before}
    return Batch({outcome.tenant_id: outcome for outcome in outcomes}, log.text, before, after)


class _Log(logging.Handler):
    """Everything that is logged, as a terminal would show it."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))

    @property
    def text(self) -> str:
        return "\n".join(self._lines)


def test_a_batch_answers_for_every_tenant_once(batch: Batch) -> None:
    assert batch.outcomes.keys() == {*FAULTS, *FINE}


@pytest.mark.parametrize("tenant_id", FINE)
def test_the_tenants_beside_the_faulty_ones_are_served(batch: Batch, fleet: Fleet, tenant_id: str) -> None:
    outcome = batch.outcomes[tenant_id]
    assert outcome.error is None
    assert (outcome.counts["updated"], outcome.counts["stale"], outcome.counts["names_kept"]) == (1, 1, 1)
    assert fleet.names(tenant_id) == {"LAT": "Our latte", "OLD": "Old tea"}
    assert fleet.rows(tenant_id, "SELECT original_name FROM items WHERE item_code = 'LAT'") == [("Product LAT",)]


@pytest.mark.parametrize("tenant_id", FAULTS)
def test_a_faulty_tenant_is_told_what_was_expected_what_was_found_and_what_to_do(batch: Batch, tenant_id: str) -> None:
    error = batch.outcomes[tenant_id].error
    assert error is not None
    for part in FAULTS[tenant_id]:
        assert re.search(part, error), f"{part!r} is not in: {error}"
    assert f"Not synced {tenant_id}: {error}" in batch.log


@pytest.mark.parametrize("tenant_id", [key for key in FAULTS if key not in {"never-registered", *SNAPSHOT_TAKEN}])
def test_an_unfinished_fetch_is_no_snapshot_and_touches_nothing(batch: Batch, fleet: Fleet, tenant_id: str) -> None:
    outcome = batch.outcomes[tenant_id]
    assert (outcome.snapshot, outcome.fetched, outcome.report, outcome.counts) == (None, False, None, {})
    assert fleet.control("SELECT id FROM snapshots WHERE tenant_id = :tenant", tenant=tenant_id) == []
    assert list(fleet.pipeline().snapshot_bucket.names(f"{tenant_id}/")) == []
    assert batch.after[tenant_id] == batch.before[tenant_id]


@pytest.mark.parametrize("tenant_id", sorted(SNAPSHOT_TAKEN))
def test_a_failure_after_the_fetch_keeps_the_snapshot_and_touches_nothing(
    batch: Batch, fleet: Fleet, tenant_id: str
) -> None:
    outcome = batch.outcomes[tenant_id]
    assert outcome.snapshot is not None
    assert (outcome.fetched, outcome.report, outcome.counts) == (True, None, {})
    assert fleet.pipeline().snapshots.newest(tenant_id) == outcome.snapshot
    assert list(fleet.pipeline().snapshot_bucket.names(f"{tenant_id}/")) == [outcome.snapshot.path]
    assert batch.after.get(tenant_id) == batch.before.get(tenant_id)


@pytest.mark.parametrize("tenant_id", [*FAULTS, *FINE])
def test_what_became_of_a_tenant_is_on_record(batch: Batch, fleet: Fleet, tenant_id: str) -> None:
    outcome = batch.outcomes[tenant_id]
    run = fleet.pipeline().history.newest([tenant_id])[tenant_id, "sync"]
    assert (run.run_id, run.error, dict(run.counts)) == ("run-of-faults", outcome.error, outcome.counts)
    assert run.snapshot_id == (outcome.snapshot.id if outcome.snapshot else None)
    assert run.started_at < run.finished_at
    assert (run.error_kind, run.skipped) == ((KINDS[tenant_id], None) if tenant_id in KINDS else (None, [LACKING]))


def test_an_older_run_of_a_machine_whose_clock_is_ahead_is_not_shown_as_the_newest(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(datetime.now(tz).timestamp() + 3600, tz)

    tenant_id = fleet.add("two-clocks", "http://127.0.0.1:1")
    with monkeypatch.context() as machine:
        machine.setattr("cata_pipeline.pipeline.datetime", Ahead)
        fleet.pipeline().sync(tenant_id, SyncOrder(), "of-the-machine-ahead")
    fleet.pipeline().sync(tenant_id, SyncOrder(), "the-newest")
    assert fleet.pipeline().history.newest([tenant_id])[tenant_id, "sync"].run_id == "the-newest"


def test_no_secret_is_in_any_message_log_or_record(batch: Batch, fleet: Fleet) -> None:
    recorded = [str(tuple(row)) for table in ("tenant_runs", "snapshots") for row in fleet.control(f"TABLE {table}")]
    assert len(recorded) > len(FAULTS)
    for text in (*map(str, batch.outcomes.values()), batch.log, *recorded):
        assert not SECRETS.search(text)


def test_a_mistake_of_ours_is_logged_with_its_trace(batch: Batch) -> None:
    assert f"Tenant {BUG} failed in a way nobody foresaw\nTraceback (most recent call last)" in batch.log
    assert "ZeroDivisionError: a mistake of ours" in batch.log
    assert batch.log.count("Traceback") == 1, "only what nobody foresaw has a trace"


def test_a_second_sync_of_a_tenant_is_told_which_run_has_it_and_changes_nothing(
    fleet: Fleet, new_id: Callable[[str], str]
) -> None:
    entered, gate = threading.Event(), threading.Event()
    till = fleet.till()
    ready = page(product())

    def slowly(handler: BaseHTTPRequestHandler) -> None:
        entered.set()
        gate.wait(30)
        ready(handler)

    till.script(PRODUCTS, slowly, ready)
    tenant_id = fleet.add(new_id("busy"), till.origin)
    pipeline = fleet.pipeline(till)
    pipeline.registry.import_tenants(
        [
            replace(
                pipeline.registry.tenant(tenant_id),
                options={"store_url": till.origin, "token_url": till.origin + TOKEN},
            )
        ]
    )
    first: list[SyncOutcome] = []
    thread = threading.Thread(target=lambda: first.append(pipeline.sync(tenant_id, SyncOrder(), "run-1")))
    thread.start()
    try:
        assert entered.wait(30)
        second = pipeline.sync(tenant_id, SyncOrder(), "run-2", lock_wait_seconds=0.05)
        assert second.error is not None
        assert second.error.startswith(f"run run-1 still syncs tenant {tenant_id} ")
        assert "Wait for that run, or end it" in second.error
        assert pipeline.history.newest([tenant_id])[tenant_id, "sync"].error == second.error
        assert fleet.names(tenant_id) == {}
    finally:
        gate.set()
        thread.join()
    assert (first[0].error, fleet.names(tenant_id)) == (None, {"LAT": "Product LAT"})


def test_a_sync_that_failed_after_its_fetch_goes_on_from_the_newest_snapshot(
    fleet: Fleet, new_id: Callable[[str], str]
) -> None:
    till = fleet.till(product(name="First"))
    tenant_id = fleet.add(new_id("unfinished"), till.origin)
    pipeline = fleet.pipeline(till)
    older = pipeline.sync(tenant_id, SyncOrder(reconcile=False), "run-1")
    assert (older.error, older.report, fleet.names(tenant_id)) == (None, None, {})
    fleet.sql(tenant_id, "ALTER TABLE items RENAME TO moved")
    till.sell(product(name="Second"))
    failed = pipeline.sync(tenant_id, SyncOrder(), "run-2")
    assert failed.error is not None
    assert failed.snapshot is not None
    fleet.sql(tenant_id, "ALTER TABLE moved RENAME TO items")
    asked = len(till.received)
    resumed = pipeline.sync(tenant_id, SyncOrder(fetch=False), "run-3")
    assert (resumed.error, resumed.fetched, resumed.snapshot) == (None, False, failed.snapshot)
    assert fleet.names(tenant_id) == {"LAT": "Second"}
    assert len(till.received) == asked, "the POS was asked again"


def test_a_stored_snapshot_is_replayed_without_asking_the_pos(fleet: Fleet, new_id: Callable[[str], str]) -> None:
    till = fleet.till(
        product(name="First"), product("TEA", modified_date="?"), {"product_id": "p-nameless", "sku": "X"}
    )
    tenant_id = fleet.add(new_id("replayed"), till.origin)
    pipeline = fleet.pipeline(till)
    first = pipeline.sync(tenant_id, SyncOrder(), "run-1")
    assert first.snapshot is not None
    assert first.report is not None
    till.sell(product(name="Second"))
    pipeline.sync(tenant_id, SyncOrder(), "run-2")
    assert fleet.names(tenant_id) == {"LAT": "Second", "TEA": "Product TEA"}
    asked = len(till.received)
    replayed = pipeline.sync(tenant_id, SyncOrder(from_snapshot=first.snapshot.id), "run-3")
    assert replayed.report is not None
    assert (replayed.snapshot, replayed.fetched, replayed.counts["renamed"]) == (first.snapshot, False, 1)
    assert replayed.report.rejections == first.report.rejections != ()
    assert replayed.report.warnings == first.report.warnings == ("1 x modified_date that cannot be read left out",)
    assert fleet.names(tenant_id) == {"LAT": "First", "TEA": "Product TEA"}
    assert len(till.received) == asked, "the POS was asked again"
    assert len(fleet.control("SELECT id FROM snapshots WHERE tenant_id = :tenant", tenant=tenant_id)) == 2


def test_the_snapshot_of_another_tenant_is_never_applied(fleet: Fleet, new_id: Callable[[str], str]) -> None:
    till = fleet.till(product())
    pipeline = fleet.pipeline(till)
    owner, other = fleet.add(new_id("owner"), till.origin), fleet.add(new_id("other"), till.origin)
    foreign = pipeline.sync(owner, SyncOrder(), "run-1").snapshot
    assert foreign is not None
    refused = pipeline.sync(other, SyncOrder(from_snapshot=foreign.id), "run-2")
    assert f"belongs to tenant {owner}" in str(refused.error)
    assert fleet.names(other) == {}


def test_reconciling_before_any_fetch_says_what_is_missing(fleet: Fleet, new_id: Callable[[str], str]) -> None:
    tenant_id = fleet.add(new_id("new"), fleet.till().origin)
    outcome = fleet.pipeline().sync(tenant_id, SyncOrder(fetch=False), "run-1")
    assert outcome.error == f"Tenant {tenant_id} has no snapshot yet. Run a sync that fetches one first."


def test_a_dry_run_tells_what_would_change_and_writes_and_records_nothing(
    fleet: Fleet, new_id: Callable[[str], str]
) -> None:
    till = fleet.till(product(), product("NEW"))
    tenant_id = fleet.add(new_id("rehearsed"), till.origin, rows=MERCHANT_ROWS)
    before = fleet.everything(tenant_id)
    outcome = fleet.pipeline(till).sync(tenant_id, SyncOrder(dry_run=True), "run-1")
    assert outcome.error is None
    assert {key: outcome.counts[key] for key in ("inserted", "updated", "stale")} == {
        "inserted": 1,
        "updated": 1,
        "stale": 1,
    }
    assert fleet.everything(tenant_id) == before
    assert fleet.pipeline().history.newest([tenant_id]) == {}


def test_the_same_catalog_again_writes_no_row(fleet: Fleet, new_id: Callable[[str], str]) -> None:
    till = fleet.till(product(), product("TEA"))
    tenant_id = fleet.add(new_id("steady"), till.origin)
    pipeline = fleet.pipeline(till)
    pipeline.sync(tenant_id, SyncOrder(), "run-1")
    before = fleet.everything(tenant_id)
    again = pipeline.sync(tenant_id, SyncOrder(), "run-2")
    assert (again.counts["unchanged"], again.counts["inserted"], again.counts["updated"]) == (2, 0, 0)
    assert fleet.everything(tenant_id) == before
    run = pipeline.history.newest([tenant_id])[tenant_id, "sync"]
    assert (run.changes_path, again.report and again.report.changes_path) == (None, None)


def test_what_a_tenant_database_lacks_is_on_record(fleet: Fleet, new_id: Callable[[str], str]) -> None:
    till = fleet.till(product())
    tenant_id = fleet.add(new_id("narrow"), till.origin)
    fleet.sql(tenant_id, "ALTER TABLE items DROP COLUMN variant_group; DROP TABLE item_bundle_components")
    pipeline = fleet.pipeline(till)
    assert pipeline.sync(tenant_id, SyncOrder(), "run-1").error is None
    run = pipeline.history.newest([tenant_id])[tenant_id, "sync"]
    assert run.skipped == [
        LACKING,
        "column items.variant_group is absent",
        "table item_bundle_components is absent",
    ]


def test_a_refused_plan_passes_with_an_allowance_for_that_run_alone(fleet: Fleet, new_id: Callable[[str], str]) -> None:
    many = [product(f"I{number:02}") for number in range(30)]
    till = fleet.till(*many)
    tenant_id = fleet.add(new_id("refused"), till.origin)
    pipeline = fleet.pipeline(till)
    pipeline.sync(tenant_id, SyncOrder(), "run-1")
    till.sell(*(row | {"is_active": False} for row in many))
    refused = pipeline.sync(tenant_id, SyncOrder(), "run-2")
    assert "hide: it would hide 30 of 30 items (limit 20)" in str(refused.error)
    assert "--allow hide=30" in str(refused.error)
    assert pipeline.sync(tenant_id, SyncOrder(allow={"hide": 29}), "run-3").error is not None
    assert fleet.rows(tenant_id, "SELECT count(*) FROM items WHERE visible") == [(30,)]
    allowed = pipeline.sync(tenant_id, SyncOrder(allow={"hide": 30}), "run-4")
    assert (allowed.error, allowed.counts["hidden"]) == (None, 30)


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        (SyncOrder(reconcile=False, dry_run=True), "needs reconciled_items to be selected"),
        (SyncOrder(allow={"empty": 5}), "guard empty cannot be allowed"),
        (SyncOrder(allow={"hide": 0, "hidden": 5}), "hidden is no guard; .* the ceiling of hide is 0"),
    ],
    ids=["dry run without plan", "empty", "wrong guards"],
)
def test_an_order_that_contradicts_itself_stops_the_batch_before_any_tenant(
    fleet: Fleet, new_id: Callable[[str], str], order: SyncOrder, problem: str
) -> None:
    tenant_id = fleet.add(new_id("unasked"), fleet.till().origin)
    with pytest.raises(UsageError, match=problem):
        list(fleet.pipeline().sync_batch([tenant_id], order, "run-1", concurrency=1))
    assert fleet.pipeline().history.newest([tenant_id]) == {}


def test_a_tenants_own_database_may_be_a_reference_and_a_wrong_one_is_not_repeated(
    fleet: Fleet, new_id: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    till = fleet.till(product())
    elsewhere = fleet.add(new_id("elsewhere"), till.origin)
    tenant_id = fleet.add(new_id("referring"), till.origin, database_url="env:SHOP_DB")
    pipeline = fleet.pipeline(till)
    monkeypatch.setenv("SHOP_DB", f"oracle://cata:{PASSWORD}@host/shop")
    wrong = pipeline.sync(tenant_id, SyncOrder(), "run-1")
    assert str(wrong.error).startswith(f"The database_url of tenant {tenant_id} starts with oracle://; expected ")
    assert PASSWORD not in str(wrong.error)
    assert till.received == [], "what needs no network fails before the POS is asked"
    monkeypatch.setenv("SHOP_DB", fleet.databases[elsewhere].render_as_string(hide_password=False))
    assert pipeline.sync(tenant_id, SyncOrder(), "run-2").error is None
    assert fleet.names(elsewhere) == {"LAT": "Product LAT"}


def test_two_tenants_with_the_same_codes_and_pictures_do_not_touch_each_other(
    fleet: Fleet, new_id: Callable[[str], str], inspector: Inspector
) -> None:
    till = fleet.till()
    till.sell(product(images=[till.picture]), product("TEA", images=[till.picture]))
    pipeline = fleet.pipeline(till)
    first, second = fleet.add(new_id("first"), till.origin), fleet.add(new_id("second"), till.origin)
    for tenant_id in (first, second):
        assert pipeline.sync(tenant_id, SyncOrder(), "run-1").error is None
    untouched = fleet.everything(second)
    copied = pipeline.copy_images(first, "run-2", inspector)
    assert {key: copied.counts[key] for key in ("downloaded", "uploaded", "written_back", "failed")} == {
        "downloaded": 1,
        "uploaded": 1,
        "written_back": 2,
        "failed": 0,
    }
    till.sell(product(name="Renamed", images=[till.picture]))
    assert pipeline.sync(first, SyncOrder(), "run-3").counts["renamed"] == 1
    assert fleet.everything(second) == untouched
    assert list(pipeline.image_bucket.names(f"{second}/")) == []
    copied = pipeline.copy_images(second, "run-4", inspector)
    assert (copied.counts["uploaded"], copied.counts["already_stored"]) == (1, 0)
    for tenant_id in (first, second):
        [path] = {path for (path,) in fleet.rows(tenant_id, "SELECT main_image_url FROM items")}
        assert path.startswith(f"{tenant_id}/items/")
        assert list(pipeline.image_bucket.names(f"{tenant_id}/")) == [path]
        assert fleet.control("SELECT DISTINCT path FROM image_paths WHERE tenant_id = :t", t=tenant_id) == [(path,)]


def test_a_failed_image_copy_stops_no_other_tenant_and_is_on_record(
    fleet: Fleet, new_id: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    till = fleet.till()
    till.sell(product(images=[till.picture]))
    served, unreachable, bare = new_id("served"), new_id("unreachable"), new_id("bare")
    fleet.add(served, till.origin)
    fleet.add(bare, till.origin, schema=False)
    url = f"postgresql+psycopg://cata:{PASSWORD}@127.0.0.1:{closed_port()}/shop"
    fleet.add(unreachable, till.origin, database_url=url)
    pipeline = fleet.pipeline(till)
    pipeline.sync(served, SyncOrder(), "run-1")
    ids = [unreachable, bare, "never-registered", served]
    caplog.set_level(logging.DEBUG)
    outcomes = {o.tenant_id: o for o in pipeline.copy_images_batch(ids, "run-2", concurrency=4)}
    assert (outcomes[served].error, outcomes[served].counts["written_back"]) == (None, 1)
    assert re.search("tenant database .* refused.* Check that it can be reached", outcomes[unreachable].error or "")
    assert re.search('relation "items" does not exist. Check its items table', outcomes[bare].error or "")
    assert "is not registered" in (outcomes["never-registered"].error or "")
    assert "Traceback" not in caplog.text, "all of these were to be expected"
    assert not SECRETS.search(caplog.text + str(outcomes))
    _are_recorded(fleet, ids, outcomes)
    newest = fleet.pipeline().history.newest(ids)
    kinds = {tenant_id: newest[tenant_id, "images"].error_kind for tenant_id in ids}
    assert kinds == {unreachable: "database", bare: "database", "never-registered": "tenant", served: None}


def _are_recorded(fleet: Fleet, ids: Sequence[str], outcomes: dict[str, ImageOutcome]) -> None:
    newest = fleet.pipeline().history.newest(ids)
    recorded = {tenant_id: newest[tenant_id, "images"] for tenant_id in ids}
    assert {key: (run.error, dict(run.counts)) for key, run in recorded.items()} == {
        key: (outcome.error, outcome.counts) for key, outcome in outcomes.items()
    }


def test_a_second_image_copy_is_told_which_run_has_the_tenant(
    fleet: Fleet, new_id: Callable[[str], str], inspector: Inspector
) -> None:
    till = fleet.till()
    entered, gate = threading.Event(), threading.Event()
    picture = answer(draw(1), content_type="image/jpeg")

    def slowly(handler: BaseHTTPRequestHandler) -> None:
        entered.set()
        gate.wait(30)
        picture(handler)

    till.script(PICTURE, slowly)
    till.sell(product(images=[till.picture]))
    tenant_id = fleet.add(new_id("busy"), till.origin)
    pipeline = fleet.pipeline(till)
    pipeline.sync(tenant_id, SyncOrder(), "run-1")
    first: list[ImageOutcome] = []
    thread = threading.Thread(target=lambda: first.append(pipeline.copy_images(tenant_id, "run-2", inspector)))
    thread.start()
    try:
        assert entered.wait(30)
        second = pipeline.copy_images(tenant_id, "run-3", inspector, lock_wait_seconds=0.05)
        assert str(second.error).startswith(f"run run-2 still copies the pictures of tenant {tenant_id} ")
        assert pipeline.sync(tenant_id, SyncOrder(), "run-4").error is None, "a sync need not wait for an image copy"
    finally:
        gate.set()
        thread.join()
    assert (first[0].error, first[0].counts["written_back"]) == (None, 1)


def test_sync_and_image_copy_go_by_the_schema_mapping(
    fleet: Fleet, new_id: Callable[[str], str], inspector: Inspector, tmp_path: Path
) -> None:
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('[items]\ntable = "products"\ncolumns = { item_code = "sku", main_image_url = "picture" }\n')
    till = fleet.till()
    till.sell(product(images=[till.picture]))
    renaming = """
        ALTER TABLE items RENAME item_code TO sku;
        ALTER TABLE items RENAME main_image_url TO picture;
        ALTER TABLE items RENAME TO products
    """
    tenant_id = fleet.add(new_id("renamed"), till.origin, rows=renaming)
    pipeline = Pipeline(fleet.pipeline(till).settings.model_copy(update={"schema_mapping": mapping}))

    assert pipeline.sync(tenant_id, SyncOrder(), "run-1").error is None
    assert pipeline.copy_images(tenant_id, "run-2", inspector).counts["written_back"] == 1

    [(sku, shown)] = fleet.rows(tenant_id, "SELECT sku, picture FROM products")
    assert (sku, shown.partition("/")[0]) == ("LAT", tenant_id)


def test_a_wrong_schema_mapping_stops_the_pipeline_before_any_tenant(fleet: Fleet, tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('[products]\ntable = "items"\n')
    with pytest.raises(UsageError, match=r"mapping\.toml is wrong: there is no table products; expected items, item_"):
        Pipeline(fleet.settings.model_copy(update={"schema_mapping": mapping}))


EDITED_BY_HAND = {
    "provider = 'punchcard'": "punchcard",
    "credentials = 'hunter2'": "has none of the known forms",
    "credentials = ''": "has none of the known forms",
    "database_url = 'no url'": "is not a database URL",
    "options = '\"a text\"'": "was changed by hand",
    "options = '[]'": "was changed by hand",
    "options = 'null'": "was changed by hand",
    "options = '{\"store_url\": 5}'": "options are wrong: store_url",
    'options = \'{"shop": "x"}\'': "options are wrong: shop is no option of iseller",
}


def test_a_row_of_the_registry_edited_by_hand_to_nonsense_fails_its_own_tenant_with_a_sentence(
    fleet: Fleet, new_id: Callable[[str], str]
) -> None:
    till = fleet.till(product("SKU-1"))
    edited = {fleet.add(new_id("edited"), till.origin): edit for edit in EDITED_BY_HAND}
    good = fleet.add(new_id("good"), till.origin)
    pipeline = fleet.pipeline(till)
    with pipeline.control.begin() as connection:
        for tenant_id, edit in edited.items():
            connection.exec_driver_sql(f"UPDATE tenants SET {edit} WHERE id = %s", (tenant_id,))
    outcomes = {o.tenant_id: o for o in pipeline.sync_batch([*edited, good], SyncOrder(), "run", concurrency=4)}
    assert outcomes[good].error is None
    for tenant_id, edit in edited.items():
        error = outcomes[tenant_id].error
        assert error is not None
        assert EDITED_BY_HAND[edit] in error
        assert "Unexpected" not in error
        assert PASSWORD not in error
    assert {entry.tenant.id for entry in pipeline.registry.entries()} >= {*edited, good}


def test_a_tenant_whose_database_or_server_is_gone_fails_alone(fleet: Fleet, new_id: Callable[[str], str]) -> None:
    till = fleet.till(product("SKU-1"))
    dropped, unreachable, good = (fleet.add(new_id(word), till.origin) for word in ("dropped", "unreachable", "good"))
    pipeline = fleet.pipeline(till)
    with pipeline.control.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE tenants SET database_url = 'postgresql+psycopg://nobody@127.0.0.1:1/gone' WHERE id = %s",
            (unreachable,),
        )
    administration = sa.create_engine(fleet.databases[good], isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with administration.connect() as connection:
        connection.exec_driver_sql(f'DROP DATABASE "{fleet.databases[dropped].database}"')
    outcomes = {
        o.tenant_id: o for o in pipeline.sync_batch([dropped, unreachable, good], SyncOrder(), "run", concurrency=3)
    }
    assert outcomes[good].error is None
    assert "does not exist" in str(outcomes[dropped].error)
    assert "Connection refused" in str(outcomes[unreachable].error)
