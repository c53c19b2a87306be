"""What a batch holds in memory when each of its four tenants has a catalog as large as its limits allow."""

import gzip
import json
import multiprocessing
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.outcomes import SyncOrder
from cata_pipeline.pipeline import Pipeline
from cata_pipeline.settings import Settings
from cata_pipeline.tenants.model import Tenant
from cata_pipeline_tests.tenant_fleet import TenantFleet, open_fleet

TENANTS = [f"maximal-{number}" for number in range(4)]
MAX_BYTES, MAX_ROWS = 32 * 2**20, 62_500
"""A quarter of the defaults: the memory grows in proportion."""
DOCUMENTED = r"holds (\d+) MB, and for each tenant at once up to (\d+) times\s+the bytes .* and (\d+) kB for each row"
OPERATIONS = Path(__file__).parents[1] / "docs" / "operations.md"
TEXT = "Kopi susu gula aren, diseduh segar setiap pagi. "


@pytest.fixture(scope="module")
def fleet(servers: EmbeddedServers) -> Iterator[TenantFleet]:
    with open_fleet(servers, TenantFleet) as opened:
        yield opened


def write_maximal_feed(path: Path) -> None:
    """As many rows and bytes as a fetch may have, most of them texts that an item keeps."""
    end = json.dumps({"end": True, "items": MAX_ROWS}) + "\n"
    room = (MAX_BYTES - len(end)) // MAX_ROWS
    with gzip.open(path, "wt", compresslevel=1) as file:
        for number in range(MAX_ROWS):
            head = f'{{"item_code": "SKU-{number:07}", "name": "Kopi {number}", "description": "{number} '
            file.write(f'{head}{(TEXT * (room // len(TEXT) + 1))[: room - len(head) - 3]}"}}\n')
        file.write(end)


def peak_of_batch(settings: Settings, tenant_ids: list[str]) -> tuple[list[str | None], list[int], float]:
    """Sync a batch in a process of its own: errors, items, and the peak of its resident memory in MB."""
    outcomes = list(Pipeline(settings).sync_batch(tenant_ids, SyncOrder(), "run", concurrency=4))
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    items = [outcome.report.items_in_snapshot if outcome.report else 0 for outcome in outcomes]
    return [outcome.error for outcome in outcomes], items, int(peak) / 1_000


def test_four_maximal_catalogs_at_once_stay_within_the_documented_memory(
    fleet: TenantFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATA_FEED_FOLDER", str(tmp_path))
    monkeypatch.setenv("MAXIMAL", "{}")
    write_maximal_feed(tmp_path / "items.jsonl.gz")
    limits = {"max_bytes": MAX_BYTES, "max_rows": MAX_ROWS}
    options = {"source": "items.jsonl.gz", "format": "jsonl", **limits}
    for tenant_id in TENANTS:
        fleet.register(Tenant(tenant_id, "feed", "env:MAXIMAL", None, options))
    with multiprocessing.get_context("spawn").Pool(1) as process:
        errors, items, peak = process.apply(peak_of_batch, (fleet.settings, TENANTS))
    assert errors == [None] * 4
    assert items == [MAX_ROWS] * 4
    [figures] = re.findall(DOCUMENTED, OPERATIONS.read_text())
    base, times, kilobytes = map(int, figures)
    assert peak < base + len(TENANTS) * (times * MAX_BYTES + kilobytes * 1_000 * MAX_ROWS) / 1_000_000
