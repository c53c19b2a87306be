"""Refresh tokens that change with each use, on a real control database."""

import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from sqlalchemy.engine import Engine

from cata_pipeline.tenants.tokens import TokenError, TokenStore

KEY, OTHER_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()
FIRST, SECOND, THIRD = "first-t0ken", "second-t0ken", "third-t0ken"


@pytest.fixture
def store(control: Engine) -> TokenStore:
    return TokenStore(control, (KEY,))


def exchanged(store: TokenStore, following: str, first: str = FIRST) -> str:
    """Exchange a tenant's token for the following one; returns the one that was exchanged."""
    with store.held("kopi", first, "run") as token:
        current = token.current
        token.keep(following)
        assert token.current == following
    return current


def test_the_first_token_is_exchanged_once_and_then_whatever_came_in_exchange(store: TokenStore) -> None:
    assert [exchanged(store, SECOND), exchanged(store, THIRD), exchanged(store, "fourth")] == [FIRST, SECOND, THIRD]


def test_an_account_that_was_connected_anew_begins_with_its_new_token(store: TokenStore) -> None:
    exchanged(store, SECOND)
    assert exchanged(store, THIRD, first="reconnected") == "reconnected"
    assert exchanged(store, "fourth", first="reconnected") == THIRD


def test_tenants_do_not_share_a_token(store: TokenStore) -> None:
    exchanged(store, SECOND)
    with store.held("roti", FIRST, "run") as token:
        assert token.current == FIRST


def test_nothing_legible_is_in_the_database(store: TokenStore, control: Engine) -> None:
    exchanged(store, SECOND)
    with control.connect() as connection:
        [row] = connection.execute(sa.text("SELECT provider_tokens::text AS whole, sealed FROM provider_tokens"))
    for token in (FIRST, SECOND):
        assert token not in row.whole
        assert token.encode().hex() not in row.whole
        assert token.encode() not in bytes(row.sealed)


def test_without_a_key_no_token_is_handed_out(control: Engine) -> None:
    with pytest.raises(TokenError, match=r"CATA_TOKEN_KEYS is not set\. Nothing was sent\."):
        exchanged(TokenStore(control, ()), SECOND)


def test_a_token_sealed_with_another_key_is_not_taken_for_none(store: TokenStore, control: Engine) -> None:
    exchanged(store, SECOND)
    with pytest.raises(TokenError, match="was sealed with a key that CATA_TOKEN_KEYS does not hold"):
        exchanged(TokenStore(control, (OTHER_KEY,)), THIRD)


def test_a_key_is_replaced_by_putting_the_new_one_in_front(store: TokenStore, control: Engine) -> None:
    exchanged(store, SECOND)
    assert exchanged(TokenStore(control, (OTHER_KEY, KEY)), THIRD) == SECOND
    assert exchanged(TokenStore(control, (OTHER_KEY,)), "fourth") == THIRD


def test_an_exchange_that_failed_leaves_the_token_as_it_was(store: TokenStore) -> None:
    exchanged(store, SECOND)
    with pytest.raises(RuntimeError), store.held("kopi", FIRST, "run"):
        raise RuntimeError("the POS does not answer")
    assert exchanged(store, THIRD) == SECOND


def test_two_runs_never_exchange_the_same_token(store: TokenStore) -> None:
    seen: list[str] = []

    def exchange(number: int) -> None:
        with store.held("kopi", FIRST, f"run-{number}") as token:
            seen.append(token.current)
            token.keep(f"token-{number}")

    threads = [threading.Thread(target=exchange, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == len(threads)


def test_the_next_token_is_committed_before_the_lock_is_given_back(
    store: TokenStore, control: Engine, new_reader: Callable[[], int]
) -> None:
    with store.held("kopi", FIRST, "run") as token:
        assert new_reader() == 0
        token.keep(SECOND)
        assert new_reader() == 1


@pytest.fixture
def new_reader(control: Engine) -> Callable[[], int]:
    """Counts the tokens that another connection sees."""

    def count() -> int:
        with sa.create_engine(control.url, poolclass=sa.NullPool).connect() as connection:
            return int(connection.scalar(sa.text("SELECT count(*) FROM provider_tokens")) or 0)

    return count
