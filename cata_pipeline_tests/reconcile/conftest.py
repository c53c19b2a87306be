"""A tenant whose database can be synced with any list of items, and read back.

A module whose behaviours hold on every engine says `ENGINES = EVERY_ENGINE`; without that its tests run on PostgreSQL.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine

from cata_pipeline.buckets import Bucket
from cata_pipeline.catalog.model import Catalog, Item, Rejection
from cata_pipeline.catalog.snapshot import Snapshot, SnapshotStore
from cata_pipeline.reconcile.report import ReconcileReport
from cata_pipeline.reconcile.steps import reconcile
from cata_pipeline.tenants.mapping import SAME_NAMES, SchemaMapping, TenantDatabase

EVERY_ENGINE = ("postgresql", "mariadb", "mysql")
MYSQL_ENGINES = ("mariadb", "mysql")

_CODES = {
    "items": ["item_code"],
    "item_modifiers": ["modifier_code"],
    "item_modifier_options": ["option_code"],
    "item_bundle_components": ["slot", "component_item_code"],
}
_runs = itertools.count(1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "tenant" in metafunc.fixturenames and hasattr(metafunc.module, "ENGINES"):
        metafunc.parametrize("tenant", metafunc.module.ENGINES, indirect=True)


@dataclass
class SyncedTenant:
    """One tenant database with the steps and look-ups that tests need."""

    engine: Engine
    url: URL
    bucket: Bucket
    store: SnapshotStore
    before_write: Callable[[], None] = field(default=lambda: None)
    sleep: Callable[[float], None] = field(default=lambda seconds: time.sleep(seconds / 20))
    mapping: SchemaMapping = SAME_NAMES
    engine_name: str = "postgresql"

    def snapshot(self, items: Sequence[Item], rejections: Sequence[Rejection] = ()) -> Snapshot:
        catalog = Catalog(tuple(sorted(items, key=lambda item: item.item_code.encode())), tuple(rejections))
        return self.store.save("kopi-kita", "iseller", catalog, run_id=f"fetch-{next(_runs)}", now=datetime.now(UTC))

    def sync(
        self, *items: Item, allow: Mapping[str, int] | None = None, dry_run: bool = False, rejected: int = 0
    ) -> ReconcileReport:
        rejections = [Rejection(None, None, "no name")] * rejected
        return self.apply(self.snapshot(items, rejections), allow=allow, dry_run=dry_run)

    def apply(
        self, snapshot: Snapshot, *, allow: Mapping[str, int] | None = None, dry_run: bool = False
    ) -> ReconcileReport:
        return reconcile(
            snapshot,
            TenantDatabase(self.url, self.mapping),
            run_id=f"run-{next(_runs)}",
            bucket=self.bucket,
            allow=allow or {},
            dry_run=dry_run,
            before_write=self.before_write,
            sleep=self.sleep,
        )

    def rows(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.text(statement), parameters).mappings()]

    def item(self, code: str) -> dict[str, Any]:
        [row] = self.rows("SELECT * FROM items WHERE item_code = :code", code=code)
        if self.on_mysql:
            row["visible"] = bool(row["visible"])
            if isinstance(row.get("variant_options"), str):
                row["variant_options"] = json.loads(row["variant_options"])
        return row

    def edit(self, statement: str, **parameters: Any) -> None:
        """What a Cata user does through the app."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), parameters)

    def state(self, table: str) -> list[dict[str, Any]]:
        """Every row of a table, with what changes whenever the row is written, even by the same values."""
        # MariaDB moves `updated_at` for new values only; a row lock leaves no trace there.
        versions = "" if self.on_mysql else "xmin::text, xmax::text, "
        return self.rows(f"SELECT {versions}{table}.* FROM {table} ORDER BY id")

    def next_item_id(self) -> Any:
        """What the next inserted item's id is made from."""
        if self.on_mysql:
            statement = (
                "SELECT auto_increment FROM information_schema.tables WHERE table_schema = DATABASE()"
                " AND table_name = 'items'"
            )
        else:
            statement = "SELECT last_value FROM items_id_seq"
        return self.rows(statement)

    def drop_table(self, name: str) -> None:
        """Drop a table that others refer to."""
        with self.engine.begin() as connection:
            if self.on_mysql:
                connection.execute(sa.text("SET foreign_key_checks = 0"))
            connection.execute(sa.text(f"DROP TABLE {name} {'' if self.on_mysql else 'CASCADE'}"))

    def distinguish_codes(self) -> None:
        """Let the unique keys tell codes apart that differ in case, accents or spaces."""
        if not self.on_mysql:
            return
        exact = "utf8mb4_nopad_bin" if self.engine_name == "mariadb" else "utf8mb4_0900_bin"
        for table, columns in _CODES.items():
            changes = ", ".join(
                f"MODIFY {column} varchar(255) CHARACTER SET utf8mb4 COLLATE {exact} NOT NULL" for column in columns
            )
            self.edit(f"ALTER TABLE {table} {changes}")

    @property
    def on_mysql(self) -> bool:
        return self.engine.dialect.name == "mysql"

    def is_somebody_waiting(self) -> bool:
        """Whether anybody in this database waits for a lock that somebody else holds."""
        if self.on_mysql:  # innodb_trx is a cache that stays old as long as it is asked more than ten times a second
            [found] = self.rows("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")
            return int(found["Value"]) > 0
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return bool(self.rows(waiting))

    def is_locked(self, table: str, row_id: int) -> bool:
        """Whether a transaction holds a row, so that a merchant who saves it has to wait."""
        with self.engine.connect() as connection:
            statement = sa.text(f"SELECT 1 FROM {table} WHERE id = :row_id FOR UPDATE NOWAIT")
            try:
                connection.execute(statement, {"row_id": row_id})
            except sa.exc.OperationalError:
                return True
            return False


@pytest.fixture
def tenant(request: pytest.FixtureRequest, snapshot_bucket: Bucket, control: Engine) -> Iterator[SyncedTenant]:
    """A tenant on the engine that the test's module asks for."""
    name = getattr(request, "param", "postgresql")
    url: URL = (
        request.getfixturevalue("tenant_database_url")
        if name == "postgresql"
        else request.getfixturevalue(f"new_{name}_database")()
    )
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    yield SyncedTenant(engine, url, snapshot_bucket, SnapshotStore(snapshot_bucket, control), engine_name=name)
    engine.dispose()


def until(happened: Callable[[], bool]) -> None:
    """Returns once it happened; fails when it does not."""
    for _ in range(3_000):
        if happened():
            return
        time.sleep(0.01)
    pytest.fail("It never happened.")


def latte(**changes: Any) -> Item:
    """An ordinary item; `changes` are fields of `Item`."""
    fields: dict[str, Any] = {
        "item_code": "LAT-L",
        "provider_id": "p-1",
        "name": "Latte",
        "is_active": True,
        "description": "Espresso with milk",
        "category": "Coffee",
        "item_type": "standard",
        "external_image_url": "https://cdn.example/latte.jpg",
    }
    return Item(**(fields | changes))
