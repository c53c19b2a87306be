"""The clock that all machines share: the control database's.

A time that is kept, and compared with one of another machine, is read here: by its own clock, a machine that is ahead
would make its rows the newest, and its waits longer. How long something takes is measured by the monotonic clock of the
machine itself.
"""

import time
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Engine


class ControlClock:
    """The control database's time, read once and carried on by this machine's monotonic clock."""

    def __init__(self, control: Engine) -> None:
        with control.connect() as connection:
            self._read: datetime = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
        self._at = time.monotonic()

    def now(self) -> datetime:
        """The time, in UTC; asks no database."""
        return self._read.astimezone(UTC) + timedelta(seconds=time.monotonic() - self._at)
