"""The control database: tenants, snapshots, what each run did, and the image ledger.

Tables are defined in `schema`, migrated by the Alembic revisions under `migrations`, and reached through
`database`. Queries live with the concept they serve (registry, snapshot records, ledger), not here.
"""
