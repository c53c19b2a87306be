"""Reads which table of which server a connection really leads to, whatever name or address the URL gives it.

An ordinary account may execute everything here. What is remembered of an identity, and who owns it, is
`database_owners`.
"""

import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cata_pipeline.errors import DatabaseError

Rows = Callable[[str, list[Any]], Sequence[Any]]
"""Executes a statement with parameters and returns its rows."""

_POSTGRESQL = """
SELECT current_database(), n.nspname, c.relname, current_setting('port'),
    host(inet_server_addr()), host(inet_client_addr()),
    has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(quote_ident(%s))
"""
_SYSTEM_IDENTIFIER = "SELECT system_identifier FROM pg_control_system()"

_VARIABLES = """
SHOW GLOBAL VARIABLES WHERE Variable_name IN
    ('server_uuid', 'group_replication_group_name', 'wsrep_on', 'hostname', 'port', 'datadir', 'lower_case_table_names')
"""
_GALERA = "SHOW GLOBAL STATUS WHERE Variable_name = 'wsrep_cluster_state_uuid'"
_TABLE = """
SELECT table_schema, table_name, {} FROM information_schema.tables
WHERE table_schema = DATABASE() AND (CAST(table_name AS BINARY) = %s OR {} AND LOWER(table_name) = LOWER(%s))
"""
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NO_CLUSTER = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class DatabaseIdentity:
    """One table of one database of one server.

    `servers` begins with the server's identity; the others are identities that it had before, or servers whose data it
    has by replication. `items` is the table with its schema, where the engine has schemas.
    """

    servers: tuple[str, ...]
    database: str
    items: str


def read_identity(rows: Rows, engine: str, items: str) -> DatabaseIdentity:
    """As `find_identity`; raises `DatabaseError` where there is no such table."""
    found = find_identity(rows, engine, items)
    if found is None:
        raise DatabaseError(f"The tenant database has no table {items}. Check that its URL points at the right one.")
    return found


def find_identity(rows: Rows, engine: str, items: str) -> DatabaseIdentity | None:
    """Return what a connection to `engine` (postgresql or mysql) leads to; `items` is the table's name there."""
    return _postgresql(rows, items) if engine == "postgresql" else _mysql(rows, items)


def _postgresql(rows: Rows, items: str) -> DatabaseIdentity | None:
    """The system identifier is one for a server and its physical replicas, so it survives a failover."""
    for database, schema, table, port, server, client, may_identify in rows(_POSTGRESQL, [items]):
        # One address at both ends is this machine, whichever of its addresses the URL names.
        host = socket.gethostname() if server in {None, client} else server
        servers = [f"postgresql at {host}:{port}"]
        if may_identify:
            [(identifier,)] = rows(_SYSTEM_IDENTIFIER, [])
            servers.insert(0, f"postgresql {identifier}")
        return DatabaseIdentity(tuple(servers), database, f"{schema}.{table}")
    return None


def _mysql(rows: Rows, items: str) -> DatabaseIdentity | None:
    """MySQL's transaction identifiers name the servers that they come from: so a promoted replica is recognised.

    MariaDB's do not. Its own `server_uid` is made from the network card, which a container changes at each start.
    """
    variables = dict(rows(_VARIABLES, []))
    folds = variables["lower_case_table_names"] != "0"
    has_uuid = "server_uuid" in variables
    statement = _TABLE.format("@@GLOBAL.gtid_executed" if has_uuid else "''", "TRUE" if folds else "FALSE")
    servers = []
    if group := variables.get("group_replication_group_name"):
        servers.append(f"mysql group {group}")
    if variables.get("wsrep_on") == "ON":
        servers += [f"galera {cluster}" for _, cluster in rows(_GALERA, []) if cluster not in {"", _NO_CLUSTER}]
    if has_uuid:
        servers.append(f"mysql {variables['server_uuid']}")
    else:
        servers.append(f"mariadb at {variables['hostname']}:{variables['port']}{variables['datadir']}")
    for schema, table, executed in rows(statement, [items, items]):
        sources = sorted({f"mysql {uuid}" for uuid in _UUID.findall(_text(executed).lower())} - {*servers})
        names = [_text(name).lower() if folds else _text(name) for name in (schema, table)]
        return DatabaseIdentity((*servers, *sources), *names)
    return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
