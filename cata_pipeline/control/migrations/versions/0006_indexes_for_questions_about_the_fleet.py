"""Indexes for the questions about the fleet.

A tenant that has failed for a year has all those failures before its newest success: without an index of the successes
alone, each is read from its own page. The second one spares reading two million pictures to find those that fail.
Making both takes about ten seconds for a year of 10,000 tenants; runs that end meanwhile wait to be recorded.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_index(
        "ix_tenant_runs_successes",
        "tenant_runs",
        ["tenant_id", "kind", "finished_at"],
        postgresql_where=sa.text("error IS NULL AND counts <> '{}'"),
    )
    op.create_index(
        "ix_image_urls_failing", "image_urls", ["tenant_id"], postgresql_where=sa.text("failure IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_index("ix_image_urls_failing", "image_urls")
    op.drop_index("ix_tenant_runs_successes", "tenant_runs")
