"""How tenant databases are connected to: one that accepts a connection and then says nothing costs seconds, not a run.

What is asked over a connection, and how long a statement may take, belongs to whoever asks.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

CONNECT_SECONDS = 10
_SILENCE_SECONDS = 660.0
"""Longer than any statement of ours may take."""
_SEND_SECONDS = 60


def postgresql_keywords() -> dict[str, Any]:
    """Arguments of libpq that notice a server which is gone."""
    return {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": _SEND_SECONDS * 1000,
    }


def connect_mysql(url: URL, **changes: Any) -> Any:
    """A PyMySQL connection; `changes` replace what SQLAlchemy would pass for this URL."""
    import pymysql

    _, options = url.get_dialect()().create_connect_args(url)
    timeouts = {"connect_timeout": CONNECT_SECONDS, "read_timeout": CONNECT_SECONDS, "write_timeout": _SEND_SECONDS}
    connection = pymysql.connect(**{**options, **timeouts, **changes})
    # There is one limit for the greeting and for every statement, and it can be told apart only like this.
    connection._read_timeout = _SILENCE_SECONDS  # noqa: SLF001
    return connection


def tenant_engine(url: URL) -> sa.Engine:
    """An engine of a tenant database; every connection is its own."""
    if url.get_backend_name() == "mysql":
        return sa.create_engine(url, creator=lambda: connect_mysql(url), poolclass=sa.NullPool, hide_parameters=True)
    return sa.create_engine(url, connect_args=postgresql_keywords(), poolclass=sa.NullPool, hide_parameters=True)
