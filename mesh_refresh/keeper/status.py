"""What a keeper tells of its fleet, and of itself."""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from attrs import define, field, frozen

from mesh_refresh.keeper.events import BreakerFault
from mesh_refresh.logins import AccountState, Way
from mesh_refresh.stores.row import Count


@frozen
class BrokerSummary:
    """The logins of one broker."""

    logins: int
    states: Mapping[AccountState, int]
    """Logins with an account in that state; one with several accounts may count under several."""
    expired: int
    """Logins with an access token that has ended."""
    due: int
    """Logins that are due, or late."""


@frozen
class Summary:
    """The fleet, as the store has it, and what this process does."""

    brokers: Mapping[str, BrokerSummary]
    logins: int
    states: Mapping[AccountState, int]
    """Logins with an account in that state."""
    expired: int
    due: int
    late: timedelta
    """How long the latest of them has been due."""
    leased: int
    """Logins that some process is at work on."""
    in_flight: int
    """Of those, this process."""
    moving: Mapping[Way, int]
    """Logins that are in no state here, because they were moved to another store or are on their way from one."""
    paused: frozenset[str]
    """Brokers; ``"*"`` is all of them."""
    held_back: Mapping[str | None, BreakerFault]
    """Open breakers of this process: the broker (None: all), and why."""


@frozen
class Health:
    """For probes and alerts: each question has its own answer."""

    alive: bool
    """False: only a restart helps. True while a store hangs, everything is halted, new tokens are not in the store yet
    or the keeper is being left: a restart would help nothing then, and could lose those tokens."""
    ready: bool
    """Whether calls may be sent here: the spool was read, the store answered a moment ago, and the keeper is not being
    left."""
    ok: bool
    """For alerts, and never for liveness: False where `problems` has any."""
    problems: tuple[str, ...] = ()
    """What is wrong, in words."""
    most_overdue: timedelta | None = None
    """For how long the most overdue login of the last claim had been due. None: this keeper has claimed nothing yet, as
    one without a loop. Paused brokers, and those whose breaker is open, are left out."""
    unsaved: int = 0
    """Logins whose new tokens are not in the store yet."""
    in_flight: int = 0
    halted: BreakerFault | None = None
    events_dropped: int = field(default=0)


def summed_up(
    counts: Iterable[Count],
    now: datetime,
    *,
    in_flight: int,
    paused: frozenset[str],
    held_back: Mapping[str | None, BreakerFault],
) -> Summary:
    """The summary of what a store counted."""
    counts = list(counts)
    earliest = min((it.earliest_due_at for it in counts if it.earliest_due_at is not None), default=now)
    return Summary(
        brokers={
            broker: _broker([it for it in counts if it.broker == broker])
            for broker in sorted({it.broker for it in counts})
        },
        logins=sum(it.logins for it in counts),
        states=_states(counts),
        expired=sum(it.expired for it in counts),
        due=sum(it.due for it in counts),
        late=max(timedelta(), now - earliest),
        leased=sum(it.leased for it in counts),
        in_flight=in_flight,
        moving={way: sum(it.logins for it in counts if it.state == way) for way in Way},
        paused=paused,
        held_back=dict(held_back),
    )


def _broker(counts: list[Count]) -> BrokerSummary:
    return BrokerSummary(
        sum(it.logins for it in counts),
        _states(counts),
        sum(it.expired for it in counts),
        sum(it.due for it in counts),
    )


def _states(counts: list[Count]) -> dict[AccountState, int]:
    found = dict.fromkeys(AccountState, 0)
    for count in counts:
        if count.state not in tuple(Way):
            for state in count.state.split("+"):
                found[AccountState(state)] += count.logins
    return {state: number for state, number in found.items() if number}


@define
class Vitals:
    """How well a keeper does its work, noted as it happens. Times are of the event loop's clock, in seconds."""

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
