from datetime import UTC, datetime, timedelta

import pytest

from cata_pipeline.images.due import (
    NEVER_SEEN,
    LedgerEntry,
    after_copy,
    after_failure,
    fetch_is_due,
    is_behind,
    is_confirmed,
)
from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.validators import NO_VALIDATORS, Validators

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
LIMITS = CopyLimits()
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("entry", "due"),
    [
        (NEVER_SEEN, True),
        (LedgerEntry(path="p", checked_at=NOW - timedelta(hours=20)), True),
        (LedgerEntry(path="p", checked_at=NOW - timedelta(hours=19, minutes=59)), False),
        (LedgerEntry(path="p", checked_at=NOW - 9 * DAY, failures=1, next_try_at=NOW + HOUR), False),
        (LedgerEntry(failures=1, next_try_at=NOW + HOUR), False),
        (LedgerEntry(path="p", checked_at=NOW, failures=1, next_try_at=NOW), True),
        (LedgerEntry(path="p", checked_at=NOW + HOUR), False),
        (LedgerEntry(path="p", checked_at=NOW + 2 * HOUR), True),
        (LedgerEntry(failures=9, next_try_at=NOW + 7 * DAY), False),
        (LedgerEntry(failures=9, next_try_at=NOW + 300 * DAY), True),
    ],
)
def test_a_url_is_due_when_never_copied_when_old_or_when_a_failure_may_be_repeated(
    entry: LedgerEntry,
    due: bool,  # noqa: FBT001 a parametrized expectation
) -> None:
    assert fetch_is_due(entry, NOW, LIMITS) is due


@pytest.mark.parametrize(
    ("shown", "path", "behind"),
    [(None, "p", True), ("", "p", True), ("other", "p", True), ("p", "p", False), (None, None, False)],
)
def test_an_item_is_behind_when_it_shows_anything_but_the_known_copy(
    shown: str | None,
    path: str | None,
    behind: bool,  # noqa: FBT001 a parametrized expectation
) -> None:
    assert is_behind(shown, LedgerEntry(path=path)) is behind


@pytest.mark.parametrize(
    ("failures", "transient", "wait"),
    [
        (0, True, HOUR),
        (1, True, 2 * HOUR),
        (4, True, 16 * HOUR),
        (5, True, DAY),
        (100_000, True, DAY),
        (0, False, DAY),
        (2, False, 4 * DAY),
        (3, False, 7 * DAY),
        (100_000, False, 7 * DAY),
    ],
)
def test_the_wait_doubles_up_to_its_longest(failures: int, transient: bool, wait: timedelta) -> None:  # noqa: FBT001
    error = PictureError("the host answers 503", transient=transient)

    entry = after_failure(LedgerEntry(failures=failures), error, NOW, LIMITS)

    assert entry.failures == failures + 1
    assert entry.next_try_at == NOW + wait


def test_a_failure_keeps_the_last_copy_and_when_it_began() -> None:
    validators = Validators('"1"')
    good = LedgerEntry(path="p", validators=validators, checked_at=NOW - DAY)

    first = after_failure(good, PictureError("gone"), NOW, LIMITS)
    second = after_failure(first, PictureError("still gone"), NOW + DAY, LIMITS)

    assert (second.path, second.validators, second.checked_at) == ("p", validators, NOW - DAY)
    assert (second.failure, second.failing_since) == ("still gone", NOW)


def test_a_copy_forgets_all_failures() -> None:
    assert after_copy("p", NO_VALIDATORS, NOW) == LedgerEntry(path="p", checked_at=NOW)


@pytest.mark.parametrize(
    ("former", "entry", "confirmed"),
    [
        (LedgerEntry("p", Validators('"1"'), NOW - DAY), LedgerEntry("p", Validators('"1"'), NOW), True),
        (LedgerEntry("p", checked_at=NOW - DAY), LedgerEntry("p", checked_at=NOW), True),
        (LedgerEntry("p", Validators('"1"'), NOW - DAY), LedgerEntry("p", Validators('"2"'), NOW), False),
        (LedgerEntry("p", checked_at=NOW - DAY), LedgerEntry("q", checked_at=NOW), False),
        (LedgerEntry("p", failures=1, failure="x", next_try_at=NOW), LedgerEntry("p", checked_at=NOW), False),
        (LedgerEntry("p", checked_at=NOW - DAY), LedgerEntry("p", checked_at=NOW - DAY, failure="x"), False),
        (NEVER_SEEN, LedgerEntry("p", checked_at=NOW), False),
        (NEVER_SEEN, LedgerEntry(failures=1, failure="x"), False),
    ],
)
def test_a_url_is_confirmed_when_only_its_time_is_new(
    former: LedgerEntry,
    entry: LedgerEntry,
    confirmed: bool,  # noqa: FBT001 a parametrized expectation
) -> None:
    assert is_confirmed(former, entry) is confirmed
