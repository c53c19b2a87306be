"""The registry: which tenants there are, in the control database.

Every statement on the table `tenants` is here. Tenants come in checked (`cata_pipeline.tenants.file`), and none is
ever deleted: a retired one keeps its row, so that its history still has a name.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.engine import Connection, Engine, Row

from cata_pipeline.control.schema import tenant_runs
from cata_pipeline.control.schema import tenants as table
from cata_pipeline.errors import TenantError, UsageError
from cata_pipeline.tenants.model import Tenant

_IMPORT = "cata-pipeline tenants import FILE.toml"


@dataclass(frozen=True)
class ImportOutcome:
    """What an import did: tenant ids, sorted, each in exactly one of the four."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    revived: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """One row of the registry; `retired_at` is None while the tenant is served. Times are timezone-aware."""

    tenant: Tenant
    created_at: datetime
    updated_at: datetime
    retired_at: datetime | None


@dataclass(frozen=True)
class Served:
    """Since when a tenant is served (timezone-aware), and whether any sync of it was recorded since then."""

    since: datetime
    synced: bool


class Registry:
    """The tenants in one control database; opens no connection before it is asked something."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def import_tenants(self, tenants: Iterable[Tenant]) -> ImportOutcome:
        """Add new tenants, change changed ones, revive retired ones; all or nothing, and equal rows stay unwritten.

        Tenants that are not named stay as they are.
        """
        wanted = {tenant.id: tenant for tenant in tenants}
        with self._engine.begin() as connection:
            _one_writer(connection)
            found = {entry.tenant.id: entry for entry in _entries(connection, _named(wanted))}
            added = sorted(wanted.keys() - found.keys())
            _refuse_look_alikes(connection, added, wanted)
            revived = sorted(key for key, entry in found.items() if entry.retired_at)
            unchanged = sorted(
                key for key, entry in found.items() if not entry.retired_at and entry.tenant == wanted[key]
            )
            changed = sorted(found.keys() - {*revived, *unchanged})
            if written := [_row(wanted[key]) for key in sorted([*added, *changed, *revived])]:
                connection.execute(_upsert(), written)
        return ImportOutcome(tuple(added), tuple(changed), tuple(unchanged), tuple(revived))

    def tenant(self, tenant_id: str) -> Tenant:
        """One tenant that is served; raises `TenantError` when it is unknown, retired or damaged."""
        with self._engine.connect() as connection:
            entry = next(iter(_entries(connection, table.c.id == tenant_id)), None)
        if entry is None:
            raise TenantError(
                f"Tenant {tenant_id!r} is not registered. Add it to the tenants file and run `{_IMPORT}`."
            )
        if entry.retired_at:
            raise TenantError(
                f"Tenant {tenant_id!r} was retired on {entry.retired_at:%Y-%m-%d}."
                f" To serve it again, run `{_IMPORT}` with a file that names it."
            )
        if not isinstance(entry.tenant.options, dict):
            raise TenantError(
                f"The registry's row of tenant {tenant_id!r} was changed by hand: its options are no table of names and"
                f" values. To put it right, run `{_IMPORT}` with a file that names it."
            )
        return entry.tenant

    def active(self) -> list[Tenant]:
        """The tenants that are served, sorted by id."""
        return [entry.tenant for entry in self.entries() if entry.retired_at is None]

    def active_ids(self) -> list[str]:
        """The ids of the tenants that are served, sorted."""
        return self._ids(table.c.retired_at.is_(None))

    def served(self) -> dict[str, Served]:
        """The tenants that are served, sorted by id; one look-up in an index each."""
        synced = sa.exists().where(
            tenant_runs.c.tenant_id == table.c.id,
            tenant_runs.c.kind == "sync",
            tenant_runs.c.finished_at >= table.c.served_since,
        )
        statement = sa.select(table.c.id, table.c.served_since, synced).where(table.c.retired_at.is_(None))
        with self._engine.connect() as connection:
            return {tenant_id: Served(since, was) for tenant_id, since, was in sorted(connection.execute(statement))}

    def retired_ids(self) -> list[str]:
        """The ids of the tenants that are no longer served, sorted."""
        return self._ids(table.c.retired_at.is_not(None))

    def retire(self, tenant_ids: Collection[str]) -> list[str]:
        """Stop serving these tenants; returns the ids that were served until now, sorted.

        Raises `UsageError` that lists every unknown id; then nothing was retired.
        """
        chosen = _named(tenant_ids)
        with self._engine.begin() as connection:
            _one_writer(connection)
            unknown = sorted(set(tenant_ids) - set(connection.scalars(sa.select(table.c.id).where(chosen))))
            if unknown:
                raise UsageError(
                    f"Not registered: {', '.join(map(repr, unknown))}. Nothing was retired."
                    " `cata-pipeline tenants list` shows every tenant."
                )
            retired = connection.scalars(
                sa.update(table)
                .where(chosen, table.c.retired_at.is_(None))
                .values(retired_at=sa.func.now(), updated_at=sa.func.now())
                .returning(table.c.id)
            )
            return sorted(retired)

    def entries(self) -> list[Entry]:
        """Every tenant, retired ones too, sorted by id."""
        with self._engine.connect() as connection:
            return _entries(connection, sa.true())

    def _ids(self, condition: sa.ColumnElement[bool]) -> list[str]:
        with self._engine.connect() as connection:
            return sorted(connection.scalars(sa.select(table.c.id).where(condition)))


def _refuse_look_alikes(connection: Connection, added: Collection[str], wanted: Collection[str]) -> None:
    """Raise `UsageError` for new ids that differ from others only in case: a server may take both for one database."""
    if not added:
        return
    known: dict[str, set[str]] = {}
    for tenant_id in (*wanted, *connection.scalars(sa.select(table.c.id))):
        known.setdefault(tenant_id.lower(), set()).add(tenant_id)
    pairs = [(new, old) for new in added for old in sorted(known[new.lower()] - {new})]
    if pairs:
        pairs_text = ", ".join(f"{new!r} (beside {old!r})" for new, old in pairs)
        raise UsageError(
            f"Ids that differ only in letter case from another one's: {pairs_text}. Nothing was imported."
            " MySQL may keep both in one database, so give the new tenants other ids."
            " `cata-pipeline tenants list` shows every tenant."
        )


def _one_writer(connection: Connection) -> None:
    # What an import reports is decided from rows read before it writes; readers are not held up.
    connection.execute(sa.text("LOCK TABLE tenants IN SHARE ROW EXCLUSIVE MODE"))


def _named(tenant_ids: Iterable[str]) -> sa.ColumnElement[bool]:
    # One array, where IN would take one parameter an id and end at 65,535.
    return table.c.id == sa.any_(sa.literal(list(tenant_ids), pg.ARRAY(sa.Text)))


def _entries(connection: Connection, condition: sa.ColumnElement[bool]) -> list[Entry]:
    entries = map(_entry, connection.execute(sa.select(table).where(condition)))
    return sorted(entries, key=lambda entry: entry.tenant.id)


def _entry(row: Row[tuple[object, ...]]) -> Entry:
    tenant = Tenant(row.id, row.provider, row.credentials, row.database_url, row.options)
    return Entry(tenant, row.created_at, row.updated_at, row.retired_at)


def _row(tenant: Tenant) -> dict[str, object]:
    return {
        "id": tenant.id,
        "provider": tenant.provider,
        "credentials": tenant.credentials,
        "database_url": tenant.database_url,
        "options": dict(tenant.options),
    }


def _upsert() -> pg.Insert:
    insert = pg.insert(table)
    given = {name: insert.excluded[name] for name in ("provider", "credentials", "database_url", "options")}
    served_since = sa.case((table.c.retired_at.is_(None), table.c.served_since), else_=sa.func.now())
    written = {**given, "updated_at": sa.func.now(), "retired_at": None, "served_since": served_since}
    return insert.on_conflict_do_update(index_elements=[table.c.id], set_=written)
