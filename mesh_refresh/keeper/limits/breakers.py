"""Outages that are not an account's fault: a broker, or all of them, is left alone for a while.

Pure: told the time, in seconds of a clock that never jumps (`now`) and as a date for events (`at`).
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from attrs import Factory, define, field, frozen

from mesh_refresh.keeper.events import BreakerClosed, BreakerFault, BreakerOpened, Event
from mesh_refresh.keeper.limits.refusal_window import FailureWindow, Scope
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.rules.failure import BackedOff
from mesh_refresh.stores.row import CLOCK_TOLERANCE
from mesh_refresh.stores.store import ALL_BROKERS

_SLOW = (BreakerFault.CLIENT_REFUSED, BreakerFault.REDIRECTED)
"""Probed slowly: a person has to mend something."""
_FOR_ALL = (BreakerFault.CLIENT_REFUSED, BreakerFault.NOT_SENT)
"""The client keys, and the way to Mesh, are everybody's."""
_SPREADING = (BreakerFault.THROTTLED, BreakerFault.UNAVAILABLE, BreakerFault.REDIRECTED, BreakerFault.UNREADABLE)
"""Of one broker, until a second one says the same while the first is held back."""
_BY_NUMBER = (BreakerFault.REFUSALS, BreakerFault.NOT_PERMITTED, BreakerFault.REJECTED)
"""Of many logins: that Mesh answers one of them in another way does not show that they are over."""
_TOLD_AGAIN = 3600.0
"""Seconds."""


@frozen
class Blocked:
    """Nothing may be sent now."""

    fault: BreakerFault
    seconds: float
    """Until a probe may go; zero while one is under way."""


@define(eq=False)
class Breaker:
    """Open: nothing passes but one probe at a time."""

    fault: BreakerFault
    opened: float
    opened_at: datetime
    pause: float
    until: float
    probing: bool = False
    told: float = field(default=Factory(lambda self: self.opened, takes_self=True))
    """When it was told last that it is open."""


Probe = tuple[Breaker, ...]
"""The open breakers for which an exchange is the probe. What is no probe says nothing of a breaker: it may have been
under way when that opened."""


@frozen
class Rejected:
    """What it means that a request was not accepted."""

    events: list[Event]
    blamed: bool = False
    """Whether it counts against the account."""
    undo: tuple[BackedOff, ...] = ()
    """A breaker has opened: these backoffs were not the accounts' fault."""


class Breakers:
    """One for each broker, and one for all."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._open: dict[Scope, Breaker] = {}
        self._last: dict[Scope, tuple[float, float]] = {}
        """Of those that closed: when, and how long their last pause was."""
        self._refusals: FailureWindow[None] = FailureWindow(policy, policy.refusal_logins)
        self._rejections: FailureWindow[BackedOff] = FailureWindow(policy, policy.fault_logins)
        self._unknown: dict[Scope, set[str]] = {}
        """The logins whose outcomes are unknown, since the last that was not."""
        self._unknown_brokers: set[str] = set()
        self._unreadable: dict[str, set[str]] = {}
        """By broker, the logins whose replies could not be read, since the last that could."""
        self._probed: list[str] = []
        self._resumed: dict[str, datetime] = {}
        """When each broker was resumed last, as far as this has been told."""

    # What may be sent.

    @property
    def open(self) -> dict[Scope, BreakerFault]:
        """What is held back, and why."""
        return {scope: breaker.fault for scope, breaker in self._open.items()}

    @property
    def halted(self) -> BreakerFault | None:
        """Why nothing at all is sent but slow probes."""
        breaker = self._open.get(None)
        return breaker.fault if breaker is not None and breaker.fault in _SLOW else None

    def reminders(self, now: float, at: datetime) -> Iterator[Event]:
        """A halt is told again once an hour, as long as it goes on: everything stands still until a person acts."""
        breaker = self._open.get(None)
        if self.halted is not None and breaker is not None and now - breaker.told >= _TOLD_AGAIN:
            breaker.told = now
            yield BreakerOpened(None, breaker.fault, at, at + timedelta(seconds=max(0.0, breaker.until - now)))

    def blocked(self, broker: str, now: float, probe: Probe = ()) -> Blocked | None:
        """Why nothing of `broker` may be sent now, and for how long; None where it may, or is the `probe` of it."""
        longest: Blocked | None = None
        for breaker in self._over(broker):
            if breaker not in probe and (breaker.probing or now < breaker.until):
                found = Blocked(breaker.fault, max(0.0, breaker.until - now))
                longest = found if longest is None or found.seconds > longest.seconds else longest
        return longest

    def probe(self, broker: str, now: float) -> Probe:
        """Something of `broker` is about to be sent: the breakers for which it is the probe."""
        breakers = tuple(self._over(broker))
        if not breakers or self.blocked(broker, now) is not None:
            return ()
        for breaker in breakers:
            breaker.probing = True
        self._probed = [*(it for it in self._probed if it != broker), broker]
        return breakers

    def over(self, probe: Probe) -> None:
        """That exchange has ended, whatever came of it: another one may be the probe."""
        for breaker in probe:
            breaker.probing = False

    def limits(self, now: float) -> tuple[int | None, dict[str, int]]:
        """For a claim: how many in all (None: no limit of ours), and how many of each broker."""
        limits: dict[str, int] = {}
        for scope, breaker in self._open.items():
            if scope is not None:
                limits[scope] = 0 if breaker.probing or now < breaker.until else 1
        everything = self._open.get(None)
        if everything is None:
            return None, limits
        if everything.probing or now < everything.until:
            return 0, limits
        return 1, limits

    def rotated(self, limits: dict[str, int]) -> dict[str, int]:
        """`limits` without the brokers that were probed already: each of them gets its turn."""
        return {**limits, **dict.fromkeys(self._probed, 0)}

    def forget_turns(self) -> None:
        """All have had theirs."""
        self._probed.clear()

    def resumed(self, stamps: Mapping[str, datetime], now: float) -> bool:
        """These brokers were resumed at these times. Whether a probe may go at once that had to wait.

        A stamp that is new since the last look counts, unless it is older than the breaker. Clocks of machines differ.
        """
        new = {name: stamp for name, stamp in stamps.items() if stamp != self._resumed.get(name)}
        self._resumed = dict(stamps)
        sooner = False
        for scope, breaker in self._open.items():
            names = new if scope is None else (scope, ALL_BROKERS)
            asked = any(name in new and new[name] > breaker.opened_at - CLOCK_TOLERANCE for name in names)
            if asked and now < breaker.until:
                breaker.until, sooner = now, True
        return sooner

    # What came of it.

    def succeeded(
        self, broker: str, login_id: str, now: float, at: datetime, probe: Probe, *, account: str | None = None
    ) -> Iterator[Event]:
        """Fresh tokens came, or a code was asked for. `account`: as for `refused`."""
        self._heard(broker)
        for window, faults in ((self._refusals, _BY_NUMBER[:1]), (self._rejections, _BY_NUMBER[1:])):
            wrongly = window.succeeded(broker, login_id, now, at, account or login_id)
            for scope, breaker in self._mine(broker, probe):
                if breaker.fault in faults:
                    window.begin_anew(scope, now, at, trust=not wrongly)
        for scope, _ in self._mine(broker, probe):
            yield from self._close(scope, now, at)

    def answered(
        self, broker: str, now: float, at: datetime, probe: Probe, *, login_id: str | None = None
    ) -> Iterator[Event]:
        """Mesh answered, and what it said is about one account: Mesh and the way to it are well."""
        self._heard(broker)
        if login_id is not None:
            self._rejections.answered(broker, login_id, now)
        for scope, breaker in self._mine(broker, probe):
            if breaker.fault is BreakerFault.REFUSALS:
                self._again(breaker, now, probe)
                continue
            if breaker.fault in _BY_NUMBER:
                self._rejections.begin_anew(scope, now, at, trust=False)
            yield from self._close(scope, now, at)

    def forgiven_until(self, broker: str) -> datetime | None:
        """Refusals of `broker` up to then turned out to be nobody's fault."""
        return self._refusals.forgiven_until(broker)

    def refused(
        self,
        broker: str,
        login_id: str,
        now: float,
        at: datetime,
        probe: Probe,
        *,
        account: str | None = None,
        expected: bool = False,
    ) -> tuple[bool, list[Event]]:
        """The tokens were refused. Whether that counts against the account, and what is to be told.

        `account` names the one that was refused, until the person logs in anew. `expected`: an exchange that nobody
        knows the end of has likely spent them, so it says nothing of the broker.
        """
        events = [*self.answered(broker, now, at, probe, login_id=login_id)]
        if not expected:
            self._refusals.failed(broker, login_id, now, account or login_id, None)
        for scope in (broker, None):
            breaker = self._open.get(scope)
            if breaker is not None and breaker.fault is BreakerFault.REFUSALS:
                if now - breaker.opened < self._policy.refusal_trust.total_seconds():
                    return False, events
                events += self._close(scope, now, at)
                self._refusals.begin_anew(scope, now, at, trust=True)
        if not expected:
            for scope in self._refusals.too_many(broker, now, except_for=self._open):
                events += self._instead(scope, BreakerFault.REFUSALS, now, at)
                return False, events
        return True, events

    def rejected(
        self,
        broker: str,
        fault: BreakerFault,
        now: float,
        at: datetime,
        probe: Probe,
        *,
        backed_off: BackedOff | None,
        sent: bool = True,
        display_message: str | None = None,
    ) -> "Rejected":
        """A request was not accepted (403, 404, 451, an odd 400), or, where nothing was `sent`, could not be made.

        `backed_off` is the account's backoff, where it has one for it. None: it was a request with a code, which is odd
        for itself, and says nothing of its broker.
        """
        events: list[Event] = []
        if sent:
            self._heard(broker)
        for scope, breaker in self._mine(broker, probe):
            if breaker.fault in _BY_NUMBER:
                self._again(breaker, now, probe)
            elif sent:
                events += self._close(scope, now, at)
        if backed_off is None:
            return Rejected(events)
        for scope in (broker, None):
            found = self._open.get(scope)
            if found is not None and found.fault in _BY_NUMBER[1:]:
                if now - found.opened < self._policy.refusal_trust.total_seconds():
                    return Rejected(events)
                events += self._close(scope, now, at)
                self._rejections.begin_anew(scope, now, at, trust=True)
        if probe and sent:
            return Rejected(events)
        before = self._rejections.note_of(broker, backed_off.epoch)
        note = backed_off.after(before)
        self._rejections.failed(broker, backed_off.login_id, now, backed_off.epoch, note)
        for scope in self._rejections.too_many(broker, now, except_for=self._open):
            events += self._instead(scope, fault, now, at, display_message)
            # This one is not counted, so that the account has the backoff of the one before, if any.
            counted = (before if it is note else it for it in self._rejections.notes(scope))
            return Rejected(events, undo=tuple(it for it in counted if it is not None))
        return Rejected(events, blamed=True)

    def unknown(self, broker: str, login_id: str, now: float, at: datetime, probe: Probe) -> Iterator[Event]:
        """Nobody knows what came of an exchange."""
        self._unknown_brokers.add(broker)
        for scope in (broker, None):
            breaker = self._open.get(scope)
            if breaker is not None:
                self._again(breaker, now, probe)
                continue
            run = self._unknown.setdefault(scope, set())
            enough = self._policy.unknown_run * (2 if scope is None else 1)
            if len(run) < enough:
                run.add(login_id)
            if len(run) >= enough and (scope is not None or len(self._unknown_brokers) > 1):
                yield from self._trip(scope, BreakerFault.UNKNOWN_OUTCOMES, now, at)

    def unreadable(self, broker: str, login_id: str | None, now: float, at: datetime, probe: Probe) -> Iterator[Event]:
        """A reply came that cannot be read, whether or not it may hold a token.

        A run of them opens the breaker of the broker, and that of all where a second broker says the same meanwhile.
        Without a `login_id` it was a reply to a code, which is of no run.
        """
        for _, breaker in self._mine(broker, probe):
            self._again(breaker, now, probe)
        if broker in self._open or login_id is None:
            return
        run = self._unreadable.setdefault(broker, set())
        run.add(login_id)
        if len(run) < self._policy.unreadable_run:
            return
        yield from self._trip(broker, BreakerFault.UNREADABLE, now, at)
        yield from self._spread(BreakerFault.UNREADABLE, now, at)

    def nobodys(
        self,
        broker: str,
        fault: BreakerFault,
        now: float,
        at: datetime,
        probe: Probe,
        *,
        retry_after: timedelta | None = None,
        display_message: str | None = None,
    ) -> Iterator[Event]:
        """An outage: of Mesh, of the way to it, of the client keys, or of a broker."""
        scope = None if fault in _FOR_ALL else broker
        for over, breaker in self._mine(broker, probe):
            if (
                over is None
                and scope is not None
                and breaker.fault in (BreakerFault.NOT_SENT, BreakerFault.UNKNOWN_OUTCOMES)
            ):
                yield from self._close(None, now, at)  # Mesh answered: the way to it is well
            else:
                self._again(breaker, now, probe, retry_after)
        found = self._open.get(scope)
        if found is not None and fault is BreakerFault.CLIENT_REFUSED and found.fault is not fault:
            yield from self._instead(scope, fault, now, at, display_message)
        elif found is None:
            yield from self._trip(scope, fault, now, at, retry_after=retry_after, display_message=display_message)
            yield from self._spread(fault, now, at, retry_after=retry_after, display_message=display_message)
        elif found not in probe:
            self._again(found, now, probe, retry_after)

    # Opening and closing.

    def _over(self, broker: str) -> Iterator[Breaker]:
        for scope in (None, broker):
            if scope in self._open:
                yield self._open[scope]

    def _trip(
        self,
        scope: Scope,
        fault: BreakerFault,
        now: float,
        at: datetime,
        *,
        retry_after: timedelta | None = None,
        display_message: str | None = None,
    ) -> Iterator[Event]:
        first = self._policy.halt_probe if fault in _SLOW else self._policy.cool_down
        pause = first.total_seconds()
        closed, before = self._last.get(scope, (0.0, 0.0))
        if now - closed < before:
            # It closed a moment ago: what let one probe pass does not let all of them pass yet.
            pause = max(pause, min(before * 2, self._cap(fault)))
        pause = max(pause, retry_after.total_seconds() if retry_after is not None else 0.0)
        self._open[scope] = Breaker(fault, now, at, pause, now + pause)
        self._unknown.pop(scope, None)
        self._unreadable.pop(scope or "", None)
        yield BreakerOpened(scope, fault, at, at + timedelta(seconds=pause), display_message)

    def _spread(
        self,
        fault: BreakerFault,
        now: float,
        at: datetime,
        *,
        retry_after: timedelta | None = None,
        display_message: str | None = None,
    ) -> Iterator[Event]:
        """A broker has just been held back. Where another one is, for the same fault, it is not theirs: all are."""
        if fault not in _SPREADING or None in self._open:
            return
        if sum(breaker.fault is fault for breaker in self._open.values()) > 1:
            yield from self._trip(None, fault, now, at, retry_after=retry_after, display_message=display_message)

    def _instead(
        self, scope: Scope, fault: BreakerFault, now: float, at: datetime, display_message: str | None = None
    ) -> Iterator[Event]:
        """It is this fault by now. Each that was told to be there is told to be over, and its pause is kept to."""
        before = self._open.get(scope)
        yield from self._close(scope, now, at)
        left = timedelta(seconds=max(0.0, before.until - now)) if before is not None else None
        yield from self._trip(scope, fault, now, at, retry_after=left, display_message=display_message)

    def _mine(self, broker: str, probe: Probe) -> list[tuple[Scope, Breaker]]:
        """The open breakers over `broker` that are probed by this."""
        return [(scope, self._open[scope]) for scope in (None, broker) if self._open.get(scope) in probe]

    def _again(self, breaker: Breaker, now: float, probe: Probe, retry_after: timedelta | None = None) -> None:
        """It is still there. Only a probe makes the pause longer: what was under way before says nothing new."""
        asked = retry_after.total_seconds() if retry_after is not None else 0.0
        if breaker in probe:
            breaker.pause = min(breaker.pause * 2, self._cap(breaker.fault))
            breaker.until = now + max(breaker.pause, asked)
        elif asked:
            breaker.until = max(breaker.until, now + asked)

    def _close(self, scope: Scope, now: float, at: datetime) -> Iterator[Event]:
        breaker = self._open.pop(scope, None)
        if breaker is not None:
            self._last[scope] = (now, breaker.pause)
            self._probed.clear()
            yield BreakerClosed(scope, breaker.fault, at, breaker.opened_at)

    def _cap(self, fault: BreakerFault) -> float:
        longest = self._policy.halt_probe if fault in _SLOW else self._policy.cool_down_cap
        return longest.total_seconds()

    def _heard(self, broker: str) -> None:
        self._unreadable.pop(broker, None)
        self._unknown.pop(broker, None)
        self._unknown.pop(None, None)
        self._unknown_brokers.clear()
