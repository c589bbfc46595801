"""Where a claim begins to look, so that what lies before costs nothing."""

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

    Each settle leaves a dead entry in the index at the old due time, and while somebody's snapshot is held (pg_dump, a
    replication slot that is stuck) no vacuum takes any away: a claim that begins at the index's start walks over all of
    them. What was due before the floor and is free since (written overdue by another process, or under a lease or a
    hold that has ended) is found by the claim that begins at the start again, once a minute.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, datetime] = {}
        self._walked = float("-inf")
        self._next = float("-inf")

    def begin(self, now: datetime) -> tuple[list[str], list[datetime]]:
        """For a claim of what is due `now`: the brokers that have one, and theirs. None: it is to begin at the start.

        One that is later than `now` is of a wall clock that has been put back.
        """
        at = self._clock()
        if at >= self._next:
            self._walked, self._next = at, at + _FROM_THE_START
            return [], []
        good = {written(broker): since for broker, since in self._since.items() if since <= now}
        return list(good), list(good.values())

    def start_over(self, *, soon: bool = True) -> None:
        """The next claim begins at the start; `soon`: the next but some, because others may write all the time."""
        self._next = min(self._next, self._walked + _AT_THE_LEAST) if soon else float("-inf")

    def claimed(self, rows: Iterable[Row], left: ClaimRequest) -> None:
        """What was met is the new floor: all that was free before it is taken. `left` is what is wanted still.

        Where more would have been taken of a broker, nothing else is due, whatever other processes settle meanwhile.
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
        """This process wrote `rows`: it need not wait for a walk from the start to find them."""
        for row in rows:
            since = self._since.get(row.broker)
            if since is not None and row.due_at is not None and row.due_at < since:
                self._since[row.broker] = row.due_at
