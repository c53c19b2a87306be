"""The one partition dimension: a tenant a partition, added and removed by `tenant_registry_sensor`.

Dagster keeps keys in insertion order and cuts ranged runs from that order: never sort keys before cutting ranges.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import dagster as dg

from cata_pipeline.errors import UsageError

PARTITION_NAME_TAG = "dagster/partition"
ASSET_PARTITION_RANGE_START_TAG = "dagster/asset_partition_range_start"
ASSET_PARTITION_RANGE_END_TAG = "dagster/asset_partition_range_end"

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


def partitions_of_run(keys: Sequence[str], tags: Mapping[str, str]) -> Sequence[str] | None:
    """The tenants among `keys` (insertion order) that a run with these tags serves; none for one without partitions.

    None where the tags name a range whose ends are not both there.
    """
    if key := tags.get(PARTITION_NAME_TAG):
        return [key]
    start, end = tags.get(ASSET_PARTITION_RANGE_START_TAG), tags.get(ASSET_PARTITION_RANGE_END_TAG)
    if start is None and end is None:
        return []
    try:
        return keys[keys.index(str(start)) : keys.index(str(end)) + 1]
    except ValueError:
        return None


def run_tenants(context: dg.AssetExecutionContext) -> list[str]:
    """The tenants a run serves: its partitions.

    Raises `UsageError` when there are none: Dagster gives an empty list for a reversed range, and doing nothing
    must not look like success.
    """
    keys = list(context.partition_keys) if context.has_partition_key or context.has_partition_key_range else []
    if not keys:
        raise UsageError("This run names no tenant: choose partitions, in the order the partitions are listed.")
    return keys
