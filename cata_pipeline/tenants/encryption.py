"""Warns about connections to tenant databases that anybody between here and the server can read and change.

A connection over loopback or a socket stays on this machine. What each engine's URL has to say to be encrypted is in
docs/operations.md.
"""

import ipaddress
import logging
import threading
from collections import deque
from typing import Any

_log = logging.getLogger(__name__)
_REMEMBERED_RUNS = 64
"""More than one process serves at once; a long-lived one must not remember every run."""

_warned: deque[str] = deque(maxlen=_REMEMBERED_RUNS)
_lock = threading.Lock()


def warn_if_unencrypted(connection: Any, run_id: str) -> None:
    """Log one warning a run for its first unencrypted connection to another machine; psycopg's or PyMySQL's."""
    address = _unencrypted_peer(connection)
    if address is None or _is_loopback(address):
        return
    with _lock:
        if run_id in _warned:
            return
        _warned.append(run_id)
    _log.warning(
        "The connection to the tenant database at %s is not encrypted: whoever is between here and there can read and"
        " change what it carries, its password included. Others of this run may be alike; this is its only warning."
        " Set sslmode=verify-full (PostgreSQL) or ssl_ca=FILE (MySQL, MariaDB) in the URL: see docs/operations.md.",
        address,
    )


def _unencrypted_peer(connection: Any) -> str | None:
    """The address of the server; None where the connection is encrypted or a socket of this machine."""
    if hasattr(connection, "pgconn"):
        encrypted, address = connection.pgconn.ssl_in_use, connection.info.hostaddr
    else:
        encrypted, address = False, connection.unencrypted_peer()
    return None if encrypted or not address else str(address)


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
