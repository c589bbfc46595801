"""What may be sent now: free slots, rates and breakers. Told the time."""

from collections import Counter

from attrs import define

from mesh_refresh.keeper.limits.breakers import Breakers, Probe
from mesh_refresh.keeper.policy import Policy

_FOR_EVER = 1e9
"""Seconds, about thirty years: a date that is farther away may be one that cannot be told."""


@define(eq=False)
class _Bucket:
    """So many in a second, with a tenth of a second's worth in advance."""

    rate: float
    level: float
    at: float

    @property
    def depth(self) -> float:
        return max(1.0, self.rate / 10)

    def fill(self, now: float) -> float:
        self.level = min(self.depth, self.level + (now - self.at) * self.rate)
        self.at = now
        return self.level


@define
class Shut:
    """Nothing may be sent now."""

    why: str
    seconds: float | None
    """When it may be worth asking again; None: when somebody has ended."""
    crowded: bool = False
    """All places are taken."""


@define(eq=False)
class Permit:
    """Somebody's place at the limiter."""

    broker: str
    probe: Probe
    """The breakers that wait for what comes of it."""


def bulkhead(places: int) -> int:
    """Of so many places, those that one broker may take: it never takes the last fifth, which a slow one would hold."""
    return places - places // 5


class Limiter:
    """Counts what is under way, and says how much more may be begun."""

    def __init__(self, policy: Policy) -> None:
        self.breakers = Breakers(policy)
        self._policy = policy
        self._each = policy.concurrency_each or bulkhead(policy.concurrency)
        self._busy: Counter[str] = Counter()
        self._buckets: dict[str | None, _Bucket] = {}
        self.asking = 0
        """Callers who wait for a place. The loop leaves it to them."""
        self.reserved = 0
        """Places for what a claim that is under way will bring."""

    @property
    def in_flight(self) -> int:
        """Exchanges under way."""
        return self._busy.total()

    @property
    def free(self) -> int:
        """Places that nobody has."""
        return self._policy.concurrency - self.in_flight - self.reserved

    def places(self, now: float) -> tuple[int, int, dict[str, int]]:
        """For a claim: how many in all, how many of each broker, and what else holds for some."""
        most, limits = self.breakers.limits(now)
        free = self.free - self.asking
        if self._policy.rate is not None:
            free = min(free, int(self._bucket(None, self._policy.rate, now).fill(now)))
        each = self._each
        for broker in {*self._busy, *(name for name in self._buckets if name is not None)}:
            left = self._left(broker, now)
            limits[broker] = min(left, limits.get(broker, left))
        if self._policy.rate_each is not None:
            full = int(_Bucket(self._policy.rate_each, 0, now).depth)
            each = min(each, full)
        return max(0, free if most is None else min(free, most)), each, limits

    def rated(self, now: float) -> bool:
        """Whether a rate is what holds something back."""
        return any(bucket.fill(now) < 1 for bucket in self._buckets.values())

    def shut(self, broker: str, now: float) -> Shut | None:
        """Why a caller's exchange of `broker` may not begin now; None where it may."""
        blocked = self.breakers.blocked(broker, now)
        if blocked is not None:
            return Shut(f"exchanges are held back ({blocked.fault})", blocked.seconds or None)
        if self.free <= 0 or self._full(broker):
            return Shut("too many exchanges are under way", None, crowded=self.free <= 0)
        for scope, rate in ((None, self._policy.rate), (broker, self._policy.rate_each)):
            if rate is not None:
                level = self._bucket(scope, rate, now).fill(now)
                if level < 1:
                    # A float may be next to one: nobody is told to wait for less than the clock can show.
                    seconds = min(_FOR_EVER, max(0.001, (1 - level) / rate))
                    return Shut("the rate of exchanges is bounded", seconds)
        return None

    def enter(self, broker: str, now: float) -> Permit:
        """An exchange takes a place; where a breaker is open and lets one through, it is the probe."""
        self._busy[broker] += 1
        for scope, rate in ((None, self._policy.rate), (broker, self._policy.rate_each)):
            if rate is not None:
                bucket = self._bucket(scope, rate, now)
                bucket.fill(now)
                bucket.level -= 1
        return Permit(broker, self.breakers.probe(broker, now))

    def leave(self, place: Permit, *, begun: bool = True) -> None:
        """It gives it back; and, where nothing was begun with it, its share of the rate too."""
        broker = place.broker
        if not begun:
            for scope, rate in ((None, self._policy.rate), (broker, self._policy.rate_each)):
                if rate is not None:
                    self._buckets[scope].level += 1
        self.breakers.over(place.probe)
        self._busy[broker] -= 1
        if self._busy[broker] <= 0:
            del self._busy[broker]

    def _full(self, broker: str) -> bool:
        return self._busy[broker] >= self._each

    def _left(self, broker: str, now: float) -> int:
        left = self._each - self._busy[broker]
        if self._policy.rate_each is not None:
            left = min(left, int(self._bucket(broker, self._policy.rate_each, now).fill(now)))
        return max(0, left)

    def _bucket(self, scope: str | None, rate: float, now: float) -> _Bucket:
        found = self._buckets.get(scope)
        if found is None:
            found = self._buckets[scope] = _Bucket(rate, max(1.0, rate / 10), now)
        return found
