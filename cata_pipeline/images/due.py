"""Which pictures are due, and what the ledger says after a try: pure functions of rows, ledger and clock.

Add a rule about when something happens here. What happens is in `copy.py`; whose picture a row shows is in
`tenant_items.py`.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from cata_pipeline.images.failure import PictureError, PostponedError
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.validators import NO_VALIDATORS, Validators

_SKEW = timedelta(hours=1)
"""How far apart the clocks of two machines may be without one of them being wrong."""

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What is known of one URL of one tenant.

    `path` is the newest copy's object name, None when there never was one; a failing URL keeps it. `checked_at` is
    the host's last settling answer. `failure`, `failing_since` and `next_try_at` are None unless the last turn failed.
    `failures` counts those in a row; a turn at which the URL was only postponed fails without being counted.
    """

    path: str | None = None
    validators: Validators = NO_VALIDATORS
    checked_at: datetime | None = None
    failures: int = 0
    failure: str | None = None
    failing_since: datetime | None = None
    next_try_at: datetime | None = None


NEVER_SEEN = LedgerEntry()


def fetch_is_due(entry: LedgerEntry, now: datetime, limits: CopyLimits) -> bool:
    """Whether the host is to be asked for this URL now.

    A time that no right clock can have written (the last answer in the future, a wait beyond the longest) counts as
    past: a clock that jumped and was put right must not keep a picture from being looked at for years.
    """
    if entry.next_try_at is not None:
        longest = max(limits.transient_retry[1], limits.permanent_retry[1])
        return not now < entry.next_try_at <= now + longest + _SKEW
    if entry.checked_at is None:
        return True
    return not -_SKEW <= now - entry.checked_at < limits.revalidate_after


def due_since(entry: LedgerEntry) -> datetime:
    """Return a time by which to sort due URLs, so that one deferred by a budget is fetched first in the next run."""
    return entry.next_try_at or entry.checked_at or _NEVER


def is_behind(shown: str | None, entry: LedgerEntry) -> bool:
    """Whether an item may have to be given the copy that the ledger has of its URL.

    True says only that it shows something else; whether that is ours to replace is judged on the row itself.
    """
    return entry.path is not None and shown != entry.path


def after_copy(path: str, validators: Validators, now: datetime) -> LedgerEntry:
    """The entry after the host delivered or confirmed the picture at `path`."""
    return LedgerEntry(path=path, validators=validators, checked_at=now)


def is_confirmed(former: LedgerEntry, entry: LedgerEntry) -> bool:
    """Whether a try found all as the ledger had it, so that only `checked_at` is new."""
    return (
        former.failure is None
        and entry.failure is None
        and entry.path is not None
        and (entry.path, entry.validators) == (former.path, former.validators)
    )


def after_failure(entry: LedgerEntry, error: PictureError, now: datetime, limits: CopyLimits) -> LedgerEntry:
    """The entry after one more failure: the last good copy stays, the wait doubles.

    A URL that was not asked for is not blamed: it waits the shortest time, and its failures stay as they were.
    """
    if isinstance(error, PostponedError):
        return replace(
            entry,
            failure=error.reason,
            failing_since=entry.failing_since or now,
            next_try_at=now + limits.transient_retry[0],
        )
    failures = entry.failures + 1
    return LedgerEntry(
        path=entry.path,
        validators=entry.validators,
        checked_at=entry.checked_at,
        failures=failures,
        failure=error.reason,
        failing_since=entry.failing_since or now,
        next_try_at=now + _wait(failures, limits.transient_retry if error.transient else limits.permanent_retry),
    )


def _wait(failures: int, bounds: tuple[timedelta, timedelta]) -> timedelta:
    first, longest = bounds
    # A URL that fails for years must not overflow a timedelta.
    doublings = min(failures - 1, 16)
    return min(first * (1 << doublings), longest)
