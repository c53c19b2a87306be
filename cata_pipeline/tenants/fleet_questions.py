"""The questions about the whole fleet, as SQL: each finds (tenant_id, reason, since, why) rows, none where all is well.

Add a question here, and its name in `cata_pipeline.tenants.fleet`, which groups and counts what each finds. What one
tenant is like belongs to `cata_pipeline.tenants.history`.

Only tenants that are served are asked about. Each looks up a tenant's newest runs by the index on (tenant_id, kind,
finished_at), and its newest success by the one that holds successes alone; so it reads no further back than its answer
needs, however long a tenant has failed: the table has every run of years. A run that took a
snapshot and did no more (no error, no counts) neither serves a tenant nor fails it.
"""

FAILED = """
    SELECT t.id AS tenant_id, newest.kind || ': ' || coalesce(newest.error_kind, 'not on record') AS reason,
           coalesce(streak.since, newest.finished_at) AS since, newest.error AS why
    FROM tenants t
    CROSS JOIN unnest(CAST(:kinds AS text[])) AS asked(kind)
    CROSS JOIN LATERAL (
        SELECT kind, finished_at, error, error_kind FROM tenant_runs r
        WHERE r.tenant_id = t.id AND r.kind = asked.kind AND (r.error IS NOT NULL OR r.counts <> '{}')
        ORDER BY r.finished_at DESC LIMIT 1
    ) newest
    LEFT JOIN LATERAL (
        SELECT finished_at FROM tenant_runs r
        WHERE r.tenant_id = t.id AND r.kind = asked.kind AND r.error IS NULL AND r.counts <> '{}'
        ORDER BY r.finished_at DESC LIMIT 1
    ) success ON newest.error IS NOT NULL
    LEFT JOIN LATERAL (
        SELECT finished_at AS since FROM tenant_runs r
        WHERE r.tenant_id = t.id AND r.kind = asked.kind AND r.error IS NOT NULL
          AND r.finished_at > coalesce(success.finished_at, '-infinity')
        ORDER BY r.finished_at LIMIT 1
    ) streak ON newest.error IS NOT NULL
    WHERE t.retired_at IS NULL AND newest.error IS NOT NULL
"""
"""The newest sync or image copy ended with an error; since the first of the failures in a row."""

STALE = """
    SELECT t.id AS tenant_id,
           CASE WHEN tried.error IS NOT NULL THEN 'its syncs fail'
                WHEN success.finished_at IS NULL THEN 'never synced'
                ELSE 'nobody synced it' END AS reason,
           coalesce(success.finished_at, t.created_at) AS since, tried.error AS why
    FROM tenants t
    LEFT JOIN LATERAL (
        SELECT finished_at FROM tenant_runs r
        WHERE r.tenant_id = t.id AND r.kind = 'sync' AND r.error IS NULL AND r.counts <> '{}'
        ORDER BY r.finished_at DESC LIMIT 1
    ) success ON true
    LEFT JOIN LATERAL (
        SELECT error FROM tenant_runs r
        WHERE r.tenant_id = t.id AND r.kind = 'sync' AND (r.error IS NOT NULL OR r.counts <> '{}')
        ORDER BY r.finished_at DESC LIMIT 1
    ) tried ON true
    WHERE t.retired_at IS NULL AND coalesce(success.finished_at, t.created_at) < :stale_before
"""
"""No sync succeeded for too long; since the newest success, or the registration."""

IMAGES_BEHIND = """
    SELECT t.id AS tenant_id,
           CASE WHEN tried.error IS NOT NULL THEN 'its copies fail'
                WHEN copied.started_at IS NULL THEN 'never copied'
                ELSE 'nobody copied them' END AS reason,
           pictured.finished_at AS since, tried.error AS why
    FROM tenants t
    LEFT JOIN LATERAL (
        SELECT started_at FROM tenant_runs r
        WHERE r.tenant_id = t.id AND r.kind = 'images' AND r.error IS NULL AND r.counts <> '{}'
        ORDER BY r.finished_at DESC LIMIT 1
    ) copied ON true
    CROSS JOIN LATERAL (
        -- The first one that no copy followed: of a tenant synced every hour, the newest one is never old.
        SELECT finished_at FROM tenant_runs r
        WHERE r.tenant_id = t.id AND r.kind = 'sync' AND r.error IS NULL
          AND (r.counts -> 'inserted' > '0' OR r.counts -> 'image_urls_changed' > '0')
          AND r.finished_at > coalesce(copied.started_at, '-infinity') AND r.finished_at < :behind_before
        ORDER BY r.finished_at LIMIT 1
    ) pictured
    LEFT JOIN LATERAL (
        SELECT error FROM tenant_runs r
        WHERE r.tenant_id = t.id AND r.kind = 'images'
        ORDER BY r.finished_at DESC LIMIT 1
    ) tried ON true
    WHERE t.retired_at IS NULL
"""
"""A sync brought new pictures or picture URLs, and no copy that succeeded began after it; since that sync."""

FAILING_PICTURES = """
    SELECT u.tenant_id, u.failure AS reason, coalesce(u.failing_since, u.next_try_at) AS since,
           'item ' || u.item_code AS why
    FROM image_urls u
    JOIN tenants t ON t.id = u.tenant_id AND t.retired_at IS NULL
    WHERE u.failure IS NOT NULL
"""
"""A row a picture URL without success at its last turn; `why` is one of its items."""

CONTRACT_DRIFT = """
    SELECT t.id AS tenant_id, 'refused' AS reason, coalesce(streak.since, newest.finished_at) AS since,
           newest.error AS why
    FROM tenants t
    CROSS JOIN LATERAL (
        SELECT finished_at, error, error_kind FROM tenant_runs r
        WHERE r.tenant_id = t.id AND r.kind = 'sync' AND (r.error IS NOT NULL OR r.counts <> '{}')
        ORDER BY r.finished_at DESC LIMIT 1
    ) newest
    LEFT JOIN LATERAL (
        SELECT finished_at FROM tenant_runs r
        WHERE r.tenant_id = t.id AND r.kind = 'sync' AND r.error_kind IS DISTINCT FROM 'contract'
          AND (r.error IS NOT NULL OR r.counts <> '{}')
        ORDER BY r.finished_at DESC LIMIT 1
    ) other ON newest.error_kind = 'contract'
    LEFT JOIN LATERAL (
        SELECT finished_at AS since FROM tenant_runs r
        WHERE r.tenant_id = t.id AND r.kind = 'sync' AND r.error_kind = 'contract'
          AND r.finished_at > coalesce(other.finished_at, '-infinity')
        ORDER BY r.finished_at LIMIT 1
    ) streak ON newest.error_kind = 'contract'
    WHERE t.retired_at IS NULL AND newest.error_kind = 'contract'
    UNION ALL
    SELECT t.id, 'newly absent', newest.finished_at,
           (SELECT string_agg(part, '; ' ORDER BY part)
            FROM jsonb_array_elements_text(newest.skipped) AS part
            WHERE NOT before.skipped ? part)
    FROM tenants t
    CROSS JOIN LATERAL (
        SELECT finished_at, skipped FROM tenant_runs r
        WHERE r.tenant_id = t.id AND r.kind = 'sync' AND r.error IS NULL AND r.counts <> '{}'
        ORDER BY r.finished_at DESC LIMIT 1
    ) newest
    CROSS JOIN LATERAL (
        SELECT skipped FROM tenant_runs r
        WHERE r.tenant_id = t.id AND r.kind = 'sync' AND r.error IS NULL AND r.counts <> '{}'
          AND r.finished_at < newest.finished_at
        ORDER BY r.finished_at DESC LIMIT 1
    ) before
    WHERE t.retired_at IS NULL AND NOT newest.skipped <@ before.skipped
"""
"""The tenant database does not fit, or lacks an optional part that it had at the sync before."""

GROUPED = """
    ranked AS (
        SELECT *, row_number() OVER (PARTITION BY tenant_id ORDER BY since, reason) AS place,
               count(*) OVER (PARTITION BY tenant_id) AS cases
        FROM found
    )
    SELECT 'fleet' AS level, NULL AS tenant_id, NULL AS reason, min(since) AS since, NULL AS why,
           count(DISTINCT tenant_id) AS tenants, count(*) AS cases
    FROM found
    UNION ALL (
        SELECT 'reason', NULL, reason, min(since), NULL, count(DISTINCT tenant_id), count(*)
        FROM found GROUP BY reason ORDER BY count(*) DESC, reason LIMIT :limit
    )
    UNION ALL (
        SELECT 'tenant', tenant_id, reason, since, left(why, :why_characters), 1, cases
        FROM ranked WHERE place = 1 ORDER BY since, tenant_id COLLATE "C" LIMIT :limit
    )
"""
"""What a question found: all together, by reason the most frequent first, and by tenant the longest first."""
