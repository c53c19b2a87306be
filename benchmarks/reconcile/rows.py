"""A stored catalog as rows of the tenant's table `items`: what the peers are given."""

from pathlib import Path

import pyarrow as pa

from benchmarks.reconcile.catalogs import load

_SOURCES = {
    "item_code": "item_code",
    "name": "name",
    "original_name": "name",
    "description": "description",
    "category": "category",
    "item_type": "item_type",
    "variant_group": "variant_group",
    "visible": "is_active",
    "external_image_url": "external_image_url",
}


def tenant_rows(catalog: Path) -> pa.Table:
    """All columns that the provider owns; none of these items is a variant."""
    table = load(catalog)[0].table
    rows = pa.table({name: table[source] for name, source in _SOURCES.items()})
    return rows.append_column("variant_options", pa.nulls(len(rows), pa.string()))
