"""Runs the revisions on the connection that `cata_pipeline.control.database` hands over."""

from alembic import context

from cata_pipeline.control.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
