"""A merchant and a sync at the same rows at the same time: real sessions, each at a point that the test chooses."""

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from cata_pipeline.catalog.model import BundleComponent, ModifierGroup
from cata_pipeline.errors import DatabaseError
from cata_pipeline.reconcile import steps
from cata_pipeline.reconcile.changes import changes_parquet
from cata_pipeline.reconcile.report import Change
from cata_pipeline_tests.reconcile.conftest import EVERY_ENGINE, SyncedTenant, latte, until
from cata_pipeline_tests.reconcile.test_ownership import MILK, SUGAR

ENGINES = EVERY_ENGINE

DAIRY = ModifierGroup("g-milk", "Dairy", MILK.modifiers)
BEFORE = (latte(description=None, modifier_groups=(MILK,)), latte(item_code="GONE"), latte(item_code="SAME"))
NEWS = (
    latte(name="New", description="Text", category="Tea", modifier_groups=(DAIRY,)),
    latte(item_code="GONE", name="Changed"),
    latte(item_code="SAME"),
    latte(item_code="NEW"),
)
COUNTS = {
    "inserted": 1,
    "updated": 2,
    "renamed": 2,
    "names_kept": 0,
    "hidden": 0,
    "shown": 0,
    "image_urls_changed": 0,
}


@dataclass(frozen=True)
class Save:
    """What a merchant saves, where it can be read back, what stands there after the sync, and what the sync counts."""

    statement: str
    read: str
    stored: dict[str, Any]
    counts: dict[str, int] = field(default_factory=dict)


SAVES = {
    "renames the item": Save(
        "UPDATE items SET name = 'Ours' WHERE item_code = 'LAT-L'",
        "SELECT name FROM items WHERE item_code = 'LAT-L'",
        {"name": "Ours"},
        {"renamed": 1, "names_kept": 1},
    ),
    "sets an own photo": Save(
        "UPDATE items SET main_image_url = 'own/photo.jpg' WHERE item_code = 'LAT-L'",
        "SELECT name, main_image_url FROM items WHERE item_code = 'LAT-L'",
        {"name": "New", "main_image_url": "own/photo.jpg"},
    ),
    # Whether an item is visible is the provider's to say: a hand in that column lasts until the row is next written.
    "hides the item": Save(
        "UPDATE items SET visible = false WHERE item_code = 'LAT-L'",
        "SELECT name, visible FROM items WHERE item_code = 'LAT-L'",
        {"name": "New", "visible": True},
        {"shown": 1},
    ),
    "inserts an item with the code of a new one": Save(
        "INSERT INTO items (item_code, name, original_name, description, base_price)"
        " VALUES ('NEW', 'Ours', 'x', 'Ours too', 5)",
        "SELECT name, description, base_price FROM items WHERE item_code = 'NEW'",
        {"name": "Ours", "description": "Ours too", "base_price": 5},
        {"inserted": 0, "updated": 3, "names_kept": 1, "image_urls_changed": 1},
    ),
    "deletes an item that the provider still sells": Save(
        "DELETE FROM items WHERE item_code = 'GONE'",
        "SELECT name FROM items WHERE item_code = 'GONE'",
        {"name": "Changed"},
        {"inserted": 2, "updated": 1, "renamed": 1},
    ),
    "writes a description": Save(
        "UPDATE items SET description = 'Ours' WHERE item_code = 'LAT-L'",
        "SELECT name, description FROM items WHERE item_code = 'LAT-L'",
        {"name": "New", "description": "Ours"},
    ),
    "renames a modifier": Save(
        "UPDATE item_modifiers SET name = 'Ours' WHERE modifier_code = 'g-milk'",
        "SELECT name FROM item_modifiers WHERE modifier_code = 'g-milk'",
        {"name": "Ours"},
    ),
}

Moment = Callable[[SyncedTenant, str, pytest.MonkeyPatch], Any]


@contextmanager
def between_plan_and_apply(tenant: SyncedTenant, statement: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    saves = itertools.count()

    def before_write() -> None:
        next(saves)
        tenant.edit(statement)

    tenant.before_write = before_write
    yield
    assert next(saves) == 1


@contextmanager
def while_the_sync_tries_again(tenant: SyncedTenant, statement: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The merchant's transaction is open during the first try, and commits before the second."""
    with tenant.engine.connect() as merchant:
        tries = itertools.count(1)

        def before_write() -> None:
            if next(tries) == 1:
                merchant.execute(sa.text(statement))
            else:
                merchant.commit()

        tenant.before_write = before_write
        yield
        assert next(tries) == 3


@contextmanager
def while_the_sync_waits(tenant: SyncedTenant, statement: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The merchant's transaction is open until the sync, at its last try, waits for it."""
    monkeypatch.setattr(steps, "_ATTEMPTS", 1)
    with tenant.engine.connect() as merchant:

        def commit() -> None:
            until(tenant.is_somebody_waiting)
            merchant.commit()

        committing = threading.Thread(target=commit)

        def before_write() -> None:
            merchant.execute(sa.text(statement))
            committing.start()

        tenant.before_write = before_write
        yield
        committing.join()


@pytest.mark.parametrize("moment", [between_plan_and_apply, while_the_sync_tries_again, while_the_sync_waits])
@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)
def test_what_a_merchant_saves_survives_and_the_providers_fields_arrive(
    tenant: SyncedTenant, save: Save, moment: Moment, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant.sync(*BEFORE)
    with moment(tenant, save.statement, monkeypatch):
        report = tenant.sync(*NEWS)
    assert tenant.rows(save.read) == [save.stored]
    assert asdict(report.items) == COUNTS | save.counts
    assert asdict(report.children) == {"inserted": 0, "updated": 1, "hidden": 0}
    arrived = tenant.rows("SELECT item_code, original_name, category FROM items ORDER BY item_code")
    assert [tuple(row.values()) for row in arrived] == [
        ("GONE", "Changed", "Coffee"),
        ("LAT-L", "New", "Tea"),
        ("NEW", "Latte", "Coffee"),
        ("SAME", "Latte", "Coffee"),
    ]
    assert tenant.rows("SELECT original_name FROM item_modifiers") == [{"original_name": "Dairy"}]
    tenant.before_write = lambda: pytest.fail("Something was left for another sync.")
    assert tenant.sync(*NEWS).unchanged == 4


def during_the_transaction(monkeypatch: pytest.MonkeyPatch, action: Callable[[], None]) -> None:
    """Does something when a sync has written its last row and has not committed."""

    def act_and_make_file(changes: Iterator[Change]) -> bytes:
        action()
        return changes_parquet(changes)

    monkeypatch.setattr(steps, "changes_parquet", act_and_make_file)


TABLES = ("items", "item_modifiers", "item_modifier_options", "item_bundle_components")


def test_rows_that_do_not_change_can_be_saved_at_once_while_a_sync_writes(
    tenant: SyncedTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    drink, cake = BundleComponent("Drink", "A", "Tea"), BundleComponent("Food", "B", "Cake")
    before = [latte(item_code=f"I{n}", modifier_groups=(SUGAR, MILK), bundle_components=(drink, cake)) for n in "123"]
    tenant.sync(*before)
    sweetness = ModifierGroup("g-sugar", "Sweetness", SUGAR.modifiers[:1])
    components = (drink, BundleComponent("Food", "B", "Pie"))
    after = latte(item_code="I2", name="New", modifier_groups=(sweetness, MILK), bundle_components=components)
    rows = [(table, row["id"]) for table in TABLES for row in tenant.rows(f"SELECT id FROM {table}")]
    locked: list[tuple[str, int]] = []

    def save_what_is_free() -> None:
        locked.extend(row for row in rows if tenant.is_locked(*row))
        for table, row_id in set(rows) - set(locked):
            tenant.edit(f"UPDATE {table} SET name = 'Ours' WHERE id = :row_id", row_id=row_id)
        tenant.edit("INSERT INTO menu_items (item_id, price) SELECT id, 5 FROM items WHERE item_code = 'I1'")

    during_the_transaction(monkeypatch, save_what_is_free)
    tenant.sync(before[0], after, before[2])
    assert [table for table, _ in locked] == list(TABLES)
    others = [tenant.rows(f"SELECT original_name, visible FROM {table} WHERE name <> 'Ours'") for table in TABLES]
    assert [[tuple(row.values()) for row in found] for found in others] == [
        [("New", True)],
        [("Sweetness", True)],
        [("None", False)],
        [("Pie", True)],
    ]


def test_a_merchant_waits_for_one_transaction_and_then_has_the_last_word(
    tenant: SyncedTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant.sync(latte())
    [stored] = tenant.rows("SELECT id FROM items")
    saving = threading.Thread(target=lambda: tenant.edit("UPDATE items SET name = 'Ours', base_price = 5"))

    def save_while_locked() -> None:
        assert tenant.is_locked("items", stored["id"])
        saving.start()
        until(tenant.is_somebody_waiting)

    during_the_transaction(monkeypatch, save_while_locked)
    tenant.sync(latte(name="New"))
    saving.join()
    row = tenant.item("LAT-L")
    assert (row["name"], row["original_name"], row["base_price"]) == ("Ours", "New", 5)


@contextmanager
def nobody_waiting(tenant: SyncedTenant) -> Iterator[None]:
    """Fails when anybody in the tenant's database waits for a lock before the block ends."""
    over = threading.Event()
    waited: list[bool] = []

    def watch() -> None:
        while not over.wait(0.01):
            waited.append(tenant.is_somebody_waiting())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()
    assert not any(waited)


def test_a_sync_neither_waits_for_a_row_nor_holds_any_between_its_tries(tenant: SyncedTenant) -> None:
    """The merchant holds the last row and then saves the first, which the sync had locked by then."""
    items = [latte(item_code=code, modifier_groups=(MILK,)) for code in ("AAA", "MMM", "ZZZ")]
    tenant.sync(*items, latte(item_code="OLD", modifier_groups=(SUGAR,)))
    rows = [(table, row["id"]) for table in TABLES for row in tenant.rows(f"SELECT id FROM {table}")]
    [held] = tenant.rows("SELECT id FROM items WHERE item_code = 'ZZZ'")
    locked: list[list[tuple[str, int]]] = []
    with tenant.engine.connect() as merchant:

        def save_once() -> None:
            if not locked:
                merchant.execute(sa.text("UPDATE items SET name = 'Ours' WHERE item_code = 'ZZZ'"))

        def look_and_save(_: float) -> None:
            locked.append([row for row in rows if tenant.is_locked(*row)])
            merchant.execute(sa.text("UPDATE items SET name = 'Ours' WHERE item_code = 'AAA'"))
            merchant.commit()

        tenant.before_write, tenant.sleep = save_once, look_and_save
        new = [latte(item_code=item.item_code, name="New", modifier_groups=(DAIRY,)) for item in items]
        with nobody_waiting(tenant):
            report = tenant.sync(*new, latte(item_code="OLD"), latte(item_code="MORE"))
    assert locked == [[("items", held["id"])]]
    assert (report.items.renamed, report.items.names_kept, report.items.inserted) == (1, 2, 1)
    ours = tenant.rows("SELECT item_code FROM items WHERE name = 'Ours' ORDER BY 1")
    assert [row["item_code"] for row in ours] == ["AAA", "ZZZ"]


def test_a_row_that_stays_locked_is_retried_and_then_given_up_with_nothing_written(tenant: SyncedTenant) -> None:
    tenant.sync(latte(), latte(item_code="AAA"))
    with tenant.engine.connect() as merchant:
        merchant.execute(sa.text("UPDATE items SET name = 'Ours' WHERE item_code = 'LAT-L'"))
        with pytest.raises(DatabaseError, match="stayed locked through 30 attempts"):
            tenant.sync(latte(name="New"), latte(item_code="AAA", name="New"))
        merchant.rollback()
    assert [row["name"] for row in tenant.rows("SELECT name FROM items")] == ["Latte", "Latte"]


def test_rows_a_merchant_holds_are_not_in_the_way_when_they_do_not_change(tenant: SyncedTenant) -> None:
    tenant.sync(latte(), latte(item_code="CHANGED"))
    tries = itertools.count()
    tenant.before_write = lambda: (next(tries), None)[1]
    with tenant.engine.connect() as merchant:
        merchant.execute(sa.text("SELECT 1 FROM items WHERE item_code = 'LAT-L' FOR UPDATE"))
        assert tenant.sync(latte(), latte(item_code="CHANGED", name="New")).items.updated == 1
    assert next(tries) == 1


class Merchant(threading.Thread):
    """Saves some rows of its own again and again, in any order, several in one transaction."""

    def __init__(self, tenant: SyncedTenant, codes: list[str], closing_time: threading.Event) -> None:
        super().__init__()
        self._tenant = tenant
        self._chance = random.Random(codes[0])  # noqa: S311 which rows are saved is no secret
        self._closing_time = closing_time
        self.saved = dict.fromkeys(codes, 0)
        self.trouble: list[str] = []

    def run(self) -> None:
        engine = sa.create_engine(self._tenant.url, pool_size=1)
        for number in itertools.count(1):
            codes = self._chance.sample(list(self.saved), 3)
            try:
                with engine.begin() as connection:
                    for code in codes:
                        statement = sa.text("UPDATE items SET base_price = :number WHERE item_code = :code")
                        connection.execute(statement, {"number": number, "code": code})
                        self._closing_time.wait(0.002)
            except sa.exc.DBAPIError as error:
                self.trouble.append(str(error.orig))
            else:
                self.saved |= dict.fromkeys(codes, number)
            if self._closing_time.wait(self._chance.uniform(0.01, 0.03)):
                break
        engine.dispose()


def test_in_a_storm_of_saves_every_sync_ends_and_no_merchant_is_the_victim(tenant: SyncedTenant) -> None:
    codes = [f"I{number:02}" for number in range(12)]
    tenant.sync(*[latte(item_code=code) for code in codes])
    tries, syncs = itertools.count(), 0
    tenant.before_write = lambda: (next(tries), None)[1]
    closing_time = threading.Event()
    merchants = [Merchant(tenant, codes[start::3], closing_time) for start in range(3)]
    for merchant in merchants:
        merchant.start()
    try:
        for syncs in range(1, 11):
            report = tenant.sync(*[latte(item_code=code, name=f"Name {syncs}") for code in codes])
            assert report.items.renamed == len(codes)
    finally:
        closing_time.set()
        for merchant in merchants:
            merchant.join()
    assert [merchant.trouble for merchant in merchants] == [[], [], []]
    assert next(tries) > syncs, "no sync met a merchant"
    stored = {row["item_code"]: row["base_price"] for row in tenant.rows("SELECT item_code, base_price FROM items")}
    assert stored == merchants[0].saved | merchants[1].saved | merchants[2].saved


HELD = {
    "a row with the code of a new item": "INSERT INTO items (item_code, name) VALUES ('NEW', 'Ours')",
    "the parent of a new modifier": "UPDATE items SET name = 'Ours' WHERE item_code = 'PARENT'",
}


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
def test_a_merchant_who_holds_what_an_insertion_needs_is_no_victim_of_a_deadlock(
    tenant: SyncedTenant, held: str
) -> None:
    tenant.sync(*[latte(item_code=f"I{number}") for number in range(20)], latte(item_code="PARENT"))
    news = [latte(item_code=f"I{number}", name="New") for number in range(20)]
    news += [latte(item_code="NEW"), latte(item_code="PARENT", modifier_groups=(MILK,))]
    with a_merchant_who_holds_and_then_saves(tenant, held, "UPDATE items SET base_price = 5 WHERE item_code = 'I3'"):
        tenant.sync(*news)
    assert (tenant.item("I3")["base_price"], tenant.item("I3")["name"]) == (5, "New")


def test_a_merchant_who_fills_an_empty_table_is_no_victim_of_the_first_sync(tenant: SyncedTenant) -> None:
    with a_merchant_who_holds_and_then_saves(tenant, _own_item("NEW"), _own_item("I3")):
        tenant.sync(*[latte(item_code=code, modifier_groups=(MILK,)) for code in ("I3", "I4", "NEW", "ZZZ")])
    names = tenant.rows("SELECT item_code, name FROM items ORDER BY 1")
    assert [row["name"] for row in names] == ["Ours", "Latte", "Ours", "Latte"]
    assert len(tenant.rows("SELECT id FROM item_modifiers")) == 4


def _own_item(code: str) -> str:
    return f"INSERT INTO items (item_code, name, original_name) VALUES ('{code}', 'Ours', 'Theirs')"


@contextmanager
def a_merchant_who_holds_and_then_saves(tenant: SyncedTenant, held: str, saved: str) -> Iterator[None]:
    """The first statement runs before the sync writes; the second one where the sync waits or has given up."""
    with tenant.engine.connect() as merchant:
        tried, done = threading.Event(), threading.Event()

        def save_another() -> None:
            # By then the sync has locked this row, and waits for the merchant if it waits at all.
            for _ in range(200):
                if tried.wait(0.01) or tenant.is_somebody_waiting():
                    break
            merchant.execute(sa.text(saved))
            merchant.commit()
            done.set()

        saving = threading.Thread(target=save_another)

        def hold() -> None:
            if not saving.ident:
                merchant.execute(sa.text(held))
                saving.start()

        def rest(_seconds: float) -> None:
            tried.set()
            saving.join()

        tenant.before_write, tenant.sleep = hold, rest
        yield
        tried.set()
        saving.join()
    assert done.is_set()


def test_a_sync_gives_up_an_insertion_before_postgresql_looks_for_a_victim(tenant: SyncedTenant) -> None:
    """The merchant waits first, so that it is his session in which the server would find the deadlock."""
    if tenant.on_mysql:
        return
    tenant.sync(latte())
    tenant.edit(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_setting('application_name') LIKE 'cata_pipeline run-%' THEN PERFORM pg_sleep(0.5); END IF;"
        " RETURN NEW; END $$"
    )
    tenant.edit("CREATE TRIGGER dawdle BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION dawdle()")
    dawdling = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    with tenant.engine.connect() as merchant:
        saved = threading.Event()

        def save_another() -> None:
            until(lambda: bool(tenant.rows(dawdling)))
            merchant.execute(sa.text("UPDATE items SET base_price = 5 WHERE item_code = 'LAT-L'"))
            merchant.commit()
            saved.set()

        saving = threading.Thread(target=save_another)

        def hold() -> None:
            if not saving.ident:
                merchant.execute(sa.text(HELD["a row with the code of a new item"]))
                saving.start()

        tenant.before_write = hold
        tenant.sync(latte(name="New"), latte(item_code="NEW"))
        saving.join()
    assert saved.is_set()
    assert (tenant.item("LAT-L")["base_price"], tenant.item("NEW")["name"]) == (5, "Ours")
