"""What one would write with SQLAlchemy: upserts of 1,000 rows at a time, the name rule included."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from benchmarks.reconcile.rows import tenant_rows
from benchmarks.reconcile.task import Task, Work

_BATCH = 1_000
_ITEMS = sa.table(
    "items",
    *(
        sa.column(name)
        for name in (
            "item_code",
            "name",
            "original_name",
            "description",
            "category",
            "item_type",
            "variant_group",
            "variant_options",
            "visible",
            "external_image_url",
        )
    ),
)


def prepare(task: Task) -> Work:
    """Rows as dictionaries, as a client of the provider's API has them, and the connection."""
    rows = tenant_rows(Path(task.catalog)).to_pylist()
    connection = sa.create_engine(task.url).connect()
    connection.commit()
    statement = _on_postgresql() if task.on_postgresql else _on_mysql()

    def work() -> None:
        with connection.begin():
            for start in range(0, len(rows), _BATCH):
                connection.execute(statement, rows[start : start + _BATCH])

    return work


def _on_postgresql() -> Any:
    insert = postgresql.insert(_ITEMS)
    return insert.on_conflict_do_update(index_elements=["item_code"], set_=dict(_assignments(insert.excluded)))


def _on_mysql() -> Any:
    insert = mysql.insert(_ITEMS)
    return insert.on_duplicate_key_update(_assignments(insert.inserted))


def _assignments(new: Any) -> list[tuple[str, Any]]:
    """The name first: MySQL assigns from left to right."""
    stored = _ITEMS.c
    followed = sa.case((stored.name == stored.original_name, new.name), else_=stored.name)
    others = [name for name in stored.keys() if name not in {"item_code", "name"}]  # noqa: SIM118 no mapping
    return [("name", followed), *((name, new[name]) for name in others)]
