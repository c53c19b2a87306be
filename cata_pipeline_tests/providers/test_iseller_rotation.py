"""iSeller's rotating refresh token: exchanged once, kept before it is relied on, and told to nobody."""

import hashlib
import logging

import pytest
from cryptography.fernet import Fernet
from sqlalchemy.engine import Engine

from cata_pipeline.catalog.model import Catalog
from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.conformance.pos_server import Sold
from cata_pipeline.providers.conformance.scripted_server import Answer, Received, answer, running
from cata_pipeline.providers.http import Patience
from cata_pipeline.providers.iseller import ISELLER
from cata_pipeline.providers.pacing import Pacing
from cata_pipeline.providers.secrets import Secrets
from cata_pipeline.tenants.tokens import Chain, TokenStore
from cata_pipeline_tests.providers.iseller_pos import TOKEN, ISellerPos

FIRST = "refresh-0"
CHAIN = Chain("kopi", hashlib.sha256(FIRST.encode()).digest())
KEY = Fernet.generate_key().decode()


class RotatingPos(ISellerPos):
    """Takes each refresh token once, and gives the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.valid = FIRST
        self.exchanged = 0
        self.kept_when_asked: list[tuple[int, str]] = []
        self.store: TokenStore | None = None

    def other(self, received: Received) -> Answer:
        if received.path != TOKEN:
            return super().other(received)
        if received.form.get("grant_type") != "refresh_token" or received.form["refresh_token"] != self.valid:
            return answer({"error": "invalid_grant"}, status=400)
        self.exchanged += 1
        self.valid = f"refresh-{self.exchanged}"
        return answer({"access_token": f"access-{self.exchanged}", "refresh_token": self.valid})

    def page_asked_for(self, received: Received) -> int | None:
        if self.store and "/GetProducts" in received.path:
            self.kept_when_asked.append(self.store.kept(CHAIN) or (0, ""))
        return super().page_asked_for(received)

    def fetch(self, store: TokenStore) -> Catalog:
        secrets = Secrets(self.secrets(), lambda: store.held("kopi", FIRST, "run"))
        patience = Patience(pacing=Pacing(interval=0))
        return ISELLER.fetch(self.options(), secrets, self.policy, patience)


@pytest.fixture
def store(control: Engine) -> TokenStore:
    return TokenStore(control, (KEY,))


def test_each_fetch_exchanges_the_token_that_the_last_one_brought(store: TokenStore) -> None:
    with running(RotatingPos()) as pos:
        pos.sell([Sold("K-1")])
        for number in range(1, 4):
            assert [item.item_code for item in pos.fetch(store).items] == ["K-1"]
            assert pos.exchanged == number


def test_the_next_token_is_on_record_before_the_access_token_is_used(store: TokenStore) -> None:
    with running(RotatingPos()) as pos:
        pos.store = store
        pos.fetch(store)
        assert set(pos.kept_when_asked) == {(1, "refresh-1")}


def test_a_token_that_is_refused_says_to_connect_the_store_again_and_tells_no_secret(
    store: TokenStore, caplog: pytest.LogCaptureFixture
) -> None:
    with running(RotatingPos()) as pos, caplog.at_level(logging.DEBUG):
        pos.valid = "somebody-else-exchanged-it"
        with pytest.raises(ProviderError, match="connect the tenant's store again") as caught:
            pos.fetch(store)
        pos.valid = FIRST
        pos.fetch(store)
    told = f"{caught.value} {caught.value.__cause__} {caplog.text}"
    assert not [secret for secret in (FIRST, "refresh-1", "access-1", *pos.secrets().values()) if secret in told]
