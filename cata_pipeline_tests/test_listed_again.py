"""Modifiers whose format never says whether they are active, from catalog to catalog."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.outcomes import SyncOrder
from cata_pipeline.tenants.model import Tenant
from cata_pipeline_tests.providers.feed_pos import json_lines
from cata_pipeline_tests.tenant_fleet import TenantFleet, open_fleet

HIDDEN = """
    SELECT modifier_code AS code FROM item_modifiers WHERE NOT visible
    UNION ALL SELECT option_code FROM item_modifier_options WHERE NOT visible ORDER BY code
"""


@pytest.fixture
def fleet(servers: EmbeddedServers) -> Iterator[TenantFleet]:
    with open_fleet(servers, TenantFleet) as opened:
        yield opened


def groups(**options: str) -> dict[str, Any]:
    """An item with a group for each keyword, whose options have one letter each."""
    parts = [
        {"code": code, "name": code, "modifiers": [{"code": code + part, "name": part} for part in given]}
        for code, given in options.items()
    ]
    return {"item_code": "LAT", "name": "Latte", "modifier_groups": parts}


def test_modifiers_that_are_listed_again_are_shown_and_those_that_a_cata_user_hid_stay_hidden(
    fleet: TenantFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATA_FEED_FOLDER", str(tmp_path))
    monkeypatch.setenv("NO_SECRETS", json.dumps({}))
    fleet.register(Tenant("kopi", "feed", "env:NO_SECRETS", None, {"source": "items", "format": "jsonl"}))

    def hidden_after(*items: dict[str, Any]) -> list[str]:
        (tmp_path / "items").write_text(json_lines(items))
        assert fleet.pipeline().sync("kopi", SyncOrder(), "run").error is None
        return [code for (code,) in fleet.rows("kopi", HIDDEN)]

    everything = groups(milk="os", sugar="l")
    assert hidden_after(everything) == []
    fleet.sql("kopi", "UPDATE item_modifier_options SET visible = false WHERE option_code = 'milko'")
    assert hidden_after(groups(milk="o")) == ["milko", "milks", "sugar"]
    assert hidden_after(everything | {"name": "Caffè latte"}) == ["milko"]
    assert hidden_after({"item_code": "LAT", "name": "Latte"}) == ["milko"]
    assert hidden_after(everything) == ["milko"]
    assert hidden_after({"item_code": "TEA", "name": "Teh"}) == ["milko"]
    assert hidden_after(everything) == ["milko"]
