"""Connects to tenant databases: with timeouts, and with settings that keep results apart from the server's defaults.

A server that accepts a connection and then sends nothing costs seconds, not a run. What is executed over a connection,
and how long a statement may take, belongs to the caller.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

from cata_pipeline.errors import DatabaseError
from cata_pipeline.tenants.encryption import warn_if_unencrypted

CONNECT_SECONDS = 10
_SILENCE_SECONDS = 660.0
"""Longer than any statement of ours may take."""
_SEND_SECONDS = 60
# A server may hand other values to every session; these would cut results, bend values or refuse writes.
_MYSQL_SETTINGS = {
    "sql_mode": "'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
    "foreign_key_checks": "1",
    "unique_checks": "1",
    "sql_safe_updates": "0",
    "sql_select_limit": "18446744073709551615",
    "max_join_size": "18446744073709551615",
    "sql_big_selects": "1",  # after max_join_size, which turns it off
    "sql_auto_is_null": "0",
    "completion_type": "0",
    "max_sort_length": "8388608",
}
# By what PyMySQL and OpenSSL report; the first that occurs counts.
_OTHER_HOST = "Its certificate names another host: correct the host, or set ssl_check_hostname=false in its URL."
_TLS_HINTS = {
    "insecure transport": "It takes encrypted connections only: remove ssl_disabled from its URL, or set ssl_ca there.",
    "mismatch, certificate": _OTHER_HOST,
    "certificate is not valid for": _OTHER_HOST,
    "certificate verify failed": "Set ssl_ca in its URL to the file of the authority that signed its certificate.",
    "doesn't support ssl": "It offers no encryption: remove the ssl_ parameters from its URL.",
    "ssl is required": "It offers no encryption: remove the ssl_ parameters from its URL.",
}
_MYSQL_STATEMENTS = (
    "SET SESSION " + ", ".join(f"{name} = {value}" for name, value in _MYSQL_SETTINGS.items()),
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE",
)


def postgresql_keywords() -> dict[str, Any]:
    """Arguments of psycopg: notice a server that is gone, and prepare nothing.

    Behind a pooler the next statement may run on another server process, which does not know what was prepared.
    """
    return {
        "prepare_threshold": None,
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": _SEND_SECONDS * 1000,
    }


def connect_mysql(url: URL, **changes: Any) -> Any:
    """A PyMySQL connection that sends no file; `changes` replace what SQLAlchemy would pass for this URL."""
    from cata_pipeline.tenants.mysql_client import MysqlConnection

    _, options = url.get_dialect()().create_connect_args(url)
    timeouts = {"connect_timeout": CONNECT_SECONDS, "read_timeout": CONNECT_SECONDS, "write_timeout": _SEND_SECONDS}
    connection = MysqlConnection(**{**options, **timeouts, **changes})
    connection.allow_silence(_SILENCE_SECONDS)
    try:
        with connection.cursor() as cursor:
            for statement in _MYSQL_STATEMENTS:
                cursor.execute(statement)
            cursor.execute("SHOW SESSION VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format')")
            _log_rows(cursor, dict(cursor.fetchall()))
    except BaseException:
        connection.close()
        raise
    return connection


def mysql_connection_hint(error: Exception) -> str:
    """Return what to do about an error of `connect_mysql`: for TLS, the URL's parameter to set."""
    text = str(error).lower()
    for said, hint in _TLS_HINTS.items():
        if said in text:
            return hint
    return "Check its URL and that it runs."


def _log_rows(cursor: Any, variables: dict[str, str]) -> None:
    """Have the binary log hold rows, where the server's holds statements: READ COMMITTED does not go with them."""
    import pymysql

    if variables.get("log_bin") != "ON" or variables.get("binlog_format") != "STATEMENT":
        return
    try:
        cursor.execute("SET SESSION binlog_format = 'ROW'")
    except pymysql.MySQLError as error:
        raise DatabaseError(
            "The tenant database keeps its binary log as statements (binlog_format=STATEMENT), and transactions at READ"
            " COMMITTED need rows there. Nothing was written. Set binlog_format to ROW or MIXED on the server, or grant"
            " this user SESSION_VARIABLES_ADMIN (MySQL) or BINLOG ADMIN (MariaDB)."
        ) from error


def tenant_engine(url: URL, run_id: str = "") -> sa.Engine:
    """An engine of a tenant database for one run; every connection is its own."""
    options: dict[str, Any] = {"poolclass": sa.NullPool, "hide_parameters": True}
    if url.get_backend_name() == "mysql":
        engine = sa.create_engine(url, creator=lambda: connect_mysql(url), **options)
    else:
        engine = sa.create_engine(url, connect_args=postgresql_keywords(), **options)
    sa.event.listen(engine, "connect", lambda connection, _: warn_if_unencrypted(connection, run_id))
    return engine
