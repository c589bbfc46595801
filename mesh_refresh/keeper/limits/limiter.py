"""What may be sent now: free slots, rates and breakers. Pure: told the time, in seconds of a clock that never jumps.

See docs/decisions/breakers.md.
"""

from collections import Counter
from collections.abc import Iterator

from attrs import define

from mesh_refresh.keeper.limits.breakers import Breakers, Probe
from mesh_refresh.keeper.policy import Policy

_FOR_EVER = 1e9
"""Seconds, about thirty years: a date that is farther away may be out of the range of dates."""

_SHORTEST_WAIT = 0.001
"""Seconds. A level may be as close to one as floats are: a wait is never shorter than a clock can show."""


@define(eq=False)
class _Bucket:
    """A token bucket: `rate` exchanges in a second, and those of a tenth of a second in advance."""

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
    """After this time it may be worth asking again; None: when an exchange has ended."""
    crowded: bool = False
    """All slots of this process are taken."""


@define(eq=False)
class Permit:
    """The right of one exchange to send: a slot, of which `Limiter.leave` is told at the end."""

    broker: str
    probe: Probe
    """The breakers for which the exchange is the probe."""


def bulkhead(slots: int) -> int:
    """How many of these slots one broker may take: all but a fifth, so that a slow broker does not hold up others."""
    return slots - slots // 5


class Limiter:
    """Counts the exchanges under way in this process, and says how many more may begin."""

    def __init__(self, policy: Policy) -> None:
        self.breakers = Breakers(policy)
        self._policy = policy
        self._each = policy.concurrency_each or bulkhead(policy.concurrency)
        self._busy: Counter[str] = Counter()
        self._buckets: dict[str | None, _Bucket] = {}
        self.asking = 0
        """Callers that wait for a permit. The loop leaves the next slots to them."""
        self.reserved = 0
        """Slots for the logins that a claim under way will bring."""

    @property
    def in_flight(self) -> int:
        """Exchanges under way."""
        return self._busy.total()

    @property
    def free(self) -> int:
        """Slots that no exchange and no claim has."""
        return self._policy.concurrency - self.in_flight - self.reserved

    def slots(self, now: float) -> tuple[int, int, dict[str, int]]:
        """For a claim: how many logins in all, how many of each broker, and other numbers for some brokers."""
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

    def held_by_rate(self, now: float) -> float | None:
        """Seconds until a rate lets one exchange more begin. None: no rate holds any exchange back."""
        waits = [(1 - bucket.level) / bucket.rate for bucket in self._buckets.values() if bucket.fill(now) < 1]
        return max(_SHORTEST_WAIT, min(waits)) if waits else None

    def shut(self, broker: str, login_id: str, now: float) -> Shut | None:
        """Why a caller's exchange may not begin now; None where it may."""
        blocked = self.breakers.keep_back(broker, login_id, now)
        if blocked is not None:
            return Shut(f"exchanges are held back ({blocked.fault})", blocked.seconds or None)
        if self.free <= 0 or self._busy[broker] >= self._each:
            return Shut("too many exchanges are under way", None, crowded=self.free <= 0)
        for bucket in self._buckets_of(broker, now):
            level = bucket.fill(now)
            if level < 1:
                seconds = min(_FOR_EVER, max(_SHORTEST_WAIT, (1 - level) / bucket.rate))
                return Shut("the rate of exchanges is bounded", seconds)
        return None

    def enter(self, broker: str, now: float) -> Permit:
        """An exchange takes a slot. Where an open breaker lets one exchange through, this is the probe."""
        self._busy[broker] += 1
        for bucket in self._buckets_of(broker, now):
            bucket.fill(now)
            bucket.level -= 1
        return Permit(broker, self.breakers.probe(broker, now))

    def leave(self, permit: Permit, *, begun: bool = True) -> None:
        """The exchange gives its slot back. Where nothing was begun with it, its share of the rate goes back too."""
        broker = permit.broker
        if not begun:
            for bucket in filter(None, map(self._buckets.get, (None, broker))):
                bucket.level += 1
        self.breakers.end_probe(permit.probe)
        self._busy[broker] -= 1
        if self._busy[broker] <= 0:
            del self._busy[broker]

    def _buckets_of(self, broker: str, now: float) -> Iterator[_Bucket]:
        """The buckets of all brokers and of this one, where a rate is bounded."""
        for scope, rate in ((None, self._policy.rate), (broker, self._policy.rate_each)):
            if rate is not None:
                yield self._bucket(scope, rate, now)

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
