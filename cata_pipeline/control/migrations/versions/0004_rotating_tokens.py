"""Refresh tokens that change with each use, sealed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "provider_tokens",
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("first_sha256", pg.BYTEA, nullable=False, comment="of the token that the account was connected with"),
        sa.Column(
            "sealed", pg.BYTEA, nullable=False, comment="the token to exchange next, sealed with CATA_TOKEN_KEYS"
        ),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_provider_tokens"),
    )


def downgrade() -> None:
    op.drop_table("provider_tokens")
