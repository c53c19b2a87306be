"""Every provider of ours against the tests that each must pass."""

from cata_pipeline.providers.conformance.suite import CatalogConformance, ProviderConformance
from cata_pipeline_tests.providers.feed_pos import FeedPos
from cata_pipeline_tests.providers.iseller_pos import ISellerPos
from cata_pipeline_tests.providers.loyverse_pos import LoyversePos
from cata_pipeline_tests.providers.square_pos import SquarePos


class TestISeller(ProviderConformance):
    server_class = ISellerPos


class TestSquare(ProviderConformance):
    server_class = SquarePos


class TestLoyverse(ProviderConformance):
    server_class = LoyversePos


class TestFeed(CatalogConformance):
    server_class = FeedPos
