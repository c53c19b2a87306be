"""How a Loyverse account is pulled: lists, cursors, late references, limits and refusals."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cata_pipeline.catalog.model import BundleComponent, Catalog, Item
from cata_pipeline.errors import ProviderError
from cata_pipeline.providers import loyverse
from cata_pipeline.providers.conformance.scripted_server import answer, running
from cata_pipeline.providers.http import Patience
from cata_pipeline.providers.loyverse import LOYVERSE
from cata_pipeline.providers.pacing import Pacing
from cata_pipeline.providers.secrets import Secrets
from cata_pipeline_tests.providers.loyverse_pos import (
    OTHER_STORE,
    RATE_LIMITED,
    STORE,
    LoyversePos,
    category,
    item,
    modifier,
    query_of,
    store,
    variant,
)

GONE = "2026-02-01T00:00:00.000Z"


@pytest.fixture
def pos() -> Iterator[LoyversePos]:
    with running(LoyversePos()) as server:
        yield server


def fetch(pos: LoyversePos, pacing: Pacing | None = None, **options: object) -> Catalog:
    async def no_rest(_: float) -> None:
        await asyncio.sleep(0)

    patience = Patience(pacing=pacing or Pacing(0), sleep=no_rest)
    return LOYVERSE.fetch(pos.options() | options, Secrets(pos.secrets()), pos.policy, patience)


def by_code(catalog: Catalog) -> dict[str, Item]:
    return {told.item_code: told for told in catalog.items}


def composite(sku: str, *variant_ids: str, **fields: object) -> dict[str, object]:
    parts = [{"variant_id": variant_id, "quantity": 1} for variant_id in variant_ids]
    return item(variant(sku), id=f"item-{sku}", item_name=sku, is_composite=True, components=parts, **fields)


def test_every_request_asks_for_deleted_rows_and_whole_pages(pos: LoyversePos) -> None:
    pos.offer([item(variant("A"))], [item(variant("B"))])
    fetch(pos)
    assert {(query_of(r)["limit"], query_of(r)["show_deleted"]) for r in pos.received} == {("250", "true")}
    assert ["cursor" in query_of(received) for received in pos.received[-2:]] == [False, True]


def test_a_cursor_that_refuses_filters_is_sent_alone_from_then_on(pos: LoyversePos) -> None:
    pos.cursors_keep_filters = True
    deleted = item(variant("K-3"), deleted_at="2026-02-01T00:00:00.000Z")
    pos.offer([item(variant("K-1"))], [item(variant("K-2"))], [deleted])
    assert {found.item_code: found.is_active for found in fetch(pos).items} == {
        "K-1": True,
        "K-2": True,
        "K-3": False,
    }
    asked = [sorted(query_of(received)) for received in pos.received if "/items" in received.path]
    assert asked == [["limit", "show_deleted"], ["cursor", "limit", "show_deleted"], ["cursor"], ["cursor"]]


def test_an_account_that_refuses_cursors_too_is_no_catalog(pos: LoyversePos) -> None:
    refusal = answer({"errors": [{"code": "CONFLICTING_PARAMETERS", "details": "cursor"}]}, status=400)
    pos.offer([item(variant("K-1"))], [item(variant("K-2"))])
    pos.misbehave(2, refusal, refusal)
    with pytest.raises(ProviderError, match="CONFLICTING_PARAMETERS"):
        fetch(pos)


def test_a_deleted_item_is_in_the_catalog_as_inactive(pos: LoyversePos) -> None:
    pos.offer([item(variant("A")), item(variant("B"), deleted_at=GONE)])
    assert {code: told.is_active for code, told in by_code(fetch(pos)).items()} == {"A": True, "B": False}


@pytest.mark.parametrize("for_sale", [True, False])
def test_a_sku_that_was_given_to_a_new_variant_is_the_new_ones_and_no_duplicate(
    pos: LoyversePos,
    for_sale: bool,  # noqa: FBT001 a parametrized value
) -> None:
    old = item(variant("A", "v-old", deleted_at=GONE, updated_at="2026-09-09T00:00:00.000Z"), item_name="Old")
    pos.offer([old, item(variant("A", "v-new", stores=[store(for_sale=for_sale)]), item_name="New")])
    catalog = fetch(pos)
    assert [(told.name, told.is_active) for told in catalog.items] == [("New", for_sale)]
    assert catalog.duplicates == ()


def test_a_product_that_is_rejected_is_not_hidden_by_one_that_was_deleted_before_it(pos: LoyversePos) -> None:
    old = item(variant("A", "v-old", deleted_at=GONE), item_name="Old")
    pos.offer([old, item(variant("A", "v-new"), item_name=None)])
    catalog = fetch(pos)
    assert catalog.items == ()
    assert [rejection.item_code for rejection in catalog.rejections] == ["A"]


def test_components_on_later_pages_are_told_by_their_sku_and_name(pos: LoyversePos) -> None:
    pos.offer([composite("DUO", "variant-B", "variant-B")], [], [item(variant("B"), id="b", item_name="Teh")])
    catalog = fetch(pos)
    assert by_code(catalog)["DUO"].bundle_components == (BundleComponent("", "B", "Teh", "1"),) * 2
    assert by_code(catalog)["B"].bundle_components == ()
    assert catalog.warnings == {}


@pytest.mark.parametrize(
    ("rows", "warning"),
    [
        ([composite("DUO", "variant-B", "nowhere"), item(variant("B"))], "one is no item of the catalog"),
        ([composite("DUO", "v-odd"), item(variant(" ", "v-odd"))], "one is no item of the catalog"),
        ([composite("DUO", "variant-DUO")], "it contains itself"),
    ],
)
def test_a_bundle_that_cannot_be_told_whole_leaves_what_is_stored(
    pos: LoyversePos, rows: list[dict[str, object]], warning: str
) -> None:
    pos.offer(rows)
    catalog = fetch(pos)
    assert by_code(catalog)["DUO"].bundle_components is None
    assert catalog.warnings == {f"components of a composite left as they are: {warning}": 1}


def test_composites_of_each_other_end(pos: LoyversePos) -> None:
    pos.offer([composite("A", "variant-B")], [composite("B", "variant-A")])
    items = by_code(fetch(pos))
    assert items["A"].bundle_components == (BundleComponent("", "B", "B", "1"),)
    assert items["B"].bundle_components == (BundleComponent("", "A", "A", "1"),)


def test_a_tenant_whose_composites_are_recipes_has_no_bundles(pos: LoyversePos) -> None:
    pos.offer([composite("DUO", "variant-B", "nowhere"), item(variant("B"))])
    catalog = fetch(pos, composite="recipe")
    assert by_code(catalog)["DUO"].bundle_components == ()
    assert catalog.warnings == {}


def test_references_on_any_page_of_their_lists_are_found(pos: LoyversePos) -> None:
    pos.categories = [category(f"C{number}") for number in range(5)]
    pos.modifiers = [modifier(f"m{number}", f"M{number}", ("o", "O")) for number in range(5)]
    pos.offer([item(variant("A"), category_id="category-C4", modifier_ids=["m4", "m0"])])
    [told] = fetch(pos).items
    assert told.category == "C4"
    assert [group.name for group in told.modifier_groups or ()] == ["M4", "M0"]


def test_references_that_cannot_be_read_cost_no_catalog(pos: LoyversePos) -> None:
    pos.categories = [{"id": "category-X", "name": None}, category("Y")]
    pos.modifiers = [modifier("sugar", 5)]
    pos.offer([item(variant("A"), category_id="category-X", modifier_ids=["sugar"])])
    catalog = fetch(pos)
    assert (catalog.items[0].category, catalog.items[0].modifier_groups) == (None, None)
    assert catalog.warnings == {
        "category that cannot be read left out": 1,
        "category that the account does not have left out": 1,
        "modifier that cannot be read left out": 1,
        "modifiers of an item left as they are: one is not in the account's list": 1,
    }


def test_the_name_of_a_deleted_category_is_ignored(pos: LoyversePos) -> None:
    pos.categories = [category("Old", deleted_at="2026-01-01T00:00:00.000Z"), category("New")]
    pos.offer([item(variant("A"), category_id="category-Old"), item(variant("B"), category_id="category-New")])
    catalog = fetch(pos)
    assert {code: found.category for code, found in by_code(catalog).items()} == {"A": None, "B": "New"}
    assert catalog.warnings == {"category that the account does not have left out": 1}


@pytest.mark.parametrize("name", ["categories", "modifiers"])
def test_a_list_of_references_without_end_is_no_catalog(pos: LoyversePos, name: str) -> None:
    pos.offer([item(variant("A"))])
    pos.other = lambda received: (  # type: ignore[method-assign]
        answer({name: [], "cursor": "again"}) if f"/{name}?" in received.path else LoyversePos.other(pos, received)
    )
    with pytest.raises(ProviderError, match=f"{name} at .* came before, so paging has no end"):
        fetch(pos)
    assert pos.pages_asked_for() == []


def test_more_pages_than_allowed_are_no_catalog(pos: LoyversePos) -> None:
    pos.offer([item(variant("A"))], [item(variant("B"))], [item(variant("C"))])
    with pytest.raises(ProviderError, match="no end after 2 pages"):
        fetch(pos, max_pages=2)


def test_the_newer_answer_about_a_variant_that_moved_between_pages_counts(pos: LoyversePos) -> None:
    new = item(variant("A", updated_at="2026-05-01T00:00:00.000Z"), item_name="New")
    pos.offer([new], [item(variant("A"), item_name="Old")])
    assert [told.name for told in fetch(pos).items] == ["New"]


def test_a_store_that_no_product_names_hides_nothing(pos: LoyversePos) -> None:
    pos.offer([item(variant("A", stores=[store(OTHER_STORE)]))])
    with pytest.raises(ProviderError, match=f"listed for the store {STORE}, .* its products name {OTHER_STORE}"):
        fetch(pos, store_id=STORE)
    assert [told.is_active for told in fetch(pos, store_id=OTHER_STORE).items] == [True]


def test_an_error_beside_a_list_is_no_page(pos: LoyversePos) -> None:
    pos.offer([item(variant("A"))])
    told = {"items": [], "errors": [{"code": "INTERNAL", "details": "half of it"}]}
    pos.misbehave_for_ever(1, answer(told))
    with pytest.raises(ProviderError, match="INTERNAL: half of it"):
        fetch(pos)


def test_a_plan_without_the_api_is_told_as_such(pos: LoyversePos) -> None:
    pos.misbehave_for_ever(1, answer({"errors": [{"code": "PAYMENT_REQUIRED", "details": "trial"}]}, status=402))
    with pytest.raises(ProviderError, match=r"HTTP 402 .*PAYMENT_REQUIRED: trial.*the merchant has to renew"):
        fetch(pos)


def test_a_request_too_many_is_asked_again(pos: LoyversePos) -> None:
    pos.offer([item(variant("A"))])
    pos.misbehave(1, RATE_LIMITED, RATE_LIMITED)
    assert set(by_code(fetch(pos))) == {"A"}


def test_requests_are_counted_by_account_and_not_by_origin(pos: LoyversePos, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    class Noting(Pacing):
        def seconds_to_wait(self, key: str) -> float:
            taken.append(key)
            return super().seconds_to_wait(key)

    pos.offer([item(variant("A"))])
    pacing = Noting(300.0, requests=290)
    fetch(pos, pacing)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: fetch(pos, pacing), range(4)))
    assert len(set(taken)) == 1
    token = pos.secrets()["access_token"]
    assert token not in taken[0]
    monkeypatch.setattr(LoyversePos, "secrets", lambda _: {"access_token": "another-account"})
    fetch(pos, pacing)
    assert len(set(taken)) == 2


def test_an_account_is_asked_no_more_than_its_vendor_allows() -> None:
    pacing = loyverse._OF_EACH_ACCOUNT
    waits = [pacing.seconds_to_wait("an account of this test") for _ in range(600)]
    assert waits[:290] == [0.0] * 290
    assert all(250 < wait <= 300 for wait in waits[290:580])
    assert all(550 < wait <= 600 for wait in waits[580:])


@pytest.mark.parametrize("token", ["two\nlines", "käse", "with space"])
def test_a_token_that_no_header_can_hold_is_not_sent(pos: LoyversePos, token: str) -> None:
    with pytest.raises(ProviderError, match="access_token is not one that can be sent") as caught:
        LOYVERSE.fetch(pos.options(), Secrets({"access_token": token}), pos.policy)
    assert token not in str(caught.value)
    assert pos.connections == 0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"origin": "https://api.example.com"}, "origin is not Loyverse's; expected https://api.loyverse.com."),
        ({"origin": "https://10.0.0.1"}, "origin is not Loyverse's; expected https://api.loyverse.com."),
        ({"origin": "http://api.loyverse.com"}, "origin is not an https URL"),
        ({"store_id": "../x"}, "store_id is no store id"),
        ({"composite": "both"}, "composite is 'both'; expected bundle or recipe."),
        ({"missing_sku": "id"}, "missing_sku is 'id'; expected variant_id or reject."),
        ({"page_size": 251}, "page_size is 251; expected a whole number from 1 to 250."),
    ],
)
def test_options_that_are_wrong_are_named(options: dict[str, object], problem: str) -> None:
    [told] = LOYVERSE.option_problems(options)
    assert told.startswith(problem)


def test_no_option_is_needed() -> None:
    assert LOYVERSE.option_problems({}) == []


def test_a_sample_asks_for_one_page_of_items_with_its_references(pos: LoyversePos) -> None:
    pos.categories = [category("Coffee")]
    pos.offer([item(variant("A"), category_id="category-Coffee")], [item(variant("B"))])
    sample = LOYVERSE.sample(pos.options(), Secrets(pos.secrets()), pos.policy, Patience(pacing=Pacing(0)))
    assert [(told.item_code, told.category) for told in sample.items] == [("A", "Coffee")]
    assert pos.pages_asked_for() == [1]
