"""Tenants, snapshots, what each run did, and the image ledger."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0001"
down_revision = None

_NOW = sa.text("now()")


def _time(name: str, *, nullable: bool = True, default: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=nullable, server_default=_NOW if default else None)


def upgrade() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("credentials", sa.Text, nullable=False, comment="a reference, never a secret"),
        sa.Column("database_url", sa.Text, comment="null: the template of CATA_TENANT_DATABASE_URL"),
        sa.Column("options", pg.JSONB, nullable=False, server_default=sa.text("'{}'")),
        _time("created_at", nullable=False, default=True),
        _time("updated_at", nullable=False, default=True),
        _time("retired_at"),
        sa.PrimaryKeyConstraint("id", name="pk_tenants"),
    )
    op.create_table(
        "snapshots",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False, comment="object name in the snapshot bucket"),
        sa.Column("items", sa.BigInteger, nullable=False),
        sa.Column("rejected", sa.BigInteger, nullable=False),
        sa.Column("duplicates", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("content_hash", sa.Text, nullable=False, comment="SHA-256 of the canonical content, hex"),
        sa.Column("run_id", sa.Text, nullable=False),
        _time("fetched_at", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_snapshots"),
    )
    op.create_index("ix_snapshots_tenant_id_fetched_at", "snapshots", ["tenant_id", "fetched_at"])
    op.create_table(
        "tenant_runs",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        _time("started_at", nullable=False),
        _time("finished_at", nullable=False, default=True),
        sa.Column("snapshot_id", sa.Text),
        sa.Column("changes_path", sa.Text, comment="object name in the snapshot bucket"),
        sa.Column("error", sa.Text, comment="null: the tenant was served"),
        sa.Column("counts", pg.JSONB, nullable=False, server_default=sa.text("'{}'")),
        sa.CheckConstraint("kind in ('sync', 'images')", name="ck_tenant_runs_kind"),
        sa.PrimaryKeyConstraint("id", name="pk_tenant_runs"),
    )
    op.create_index("ix_tenant_runs_tenant_id_kind_finished_at", "tenant_runs", ["tenant_id", "kind", "finished_at"])
    op.create_table(
        "image_urls",
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("url_sha256", pg.BYTEA, nullable=False, comment="a URL can be longer than a B-tree key"),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("path", sa.Text, comment="object name of the newest copy; null: never copied"),
        sa.Column("etag", sa.Text),
        sa.Column("last_modified", sa.Text),
        sa.Column(
            "checked_at", sa.TIMESTAMP(timezone=True), comment="last answer of the host that settled the picture"
        ),
        sa.Column("failures", sa.Integer, nullable=False, server_default=sa.text("0"), comment="in a row"),
        sa.Column("failure", sa.Text, comment="why the last try failed, in a merchant's words; null: it did not"),
        _time("failing_since"),
        _time("next_try_at"),
        sa.PrimaryKeyConstraint("tenant_id", "url_sha256", name="pk_image_urls"),
    )
    op.create_table(
        "image_paths",
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("item_code", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False, comment="ever computed for this item, so ours"),
        _time("recorded_at", nullable=False, default=True),
        sa.PrimaryKeyConstraint("tenant_id", "item_code", "path", name="pk_image_paths"),
    )


def downgrade() -> None:
    for table in ("image_paths", "image_urls", "tenant_runs", "snapshots", "tenants"):
        op.drop_table(table)
