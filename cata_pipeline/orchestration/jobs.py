"""The two jobs: what people and triggers launch."""

import dagster as dg

from cata_pipeline.orchestration.metadata import IMAGES, RECONCILED, SNAPSHOT
from cata_pipeline.orchestration.owners import OWNERS

sync_tenants = dg.define_asset_job(
    "sync_tenants",
    selection=dg.AssetSelection.assets(SNAPSHOT, RECONCILED),
    description=(
        "Fetches each tenant's catalog, keeps a snapshot, and brings the tenant's tables in step with it."
        " Backfill its two assets from the catalog rather than from here: a job's backfill counts every tenant of a run"
        " as failed when one is."
    ),
    owners=OWNERS,
)

copy_images = dg.define_asset_job(
    "copy_images",
    selection=dg.AssetSelection.assets(IMAGES),
    description="Copies each tenant's product pictures into our bucket. Finds its own work: twice is free.",
    owners=OWNERS,
)
