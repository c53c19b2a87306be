"""Which items table of which server belongs to which tenant; each tenant's next sync or image copy adds its row."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "tenant_databases",
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("server", sa.Text, nullable=False, comment="the server's own identity, never an address of ours"),
        sa.Column("database", sa.Text, nullable=False),
        sa.Column("items_table", sa.Text, nullable=False, comment="with its schema on PostgreSQL"),
        sa.Column("shown", sa.Text, nullable=False, comment="the URL as messages show it, without credentials"),
        sa.Column("claimed_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_tenant_databases"),
        sa.UniqueConstraint("server", "database", "items_table", name="uq_tenant_databases_server"),
    )


def downgrade() -> None:
    op.drop_table("tenant_databases")
