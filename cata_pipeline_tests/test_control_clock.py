"""Times that several machines compare come from the control database, whose clock is an hour ahead here."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from cata_pipeline.control.clock import ControlClock
from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.images.inspection import Inspector
from cata_pipeline.outcomes import SyncOrder
from cata_pipeline.tenants.model import Tenant
from cata_pipeline.tenants.tokens import TokenStore
from cata_pipeline_tests.providers.feed_pos import json_lines
from cata_pipeline_tests.tenant_fleet import TenantFleet, open_fleet

AHEAD = timedelta(hours=1)
SHIFTED = "CREATE FUNCTION shifted.{0}() RETURNS timestamptz STABLE RETURN pg_catalog.{0}() + interval '1 hour'"
TIMES = """
    SELECT 'snapshot', fetched_at FROM snapshots UNION ALL
    SELECT 'stale item', since FROM stale_items UNION ALL
    SELECT 'failing image', failing_since FROM image_urls UNION ALL
    SELECT 'end of ' || kind, finished_at FROM tenant_runs UNION ALL
    SELECT 'token', given_at FROM refresh_tokens
"""


@pytest.fixture
def fleet(servers: EmbeddedServers) -> Iterator[TenantFleet]:
    with open_fleet(servers, TenantFleet) as opened:
        control = opened.pipeline().control
        with control.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA shifted")
            for name in ("now", "clock_timestamp"):
                connection.exec_driver_sql(SHIFTED.format(name))
            connection.exec_driver_sql(
                f'ALTER DATABASE "{control.url.database}" SET search_path = shifted, pg_catalog, public'
            )
        control.dispose()
        yield opened


def test_every_time_on_record_is_the_control_databases(
    fleet: TenantFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATA_FEED_FOLDER", str(tmp_path))
    monkeypatch.setenv("NO_SECRETS", "{}")
    item = {"item_code": "A", "name": "Kopi", "image_url": "https://127.0.0.1/kopi.jpg"}
    (tmp_path / "items").write_text(json_lines([item]))
    options = {"source": "items", "format": "jsonl"}
    gone = "INSERT INTO items (item_code, name, original_name) VALUES ('GONE', 'x', 'x')"
    fleet.register(Tenant("two-clocks", "feed", "env:NO_SECRETS", None, options), rows=gone)
    earliest = datetime.now(UTC) + AHEAD
    pipeline = fleet.pipeline()
    assert pipeline.sync("two-clocks", SyncOrder(), "run-1").error is None
    with Inspector() as inspector:
        assert pipeline.copy_images("two-clocks", "run-2", inspector).error is None
    with TokenStore(pipeline.control, (Fernet.generate_key().decode(),)).held("two-clocks", "first", "run-3") as token:
        token.keep("second")
    times = {name: moment - earliest for name, moment in fleet.control(TIMES)}
    assert set(times) == {"snapshot", "stale item", "failing image", "end of sync", "end of images", "token"}
    assert {name for name, late in times.items() if not timedelta() <= late < AHEAD} == set()


def test_a_clock_goes_on_from_the_time_that_it_read(fleet: TenantFleet) -> None:
    control = fleet.pipeline().control
    clock = ControlClock(control)
    with control.connect() as connection:
        read = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    assert read <= clock.now() + timedelta(seconds=1)
    assert clock.now() <= clock.now()
    assert clock.now().utcoffset() == timedelta()
