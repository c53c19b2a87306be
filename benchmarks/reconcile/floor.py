"""The least that could be done: load the rows, and count by one join how many differ; write exactly those.

The input lies ready in the server's own format before the clock starts, and nothing is checked, guarded or reported.
"""

# ruff: noqa: S608  identifiers are those of the reference schema, values never

import io
import tempfile
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv
import pymysql
from sqlalchemy.engine import make_url

from benchmarks.reconcile.rows import tenant_rows
from benchmarks.reconcile.task import CHANGED, FIRST, Task, Work
from cata_pipeline.reconcile.mysql.load import write_load_file

_COMPARED = (
    "original_name",
    "description",
    "category",
    "item_type",
    "variant_group",
    "variant_options",
    "visible",
    "external_image_url",
)
_STAGE = """
    CREATE TEMPORARY TABLE stage (item_code varchar(255), name varchar(255), original_name varchar(255),
        description text, category varchar(255), item_type varchar(64), variant_group varchar(255), visible boolean,
        external_image_url text, variant_options {json})"""
_NAMES = ("item_code", "name", *_COMPARED)
_NEW = f"""
    INSERT INTO items ({", ".join(_NAMES)}) SELECT {", ".join(f"s.{name}" for name in _NAMES)}
    FROM stage s LEFT JOIN items t ON t.item_code = s.item_code WHERE t.id IS NULL"""
_JOIN = "SELECT count(*) FROM stage s LEFT JOIN items t ON t.item_code = s.item_code WHERE t.id IS NULL OR {}"


def prepare(task: Task) -> Work:
    """Everything up to the load."""
    rows = tenant_rows(Path(task.catalog))
    return _on_postgresql(task, rows) if task.on_postgresql else _on_mysql(task, rows)


def _on_postgresql(task: Task, rows: pa.Table) -> Work:
    url = make_url(task.url)
    connection = psycopg.connect(host=str(url.query["host"]), user=url.username, dbname=url.database, autocommit=True)
    connection.execute("SET work_mem = '64MB'")
    content = _binary(connection, rows)
    differs = " OR ".join(f"t.{name} IS DISTINCT FROM s.{name}" for name in _COMPARED)
    assignments = ", ".join(f"{name} = s.{name}" for name in _COMPARED)
    update = f"""
        UPDATE items t SET name = CASE WHEN t.name = t.original_name THEN s.name ELSE t.name END, {assignments}
        FROM stage s WHERE s.item_code = t.item_code AND ({differs})"""

    def work() -> None:
        connection.execute(_STAGE.format(json="jsonb"))
        with connection.cursor() as cursor, cursor.copy("COPY stage FROM STDIN (FORMAT binary)") as copy:
            copy.write(content)
        connection.execute(_JOIN.format(differs)).fetchall()
        if task.phase == FIRST:
            connection.execute(_NEW)
        if task.phase == CHANGED:
            connection.execute(update)

    return work


def _binary(connection: psycopg.Connection, rows: pa.Table) -> bytes:
    """The rows in the form of a binary COPY, made by the server itself."""
    text, binary = io.BytesIO(), io.BytesIO()
    pa_csv.write_csv(rows, text, pa_csv.WriteOptions(include_header=False))
    connection.execute(_STAGE.format(json="jsonb"))
    with connection.cursor() as cursor:
        with cursor.copy("COPY stage FROM STDIN (FORMAT csv)") as copy_in:
            copy_in.write(text.getbuffer())
        with cursor.copy("COPY stage TO STDOUT (FORMAT binary)") as copy_out:
            for block in copy_out:
                binary.write(block)
    connection.execute("DROP TABLE stage")
    return binary.getvalue()


def _on_mysql(task: Task, rows: pa.Table) -> Work:
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
    file = tempfile.NamedTemporaryFile(prefix="cata-bench-")  # noqa: SIM115
    write_load_file(rows, file)
    differs = " OR ".join(f"NOT (BINARY t.{name} <=> BINARY s.{name})" for name in _COMPARED)
    assignments = ", ".join(f"t.{name} = s.{name}" for name in _COMPARED)
    update = f"""
        UPDATE stage s JOIN items t ON t.item_code = s.item_code
        SET t.name = IF(BINARY t.name <=> BINARY t.original_name, s.name, t.name), {assignments} WHERE {differs}"""

    def work() -> None:
        cursor.execute(_STAGE.format(json="json"))
        columns = ", ".join(rows.column_names)
        cursor.execute(f"LOAD DATA LOCAL INFILE %s INTO TABLE stage CHARACTER SET utf8mb4 ({columns})", [file.name])
        cursor.execute(_JOIN.format(differs))
        if task.phase == FIRST:
            cursor.execute(_NEW)
        if task.phase == CHANGED:
            cursor.execute(update)

    return work
