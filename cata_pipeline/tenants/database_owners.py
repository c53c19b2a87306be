"""Which tenant owns which items table: one row a tenant in the control database.

A sync or an image copy that leads to another tenant's table, or away from its own, is refused before it writes. What a
URL really leads to is `database_identity`. Decision 0020 says why a tenant's table changes by command only.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, Row

from cata_pipeline.control.schema import tenant_databases as table
from cata_pipeline.errors import DatabaseOwnerError
from cata_pipeline.tenants.database_identity import DatabaseIdentity

_Row = Row[tuple[object, ...]]


class DatabaseOwners:
    """The owners on record in one control database.

    `shown` is the database as messages name it, without credentials. Every method raises `DatabaseOwnerError` where the
    table belongs to another tenant.
    """

    def __init__(self, control: Engine) -> None:
        self._control = control

    def verify(self, tenant_id: str, identity: DatabaseIdentity, shown: str) -> None:
        """Raise unless the table is this tenant's, or nobody's while the tenant has none; records nothing."""
        with self._control.connect() as connection:
            _check(connection, tenant_id, identity, shown)

    def claim(self, tenant_id: str, identity: DatabaseIdentity, shown: str) -> None:
        """As `verify`; then record a table that is nobody's. Of two tenants at once, one gets it."""
        with self._control.connect() as connection:
            own = _check(connection, tenant_id, identity, shown)
        if own is not None and own.server == identity.servers[0]:
            return
        with self._control.begin() as connection:
            _one_writer(connection)
            _check(connection, tenant_id, identity, shown)
            _write(connection, tenant_id, identity, shown)

    def move(
        self, tenant_id: str, identity: DatabaseIdentity, shown: str, *, former: str | None, only_server: bool = False
    ) -> bool:
        """Give the table to this tenant, in place of the one on record; returns whether that changed anything.

        It may belong to nobody, or to the tenant `former`. With `only_server` a tenant without a table on record, or
        with one of another name, gets nothing.
        """
        with self._control.begin() as connection:
            _one_writer(connection)
            own, others = _involved(connection, tenant_id, identity)
            if own is not None and _is_exactly(own, identity):
                return False
            if others and others[0].tenant_id != former:
                raise DatabaseOwnerError(_belongs_to(others[0], tenant_id, identity, shown))
            if only_server and (own is None or (own.database, own.items_table) != (identity.database, identity.items)):
                return False
            connection.execute(sa.delete(table).where(table.c.tenant_id.in_([row.tenant_id for row in others])))
            _write(connection, tenant_id, identity, shown)
            return True

    def on_record(self) -> dict[str, str]:
        """The table of each tenant that has one on record, as messages name it."""
        with self._control.connect() as connection:
            return {row.tenant_id: f"{row.shown} {row.items_table}" for row in connection.execute(sa.select(table))}

    def of(self, tenant_id: str, shown: str) -> "TenantClaim":
        """What one sync or image copy of a tenant needs."""
        return TenantClaim(self, tenant_id, shown)


@dataclass(frozen=True)
class TenantClaim:
    """`DatabaseOwners` for one tenant, whose database messages name as `shown`."""

    owners: DatabaseOwners
    tenant_id: str
    shown: str

    def verify(self, identity: DatabaseIdentity) -> None:
        """See `DatabaseOwners.verify`."""
        self.owners.verify(self.tenant_id, identity, self.shown)

    def claim(self, identity: DatabaseIdentity) -> None:
        """See `DatabaseOwners.claim`."""
        self.owners.claim(self.tenant_id, identity, self.shown)


def _one_writer(connection: Connection) -> None:
    connection.execute(sa.text("LOCK TABLE tenant_databases IN SHARE ROW EXCLUSIVE MODE"))


def _involved(connection: Connection, tenant_id: str, identity: DatabaseIdentity) -> tuple[_Row | None, list[_Row]]:
    """The row of the tenant, and those of the table that are of other tenants."""
    same = sa.and_(
        table.c.server.in_(identity.servers),
        table.c.database == identity.database,
        table.c.items_table == identity.items,
    )
    rows = list(connection.execute(sa.select(table).where(sa.or_(table.c.tenant_id == tenant_id, same))))
    own = next((row for row in rows if row.tenant_id == tenant_id), None)
    return own, [row for row in rows if row is not own]


def _is_exactly(row: _Row, identity: DatabaseIdentity) -> bool:
    """Whether the row is of this very server: then another row is of a server that this one was copied from."""
    return row.server == identity.servers[0] and _names(row, identity)


def _names(row: _Row, identity: DatabaseIdentity) -> bool:
    same_names = (row.database, row.items_table) == (identity.database, identity.items)
    return same_names and row.server in identity.servers


def _check(connection: Connection, tenant_id: str, identity: DatabaseIdentity, shown: str) -> _Row | None:
    """Return the tenant's row; None where there is none."""
    own, others = _involved(connection, tenant_id, identity)
    if own is not None and _is_exactly(own, identity):
        return own
    if others:
        raise DatabaseOwnerError(_belongs_to(others[0], tenant_id, identity, shown))
    if own is not None and not _names(own, identity):
        raise DatabaseOwnerError(
            f"The URL of tenant {tenant_id} leads to {shown} (table {identity.items}, server {identity.servers[0]!r}),"
            f" and its items are on record in {own.shown} (table {own.items_table}, server {own.server!r}). Nothing was"
            f" written. Correct its URL; after a failover, a restore or a move of its database, run"
            f" `cata-pipeline tenants claim {tenant_id}` (`--all` accepts a new server for every tenant)."
        )
    return own


def _belongs_to(row: _Row, tenant_id: str, identity: DatabaseIdentity, shown: str) -> str:
    return (
        f"The URL of tenant {tenant_id} leads to {shown}, whose table {identity.items} belongs to tenant"
        f" {row.tenant_id} (on record as {row.shown}). Nothing was written. Correct the URL of either tenant; where the"
        f" table is now of tenant {tenant_id}, run `cata-pipeline tenants claim {tenant_id} --from {row.tenant_id}`."
    )


def _write(connection: Connection, tenant_id: str, identity: DatabaseIdentity, shown: str) -> None:
    connection.execute(sa.delete(table).where(table.c.tenant_id == tenant_id))
    connection.execute(
        table.insert().values(
            tenant_id=tenant_id,
            server=identity.servers[0],
            database=identity.database,
            items_table=identity.items,
            shown=shown,
        )
    )
