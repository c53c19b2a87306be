"""Since when items are stale: in the tenant's table, but not in the snapshots of its POS.

Kept in the control database after each sync that reconciled; how many are stale is a count of the sync itself. What to
do about them is the merchant's business: nothing here touches a tenant's tables.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Engine

_FORGET = sa.text("""
    DELETE FROM stale_items
    WHERE tenant_id = :tenant
      AND item_code NOT IN (SELECT code FROM jsonb_array_elements_text(CAST(:codes AS jsonb)) AS code)
""")

_REMEMBER = sa.text("""
    INSERT INTO stale_items (tenant_id, item_code, since)
    SELECT :tenant, code, :since FROM jsonb_array_elements_text(CAST(:codes AS jsonb)) AS code
    ON CONFLICT DO NOTHING
""")

_COUNT = sa.text("""
    SELECT tenant_id, count(*) AS stale FROM stale_items WHERE tenant_id = ANY (:tenants) GROUP BY tenant_id
""")

_LONGEST = sa.text("""
    SELECT tenant_id, item_code, since
    FROM (
        SELECT tenant_id, item_code, since,
               row_number() OVER (PARTITION BY tenant_id ORDER BY since, item_code COLLATE "C") AS place
        FROM stale_items
        WHERE tenant_id = ANY (:tenants)
    ) AS ranked
    WHERE place <= :limit
    ORDER BY tenant_id, place
""")


@dataclass(frozen=True)
class StaleItem:
    """An item that the tenant's snapshots have not named since then (UTC)."""

    item_code: str
    since: datetime


class StaleItems:
    """Remembers since when, for all tenants."""

    def __init__(self, control: Engine) -> None:
        self._control = control

    def keep(self, tenant_id: str, codes: Sequence[str], now: datetime) -> None:
        """Let exactly these items of a tenant be stale: new ones since `now`, those that are known since before.

        Writes nothing where nothing differs.
        """
        told = json.dumps([_legible(code) for code in codes])
        with self._control.begin() as connection:
            connection.execute(_FORGET, {"tenant": tenant_id, "codes": told})
            if codes:
                connection.execute(_REMEMBER, {"tenant": tenant_id, "codes": told, "since": now})

    def count(self, tenant_ids: Sequence[str]) -> dict[str, int]:
        """How many stale items of each tenant are on record; tenants without any are absent."""
        with self._control.connect() as connection:
            return {row.tenant_id: row.stale for row in connection.execute(_COUNT, {"tenants": list(tenant_ids)})}

    def longest(self, tenant_ids: Sequence[str], limit: int) -> dict[str, list[StaleItem]]:
        """Up to `limit` stale items of each tenant, the longest stale first; tenants without any are absent."""
        found: dict[str, list[StaleItem]] = defaultdict(list)
        with self._control.connect() as connection:
            for row in connection.execute(_LONGEST, {"tenants": list(tenant_ids), "limit": limit}):
                found[row.tenant_id].append(StaleItem(row.item_code, row.since))
        return dict(found)


def _legible(code: str) -> str:
    """A code as PostgreSQL stores it: MySQL takes the one character that it refuses."""
    return code.replace("\x00", "\\x00")
