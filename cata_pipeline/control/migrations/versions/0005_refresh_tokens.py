"""Refresh tokens of every connection of an account, each with its place in the chain of exchanges.

The table gets another name, so that a process of the version before fails to read a token before it exchanges it,
instead of losing the one that comes in exchange.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.drop_constraint("pk_provider_tokens", "provider_tokens")
    op.rename_table("provider_tokens", "refresh_tokens")
    op.create_primary_key("pk_refresh_tokens", "refresh_tokens", ["tenant_id", "first_sha256"])
    op.add_column(
        "refresh_tokens",
        sa.Column(
            "generation",
            sa.BigInteger,
            nullable=False,
            server_default=sa.text("1"),
            comment="how many exchanges since the first token",
        ),
    )
    op.alter_column("refresh_tokens", "generation", server_default=None)
    op.alter_column(
        "refresh_tokens",
        "updated_at",
        new_column_name="given_at",
        server_default=None,
        comment="when the provider gave it",
    )


def downgrade() -> None:
    op.execute(
        "DELETE FROM refresh_tokens older USING refresh_tokens newer"
        " WHERE older.tenant_id = newer.tenant_id AND older.given_at < newer.given_at"
    )
    op.alter_column(
        "refresh_tokens", "given_at", new_column_name="updated_at", server_default=sa.text("now()"), comment=None
    )
    op.drop_column("refresh_tokens", "generation")
    op.drop_constraint("pk_refresh_tokens", "refresh_tokens")
    op.rename_table("refresh_tokens", "provider_tokens")
    op.create_primary_key("pk_provider_tokens", "provider_tokens", ["tenant_id"])
