"""Outages that are not an account's fault: a breaker holds a broker back, or all brokers.

Pure: told the time, in seconds of a clock that never jumps (`now`) and as a date for events (`at`). See
docs/decisions/breakers.md.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import Factory, define, field, frozen

from mesh_refresh.keeper.events import BreakerClosed, BreakerFault, BreakerOpened, Event
from mesh_refresh.keeper.limits.refusal_window import FailureWindow, Scope
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.rules.failure import BackedOff
from mesh_refresh.stores.row import CLOCK_TOLERANCE
from mesh_refresh.stores.store import ALL_BROKERS

_SLOW = (BreakerFault.CLIENT_REFUSED, BreakerFault.REDIRECTED)
"""Probed slowly: a person has to mend the keys or the base URL."""
_FOR_ALL = (BreakerFault.CLIENT_REFUSED, BreakerFault.NOT_SENT)
"""All brokers need the client keys, and the network to Mesh."""
_OF_THE_NETWORK = (BreakerFault.NOT_SENT, BreakerFault.UNKNOWN_OUTCOMES)
"""Over as soon as Mesh answers anything."""
_SPREADING = (BreakerFault.THROTTLED, BreakerFault.UNAVAILABLE, BreakerFault.REDIRECTED, BreakerFault.UNREADABLE)
"""One broker is held back; all are when a second broker has the same fault meanwhile."""
_REFUSED = (BreakerFault.REFUSALS,)
_NOT_ACCEPTED = (BreakerFault.NOT_PERMITTED, BreakerFault.REJECTED)
_BY_NUMBER = _REFUSED + _NOT_ACCEPTED
"""Told by the number of logins: one login that Mesh answers in another way does not show that they are over."""
_ENOUGH = 2
"""Logins: with two, there is another one besides any."""
_TOLD_AGAIN = 3600.0
"""Seconds between two events of a halt."""


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
    kept_back: set[str] = field(factory=set)
    """Logins whose callers it has kept back: two of them at the most, to tell that there is another one."""
    told: float = field(default=Factory(lambda self: self.opened, takes_self=True))
    """When the last event of it was told."""

    def is_shut(self, now: float) -> bool:
        """Whether not even a probe may go now."""
        return self.probing or now < self.until


Probe = tuple[Breaker, ...]
"""The open breakers for which an exchange is the probe. Only probes close a breaker; other exchanges may have started
before it opened."""


@frozen
class Verdict:
    """Whether a refusal, or a rejected request, counts against its account."""

    events: list[Event]
    blamed: bool = False
    undo: tuple[BackedOff, ...] = ()
    """A breaker has opened: these backoffs were not the accounts' fault, and are to be taken back."""


class Breakers:
    """One breaker for each broker, and one for all brokers. The runtime tells them what came of each exchange."""

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
        self._failed: dict[str, dict[str, bool]] = {}
        """By broker, the logins that met an outage last: whether another login of the broker has succeeded since."""
        self._probed: list[str] = []
        self._resumed: dict[str, datetime] = {}
        """When each broker was resumed last, as far as this has been told."""

    # What may be sent.

    @property
    def open(self) -> dict[Scope, BreakerFault]:
        """What is held back, and why."""
        return {scope: breaker.fault for scope, breaker in tuple(self._open.items())}

    def next_probes(self, now: float) -> dict[Scope, float]:
        """In how many seconds the next probe of each open breaker may be sent; zero while one is under way."""
        return {scope: max(0.0, breaker.until - now) for scope, breaker in tuple(self._open.items())}

    @property
    def halted(self) -> BreakerFault | None:
        """Why nothing at all is sent but slow probes."""
        breaker = self._open.get(None)
        return breaker.fault if breaker is not None and breaker.fault in _SLOW else None

    def reminders(self, now: float, at: datetime) -> Iterator[Event]:
        """A halt is told again once an hour, as long as it goes on: everything stands still until a person acts."""
        if self.halted is not None and now - (breaker := self._open[None]).told >= _TOLD_AGAIN:
            breaker.told = now
            yield BreakerOpened(None, breaker.fault, at, at + timedelta(seconds=max(0.0, breaker.until - now)))

    def blocked(self, broker: str, now: float, probe: Probe = ()) -> Blocked | None:
        """Why nothing of `broker` may be sent now, and for how long; None where it may, or is the `probe` of it."""
        longest: Blocked | None = None
        for breaker in self._breakers_above(broker):
            if breaker not in probe and breaker.is_shut(now):
                found = Blocked(breaker.fault, max(0.0, breaker.until - now))
                longest = found if longest is None or found.seconds > longest.seconds else longest
        return longest

    def held_back_for(self, broker: str, now: float) -> timedelta:
        """How long nothing of `broker` is sent from now on; zero where a probe may go, or is under way."""
        blocked = self.blocked(broker, now)
        return timedelta(seconds=blocked.seconds) if blocked is not None else timedelta()

    def keep_back(self, broker: str, login_id: str, now: float) -> Blocked | None:
        """Why a caller's exchange of this login may not be sent now, and for how long; None where it may.

        A login that met the outage lets the others try first, for one pause more: with a fault of its own, and callers
        who ask often, it would be each probe.
        """
        blocked = self.blocked(broker, now)
        if blocked is not None:
            for breaker in self._breakers_above(broker):
                if len(breaker.kept_back) < _ENOUGH:
                    breaker.kept_back.add(login_id)
            return blocked
        own = self._open.get(broker)
        if own is None or login_id not in self._failed.get(broker, ()) or own.kept_back <= {login_id}:
            return None
        left = own.until + own.pause - now
        return Blocked(own.fault, left) if left > 0 else None

    def probe(self, broker: str, now: float) -> Probe:
        """An exchange of `broker` begins. Returns the breakers for which it is the probe."""
        breakers = tuple(self._breakers_above(broker))
        if not breakers or self.blocked(broker, now) is not None:
            return ()
        for breaker in breakers:
            breaker.probing = True
        self._probed = [*(name for name in self._probed if name != broker), broker]
        return breakers

    def end_probe(self, probe: Probe) -> None:
        """The probe has ended, with any outcome: another exchange may be the next one."""
        for breaker in probe:
            breaker.probing = False

    def limits(self, now: float) -> tuple[int | None, dict[str, int]]:
        """For a claim: how many logins in all (None: breakers set no limit), and how many of each broker."""
        limits = {scope: 0 if breaker.is_shut(now) else 1 for scope, breaker in self._open.items()}
        return limits.pop(None, None), {scope: limit for scope, limit in limits.items() if scope is not None}

    def rotated(self, limits: dict[str, int]) -> dict[str, int]:
        """`limits` without the brokers that were probed already, so that brokers take turns."""
        return {**limits, **dict.fromkeys(self._probed, 0)}

    def forget_turns(self) -> None:
        """Every broker has had its turn: the next round begins."""
        self._probed.clear()

    def resumed(self, stamps: Mapping[str, datetime], now: float) -> bool:
        """Let a probe go at once for each broker that was resumed. Returns whether that ends any wait.

        `stamps` has the time of each broker's last resume. A stamp counts if it is new since the last look, and not
        older than the breaker. Clocks of machines differ, so a little older will do.
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
        others = self._failed.get(broker, {})
        others.pop(login_id, None)
        others.update(dict.fromkeys(others, True))
        for window, faults in ((self._refusals, _REFUSED), (self._rejections, _NOT_ACCEPTED)):
            wrongly = window.succeeded(broker, login_id, now, at, account or login_id)
            for scope, breaker in self._mine(broker, probe):
                if breaker.fault in faults:
                    window.begin_anew(scope, now, at, trust=not wrongly)
        for scope, _ in self._mine(broker, probe):
            yield from self._close(scope, now, at)

    def answered(
        self, broker: str, now: float, at: datetime, probe: Probe, *, login_id: str | None = None
    ) -> Iterator[Event]:
        """Mesh answered, about one account: Mesh and the network work."""
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
        """Refusals of `broker` up to then turned out not to be the accounts' fault."""
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
    ) -> Verdict:
        """The tokens were refused.

        `account` names the one that was refused, until the person logs in anew. `expected`: an exchange of unknown
        outcome has likely spent them, so the refusal says nothing of the broker.
        """
        events = [*self.answered(broker, now, at, probe, login_id=login_id)]
        if not expected:
            self._refusals.failed(broker, login_id, now, account or login_id, None)
        takes_blame, closed = self._takes_blame(broker, _REFUSED, self._refusals, now, at)
        events += closed
        if takes_blame:
            return Verdict(events)
        scopes = () if expected else self._refusals.scopes_to_open(broker, now, except_for=self._open)
        for scope in scopes:
            events += self._instead(scope, BreakerFault.REFUSALS, now, at)
        return Verdict(events, blamed=not scopes)

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
    ) -> Verdict:
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
            return Verdict(events)
        takes_blame, closed = self._takes_blame(broker, _NOT_ACCEPTED, self._rejections, now, at)
        events += closed
        if takes_blame or (probe and sent):
            return Verdict(events)
        before = self._rejections.note_of(broker, backed_off.epoch)
        note = backed_off.after(before)
        self._rejections.failed(broker, backed_off.login_id, now, backed_off.epoch, note)
        undo: tuple[BackedOff, ...] = ()
        scopes = self._rejections.scopes_to_open(broker, now, except_for=self._open)
        for scope in scopes:
            events += self._instead(scope, fault, now, at, display_message)
            # The present failure is not counted: its account has the backoff of the one before, if any.
            noted = (before if found is note else found for found in self._rejections.notes(scope))
            undo = tuple(found for found in noted if found is not None)
        return Verdict(events, blamed=not scopes, undo=undo)

    def unknown(self, broker: str, login_id: str, now: float, at: datetime, probe: Probe) -> Iterator[Event]:
        """The outcome of an exchange is unknown. A run of these opens a breaker."""
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

    def outage(
        self,
        broker: str,
        fault: BreakerFault,
        now: float,
        at: datetime,
        probe: Probe,
        *,
        login_id: str,
        retry_after: timedelta | None = None,
        display_message: str | None = None,
    ) -> Verdict:
        """An outage: of Mesh, of the network, of the client keys, or of a broker.

        It counts against the account where it is the login's own: the login met one before, another login of the broker
        has succeeded since, and fewer than `Policy.fault_logins` have met one. A `retry_after` makes the pause longer,
        beyond `Policy.cool_down_cap` too: its reader has bounded it.
        """
        scope, events = None if fault in _FOR_ALL else broker, list[Event]()
        is_own = scope is not None and self._is_own(broker, login_id)
        for over, breaker in self._mine(broker, probe):
            if over is None and scope is not None and breaker.fault in _OF_THE_NETWORK:
                events += self._close(None, now, at)  # Mesh answered: the network works
            elif not is_own:
                self._again(breaker, now, probe, retry_after)
        if is_own:
            return Verdict(events, blamed=True)
        found = self._open.get(scope)
        if found is not None and fault is BreakerFault.CLIENT_REFUSED and found.fault is not fault:
            events += self._instead(scope, fault, now, at, display_message)
        elif found is None:
            events += self._trip(scope, fault, now, at, retry_after=retry_after, display_message=display_message)
        elif found not in probe:
            self._again(found, now, probe, retry_after)
        return Verdict(events)

    def _is_own(self, broker: str, login_id: str) -> bool:
        """Whether an outage of the broker is the login's own, and note that the login met one."""
        failed = self._failed.setdefault(broker, {})
        if failed.get(login_id):
            return True
        failed[login_id] = False
        if len(failed) >= self._policy.fault_logins:
            failed.clear()  # so many are about the broker
        return False

    # Opening and closing.

    def _takes_blame(
        self, broker: str, faults: tuple[BreakerFault, ...], window: FailureWindow[Any], now: float, at: datetime
    ) -> tuple[bool, list[Event]]:
        """Whether an open breaker of these faults takes the blame for one more, and events.

        A breaker that has been open for `Policy.refusal_trust` closes instead: from then on, failures are believed.
        """
        events: list[Event] = []
        for scope in (broker, None):
            breaker = self._open.get(scope)
            if breaker is not None and breaker.fault in faults:
                if now - breaker.opened < self._policy.refusal_trust.total_seconds():
                    return True, events
                events += self._close(scope, now, at)
                window.begin_anew(scope, now, at, trust=True)
        return False, events

    def _breakers_above(self, broker: str) -> Iterator[Breaker]:
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
        """Open the breaker of this scope; and that of all, where a second broker has one of the `_SPREADING` faults."""
        first = self._policy.halt_probe if fault in _SLOW else self._policy.cool_down
        pause = first.total_seconds()
        closed, before = self._last.get(scope, (0.0, 0.0))
        if now - closed < before:
            # It closed a moment ago: one probe that passed does not show that a hundred exchanges will.
            pause = max(pause, min(before * 2, self._cap(fault)))
        pause = max(pause, retry_after.total_seconds() if retry_after is not None else 0.0)
        self._open[scope] = Breaker(fault, now, at, pause, now + pause)
        self._unknown.pop(scope, None)
        self._unreadable.pop(scope or "", None)
        yield BreakerOpened(scope, fault, at, at + timedelta(seconds=pause), display_message)
        same = sum(breaker.fault is fault for breaker in self._open.values())
        if fault in _SPREADING and None not in self._open and same > 1:
            yield from self._trip(None, fault, now, at, retry_after=retry_after, display_message=display_message)

    def _instead(
        self, scope: Scope, fault: BreakerFault, now: float, at: datetime, display_message: str | None = None
    ) -> Iterator[Event]:
        """Open the breaker for another fault. The breaker before is closed with an event, and its pause is kept."""
        before = self._open.get(scope)
        yield from self._close(scope, now, at)
        left = timedelta(seconds=max(0.0, before.until - now)) if before is not None else None
        yield from self._trip(scope, fault, now, at, retry_after=left, display_message=display_message)

    def _mine(self, broker: str, probe: Probe) -> list[tuple[Scope, Breaker]]:
        """The open breakers over `broker` that are probed by this."""
        return [(scope, self._open[scope]) for scope in (None, broker) if self._open.get(scope) in probe]

    def _again(self, breaker: Breaker, now: float, probe: Probe, retry_after: timedelta | None = None) -> None:
        """The fault goes on. Only a probe makes the pause longer: other exchanges may have started before it opened."""
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
