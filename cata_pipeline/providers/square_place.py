"""Decides what is on offer at a tenant's Square location: presence, and whether something is sold out there.

A rule about `present_at_…` or `location_overrides` belongs here; other fields of an object are in `square_objects` and
`square_references`.
"""

from datetime import datetime
from typing import NamedTuple

from cata_pipeline.providers.row_fields import Row, Warn, flag, list_of, moment_of, objects_of
from cata_pipeline.providers.square_options import SquareOptions


class Place(NamedTuple):
    """The location that the options name, or any location of the account where they name none, at the time `now`."""

    options: SquareOptions
    now: datetime

    def has(self, row: Row) -> bool:
        """Return whether an object is present."""
        location_id = self.options.location_id
        is_everywhere = flag(row, "present_at_all_locations")
        if location_id is None:
            return is_everywhere or bool(list_of(row, "present_at_location_ids"))
        if is_everywhere:
            return location_id not in list_of(row, "absent_at_location_ids")
        return location_id in list_of(row, "present_at_location_ids")

    def hides_as_sold_out(self, data: Row, warn: Warn) -> bool:
        """Return whether the data of a variation or modifier is sold out, where the tenant hides what is."""
        if self.options.sold_out == "show":
            return False
        overrides = objects_of(data, "location_overrides")
        return any(
            override.get("location_id") == self.options.location_id
            and flag(override, "sold_out", absent=False)
            and self._is_still_valid(override, warn)
            for override in overrides
        )

    def _is_still_valid(self, override: Row, warn: Warn) -> bool:
        """Without a time, or with one that cannot be read, sold out holds until the seller ends it."""
        try:
            until = moment_of(override.get("sold_out_valid_until"))
        except ValueError:
            warn("sold_out_valid_until that cannot be read left out")
            return True
        return until is None or self.now <= until
