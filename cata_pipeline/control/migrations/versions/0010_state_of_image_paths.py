"""The state of each path of an item: only the path written last, and unsettled ones, are managed.

Which of the paths recorded so far was written last is not known, so all stay managed until the item's next copy.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.alter_column(
        "image_paths",
        "path",
        comment="computed for this item once",
        existing_type=sa.Text(),
        existing_nullable=False,
        existing_comment="ever computed for this item, so ours",
    )
    op.add_column(
        "image_paths",
        sa.Column(
            "state",
            sa.Text,
            nullable=False,
            server_default=sa.text("'unsettled'"),
            comment="current: written last; unsettled: outcome of the write-back unknown; former: not managed",
        ),
    )
    op.create_check_constraint("state", "image_paths", "state in ('current', 'unsettled', 'former')")


def downgrade() -> None:
    op.drop_column("image_paths", "state")
    op.alter_column(
        "image_paths",
        "path",
        comment="ever computed for this item, so ours",
        existing_type=sa.Text(),
        existing_nullable=False,
        existing_comment="computed for this item once",
    )
