"""The ownership rules under random interleavings of provider changes, Cata edits, syncs, replays and crashes.

`CATA_PROPERTY_STEPS=100000` makes a run longer, and random; pytest's `--hypothesis-seed` repeats it. MariaDB, which is
slower, takes a tenth of the steps.
"""

import io
import itertools
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar, cast
from unicodedata import normalize

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cata_pipeline.buckets import Bucket, Created
from cata_pipeline.catalog.model import BundleComponent, Catalog, Item, Modifier, ModifierGroup, VariantOption
from cata_pipeline.catalog.snapshot import Notes, Snapshot, SnapshotRecord, catalog_table
from cata_pipeline.errors import DatabaseError, GuardRefusedError
from cata_pipeline.reconcile.guard import GUARDS
from cata_pipeline.reconcile.report import PLAN_SAMPLE, ReconcileReport
from cata_pipeline_tests.reconcile.conftest import EVERY_ENGINE, SyncedTenant
from cata_pipeline_tests.reconcile.ownership_model import (
    OWN_KEYS,
    PARENTS,
    TABLES,
    Edit,
    Key,
    Outcome,
    Plan,
    Tables,
    TenantModel,
)

ENGINES = EVERY_ENGINE

STEPS = int(os.environ.get("CATA_PROPERTY_STEPS", "2000"))
MYSQL_SHARE = 0.1
# The first example of a run is always the dullest one, so a few hundred steps tell more in short ones.
STEPS_AN_EXAMPLE = {"postgresql": 50, "mysql": 25}

Statement = tuple[str, dict[str, Any]]
Part = TypeVar("Part", bound=ModifierGroup | Modifier | BundleComponent)

NAMES = (
    *("Caf\u00e9", "caf\u00e9", "Caf\u00e9 ", " Caf\u00e9", "Cafe\u0301", "Kopi \u2615", ""),
    *('O\'Brien "x"', "back\\slash", "two\nlines", "\\N", "a,b", "\u00e9" * 255),
)
CODES = ("LAT", "lat", "LAT ", "L\u00c4T", "LA\u0308T", "\u2615", "a'b\"c\\", "two\nlines", "\\N", "0")
PICTURES = (None, "", "https://cdn.example/a.jpg", "https://cdn.example/A.jpg", "https://cdn.example/b.jpg?x=1,2")

counts = st.integers(1, 3)
codes = st.sampled_from(CODES)
texts = st.sampled_from((None, *NAMES))
provider_names = st.sampled_from((*NAMES, *["\u00e9" * 256] * 2))  # the longest does not fit its column
active = st.sampled_from((True, True, False, None))
quantities = st.sampled_from(("1", "2", "2.50", "0.33335", "1e3"))
prices = st.sampled_from((None, Decimal("0.00"), Decimal("25000.00"), Decimal("99.99")))
options = st.lists(st.builds(VariantOption, st.sampled_from(("Size", "size")), st.sampled_from(NAMES[:6])), max_size=2)
modifiers = st.builds(Modifier, st.sampled_from(("m", "M", "m ", "\\N")), provider_names, active)
groups = st.builds(
    ModifierGroup,
    st.sampled_from(("g", "G", "g ", "g\u0301")),
    provider_names,
    st.lists(modifiers, max_size=2, unique_by=lambda modifier: modifier.code).map(tuple),
    active,
)
components = st.builds(BundleComponent, st.sampled_from(("Drink", "drink", "")), codes, provider_names, quantities)
listed_groups = st.lists(groups, max_size=2, unique_by=lambda group: group.code).map(tuple)
listed_components = st.lists(components, max_size=3).map(tuple)

ITEM_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "name": provider_names,
    "is_active": active,
    "description": texts,
    "category": texts,
    "item_type": st.sampled_from((None, "standard", "comboset")),
    "external_image_url": st.sampled_from(PICTURES),
    "variant_group": texts,
    "variant_options": options.map(tuple),
    "modifier_groups": st.none() | listed_groups,
    "bundle_components": st.none() | listed_components,
}
PART_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "name": provider_names,
    "is_active": active,
    "quantity": quantities,
}
EDITABLE: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "items": {
        "name": texts,
        "description": texts,
        "main_image_url": st.sampled_from((None, "kopi-kita/items/0a.jpg", "own/photo.jpg")),
        "base_price": prices,
        "staff_note": st.sampled_from(NAMES[:4]),
        # The provider's: what a hand in the database does to them lasts until the next sync at most.
        "original_name": texts,
        "visible": st.booleans(),
        "category": texts,
        "external_image_url": st.sampled_from(PICTURES),
        "variant_options": st.none() | options.map(lambda chosen: [option._asdict() for option in chosen]),
    },
    "item_modifiers": {},
    "item_modifier_options": {"price": prices},
    "item_bundle_components": {"quantity": st.sampled_from((Decimal("1.0000"), Decimal("7.2500")))},
}
for _table in PARENTS:
    EDITABLE[_table] |= {
        "name": texts,
        "original_name": texts,
        "visible": st.booleans(),
        "position": st.integers(0, 2),
        "staff_note": st.sampled_from(NAMES[:4]),
    }
OWN_KEY_TEXTS = {
    "items": codes.map(lambda code: (code,)),
    "item_modifiers": groups.map(lambda group: (group.code,)),
    "item_modifier_options": modifiers.map(lambda modifier: (modifier.code,)),
    "item_bundle_components": components.map(lambda part: (part.slot, part.item_code, 1)),
}

JOINED = {
    "items": "items t",
    "item_modifiers": "item_modifiers t JOIN items i ON i.id = t.item_id",
    "item_modifier_options": (
        "item_modifier_options t JOIN item_modifiers m ON m.id = t.item_modifier_id JOIN items i ON i.id = m.item_id"
    ),
    "item_bundle_components": "item_bundle_components t JOIN items i ON i.id = t.item_id",
}
ABOVE = {
    "items": (),
    "item_modifiers": ("i.item_code AS above_1",),
    "item_modifier_options": ("i.item_code AS above_1", "m.modifier_code AS above_2"),
    "item_bundle_components": ("i.item_code AS above_1",),
}
FOREIGN_KEYS = {
    "item_modifiers": "item_id",
    "item_modifier_options": "item_modifier_id",
    "item_bundle_components": "item_id",
}
ALLOWANCES = dict.fromkeys(GUARDS, 1_000_000)  # guards have tests of their own; `empty` cannot be allowed


def items_of(code: str) -> st.SearchStrategy[Item]:
    return st.builds(Item, st.just(code), st.just("p"), **ITEM_FIELDS)


class CrashError(Exception):
    """Whatever ends a run right before it writes."""


class MemoryBucket(Bucket):
    """Keeps change files in memory: thousands of uploads would take longer than what is tested here."""

    def __init__(self) -> None:
        super().__init__("changes")
        self.contents: dict[str, bytes] = {}

    def create(self, name: str, content: bytes, **_: Any) -> Created:
        self.contents[name] = content
        return Created(name, new=True)

    def taken(self) -> Counter[tuple[Any, ...]]:
        """The lines of the change files since the last call: table, action, item code, key, column."""
        lines: Counter[tuple[Any, ...]] = Counter()
        for content in self.contents.values():
            for row in pq.read_table(io.BytesIO(content)).to_pylist():
                path = json.dumps(json.loads(row["key"]), ensure_ascii=False) if row["key"] else None
                lines[row["table"], row["action"], row["item_code"], path, row["column"]] += 1
        self.contents.clear()
        return lines


def has_news(machine: "OwnershipMachine") -> bool:
    """Whether a sync would write: one that does not costs as much and tells little."""
    return not machine.model.plan(tuple(machine.catalog.values())).is_empty


class OwnershipMachine(RuleBasedStateMachine):
    """A provider, a tenant's people and a sync take turns; after each turn the tables are what the model says."""

    def __init__(self, tenant: SyncedTenant, *, keeps_original_description: bool) -> None:
        super().__init__()
        self.bucket = MemoryBucket()
        self.tenant = replace(tenant, bucket=self.bucket)
        self.model = TenantModel(keeps_original_description=keeps_original_description)
        self.catalog: dict[str, Item] = {}
        self.synced: list[tuple[Item, ...]] = []
        self.written: set[tuple[str, Key]] = set()
        self.versions: dict[tuple[str, Key], Any] = {}
        self.runs = itertools.count(1)
        empty_tables(self.tenant)

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        for code in data.draw(st.lists(codes, min_size=3, max_size=5, unique=True), "codes"):
            self.catalog[code] = data.draw(items_of(code), "item")
        if data.draw(st.booleans(), "synced"):
            self._sync(tuple(self.catalog.values()))

    @rule(data=st.data(), count=counts)
    def provider_changes_fields(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            name = data.draw(st.sampled_from((*["name"] * 6, "is_active", *ITEM_FIELDS)), "field")
            self._change(self._pick_item(data), name, data.draw(ITEM_FIELDS[name], "value"))

    @rule(data=st.data())
    def provider_renames_to_what_the_tenant_shows_or_nearly(self, data: st.DataObject) -> None:
        item = self._pick_item(data)
        row = self.model.tables["items"].get((item.item_code,), {})
        self._change(item, "name", data.draw(st.sampled_from(near(row.get("name") or "")), "name"))

    @rule(data=st.data(), verb=st.sampled_from(("add or replace", "add or replace", "remove")))
    def provider_changes_its_range(self, data: st.DataObject, verb: str) -> None:
        if verb == "remove" and len(self.catalog) > 2:
            del self.catalog[self._pick_item(data).item_code]
        else:
            code = data.draw(codes, "code")
            self.catalog[code] = data.draw(items_of(code), "item")

    @rule(data=st.data(), count=counts)
    def provider_changes_modifiers(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            item = self._pick_item(data)
            listed = item.modifier_groups or ()
            if not listed or data.draw(st.booleans(), "groups"):
                changed = varied(data, listed, groups, ("name", "is_active"))
            else:
                place = data.draw(st.integers(0, len(listed) - 1), "group")
                inside = varied(data, listed[place].modifiers, modifiers, ("name", "is_active"))
                changed = (*listed[:place], listed[place]._replace(modifiers=inside), *listed[place + 1 :])
            self._change(item, "modifier_groups", changed)

    @rule(data=st.data(), count=counts)
    def provider_changes_bundle_components(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            item = self._pick_item(data)
            changed = varied(data, item.bundle_components or (), components, ("name", "quantity"))
            self._change(item, "bundle_components", changed)

    @rule(data=st.data(), word=st.sampled_from((None, None, ())))
    def provider_does_not_say_or_lists_none(self, data: st.DataObject, word: tuple[()] | None) -> None:
        kind = data.draw(st.sampled_from(("modifier_groups", "bundle_components")), "kind")
        self._change(self._pick_item(data), kind, word)

    @rule(data=st.data(), count=counts)
    def people_rename(self, data: st.DataObject, count: int) -> None:
        self._let_people(data, ("rename",), count)

    @rule(data=st.data(), count=counts)
    def people_edit_fields(self, data: st.DataObject, count: int) -> None:
        self._let_people(data, ("edit",), count)

    @rule(data=st.data())
    def people_insert_delete_or_put_on_a_menu(self, data: st.DataObject) -> None:
        self._let_people(data, ("insert", "insert", "delete", "menu"), 1)

    @precondition(has_news)
    @rule(kind=st.sampled_from(("once", "twice", "after a dry run")))
    def sync(self, kind: str) -> None:
        items = tuple(self.catalog.values())
        if kind == "after a dry run":
            self._sync(items, dry_run=True)
            self.the_tables_are_what_the_rules_say()
        self._sync(items)
        if kind == "twice":
            self.the_tables_are_what_the_rules_say()
            self._sync(items)
            assert not self.written

    @precondition(has_news)
    @rule(data=st.data(), count=counts)
    def sync_while_people_edit(self, data: st.DataObject, count: int) -> None:
        self._sync(tuple(self.catalog.values()), edits=self._draw_edits(data, count))

    @rule(data=st.data())
    def sync_an_older_snapshot_or_an_empty_one(self, data: st.DataObject) -> None:
        age = data.draw(st.integers(0, len(self.synced)), "snapshots ago")
        self._sync(self.synced[-age] if age else ())

    @precondition(has_news)
    @rule(data=st.data(), broken=st.sampled_from((None, *TABLES)), count=st.integers(0, 1))
    def sync_fails_before_it_writes_or_in_its_transaction(
        self, data: st.DataObject, broken: str | None, count: int
    ) -> None:
        edits = self._draw_edits(data, count)
        self._sync(tuple(self.catalog.values()), edits=edits, crash=broken is None, broken=broken)

    @invariant()
    def the_tables_are_what_the_rules_say(self) -> None:
        stored, versions, menus = read_tables(self.tenant)
        self.model.adopt(stored)
        assert stored == self.model.tables
        assert menus == Counter(self.model.menus)
        for row, version in versions.items():
            assert row in self.written or self.versions[row] == version, f"{row} was written for nothing"
        self.versions = versions
        self.written = set()

    def _pick_item(self, data: st.DataObject) -> Item:
        return data.draw(st.sampled_from(list(self.catalog.values())), "item")

    def _change(self, item: Item, name: str, value: Any) -> None:
        changes: dict[str, Any] = {name: value}
        self.catalog[item.item_code] = item._replace(**changes)

    def _sync(
        self,
        items: tuple[Item, ...],
        *,
        edits: Sequence[Edit] = (),
        crash: bool = False,
        broken: str | None = None,
        dry_run: bool = False,
    ) -> None:
        """Sync for real and in the model. `edits` and `crash` happen between plan and apply, `broken` in the apply."""
        plan = self.model.plan(items)
        statements = [] if plan.is_empty or plan.refused_as_empty or dry_run else self._edit_model(edits)
        outcome, error = self._foresee(plan, crash=crash, broken=broken, dry_run=dry_run)

        def before_write() -> None:
            assert not plan.is_empty
            execute(self.tenant, statements)
            if broken:
                forbid_writes(self.tenant, broken)
            if crash:
                raise CrashError

        self.tenant.before_write = before_write
        try:
            report = self.tenant.apply(self._snapshot(items), allow=ALLOWANCES, dry_run=dry_run)
        except (CrashError, DatabaseError, GuardRefusedError) as failure:
            assert type(failure) is error  # noqa: PT017 a failure nobody foresaw is one, and so is a missing one
            assert not self.bucket.contents
            return
        finally:
            if broken:
                permit_writes(self.tenant, broken)
        assert error is None
        check_report(report, plan, outcome)
        stored = not dry_run or outcome.changes.total() > PLAN_SAMPLE
        assert self.bucket.taken() == (outcome.changes if stored else Counter())
        if items and not dry_run:
            self.synced.append(items)

    def _foresee(
        self, plan: Plan, *, crash: bool, broken: str | None, dry_run: bool
    ) -> tuple[Outcome, type[Exception] | None]:
        """Carry a sync out in the model: what it does, or how it fails."""
        if plan.refused_as_empty and not dry_run:
            return Outcome(), GuardRefusedError
        if dry_run or plan.is_empty:
            return deepcopy(self.model).apply(plan), None
        if crash:
            return Outcome(), CrashError
        outcome = deepcopy(self.model).apply(plan)
        if broken in {table for table, _ in outcome.written}:
            return Outcome(), DatabaseError
        self.model.apply(plan)
        self.written |= outcome.written
        return outcome, None

    def _edit_model(self, edits: Sequence[Edit]) -> list[Statement]:
        """Make the edits in the model, as far as they are possible, and say what they are in SQL."""
        statements = []
        for edit in edits:
            if self.model.is_possible(edit):
                statements.append(statement(self.model, edit))
                self.model.edit(edit)
                self.written.add((edit.table, edit.key))
        return statements

    def _snapshot(self, items: Sequence[Item]) -> Snapshot:
        catalog = Catalog(tuple(sorted(items, key=lambda item: item.item_code.encode())))
        run = f"fetch-{next(self.runs)}"
        record = SnapshotRecord(
            id=run,
            tenant_id="kopi-kita",
            provider="iseller",
            path=f"kopi-kita/snapshots/{run}/catalog.parquet",
            items=len(items),
            rejected=0,
            duplicates=0,
            bytes=0,
            content_hash="",
            run_id=run,
            fetched_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        return Snapshot(record, catalog_table(catalog), Notes())

    def _let_people(self, data: st.DataObject, verbs: Sequence[str], count: int) -> None:
        for _ in range(count):
            edit = draw_edit(data, self.model, self.catalog, data.draw(st.sampled_from(verbs), "verb"))
            execute(self.tenant, self._edit_model([edit]))

    def _draw_edits(self, data: st.DataObject, count: int) -> list[Edit]:
        verbs = st.sampled_from(("rename", "rename", "edit", "agree", "insert", "delete"))
        return [draw_edit(data, self.model, self.catalog, data.draw(verbs, "verb")) for _ in range(count)]


def varied(
    data: st.DataObject, parts: tuple[Part, ...], new: st.SearchStrategy[Part], fields: Sequence[str]
) -> tuple[Part, ...]:
    """The parts with one of them added, repeated, dropped, moved or changed."""
    verb = data.draw(st.sampled_from(("add", "repeat", "drop", "move", "change", "change")), "verb")
    place = data.draw(st.integers(0, max(0, len(parts) - 1)), "place")
    before, chosen, after = parts[:place], parts[place : place + 1], parts[place + 1 :]
    if verb == "add" or not chosen:
        added = data.draw(new, "part")
        there = {part.code for part in parts if not isinstance(part, BundleComponent)}
        is_there = not isinstance(added, BundleComponent) and added.code in there
        return parts if is_there else (*before, added, *chosen, *after)
    if verb == "repeat":
        return (*parts, *chosen) if isinstance(chosen[0], BundleComponent) else parts
    if verb == "drop":
        return (*before, *after)
    if verb == "move":
        return (*after, *chosen, *before)
    name = data.draw(st.sampled_from(fields), "field")
    changes: dict[str, Any] = {name: data.draw(PART_FIELDS[name], "value")}
    changed = cast("Part", chosen[0]._replace(**changes))
    return (*before, changed, *after)


def draw_edit(data: st.DataObject, model: TenantModel, catalog: Mapping[str, Item], verb: str) -> Edit:
    """Something a Cata user may do now, rows permitting; else an item made by hand."""
    tables = [table for table in TABLES if model.tables[table]]
    if verb in {"delete", "menu"}:
        tables = tables[:1]
    if verb == "insert" or not tables:
        return _draw_insert(data, model)
    table = data.draw(st.sampled_from(("items", "items", *tables)), "table")
    rows = model.tables[table]
    if verb == "delete":
        rows = {key: row for key, row in rows.items() if model.is_possible(Edit("delete", table, key))} or rows
    key = data.draw(st.sampled_from(list(rows)), "row")
    if verb == "delete":
        return Edit("delete", table, key)
    if verb == "menu":
        return Edit("menu", table, key, {"price": Decimal("27000.00")})
    if verb == "edit":
        column = data.draw(st.sampled_from(sorted(EDITABLE[table])), "column")
        return Edit("set", table, key, {column: data.draw(EDITABLE[table][column], "value")})
    if verb == "agree":
        return Edit("set", "items", key[:1], agreeing(catalog.get(key[0])))
    likely = near(rows[key]["original_name"] or "")
    if table == "items" and key[0] in catalog:
        likely += near(catalog[key[0]].name)
    return Edit("set", table, key, {"name": data.draw(texts | st.sampled_from(likely), "name")})


def agreeing(item: Item | None) -> dict[str, Any]:
    """What makes a row as the provider has it, so that a sync that planned to write it need not any more."""
    if item is None:
        return {"visible": True}
    plain = ("description", "category", "item_type", "external_image_url", "variant_group")
    words = {"original_name": item.name[:255], "visible": item.is_active is not False}
    return words | {column: getattr(item, column) for column in plain}


def near(name: str) -> list[str]:
    """A name, and others that a careless comparison takes for it; all fit their column."""
    others = (name.swapcase(), f"{name} ", name.strip(), *(normalize(form, name) for form in ("NFC", "NFD")))
    return [text[:255] for text in (name, *others)]


def _draw_insert(data: st.DataObject, model: TenantModel) -> Edit:
    table = data.draw(st.sampled_from([t for t in TABLES if t == "items" or model.tables[PARENTS[t]]]), "table")
    above = data.draw(st.sampled_from(list(model.tables[PARENTS[table]])), "parent") if table in PARENTS else ()
    values = {column: data.draw(texts, column) for column in ("name", "original_name")}
    return Edit("insert", table, above + data.draw(OWN_KEY_TEXTS[table], "key"), values)


def statement(model: TenantModel, edit: Edit) -> Statement:
    """An edit that is possible now, in SQL."""
    values = {name: json.dumps(value) if isinstance(value, list) else value for name, value in edit.values.items()}
    row = model.row_id(edit.table, edit.key)
    if edit.verb == "set":
        return f"UPDATE {edit.table} SET {', '.join(f'{name} = :{name}' for name in values)} WHERE id = {row}", values
    if edit.verb == "delete":
        return f"DELETE FROM items WHERE id = {row}", {}
    if edit.verb == "menu":
        return f"INSERT INTO menu_items (item_id, price) VALUES ({row}, :price)", values
    own = OWN_KEYS[edit.table]
    values |= dict(zip(own, edit.key[-len(own) :], strict=True))
    if edit.table in PARENTS:
        parent = model.row_id(PARENTS[edit.table], model.parent_key(edit.table, edit.key))
        values[FOREIGN_KEYS[edit.table]] = parent
    return f"INSERT INTO {edit.table} ({', '.join(values)}) VALUES ({', '.join(f':{name}' for name in values)})", values


def execute(tenant: SyncedTenant, statements: Sequence[Statement]) -> None:
    for text, values in statements:
        tenant.edit(text, **values)


def read_tables(tenant: SyncedTenant) -> tuple[Tables, dict[tuple[str, Key], Any], Counter[tuple[Key, Decimal]]]:
    """Every row of the four tables by its keys from the item down, the version of each row, and what is on menus."""
    tables: Tables = {}
    versions: dict[tuple[str, Key], Any] = {}
    version = "t.xmin::text" if tenant.engine.dialect.name == "postgresql" else "t.updated_at"
    with tenant.engine.connect() as connection:
        for table in TABLES:
            above = "".join(f", {name}" for name in ABOVE[table])
            found = connection.execute(sa.text(f"SELECT t.*, {version} AS row_version{above} FROM {JOINED[table]}"))
            tables[table] = {}
            for row in map(dict, found.mappings()):
                key = tuple(row.pop(name) for name in ("above_1", "above_2")[: len(ABOVE[table])] + OWN_KEYS[table])
                versions[table, key] = row.pop("row_version"), row.pop("updated_at")
                row.pop(FOREIGN_KEYS.get(table, ""), None)
                if isinstance(row.get("variant_options"), str):  # MariaDB keeps JSON as text
                    row["variant_options"] = json.loads(row["variant_options"])
                tables[table][key] = row
        on_menus = connection.execute(
            sa.text("SELECT i.item_code, n.price FROM menu_items n JOIN items i ON i.id = n.item_id")
        )
        menus = Counter(((code,), price) for code, price in on_menus)
    return tables, versions, menus


def empty_tables(tenant: SyncedTenant) -> None:
    if tenant.engine.dialect.name == "postgresql":
        tenant.edit(f"TRUNCATE {', '.join(TABLES)} CASCADE")
        return
    for table in ("menu_items", *reversed(TABLES)):
        tenant.edit(f"DELETE FROM {table}")


def forbid_writes(tenant: SyncedTenant, table: str) -> None:
    if tenant.engine.dialect.name == "postgresql":
        tenant.edit(
            "CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE 'cancelled' USING ERRCODE = 'query_canceled'; END $$"
        )
        tenant.edit(f"CREATE TRIGGER broken BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION broken()")
        return
    interrupted = "SIGNAL SQLSTATE '70100' SET MYSQL_ERRNO = 1317, MESSAGE_TEXT = 'cancelled'"
    for event in ("INSERT", "UPDATE"):
        tenant.edit(f"CREATE TRIGGER broken_{event} BEFORE {event} ON {table} FOR EACH ROW {interrupted}")


def permit_writes(tenant: SyncedTenant, table: str) -> None:
    if tenant.engine.dialect.name == "postgresql":
        tenant.edit(f"DROP TRIGGER IF EXISTS broken ON {table}")
        return
    for event in ("INSERT", "UPDATE"):
        tenant.edit(f"DROP TRIGGER IF EXISTS broken_{event}")


def check_report(report: ReconcileReport, plan: Plan, outcome: Outcome) -> None:
    assert asdict(report.items) == {name: outcome.items[name] for name in asdict(report.items)}
    assert asdict(report.children) == {name: outcome.children[name] for name in asdict(report.children)}
    assert report.items_in_snapshot == plan.accepted
    assert report.unchanged == plan.accepted - outcome.items["inserted"] - outcome.items["updated"]
    assert (report.rejected, report.children_rejected) == (plan.rejected, plan.children_rejected)
    assert report.stale == plan.stale


@pytest.mark.parametrize("keeps_original_description", [False, True])
def test_every_interleaving_of_provider_people_and_syncs_keeps_the_ownership_rules(
    tenant: SyncedTenant, *, keeps_original_description: bool
) -> None:
    tenant.distinguish_codes()
    for table in TABLES:
        tenant.edit(f"ALTER TABLE {table} ADD COLUMN staff_note varchar(64) NOT NULL DEFAULT 'new'")
    if keeps_original_description:
        tenant.edit("ALTER TABLE items ADD COLUMN original_description text")
    pooled = replace(tenant, engine=sa.create_engine(tenant.url))
    steps_an_example = STEPS_AN_EXAMPLE[tenant.engine.dialect.name]
    steps = STEPS * (MYSQL_SHARE if tenant.on_mysql else 1 - MYSQL_SHARE)

    class Machine(OwnershipMachine):
        def __init__(self) -> None:
            super().__init__(pooled, keeps_original_description=keeps_original_description)

    try:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=max(1, round(steps / 2 / steps_an_example)),
                stateful_step_count=steps_an_example,
                deadline=None,
                derandomize="CATA_PROPERTY_STEPS" not in os.environ,
                database=None,
                print_blob=True,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        pooled.engine.dispose()
