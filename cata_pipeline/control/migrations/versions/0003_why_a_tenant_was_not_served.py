"""Why a tenant was not served, as a word, and what its database lacks.

Both columns are empty in older rows and in rows of older code that is still running. Neither has a default, so that
the table is not written anew, however many rows it has.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("tenant_runs", sa.Column("error_kind", sa.Text, comment="the error's word in errors.py"))
    op.add_column(
        "tenant_runs",
        sa.Column(
            "skipped", pg.JSONB(none_as_null=True), comment="what the tenant database lacks; null: nobody looked"
        ),
    )


def downgrade() -> None:
    op.drop_column("tenant_runs", "skipped")
    op.drop_column("tenant_runs", "error_kind")
