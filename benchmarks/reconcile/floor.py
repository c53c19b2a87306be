"""The least that could be done: load the rows, and count by one join how many differ; write exactly those.

The input lies ready in the server's own format before the clock starts, and nothing is checked, guarded or reported.
"""

# ruff: noqa: S608  identifiers are those of the reference schema, values never

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv
import pymysql
from sqlalchemy.engine import make_url

from benchmarks.reconcile.rows import child_rows, tenant_rows
from benchmarks.reconcile.task import CHANGED, FIRST, Task, Work
from cata_pipeline.reconcile.mysql.load import write_load_file

_STAGED = {
    "item_code": "varchar(255)",
    "modifier_code": "varchar(255)",
    "option_code": "varchar(255)",
    "name": "varchar(255)",
    "original_name": "varchar(255)",
    "description": "text",
    "category": "varchar(255)",
    "item_type": "varchar(64)",
    "variant_group": "varchar(255)",
    "visible": "boolean",
    "external_image_url": "text",
    "position": "int",
}
_NOT_COMPARED = {"item_code", "modifier_code", "option_code", "name"}
_MODIFIERS = """item_modifiers t JOIN items u ON u.id = t.item_id"""
_OPTIONS = f"""item_modifier_options t JOIN ({_MODIFIERS.replace(" t ", " m ").replace("t.", "m.")})
    ON m.id = t.item_modifier_id"""


@dataclass(frozen=True)
class _Level:
    """One table: its rows, how staged rows find theirs (`target` and `on`), and how new ones find their parent."""

    table: str
    rows: pa.Table
    target: str
    on: str
    own: tuple[str, ...]
    parent: str = ""
    parent_id: str = ""

    @property
    def compared(self) -> list[str]:
        """What differs from sync to sync."""
        return [name for name in self.rows.column_names if name not in _NOT_COMPARED]

    def stage(self, json: str) -> str:
        """The temporary table."""
        columns = ", ".join(f"{name} {_STAGED.get(name, json)}" for name in self.rows.column_names)
        return f"CREATE TEMPORARY TABLE stage_{self.table} ({columns})"

    def join(self, differs: str) -> str:
        """Count what is new or differs, by one join."""
        joined = f"stage_{self.table} s LEFT JOIN {self.target} ON {self.on}"
        return f"SELECT count(*) FROM {joined} WHERE t.id IS NULL OR {differs}"

    def insert(self) -> str:
        """Write exactly what is new."""
        written = [*self.own, "name", *self.compared]
        values = ", ".join(f"s.{name}" for name in written)
        names, parent = ", ".join(written), f", {self.parent_id}" if self.parent else ""
        target = {"item_modifiers": ", item_id", "item_modifier_options": ", item_modifier_id"}.get(self.table, "")
        return f"""
            INSERT INTO {self.table} ({names}{target}) SELECT {values}{parent} FROM stage_{self.table} s {self.parent}
            LEFT JOIN {self.target} ON {self.on} WHERE t.id IS NULL"""


def _levels(task: Task) -> list[_Level]:
    items = _Level("items", tenant_rows(Path(task.catalog)), "items t", "t.item_code = s.item_code", ("item_code",))
    modifiers, options = child_rows(Path(task.catalog))
    if not modifiers.num_rows:
        return [items]
    by_item = "JOIN items p ON p.item_code = s.item_code"
    return [
        items,
        _Level(
            "item_modifiers",
            modifiers,
            f"({_MODIFIERS})",
            "u.item_code = s.item_code AND t.modifier_code = s.modifier_code",
            ("modifier_code",),
            by_item,
            "p.id",
        ),
        _Level(
            "item_modifier_options",
            options,
            f"({_OPTIONS})",
            "u.item_code = s.item_code AND m.modifier_code = s.modifier_code AND t.option_code = s.option_code",
            ("option_code",),
            f"{by_item} JOIN item_modifiers q ON q.item_id = p.id AND q.modifier_code = s.modifier_code",
            "q.id",
        ),
    ]


def prepare(task: Task) -> Work:
    """Everything up to the load."""
    levels = _levels(task)
    return _on_postgresql(task, levels) if task.on_postgresql else _on_mysql(task, levels)


def _on_postgresql(task: Task, levels: list[_Level]) -> Work:
    url = make_url(task.url)
    connection = psycopg.connect(host=str(url.query["host"]), user=url.username, dbname=url.database, autocommit=True)
    connection.execute("SET work_mem = '64MB'")
    contents = [_binary(connection, level) for level in levels]
    differs = [" OR ".join(f"t.{name} IS DISTINCT FROM s.{name}" for name in level.compared) for level in levels]
    assignments = ", ".join(f"{name} = s.{name}" for name in levels[0].compared)
    update = f"""
        UPDATE items t SET name = CASE WHEN t.name = t.original_name THEN s.name ELSE t.name END, {assignments}
        FROM stage_items s WHERE s.item_code = t.item_code AND ({differs[0]})"""

    def work() -> None:
        for level, content, different in zip(levels, contents, differs, strict=True):
            connection.execute(level.stage("jsonb"))
            load = f"COPY stage_{level.table} FROM STDIN (FORMAT binary)"
            with connection.cursor() as cursor, cursor.copy(load) as copy:
                copy.write(content)
            connection.execute(level.join(different)).fetchall()
            if task.phase == FIRST:
                connection.execute(level.insert())
        if task.phase == CHANGED:
            connection.execute(update)

    return work


def _binary(connection: psycopg.Connection, level: _Level) -> bytes:
    """The rows in the form of a binary COPY, made by the server itself."""
    text, binary = io.BytesIO(), io.BytesIO()
    pa_csv.write_csv(level.rows, text, pa_csv.WriteOptions(include_header=False))
    connection.execute(level.stage("jsonb"))
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY stage_{level.table} FROM STDIN (FORMAT csv)") as copy_in:
            copy_in.write(text.getbuffer())
        with cursor.copy(f"COPY stage_{level.table} TO STDOUT (FORMAT binary)") as copy_out:
            for block in copy_out:
                binary.write(block)
    connection.execute(f"DROP TABLE stage_{level.table}")
    return binary.getvalue()


def _on_mysql(task: Task, levels: list[_Level]) -> Work:
    url = make_url(task.url)
    connection = pymysql.connect(
        unix_socket=str(url.query["unix_socket"]),
        user=url.username,
        database=url.database,
        charset="utf8mb4",
        autocommit=True,
        local_infile=True,
    )
    cursor = connection.cursor()
    # Left open, and with it there, until this process ends.
    files = [tempfile.NamedTemporaryFile(prefix="cata-bench-") for _ in levels]  # noqa: SIM115
    for level, file in zip(levels, files, strict=True):
        write_load_file(level.rows, file)
    differs = [" OR ".join(f"NOT (BINARY t.{name} <=> BINARY s.{name})" for name in level.compared) for level in levels]
    assignments = ", ".join(f"t.{name} = s.{name}" for name in levels[0].compared)
    update = f"""
        UPDATE stage_items s JOIN items t ON t.item_code = s.item_code
        SET t.name = IF(BINARY t.name <=> BINARY t.original_name, s.name, t.name), {assignments} WHERE {differs[0]}"""

    def work() -> None:
        for level, file, different in zip(levels, files, differs, strict=True):
            cursor.execute(level.stage("json"))
            columns = ", ".join(level.rows.column_names)
            load = f"LOAD DATA LOCAL INFILE %s INTO TABLE stage_{level.table} CHARACTER SET utf8mb4 ({columns})"
            cursor.execute(load, [file.name])
            cursor.execute(level.join(different))
            if task.phase == FIRST:
                cursor.execute(level.insert())
        if task.phase == CHANGED:
            cursor.execute(update)

    return work
