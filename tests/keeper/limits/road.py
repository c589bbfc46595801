"""A road through a limiter: brokers with logins, a Mesh that answers, and a clock that is moved by hand."""

import itertools
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from enum import Enum

from mesh_refresh.keeper import Policy
from mesh_refresh.keeper.events import BreakerClosed, BreakerFault, BreakerOpened, Event
from mesh_refresh.keeper.limits.limiter import Limiter, Permit
from mesh_refresh.keeper.rules.failure import BackedOff
from tests.keeper.making import at


class Said(Enum):
    """What came of an exchange that is nobody's fault, or somebody's."""

    FRESH = "fresh"
    REFUSED = "refused"
    LOCKED = "locked"
    UNKNOWN = "unknown"
    UNREADABLE = "unreadable"


Answer = Said | BreakerFault
REJECTIONS = (BreakerFault.NOT_PERMITTED, BreakerFault.REJECTED)


class Road:
    """As many as the limiter lets in begin at each step, each of another login; answers come `delay` steps later."""

    def __init__(self, policy: Policy, *brokers: str, step: float = 0.25, delay: int = 2) -> None:
        self.limiter, self.brokers, self.step, self.delay = Limiter(policy), brokers or ("coinbase",), step, delay
        self.now = 1000.0
        self.events: list[Event] = []
        self.begun: list[tuple[float, str]] = []
        self.blamed = 0
        self.undone = 0
        self.most: Counter[str] = Counter()
        self.retry_after: timedelta | None = None
        self._flying: list[tuple[int, Permit, str]] = []
        self._number = 0
        self._turns = itertools.cycle(self.brokers)

    def enter(self, broker: str) -> Permit:
        """One exchange."""
        self._number += 1
        place = self.limiter.enter(broker, self.now)
        self._flying.append((self.delay, place, f"login-{self._number}"))
        self.begun.append((self.now, broker))
        busy = Counter(it.broker for _, it, _ in self._flying)
        for name in busy:
            self.most[name] = max(self.most[name], busy[name])
        self.most["all"] = max(self.most["all"], len(self._flying))
        return place

    def claim(self) -> None:
        """What the loop does: as many as there are places for, in the order of the brokers, turn by turn."""
        places, each, limits = self.limiter.slots(self.now)
        probing = None in self.limiter.breakers.open
        turn = self.limiter.breakers.rotated(limits) if probing else limits
        if not self._claimed(places, each, turn) and probing:
            self.limiter.breakers.forget_turns()
            self._claimed(places, each, limits)

    def _claimed(self, places: int, each: int | None, limits: dict[str, int]) -> int:
        left = {name: limits.get(name, places if each is None else each) for name in self.brokers}
        number = 0
        while number < places and any(left.values()):
            broker = next(self._turns)
            if left[broker]:
                left[broker] -= 1
                number += 1
                self.enter(broker)
        return number

    def call(self, broker: str) -> bool:
        """What a caller does, for whom a place is there or not."""
        if self.limiter.shut(broker, "login", self.now) is not None:
            return False
        self.enter(broker)
        return True

    def run(self, seconds: float, says: Callable[[str], Answer], *, callers: int = 0) -> "Road":
        """So long, with an answer for each exchange by its broker. `callers` of each broker ask at every step."""
        end = self.now + seconds
        while self.now < end:
            self.now += self.step
            self._land(says)
            for broker in self.brokers:
                for _ in range(callers):
                    self.call(broker)
            self.claim()
        return self

    def _land(self, says: Callable[[str], Answer]) -> None:
        self._flying = [(left - 1, place, login) for left, place, login in self._flying]
        for left, place, login in self._flying:
            if left <= 0:
                self.tell(place, login, says(place.broker))
                self.limiter.leave(place)
        self._flying = [it for it in self._flying if it[0] > 0]

    def tell(self, place: Permit, login: str, said: Answer) -> None:
        """Tell the breakers what came of it."""
        breakers, broker, now, probe = self.limiter.breakers, place.broker, self.now, place.probe
        if said is Said.FRESH:
            self.events += breakers.succeeded(broker, login, now, at(now), probe)
        elif said is Said.REFUSED:
            verdict = breakers.refused(broker, login, now, at(now), probe)
            self.blamed += verdict.blamed
            self.events += verdict.events
        elif said is Said.LOCKED:
            self.events += breakers.answered(broker, now, at(now), probe)
        elif said is Said.UNKNOWN:
            self.events += breakers.unknown(broker, login, now, at(now), probe)
        elif said is Said.UNREADABLE:
            self.events += breakers.unreadable(broker, login, now, at(now), probe)
        elif said in REJECTIONS:
            backed_off = BackedOff(login, login, self._number, 0, 0, None, None, None)
            found = breakers.rejected(broker, said, now, at(now), probe, backed_off=backed_off)
            self.blamed += found.blamed
            self.undone += len(found.undo)
            self.events += found.events
        elif isinstance(said, BreakerFault):
            found = breakers.outage(broker, said, now, at(now), probe, login_id=login, retry_after=self.retry_after)
            self.blamed += found.blamed
            self.events += found.events

    # What was seen.

    def since(self, moment: float, broker: str | None = None) -> list[float]:
        """When exchanges began from then on, of one broker or of all."""
        return [when for when, name in self.begun if when > moment and broker in (None, name)]

    @property
    def opened(self) -> list[tuple[str | None, BreakerFault]]:
        return [(it.broker, it.fault) for it in self.events if isinstance(it, BreakerOpened)]

    @property
    def closed(self) -> list[tuple[str | None, BreakerFault]]:
        return [(it.broker, it.fault) for it in self.events if isinstance(it, BreakerClosed)]
