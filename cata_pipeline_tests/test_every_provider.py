"""One batch with a tenant of each provider, from its wire format to the rows that merchants see, and again."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from cata_pipeline.demo.servers import EmbeddedServers
from cata_pipeline.outcomes import SyncOrder, SyncOutcome
from cata_pipeline.providers.conformance.pos_server import PosServer, Sold
from cata_pipeline.tenants.model import Tenant
from cata_pipeline_tests.providers.feed_pos import CsvFeedPos, FeedPos
from cata_pipeline_tests.providers.iseller_pos import ISellerPos
from cata_pipeline_tests.providers.loyverse_pos import LoyversePos, item, modifier, variant
from cata_pipeline_tests.providers.square_pos import SquarePos, catalog_object, search_page
from cata_pipeline_tests.tenant_fleet import TenantFleet, open_fleet

KINDS: dict[str, Callable[[], PosServer]] = {
    "iseller": ISellerPos,
    "square": SquarePos,
    "loyverse": LoyversePos,
    "feed": FeedPos,
    "feed-csv": CsvFeedPos,
}
SIZES, SUGAR = ("Small", "Large"), (("less", "Less sugar"), ("no", "No sugar"))
PICTURE = "https://cdn.example.com/latte.jpg"
FIRST = [
    Sold("LAT", "Latte", description="Strong & sweet", category="Coffee", image=PICTURE),
    Sold("TEA", "Teh", active=False),
    Sold("007", "Kopi \u2615 O'Brien"),
]
LATER = [
    Sold("LAT", "Latte, new recipe", category="Coffee", updated_at="2026-04-01T08:00:00Z"),
    Sold("TEA", "Teh Tarik", updated_at="2026-04-01T08:00:00Z"),
    Sold("007", "Kopi \u2615 O'Brien"),
    Sold("NEW", "Es Jeruk"),
]
ROWS = """
SELECT item_code, name, original_name, visible, description, category, external_image_url, base_price::int
FROM items ORDER BY item_code
"""


@dataclass
class Market(TenantFleet):
    """Tenants, each with a POS of its own."""

    def open(self, kind: str, server: PosServer, patch: pytest.MonkeyPatch) -> PosServer:
        """Start a POS and register its tenant, whose id is the kind."""
        running = self.run(server)
        variable = f"MARKET_{kind.upper().replace('-', '_')}"
        patch.setenv(variable, json.dumps(running.secrets()))
        self.register(Tenant(kind, running.provider.slug, f"env:{variable}", None, running.options()))
        return running

    def sync(self, *kinds: str, servers: list[PosServer]) -> dict[str, SyncOutcome]:
        """One batch for these tenants."""
        outcomes = self.pipeline(*servers).sync_batch(list(kinds), SyncOrder(), "run", concurrency=4)
        return {outcome.tenant_id: outcome for outcome in outcomes}


@pytest.fixture(scope="module")
def market(servers: EmbeddedServers) -> Iterator[Market]:
    with open_fleet(servers, Market) as market:
        yield market


def test_each_provider_tells_the_same_story(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    tills = {kind: market.open(kind, new(), monkeypatch) for kind, new in KINDS.items()}
    everybody = list(tills.values())
    for till in everybody:
        till.sell(FIRST)
    first = market.sync(*KINDS, servers=everybody)
    assert {kind: outcome.error for kind, outcome in first.items()} == dict.fromkeys(KINDS)
    for kind in KINDS:
        assert market.rows(kind, ROWS) == [
            ("007", "Kopi \u2615 O'Brien", "Kopi \u2615 O'Brien", True, None, None, None, None),
            ("LAT", "Latte", "Latte", True, "Strong & sweet", "Coffee", PICTURE, None),
            ("TEA", "Teh", "Teh", False, None, None, None, None),
        ]
        market.sql(kind, "UPDATE items SET name = 'Our latte', base_price = 45000 WHERE item_code = 'LAT'")
    for till in everybody:
        till.sell(LATER)
    later = market.sync(*KINDS, servers=everybody)
    for kind in KINDS:
        assert market.rows(kind, ROWS) == [
            ("007", "Kopi \u2615 O'Brien", "Kopi \u2615 O'Brien", True, None, None, None, None),
            ("LAT", "Our latte", "Latte, new recipe", True, "Strong & sweet", "Coffee", None, 45000),
            ("NEW", "Es Jeruk", "Es Jeruk", True, None, None, None, None),
            ("TEA", "Teh Tarik", "Teh Tarik", True, None, None, None, None),
        ]
        counts = later[kind].counts
        assert [counts[name] for name in ("inserted", "updated", "unchanged", "renamed", "names_kept", "shown")] == [
            *(1, 2, 1, 1, 1, 1)
        ]
    before = {kind: market.everything(kind) for kind in KINDS}
    again = market.sync(*KINDS, servers=everybody)
    assert {kind: outcome.counts["unchanged"] for kind, outcome in again.items()} == dict.fromkeys(KINDS, 4)
    assert {kind: market.everything(kind) for kind in KINDS} == before


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("iseller", ("empty_sku", "product_id")),
        ("square", ("missing_sku", "variation_id")),
        ("loyverse", ("missing_sku", "variant_id")),
    ],
)
def test_a_first_sync_of_products_without_sku_takes_their_ids_or_fails_with_the_option_that_does(
    market: Market, monkeypatch: pytest.MonkeyPatch, kind: str, option: tuple[str, str]
) -> None:
    name, value = option
    pos = market.open(f"{kind}-no-sku", KINDS[kind](), monkeypatch)
    registry = market.pipeline().registry
    tenant = registry.tenant(f"{kind}-no-sku")
    ids = [f"id-{number:02}" for number in range(20)]
    pos.sell([Sold(None, identity=identity) for identity in ids])
    registry.import_tenants([replace(tenant, options={**tenant.options, name: "reject"})])
    refused = market.sync(tenant.id, servers=[pos])[tenant.id]
    assert refused.error is not None
    assert "none of the 20 rows received can be an item" in refused.error
    assert f'set the tenant\'s option {name} = "{value}"' in refused.error
    assert "--allow" not in refused.error
    registry.import_tenants([tenant])
    taken = market.sync(tenant.id, servers=[pos])[tenant.id]
    assert (taken.error, taken.counts["rejected"]) == (None, 0)
    assert market.rows(tenant.id, "SELECT item_code FROM items ORDER BY item_code") == [(one,) for one in ids]


def structure(market: Market, tenant_id: str) -> dict[str, list[Any]]:
    """What a tenant's tables say of variants, modifiers and bundles, in order."""
    of_item = "FROM items i JOIN"
    return {
        "items": market.rows(
            tenant_id, "SELECT item_code, name, variant_group, variant_options FROM items ORDER BY item_code"
        ),
        "modifiers": market.rows(
            tenant_id,
            f"SELECT item_code, modifier_code, m.name {of_item} item_modifiers m ON item_id = i.id ORDER BY 1, 2",
        ),
        "options": market.rows(
            tenant_id,
            f"SELECT item_code, option_code, o.name, o.visible {of_item} item_modifiers m ON item_id = i.id"
            " JOIN item_modifier_options o ON item_modifier_id = m.id ORDER BY 1, o.position",
        ),
        "components": market.rows(
            tenant_id,
            f"SELECT item_code, component_item_code, occurrence, c.name, quantity::text {of_item}"
            " item_bundle_components c ON item_id = i.id ORDER BY 1, 2, 3",
        ),
    }


def test_the_structure_of_a_loyverse_account_arrives(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    pos = LoyversePos()
    market.open("loyverse-structure", pos, monkeypatch)
    pos.modifiers = [modifier("sugar", "Sugar", *SUGAR)]
    small, large = (variant(f"LAT-{size[0]}", f"v-{size}", option1_value=size) for size in SIZES)
    twice = [{"variant_id": "v-Large", "quantity": 1}, {"variant_id": "v-Large", "quantity": 0.5}]
    pos.offer(
        [item(variant("SET", "v-set"), id="set", item_name="Set", is_composite=True, components=twice)],
        [item(small, large, id="latte", item_name="Latte", option1_name="Size", modifier_ids=["sugar"])],
    )
    outcome = market.sync("loyverse-structure", servers=[pos])["loyverse-structure"]
    assert outcome.error is None
    assert structure(market, "loyverse-structure") == {
        "items": [
            ("LAT-L", "Latte - Large", "latte", [{"option": "Size", "value": "Large"}]),
            ("LAT-S", "Latte - Small", "latte", [{"option": "Size", "value": "Small"}]),
            ("SET", "Set", None, None),
        ],
        "modifiers": [("LAT-L", "sugar", "Sugar"), ("LAT-S", "sugar", "Sugar")],
        "options": [
            *(("LAT-L", "less", "Less sugar", True), ("LAT-L", "no", "No sugar", True)),
            *(("LAT-S", "less", "Less sugar", True), ("LAT-S", "no", "No sugar", True)),
        ],
        "components": [("SET", "LAT-L", 1, "Latte - Large", "1.0000"), ("SET", "LAT-L", 2, "Latte - Large", "0.5000")],
    }


def test_the_structure_of_a_square_catalog_arrives(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    pos = SquarePos()
    market.open("square-structure", pos, monkeypatch)
    small, large = (
        catalog_object(
            "ITEM_VARIATION",
            f"v-{size}",
            {
                "item_id": "latte",
                "name": size,
                "sku": f"LAT-{size[0]}",
                "ordinal": 0,
                "item_option_values": [{"item_option_id": "size", "item_option_value_id": size}],
            },
        )
        for size in SIZES
    )
    uses = [
        {"modifier_list_id": "sugar", "modifier_overrides": [{"modifier_id": "no", "hidden_online_override": "YES"}]}
    ]
    latte = {"name": "Latte", "variations": [small, large], "modifier_list_info": uses, "product_type": "REGULAR"}
    values = [catalog_object("ITEM_OPTION_VAL", size, {}, item_option_value_data={"name": size}) for size in SIZES]
    modifiers = [catalog_object("MODIFIER", code, {"name": name}) for code, name in SUGAR]
    pos.misbehave_for_ever(
        1,
        search_page(
            [
                catalog_object("ITEM", "latte", latte),
                catalog_object("ITEM_OPTION", "size", {"name": "size", "display_name": "Size", "values": values}),
                catalog_object("MODIFIER_LIST", "sugar", {"name": "Sugar", "modifiers": modifiers}),
            ]
        ),
    )
    outcome = market.sync("square-structure", servers=[pos])["square-structure"]
    assert outcome.error is None
    assert structure(market, "square-structure") == {
        "items": [
            ("LAT-L", "Latte - Large", "latte", [{"option": "Size", "value": "Large"}]),
            ("LAT-S", "Latte - Small", "latte", [{"option": "Size", "value": "Small"}]),
        ],
        "modifiers": [("LAT-L", "sugar", "Sugar"), ("LAT-S", "sugar", "Sugar")],
        "options": [
            *(("LAT-L", "less", "Less sugar", True), ("LAT-L", "no", "No sugar", False)),
            *(("LAT-S", "less", "Less sugar", True), ("LAT-S", "no", "No sugar", False)),
        ],
        "components": [],
    }
