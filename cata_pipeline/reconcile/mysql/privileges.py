"""Finds whether our account may create temporary tables in a MySQL or MariaDB schema, and the GRANT that allows it.

Privileges on columns are read with the columns, in `schema`. No system table shows this one reliably: it may come from
a role, a pattern or the whole server, so it is tried.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pymysql.constants import ER

from cata_pipeline.errors import DatabaseError

_PROBE = (
    "CREATE TEMPORARY TABLE `cata_probe` (`n` int) ENGINE = InnoDB",
    "DROP TEMPORARY TABLE `cata_probe`",
)


def missing_privileges(
    rows: Callable[[str, list[Any]], Sequence[tuple[Any, ...]]], database: str, account: str
) -> list[str]:
    """Return a sentence if our account may not create temporary tables in the connected schema."""
    try:
        for statement in _PROBE:
            rows(statement, [])
    except DatabaseError as error:
        if error.__cause__ is None or error.__cause__.args[:1] != (ER.DBACCESS_DENIED_ERROR,):
            raise
        grant = f"GRANT CREATE TEMPORARY TABLES ON {quoted(database)}.* TO {quoted_account(account)}"
        return [f"our account may not create temporary tables: {grant}"]
    return []


def quoted(name: str) -> str:
    """Return a name as a GRANT spells it."""
    return "`" + name.replace("`", "``") + "`"


def quoted_account(account: str) -> str:
    """Return what CURRENT_USER() reports as a GRANT spells it; a host has no @."""
    user, _, host = account.rpartition("@")
    return f"{quoted(user)}@{quoted(host)}"
