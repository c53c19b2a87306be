"""Hands downstream assets the catalog of their partitions as a DataFrame, under the resource key `catalog_frame`.

The frame itself is made by `cata_pipeline.frames`. Nothing is stored here: the assets of this project store their data
themselves.
"""

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    import pandas as pd


@dg.input_manager(
    required_resource_keys={"pipeline"},
    description="The newest snapshot of each tenant of the partition or range, with the columns of `frames.SNAPSHOT`.",
)
def catalog_frame(context: dg.InputContext) -> "pd.DataFrame":
    """Load the newest snapshot of each tenant of the input's partitions; raises `UsageError` where one has none."""
    from cata_pipeline import frames

    return frames.snapshot(context.resources.pipeline.get(), list(context.asset_partition_keys))
