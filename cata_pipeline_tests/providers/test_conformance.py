"""Every provider of ours against the tests that each must pass."""

from cata_pipeline.catalog.model import MAX_ITEM_CODE_BYTES
from cata_pipeline.providers.conformance.pos_server import PosServer, Sold
from cata_pipeline.providers.conformance.suite import PARAMETRIZED, CatalogConformance, ProviderConformance
from cata_pipeline_tests.providers.feed_pos import CsvFeedPos, FeedPos
from cata_pipeline_tests.providers.iseller_pos import FormISellerPos, ISellerPos
from cata_pipeline_tests.providers.loyverse_pos import LoyversePos
from cata_pipeline_tests.providers.square_pos import SquarePos


class TestISeller(ProviderConformance):
    server_class = ISellerPos


class TestISellerByForm(ProviderConformance):
    server_class = FormISellerPos


class TestSquare(ProviderConformance):
    server_class = SquarePos


class TestLoyverse(ProviderConformance):
    server_class = LoyversePos


class TestFeed(CatalogConformance):
    """What `ProviderConformance` adds is about pages, which a feed has none of, and about unknown fields and odd times,
    which cost their item here: whoever writes a feed can correct it (`test_feed`, `test_feed_rows`).
    """

    server_class = FeedPos


class TestCsvFeed(CatalogConformance):
    """As `TestFeed`, less what no cell can hold: each is a text, so that nothing has a wrong type, and half of a
    surrogate pair is no UTF-8, which costs the whole feed (`test_feed`).
    """

    server_class = CsvFeedPos

    @PARAMETRIZED("name", ["Kopi\u0000Susu", "", "   ", None], ids=repr)
    def test_a_name_that_is_none_costs_its_own_product_only(self, pos: PosServer, name: object) -> None:
        super().test_a_name_that_is_none_costs_its_own_product_only(pos, name)

    @PARAMETRIZED("field", ["description", "category", "image"])
    @PARAMETRIZED("text", ["https://kopi\u0000susu"], ids=ascii)
    def test_a_text_that_no_database_stores_never_arrives(self, pos: PosServer, field: str, text: str) -> None:
        super().test_a_text_that_no_database_stores_never_arrives(pos, field, text)

    @PARAMETRIZED("code", ["K\u0000", "k" * (MAX_ITEM_CODE_BYTES + 1)], ids=repr)
    def test_a_code_that_cannot_be_one_costs_its_own_product_only(self, pos: PosServer, code: object) -> None:
        super().test_a_code_that_cannot_be_one_costs_its_own_product_only(pos, code)

    @PARAMETRIZED("value", [5, True, 1.5, ["K"]], ids=repr)
    def test_a_cell_is_a_text_whatever_it_was_made_of(self, pos: PosServer, value: object) -> None:
        items = self.items(pos, Sold("K-1"), Sold(value, value))
        text = "true" if value is True else str(value)
        assert items[text].name == text
