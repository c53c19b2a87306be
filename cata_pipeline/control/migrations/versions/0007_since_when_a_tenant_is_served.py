"""Since when a tenant is served: its registration, or the latest one after a retirement.

Of tenants that were retired in between, nobody kept that time; their first sync of then is long done.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column(
        "tenants",
        sa.Column("served_since", sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.text("now()")),
    )
    op.execute("UPDATE tenants SET served_since = created_at")


def downgrade() -> None:
    op.drop_column("tenants", "served_since")
