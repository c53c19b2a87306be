"""Sessions that a MySQL or MariaDB server configures: inherited settings, binary logs."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from cata_pipeline.errors import DatabaseError
from cata_pipeline.tenants.connections import tenant_engine
from cata_pipeline_tests.mysql_servers import mariadb_server, mysql_server
from cata_pipeline_tests.reconcile.conftest import MYSQL_ENGINES, SyncedTenant, latte
from cata_pipeline_tests.reconcile.whole_sync import sync_through_everything

ENGINES = MYSQL_ENGINES

HANDED_OUT_BY_MYSQL = {
    "sql_safe_updates": "1",
    "max_join_size": "5",
    "sql_select_limit": "5",
    "completion_type": "'RELEASE'",
    "max_error_count": "0",
    "foreign_key_checks": "0",
    "sql_auto_is_null": "1",
    "max_sort_length": "8",
    "sql_mode": "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH'",
    "transaction_isolation": "'SERIALIZABLE'",
    "transaction_read_only": "1",
    "lock_wait_timeout": "31536000",
    "character_set_results": "latin1",
    "collation_connection": "utf8mb4_general_ci",
    "default_storage_engine": "'MyISAM'",
    "low_priority_updates": "1",
    "autocommit": "0",
}


@pytest.fixture
def hand_out(tenant: SyncedTenant) -> Iterator[Callable[[str, str], None]]:
    """Sets a global variable of the server, until the test ends."""
    before: dict[str, object] = {}
    engine = sa.create_engine(tenant.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:

        def set_variable(name: str, value: str) -> None:
            before[name] = connection.exec_driver_sql(f"SELECT @@global.{name}").scalar_one()
            connection.exec_driver_sql(f"SET GLOBAL {name} = {value}")

        yield set_variable
        for name, value in before.items():
            connection.exec_driver_sql(f"SET GLOBAL {name} = %s", (value,))
    engine.dispose()


@pytest.mark.parametrize("setting", HANDED_OUT_BY_MYSQL)
def test_settings_that_mysql_hands_to_every_session_change_no_result(
    tenant: SyncedTenant, hand_out: Callable[[str, str], None], setting: str
) -> None:
    name = setting
    if tenant.engine_name == "mariadb" and setting.startswith("transaction_"):
        name = setting.replace("transaction", "tx")
    hand_out(name, HANDED_OUT_BY_MYSQL[setting])
    tenant.engine = tenant_engine(tenant.url)  # what the test itself reads is not the point
    sync_through_everything(tenant)


@pytest.mark.parametrize("log_format", ["STATEMENT", "MIXED", "ROW"])
def test_a_binary_log_of_any_format_is_served_or_rejected_by_name(tenant: SyncedTenant, log_format: str) -> None:
    start = mysql_server if tenant.engine_name == "mysql" else mariadb_server
    folder = Path(tempfile.mkdtemp(prefix="cata-log-"))
    options = ["--log-bin=log", f"--binlog-format={log_format}", "--server-id=1"]
    try:
        with start(folder, *options) as server:
            administration = sa.create_engine(server.url("mysql"), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
            schema = (Path(__file__).parents[2] / "cata_pipeline/demo/tenant_schema_mysql.sql").read_text()
            with administration.connect() as connection:
                for statement in ("CREATE DATABASE shop", "USE shop", *filter(str.strip, schema.split(";\n"))):
                    connection.exec_driver_sql(statement)
                connection.exec_driver_sql("CREATE USER plain@localhost IDENTIFIED BY 'x'")
                connection.exec_driver_sql("GRANT ALL ON shop.* TO plain@localhost")
            tenant.url = server.url("shop")
            tenant.engine = sa.create_engine(tenant.url, poolclass=sa.NullPool)
            sync_through_everything(tenant)
            tenant.url = tenant.url.set(username="plain", password="x")
            if log_format == "STATEMENT":
                with pytest.raises(DatabaseError, match=r"binlog_format=STATEMENT.*Set binlog_format to ROW or MIXED"):
                    tenant.sync(latte())
            else:
                tenant.sync(*[latte(item_code=f"I{n}", name="Newer") for n in range(12)], allow={"hide_children": 99})
    finally:
        shutil.rmtree(folder)
