"""The one partition dimension: a tenant a partition, added and removed by `tenant_registry_sensor`.

Dagster keeps keys in insertion order and cuts ranged runs from that order: never sort keys before cutting ranges.
"""

from collections.abc import Collection, Iterator, Sequence

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from cata_pipeline.errors import UsageError

TENANTS = dg.DynamicPartitionsDefinition(name="tenants")
BATCH_TENANTS = 100
"""Tenants a run: measured, a run costs seconds however small it is, a tenant within one costs hundredths."""


def contiguous_ranges(
    keys: Sequence[str], wanted: Collection[str], longest: int = BATCH_TENANTS
) -> Iterator[list[str]]:
    """Cut `keys` (in insertion order) into runs of neighbours that are all wanted, at most `longest` each."""
    chosen = set(wanted)
    current: list[str] = []
    for key in keys:
        if key in chosen:
            current.append(key)
        if current and (key not in chosen or len(current) == longest):
            yield current
            current = []
    if current:
        yield current


def range_tags(keys: Sequence[str]) -> dict[str, str]:
    """The run tags that make one run serve these neighbours."""
    if len(keys) == 1:
        return {PARTITION_NAME_TAG: keys[0]}
    return {ASSET_PARTITION_RANGE_START_TAG: keys[0], ASSET_PARTITION_RANGE_END_TAG: keys[-1]}


def run_tenants(context: dg.AssetExecutionContext) -> list[str]:
    """The tenants a run serves: its partitions.

    Raises `UsageError` when there are none: Dagster gives an empty list for a reversed range, and doing nothing
    must not look like success.
    """
    keys = list(context.partition_keys) if context.has_partition_key or context.has_partition_key_range else []
    if not keys:
        raise UsageError("This run names no tenant: choose partitions, in the order the partitions are listed.")
    return keys
