"""Since when items are stale, and which items a picture URL belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "stale_items",
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("item_code", sa.Text, nullable=False),
        sa.Column("since", sa.TIMESTAMP(timezone=True), nullable=False, comment="start of the first sync to find it"),
        sa.PrimaryKeyConstraint("tenant_id", "item_code", name="pk_stale_items"),
    )
    op.add_column(
        "image_urls", sa.Column("item_code", sa.Text, comment="one of the items with this URL, at its last try")
    )
    op.add_column("image_urls", sa.Column("items", sa.Integer, comment="how many items had this URL, at its last try"))


def downgrade() -> None:
    op.drop_column("image_urls", "items")
    op.drop_column("image_urls", "item_code")
    op.drop_table("stale_items")
