"""Refresh tokens that change with each use, on a real control database."""

import hashlib
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from sqlalchemy.engine import Engine

from cata_pipeline.tenants.tokens import Chain, TokenError, TokenStore
from cata_pipeline_tests.tenants.test_lock import lose_connection

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


def test_a_run_that_knows_only_the_old_connection_never_touches_the_new_one(store: TokenStore) -> None:
    exchanged(store, SECOND)
    exchanged(store, "new-second", first="reconnected")
    assert exchanged(store, THIRD) == SECOND, "the old connection goes on by itself, for as long as the POS lets it"
    assert exchanged(store, "new-third", first="reconnected") == "new-second"
    assert exchanged(store, "fourth") == THIRD


def test_tenants_with_accounts_of_their_own_do_not_see_each_others_tokens(store: TokenStore) -> None:
    exchanged(store, SECOND)
    with store.held("roti", "first-of-roti", "run") as token:
        assert token.current == "first-of-roti"


def test_a_token_that_was_spent_for_another_tenant_is_sent_nowhere(store: TokenStore) -> None:
    exchanged(store, SECOND)
    with (
        pytest.raises(TokenError, match=r"of tenant roti is the one that tenant kopi was connected with, and is spent"),
        store.held("roti", FIRST, "run"),
    ):
        pytest.fail("A spent token was handed out.")


def test_nothing_legible_is_in_the_database(store: TokenStore, control: Engine) -> None:
    exchanged(store, SECOND)
    with control.connect() as connection:
        [row] = connection.execute(sa.text("SELECT refresh_tokens::text AS whole, sealed FROM refresh_tokens"))
    for token in (FIRST, SECOND):
        assert token not in row.whole
        assert token.encode().hex() not in row.whole
        assert token.encode() not in bytes(row.sealed)


def test_without_a_key_no_token_is_handed_out(control: Engine) -> None:
    with pytest.raises(TokenError, match=r"CATA_TOKEN_KEYS is not set\. Nothing was sent\."):
        exchanged(TokenStore(control, ()), SECOND)


def test_a_token_sealed_with_another_key_is_not_taken_for_none(store: TokenStore, control: Engine) -> None:
    exchanged(store, SECOND)
    with pytest.raises(TokenError, match=r"was sealed with a key that CATA_TOKEN_KEYS does not hold.*Nothing was sent"):
        exchanged(TokenStore(control, (OTHER_KEY,)), THIRD)


def test_a_key_is_replaced_by_putting_the_new_one_in_front(store: TokenStore, control: Engine) -> None:
    exchanged(store, SECOND)
    assert exchanged(TokenStore(control, (OTHER_KEY, KEY)), THIRD) == SECOND
    assert exchanged(TokenStore(control, (OTHER_KEY,)), "fourth") == THIRD


def test_a_key_that_was_taken_away_too_early_can_be_put_back(store: TokenStore, control: Engine) -> None:
    exchanged(store, SECOND)
    with pytest.raises(TokenError):
        exchanged(TokenStore(control, (OTHER_KEY,)), THIRD)
    assert exchanged(TokenStore(control, (OTHER_KEY, KEY)), THIRD) == SECOND


def test_an_account_that_is_connected_anew_needs_no_key_that_was_lost(store: TokenStore, control: Engine) -> None:
    exchanged(store, SECOND)
    assert exchanged(TokenStore(control, (OTHER_KEY,)), THIRD, first="reconnected") == "reconnected"


@pytest.mark.parametrize(
    "damage",
    ["substring(sealed for 40)", "overlay(sealed placing 'A' from 60)", "''", "sealed || sealed", "'\\x00ff'"],
)
def test_a_row_that_was_damaged_is_no_token(store: TokenStore, control: Engine, damage: str) -> None:
    exchanged(store, SECOND)
    with control.begin() as connection:
        connection.execute(sa.text(f"UPDATE refresh_tokens SET sealed = {damage}"))
    with pytest.raises(TokenError, match=r"tenant kopi cannot be opened: .* or its row was damaged\. Nothing was sent"):
        exchanged(store, THIRD)


@pytest.mark.parametrize(("tenant", "first"), [("roti", "first-of-roti"), ("kopi", "reconnected")])
def test_a_row_that_was_copied_from_another_tenant_or_connection_opens_nothing(
    store: TokenStore, control: Engine, tenant: str, first: str
) -> None:
    exchanged(store, SECOND)
    with store.held(tenant, first, "run") as token:
        token.keep("its-own-second")
    with control.begin() as connection:
        connection.execute(sa.text("UPDATE refresh_tokens SET sealed = (SELECT min(sealed) FROM refresh_tokens)"))
    told = []
    for tenant_id, its_first in (("kopi", FIRST), (tenant, first)):
        try:
            with store.held(tenant_id, its_first, "run"):
                pass
        except TokenError as error:
            told.append(str(error))
    assert len(told) == 1, "the row that was copied is right where it came from, and nowhere else"
    assert "belongs to another tenant or connection" in told[0]
    assert SECOND not in told[0]


def test_a_token_that_was_sealed_before_owners_were_is_bound_at_its_next_exchange(
    store: TokenStore, control: Engine
) -> None:
    exchanged(store, SECOND)
    unbound = Fernet(KEY).encrypt(SECOND.encode())
    with control.begin() as connection:
        connection.execute(sa.text("UPDATE refresh_tokens SET sealed = :sealed"), {"sealed": unbound})
    assert exchanged(store, THIRD) == SECOND
    with control.connect() as connection:
        sealed = connection.scalar(sa.text("SELECT sealed FROM refresh_tokens"))
    assert Fernet(KEY).decrypt(bytes(sealed)).decode() == f"{chain().owner}\n{THIRD}"


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


def test_a_token_is_kept_although_the_lock_was_lost_during_the_exchange(store: TokenStore, control: Engine) -> None:
    with store.held("kopi", FIRST, "run") as token:
        lose_connection(control)
        token.keep(SECOND)
    assert exchanged(store, THIRD) == SECOND


def test_a_token_that_comes_late_does_not_replace_what_others_exchanged_since(
    store: TokenStore, control: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with store.held("kopi", FIRST, "late") as late:
        lose_connection(control)
        exchanged(store, "second-of-another-run")
        exchanged(store, "third-of-another-run")
        with caplog.at_level(logging.WARNING):
            late.keep(SECOND)
    assert "Tenant kopi: a newer refresh token was on record already, and stays" in caplog.text
    assert SECOND not in caplog.text
    assert exchanged(store, "fourth") == "third-of-another-run"


@pytest.mark.parametrize(("seconds", "kept"), [(1, SECOND), (-1, "second-of-another-run")])
def test_of_two_tokens_given_for_the_same_one_the_one_given_last_stays(
    store: TokenStore, seconds: int, kept: str
) -> None:
    exchanged(store, "second-of-another-run")
    store.write(chain(), 1, SECOND, datetime.now(UTC) + timedelta(seconds=seconds))
    assert exchanged(store, THIRD) == kept


def test_a_write_that_is_repeated_is_no_second_exchange(
    store: TokenStore, control: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    now = datetime.now(UTC)
    for _ in range(2):
        store.write(chain(), 1, SECOND, now)
    assert store.kept(chain()) == (1, SECOND)
    assert caplog.text == ""


def test_a_control_database_that_refuses_the_new_token_is_told_with_what_to_do(control: Engine) -> None:
    refuse_tokens(control)
    with pytest.raises(TokenError) as caught:
        exchanged(TokenStore(control, (KEY,), write_seconds=0.1), SECOND)
    assert str(caught.value) == (
        "The POS gave a new refresh token, and the control database did not take it within 0.1 s (RaiseException):"
        " the token is lost. Check that database, then connect the tenant's POS account again."
    )


def test_a_control_database_that_is_back_in_time_takes_the_token(store: TokenStore, control: Engine) -> None:
    refuse_tokens(control)
    with store.held("kopi", FIRST, "run") as token:
        writing = threading.Thread(target=token.keep, args=(SECOND,))
        writing.start()
        with control.begin() as connection:
            connection.execute(sa.text("DROP TRIGGER refuse ON refresh_tokens"))
        writing.join()
    assert store.kept(chain()) == (1, SECOND)


def chain() -> Chain:
    return Chain("kopi", hashlib.sha256(FIRST.encode()).digest())


def refuse_tokens(control: Engine) -> None:
    """From now on the database takes no token."""
    with control.begin() as connection:
        for statement in (
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'disk full'; END $$",
            "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON refresh_tokens EXECUTE FUNCTION refuse()",
        ):
            connection.exec_driver_sql(statement)


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
            return int(connection.scalar(sa.text("SELECT count(*) FROM refresh_tokens")) or 0)

    return count
