"""Where a claim begins to look in the index, so that the entries before cost nothing."""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from mesh_refresh.stores.postgres.values import written
from mesh_refresh.stores.row import ClaimRequest, Row

_FROM_THE_START = 60.0
"""Seconds after which a claim begins at the start again."""
_AT_THE_LEAST = 5.0
"""Seconds between two such claims, however often others write."""
_BEHIND = timedelta(minutes=1)
"""Where nothing more is due, so much before now."""
_FIRST = datetime.min.replace(tzinfo=UTC)


class Floors:
    """For each broker, a time before which no free row was due when it was last claimed from.

    Each settle leaves a dead entry in the index at the old due time. While a snapshot is held (by pg_dump, or by a
    replication slot that is stuck), no vacuum removes any: a claim that begins at the index's start walks over all of
    them. A row that was due before the floor and has become free since (written overdue by another process, or after a
    lease or a hold) is found by the claim that begins at the start again, once a minute.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, datetime] = {}
        self._walked = float("-inf")
        self._next = float("-inf")

    def begin(self, now: datetime) -> tuple[list[str], list[datetime]]:
        """Brokers and their floors, for a claim of rows that are due `now`. None of them: begin at the index's start.

        A floor that is later than `now` is of a wall clock that has been put back: it is left out.
        """
        at = self._clock()
        if at >= self._next:
            self._walked, self._next = at, at + _FROM_THE_START
            return [], []
        good = {written(broker): since for broker, since in self._since.items() if since <= now}
        return list(good), list(good.values())

    def start_over(self, *, soon: bool = True) -> None:
        """Let the next claim begin at the start, or `soon` one of the next: other processes may write all the time."""
        self._next = min(self._next, self._walked + _AT_THE_LEAST) if soon else float("-inf")

    def claimed(self, rows: Iterable[Row], left: ClaimRequest) -> None:
        """Rows were claimed: the first of each broker is its new floor, since everything free before it is taken.

        `left` is what the claim still wanted. Where it wanted more of a broker, no other row of that is due.
        """
        met: dict[str, datetime] = {}
        for row in rows:
            if row.due_at is not None:
                met[row.broker] = min(row.due_at, met.get(row.broker, row.due_at))
        self._since |= met
        if left.limit <= 0 or left.now - _FIRST < _BEHIND:
            return
        for broker, since in self._since.items():
            if left.limit_of(broker) > 0:
                self._since[broker] = max(since, left.now - _BEHIND)

    def wrote(self, rows: Iterable[Row]) -> None:
        """This process wrote `rows`: lower the floors, so that its next claim finds them."""
        for row in rows:
            since = self._since.get(row.broker)
            if since is not None and row.due_at is not None and row.due_at < since:
                self._since[row.broker] = row.due_at
