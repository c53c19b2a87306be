"""The tests that every provider must pass, whoever wrote it: a catalog is complete and exact, or there is none.

Add a test here when a rule holds for each POS. A provider's own rules (variants, modifiers, presence) are tested beside
it. Use:

    class TestMyProvider(ProviderConformance):
        server_class = MyPosServer

or `ApiConformance` where the API has no pages, and `CatalogConformance` where there is no API, such as a file.
"""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.catalog.model import MAX_ITEM_CODE_BYTES, Catalog, Item, text_problem
from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.conformance.faults import EMPTY_LIST, EMPTY_OBJECT, ERROR_OBJECT, FINAL, PASSING, Fault
from cata_pipeline.providers.conformance.pos_server import Paging, PosServer, Sold
from cata_pipeline.providers.conformance.scripted_server import ScriptedServer, answer, running
from cata_pipeline.providers.contract import Sample
from cata_pipeline.providers.http import Patience
from cata_pipeline.providers.pacing import Pacing

PAGES = ([Sold("K-1"), Sold("K-2")], [Sold("K-3"), Sold("K-4")], [Sold("K-5")])
CODES = ["K-1", "K-2", "K-3", "K-4", "K-5"]
PARAMETRIZED = pytest.mark.parametrize


async def _no_rest(_: float) -> None:
    await asyncio.sleep(0)


class CatalogConformance:
    """What holds wherever a catalog comes from, page by page or in one piece; a subclass names its fixture server."""

    server_class: ClassVar[type[PosServer]]
    faulty_page: ClassVar[int] = 1
    """The page that cannot be had where one cannot."""

    @pytest.fixture
    def pos(self) -> Iterator[PosServer]:
        """The fixture server, running, with three pages of products."""
        with running(self.server_class()) as server:
            server.sell(*PAGES)
            yield server

    def fetch(self, pos: PosServer, policy: AddressPolicy | None = None, **options: object) -> Catalog:
        """The catalog, without the rests between tries; whatever goes wrong tells no secret."""
        patience = Patience(pacing=Pacing(interval=0), sleep=_no_rest)
        try:
            return pos.provider.fetch(pos.options() | options, pos.tenant_secrets(), policy or pos.policy, patience)
        except ProviderError as error:
            for secret in pos.told_to_nobody():
                assert secret not in str(error)
            raise

    def items(self, pos: PosServer, *products: Sold) -> dict[str, Item]:
        """What a one-page catalog of these products becomes, by code."""
        pos.sell(products)
        return {item.item_code: item for item in self.fetch(pos).items}

    def test_every_page_is_in_the_catalog_sorted_by_code(self, pos: PosServer) -> None:
        catalog = self.fetch(pos)
        assert [item.item_code for item in catalog.items] == CODES
        assert (catalog.rejections, catalog.duplicates) == ((), ())

    def test_the_same_store_gives_the_same_catalog(self, pos: PosServer) -> None:
        assert self.fetch(pos) == self.fetch(pos)

    def test_an_empty_store_is_a_complete_catalog_of_nothing(self, pos: PosServer) -> None:
        pos.sell(())
        assert self.fetch(pos).items == ()

    @PARAMETRIZED("fault", PASSING, ids=str)
    def test_a_fault_that_passes_costs_nothing(self, pos: PosServer, fault: Fault) -> None:
        pos.misbehave(1, fault.make(pos))
        assert [item.item_code for item in self.fetch(pos).items] == CODES

    @PARAMETRIZED("fault", [*FINAL, ERROR_OBJECT], ids=str)
    def test_a_page_that_cannot_be_had_is_no_end_and_there_is_no_catalog(self, pos: PosServer, fault: Fault) -> None:
        pos.misbehave_for_ever(self.faulty_page, fault.make(pos))
        with pytest.raises(ProviderError):
            self.fetch(pos, request_budget_seconds=1)
        assert len(pos.pages_asked_for()) < 10
        assert self.faulty_page + 1 not in pos.pages_asked_for()

    @PARAMETRIZED("fault", [EMPTY_OBJECT, EMPTY_LIST], ids=str)
    def test_an_empty_answer_is_a_page_only_where_the_vendor_says_so(self, pos: PosServer, fault: Fault) -> None:
        pos.misbehave_for_ever(1, fault.make(pos))
        if pos.takes_empty_object if fault is EMPTY_OBJECT else pos.takes_empty_list:
            assert self.fetch(pos).items == ()
            return
        with pytest.raises(ProviderError):
            self.fetch(pos)

    @PARAMETRIZED("status", [400, 403, 404])
    def test_a_final_refusal_is_asked_once(self, pos: PosServer, status: int) -> None:
        pos.misbehave_for_ever(1, answer({"message": "no"}, status=status))
        with pytest.raises(ProviderError):
            self.fetch(pos)
        assert pos.pages_asked_for() == [1]

    def test_a_redirect_takes_no_secret_along(self, pos: PosServer) -> None:
        with running(ScriptedServer()) as thief:
            pos.misbehave_for_ever(1, answer(b"", status=307, headers={"Location": f"{thief.origin}/"}))
            ports = AddressPolicy(pos.policy.allowed | thief.policy.allowed)
            with pytest.raises(ProviderError):
                self.fetch(pos, ports)
            assert thief.connections == 0

    def test_a_private_address_that_is_not_allowed_gets_no_connection(self, pos: PosServer) -> None:
        with pytest.raises(ProviderError):
            self.fetch(pos, AddressPolicy(frozenset()))
        assert pos.connections == 0

    def test_wrong_credentials_are_an_error_at_once(self, pos: PosServer) -> None:
        pos.misbehave_for_ever(1, answer({"message": "who are you"}, status=401))
        with pytest.raises(ProviderError):
            self.fetch(pos)
        assert len(pos.pages_asked_for()) <= 2

    def test_codes_are_kept_byte_for_byte(self, pos: PosServer) -> None:
        codes = ["lat", "LAT", "ＬＡＴ", "café", "cafe\u0301", " K ", "K", "007", "0", "ß", "a/b c'\"\\", "🍜"]
        sold = [Sold(code, identity=f"id-{number}") for number, code in enumerate(codes)]
        assert set(self.items(pos, *sold)) == set(codes)

    def test_codes_that_look_alike_are_all_kept_and_reported(self, pos: PosServer) -> None:
        codes = ["K-1", "K-1\u200b", "K-1 ", "K-2"]
        pos.sell([Sold(code, identity=f"id-{number}") for number, code in enumerate(codes)])
        catalog = self.fetch(pos)
        assert {item.item_code for item in catalog.items} == set(codes)
        assert [count for sentence, count in catalog.warnings.items() if "'K-1\\u200b'" in sentence] == [3]

    def test_the_names_are_kept_as_they_are(self, pos: PosServer) -> None:
        names = ["Nasi  Goreng ", "Kopi\u00a0Susu", "Mie 🍜", "<b>Teh</b>", 'O\'Brien \\ "x"', "x" * 5_000]
        items = self.items(pos, *(Sold(f"K-{number}", name) for number, name in enumerate(names)))
        assert [items[f"K-{number}"].name for number in range(len(names))] == names

    @PARAMETRIZED("name", ["Kopi\u0000Susu", "Kopi\ud800", "", "   ", None, 5, ["Kopi"]], ids=repr)
    def test_a_name_that_is_none_costs_its_own_product_only(self, pos: PosServer, name: object) -> None:
        pos.sell([Sold("K-1"), Sold("K-2", name), Sold("K-3")])
        catalog = self.fetch(pos)
        assert {"K-1", "K-3"} <= {item.item_code for item in catalog.items}
        assert "K-2" not in {item.item_code for item in catalog.items}
        [rejection] = catalog.rejections
        assert rejection.item_code == "K-2"
        assert rejection.reason

    @PARAMETRIZED("field", ["description", "category", "image"])
    @PARAMETRIZED("text", ["https://kopi\u0000susu", "https://kopi\ud800"], ids=ascii)
    def test_a_text_that_no_database_stores_never_arrives(self, pos: PosServer, field: str, text: str) -> None:
        odd: dict[str, Any] = {field: text}
        pos.sell([Sold("K-1"), Sold("K-2", **odd), Sold("K-3")])
        items = self.fetch(pos).items
        assert {"K-1", "K-3"} <= {item.item_code for item in items}
        assert [value for item in items for value in item if isinstance(value, str) and text_problem(value)] == []

    @PARAMETRIZED("code", ["K\u0000", "K\ud800", "k" * (MAX_ITEM_CODE_BYTES + 1), ["K"], {"k": 1}, True, 1.5], ids=repr)
    def test_a_code_that_cannot_be_one_costs_its_own_product_only(self, pos: PosServer, code: object) -> None:
        pos.sell([Sold("K-1"), Sold(code, identity="id-odd"), Sold("K-3")])
        catalog = self.fetch(pos)
        assert [item.item_code for item in catalog.items] == ["K-1", "K-3"]
        assert len(catalog.rejections) == 1

    @PARAMETRIZED("code", [None, ""], ids=repr)
    def test_a_product_without_code_never_gets_somebody_elses(self, pos: PosServer, code: object) -> None:
        pos.sell([Sold("K-1"), Sold(code, identity="id-without"), Sold("K-3")])
        catalog = self.fetch(pos)
        left = {item.item_code for item in catalog.items} - {"K-1", "K-3"}
        assert left in ({"id-without"}, set())
        assert len(catalog.items) + len(catalog.rejections) == 3

    def test_a_code_of_nothing_but_spaces_is_rejected(self, pos: PosServer) -> None:
        pos.sell([Sold("K-1"), Sold("  \t", identity="id-blank")])
        catalog = self.fetch(pos)
        assert [item.item_code for item in catalog.items] == ["K-1"]
        assert len(catalog.rejections) == 1

    def test_a_whole_number_as_code_keeps_every_digit(self, pos: PosServer) -> None:
        assert set(self.items(pos, Sold(9007199254740993))) == {"9007199254740993"}

    def test_two_products_with_one_code_are_united_and_the_loser_is_told(self, pos: PosServer) -> None:
        old = Sold("K-1", "Old", identity="id-old", updated_at="2025-01-01T00:00:00Z")
        new = Sold("K-1", "New", identity="id-new", updated_at="2026-01-01T00:00:00Z")
        for pages in (([old], [new]), ([new], [old]), ([old, new],)):
            pos.sell(*pages)
            catalog = self.fetch(pos)
            assert [item.name for item in catalog.items] == ["New"]
            assert [(d.item_code, d.provider_id) for d in catalog.duplicates] == [
                ("K-1", catalog.duplicates[0].provider_id)
            ]

    def test_an_inactive_product_is_told_as_inactive(self, pos: PosServer) -> None:
        items = self.items(pos, Sold("K-1"), Sold("K-2", active=False))
        told = {code: item.is_active is not False for code, item in items.items()}
        assert told == {"K-1": True, "K-2": "active" in pos.lacks}

    def test_a_row_that_does_not_say_whether_it_is_active_is_neither(self, pos: PosServer) -> None:
        found = self.items(pos, Sold("K-1", active=None if pos.omits_active else True))["K-1"]
        assert found.is_active is None if pos.omits_active else found.is_active is not False

    def test_description_category_and_picture_arrive(self, pos: PosServer) -> None:
        told: dict[str, Any] = {
            "description": "Strong & sweet",
            "category": "Coffee",
            "image": "https://cdn.example.com/kopi.jpg?v=2",
        }
        item = self.items(pos, Sold("K-1", **told), Sold("K-2"))["K-1"]
        arrived = {"description": item.description, "category": item.category, "image": item.external_image_url}
        assert arrived == {name: None if name in pos.lacks else text for name, text in told.items()}

    def test_a_price_that_changes_changes_no_item(self, pos: PosServer) -> None:
        assert self.items(pos, Sold("K-1", price=18_000)) == self.items(pos, Sold("K-1", price=26_543))

    def test_fetches_on_several_threads_do_not_disturb_each_other(self, pos: PosServer) -> None:
        with ThreadPoolExecutor(4) as threads:
            catalogs = list(threads.map(lambda _: self.fetch(pos), range(4)))
        assert all([item.item_code for item in catalog.items] == CODES for catalog in catalogs)

    def test_secrets_are_sent_to_the_pos_alone_and_never_in_an_address(self, pos: PosServer) -> None:
        self.fetch(pos)
        for received in pos.received:
            for secret in pos.told_to_nobody():
                assert secret not in received.path

    def test_an_unknown_option_is_named_with_the_known_ones(self, pos: PosServer) -> None:
        [problem] = pos.provider.option_problems(pos.options() | {"no_such_option": 1})
        assert problem.startswith(f"no_such_option is no option of {pos.provider.slug}; known are ")

    def test_every_option_says_what_it_means(self, pos: PosServer) -> None:
        assert all(option.meaning for option in pos.provider.options.described().values())

    def test_a_required_option_that_is_missing_is_named(self, pos: PosServer) -> None:
        for name, option in pos.provider.options.described().items():
            if option.required:
                problems = pos.provider.option_problems({k: v for k, v in pos.options().items() if k != name})
                assert any(problem.startswith(f"{name} is missing") for problem in problems)

    def test_wrong_options_fail_before_anything_is_sent(self, pos: PosServer) -> None:
        with pytest.raises(ProviderError):
            self.fetch(pos, no_such_option=1)
        assert pos.connections == 0

    def test_the_budget_of_the_whole_fetch_ends_it(self, pos: PosServer) -> None:
        pos.misbehave_for_ever(self.faulty_page, pos.stall(b""))
        with pytest.raises(ProviderError, match="not complete after 1 s"):
            self.fetch(pos, fetch_budget_seconds=1)

    def test_the_limits_on_bytes_and_rows_are_options(self, pos: PosServer) -> None:
        assert {"max_bytes", "max_rows"} <= pos.provider.options.described().keys()

    def test_a_catalog_of_more_bytes_than_allowed_is_none_although_each_page_is_small(self, pos: PosServer) -> None:
        pos.sell(*([Sold(f"K-{number}", "x" * 40_000)] for number in range(6)))
        assert len(self.fetch(pos, max_bytes=1_000_000).items) == 6
        asked = len(pos.pages_asked_for())
        with pytest.raises(ProviderError, match="larger than 100000 bytes, the limit of the tenant's option max_bytes"):
            self.fetch(pos, max_bytes=100_000)
        assert len(pos.pages_asked_for()) - asked <= 3

    def test_a_catalog_of_more_rows_than_allowed_is_none(self, pos: PosServer) -> None:
        assert len(self.fetch(pos, max_rows=100).items) == len(CODES)
        with pytest.raises(ProviderError, match="more than 4 rows, the limit of the tenant's option max_rows"):
            self.fetch(pos, max_rows=4)

    def test_the_options_can_be_kept_as_json(self, pos: PosServer) -> None:
        assert json.loads(json.dumps(pos.options())) == pos.options()


class ApiConformance(CatalogConformance):
    """What holds for every POS that is asked over its own API: its format may grow, and its first page is a sample."""

    def test_unknown_fields_pass_by(self, pos: PosServer) -> None:
        strange = Sold("K-1", more={"brand_new_field": {"deep": [1, None, "x"]}})
        assert set(self.items(pos, strange)) == {"K-1"}

    @PARAMETRIZED("moment", ["yesterday", "", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2016-12-31T23:59:60Z"])
    def test_a_time_that_is_none_costs_no_product(self, pos: PosServer, moment: str) -> None:
        updated_at = self.items(pos, Sold("K-1", updated_at=moment))["K-1"].updated_at
        assert updated_at is None or updated_at.utcoffset() == timedelta(0)

    def test_a_sample_is_the_first_page_and_no_catalog(self, pos: PosServer) -> None:
        patience = Patience(pacing=Pacing(interval=0), sleep=_no_rest)
        sample = pos.provider.sample(pos.options(), pos.tenant_secrets(), pos.policy, patience)
        assert isinstance(sample, Sample)
        assert [item.item_code for item in sample.items] == [sold.code for sold in pos.pages[0]]
        assert pos.pages_asked_for() == [1]


class ProviderConformance(ApiConformance):
    """What holds for every POS whose API has pages: they end explicitly."""

    faulty_page: ClassVar[int] = 2

    @PARAMETRIZED("fault", PASSING, ids=str)
    def test_a_fault_of_a_later_page_that_passes_costs_nothing(self, pos: PosServer, fault: Fault) -> None:
        pos.misbehave(3, fault.make(pos))
        assert [item.item_code for item in self.fetch(pos).items] == CODES

    @PARAMETRIZED("fault", [EMPTY_OBJECT, EMPTY_LIST], ids=str)
    def test_an_empty_answer_on_a_later_page_is_the_end_only_where_the_vendor_says_so(
        self, pos: PosServer, fault: Fault
    ) -> None:
        pos.misbehave_for_ever(self.faulty_page, fault.make(pos))
        if pos.paging is Paging.EMPTY_PAGE and fault is EMPTY_LIST and pos.takes_empty_list:
            assert [item.item_code for item in self.fetch(pos).items] == CODES[:2]
            return
        with pytest.raises(ProviderError):
            self.fetch(pos)

    def test_a_short_or_empty_page_in_the_middle_is_not_the_end(self, pos: PosServer) -> None:
        pos.sell([Sold("K-1"), Sold("K-2")], [Sold("K-3")], [], [Sold("K-4")])
        assert [item.item_code for item in self.fetch(pos).items] == ["K-1", "K-2", "K-3", "K-4"]

    def test_a_pager_that_repeats_itself_is_an_error_and_not_asked_for_ever(self, pos: PosServer) -> None:
        pos.is_stuck = True
        with pytest.raises(ProviderError):
            self.fetch(pos)
        assert len(pos.pages_asked_for()) < 10

    def test_a_product_that_moves_between_pages_is_there_once(self, pos: PosServer) -> None:
        pos.sell([Sold("K-1"), Sold("K-2")], [Sold("K-2"), Sold("K-3")])
        catalog = self.fetch(pos)
        assert [item.item_code for item in catalog.items] == ["K-1", "K-2", "K-3"]
        assert catalog.duplicates == ()
