"""The control database's tables.

A change here needs a revision under `migrations/versions`; a test compares the two.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

_now = sa.text("now()")

tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("credentials", sa.Text, nullable=False, comment="a reference, never a secret"),
    sa.Column("database_url", sa.Text, comment="null: the template of CATA_TENANT_DATABASE_URL"),
    sa.Column("options", pg.JSONB, nullable=False, server_default=sa.text("'{}'")),
    sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=_now),
    sa.Column("updated_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=_now),
    sa.Column("retired_at", sa.TIMESTAMP(timezone=True)),
    sa.Column("served_since", sa.TIMESTAMP(timezone=True), nullable=False, server_default=_now),
)

tenant_databases = sa.Table(
    "tenant_databases",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("server", sa.Text, nullable=False, comment="the server's own identity, never an address of ours"),
    sa.Column("database", sa.Text, nullable=False),
    sa.Column("items_table", sa.Text, nullable=False, comment="with its schema on PostgreSQL"),
    sa.Column("shown", sa.Text, nullable=False, comment="the URL as messages show it, without credentials"),
    sa.Column("claimed_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=_now),
    sa.UniqueConstraint("server", "database", "items_table", name="uq_tenant_databases_server"),
)

snapshots = sa.Table(
    "snapshots",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Text, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False, comment="object name in the snapshot bucket"),
    sa.Column("items", sa.BigInteger, nullable=False),
    sa.Column("rejected", sa.BigInteger, nullable=False),
    sa.Column("duplicates", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("content_hash", sa.Text, nullable=False, comment="SHA-256 of the canonical content, hex"),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("fetched_at", sa.TIMESTAMP(timezone=True), nullable=False),
    sa.Column("number", sa.BigInteger, sa.Identity(), nullable=False, comment="the order in which they were recorded"),
    sa.Index(None, "tenant_id", "number"),
)

tenant_runs = sa.Table(
    "tenant_runs",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("tenant_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=False),
    sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=_now),
    sa.Column("snapshot_id", sa.Text),
    sa.Column("changes_path", sa.Text, comment="object name in the snapshot bucket"),
    sa.Column("error", sa.Text, comment="null: the tenant was served"),
    sa.Column("counts", pg.JSONB, nullable=False, server_default=sa.text("'{}'")),
    sa.Column("error_kind", sa.Text, comment="the error's word in errors.py"),
    sa.Column("skipped", pg.JSONB(none_as_null=True), comment="what the tenant database lacks; null: nobody looked"),
    sa.CheckConstraint("kind in ('sync', 'images')", name="kind"),
    sa.Index(None, "tenant_id", "kind", "finished_at"),
    sa.Index(
        "ix_tenant_runs_successes",
        "tenant_id",
        "kind",
        "finished_at",
        postgresql_where=sa.text("error IS NULL AND counts <> '{}'"),
    ),
)

refresh_tokens = sa.Table(
    "refresh_tokens",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("first_sha256", pg.BYTEA, primary_key=True, comment="of the token that the account was connected with"),
    sa.Column("generation", sa.BigInteger, nullable=False, comment="how many exchanges since the first token"),
    sa.Column("sealed", pg.BYTEA, nullable=False, comment="the token to exchange next, sealed with CATA_TOKEN_KEYS"),
    sa.Column("given_at", sa.TIMESTAMP(timezone=True), nullable=False, comment="when the provider gave it"),
)

stale_items = sa.Table(
    "stale_items",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("item_code", sa.Text, primary_key=True),
    sa.Column("since", sa.TIMESTAMP(timezone=True), nullable=False, comment="start of the first sync to find it"),
)

image_urls = sa.Table(
    "image_urls",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("url_sha256", pg.BYTEA, primary_key=True, comment="a URL can be longer than a B-tree key"),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("path", sa.Text, comment="object name of the newest copy; null: never copied"),
    sa.Column("etag", sa.Text),
    sa.Column("last_modified", sa.Text),
    sa.Column("checked_at", sa.TIMESTAMP(timezone=True), comment="last answer of the host that settled the picture"),
    sa.Column("failures", sa.Integer, nullable=False, server_default=sa.text("0"), comment="in a row"),
    sa.Column("failure", sa.Text, comment="why the last try failed, in a merchant's words; null: it did not"),
    sa.Column("failing_since", sa.TIMESTAMP(timezone=True)),
    sa.Column("next_try_at", sa.TIMESTAMP(timezone=True)),
    sa.Column("item_code", sa.Text, comment="one of the items with this URL, at its last try"),
    sa.Column("items", sa.Integer, comment="how many items had this URL, at its last try"),
    sa.Index("ix_image_urls_failing", "tenant_id", postgresql_where=sa.text("failure IS NOT NULL")),
)

image_paths = sa.Table(
    "image_paths",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("item_code", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, primary_key=True, comment="computed for this item once"),
    sa.Column("recorded_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=_now),
    sa.Column(
        "state",
        sa.Text,
        nullable=False,
        server_default=sa.text("'unsettled'"),
        comment="current: written last; unsettled: outcome of the write-back unknown; former: not managed",
    ),
    sa.CheckConstraint("state in ('current', 'unsettled', 'former')", name="state"),
)
