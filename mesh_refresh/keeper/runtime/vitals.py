"""What is known of how well a keeper does its work. Times are of the loop's clock. Pure."""

import math
from datetime import timedelta

from attrs import define, field


@define
class Vitals:
    """Noted as it happens, and read by `mesh_refresh.keeper.runtime.health`."""

    entered_at: float
    longest: timedelta
    """Logins that are later than this are a sign of trouble."""
    store_answered_at: float = -math.inf
    """When the store did anything last."""
    claim_since: float | None = None
    """Since when the loop's claim is under way; None: there is none."""
    most_overdue: timedelta | None = field(default=None, init=False)
    """For how long the most overdue login of the last claim had been due; None: nothing was claimed yet."""
    overdue_since: float | None = field(default=None, init=False)
    """Since when every claim finds logins that are later than `longest`."""

    def note_overdue(self, by: timedelta, now: float) -> None:
        """A claim found logins, the most overdue of them due for so long."""
        self.most_overdue = max(timedelta(), by)
        if self.most_overdue <= self.longest:
            self.overdue_since = None
        elif self.overdue_since is None:
            self.overdue_since = now
