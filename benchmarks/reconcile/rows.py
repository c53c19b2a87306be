"""A stored catalog as rows of the tenant's tables: what the peers are given."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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


def child_rows(catalog: Path) -> tuple[pa.Table, pa.Table]:
    """Modifier groups and their options, each with the codes of its parents."""
    table = load(catalog)[0].table.combine_chunks()
    lists = table["modifier_groups"].combine_chunks()
    groups, items = pc.list_flatten(lists), pc.list_parent_indices(lists)
    nested = pc.struct_field(groups, "modifiers")
    options, parents = pc.list_flatten(nested), pc.list_parent_indices(nested)
    modifiers = pa.table(
        {
            "item_code": table["item_code"].take(items),
            "modifier_code": pc.struct_field(groups, "code"),
            **_written(groups, items),
        }
    )
    above = modifiers.select(["item_code", "modifier_code"]).take(parents)
    codes = pc.struct_field(options, "code")
    return modifiers, pa.table(
        {
            "item_code": above["item_code"],
            "modifier_code": above["modifier_code"],
            "option_code": codes,
            **_written(options, parents),
        }
    )


def _written(elements: pa.StructArray, parents: pa.Array) -> dict[str, pa.Array]:
    name = pc.struct_field(elements, "name")
    places = parents.to_numpy()
    position = pa.array(np.arange(len(places)) - np.searchsorted(places, places), pa.int32())
    active = pc.struct_field(elements, "is_active")
    return {"name": name, "original_name": name, "position": position, "visible": active}
