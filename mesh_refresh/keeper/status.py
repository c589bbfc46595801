"""What a keeper tells of its fleet (`Summary`) and of itself (`Health`)."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import define, field, frozen

from mesh_refresh.keeper.events import BreakerFault
from mesh_refresh.logins import AccountState, Way
from mesh_refresh.stores.row import Count


@frozen
class BrokerSummary:
    """The logins of one broker."""

    logins: int
    states: Mapping[AccountState, int]
    """Logins with an account in that state. A login with several accounts may count under several states."""
    expired: int
    """Logins with an access token that has ended."""
    due: int
    """Logins that are due, or late."""


@frozen
class Summary:
    """The fleet as the store has it, and what this process does: see `Keeper.summary`."""

    brokers: Mapping[str, BrokerSummary]
    logins: int
    states: Mapping[AccountState, int]
    """Logins with an account in that state."""
    expired: int
    due: int
    late: timedelta
    """For how long the most overdue login has been due."""
    leased: int
    """Logins under a lease: a process exchanges them."""
    in_flight: int
    """Exchanges under way in this process."""
    moving: Mapping[Way, int]
    """Logins that were moved to another store, or are arriving from one. They count under no state here."""
    paused: frozenset[str]
    """Paused brokers; ``"*"`` is all of them."""
    held_back: Mapping[str | None, BreakerFault]
    """The open breakers of this process: the broker (None: all), and the fault."""


@frozen
class Health:
    """For probes and alerts: each question has its own answer."""

    alive: bool
    """False: only a restart helps. True while a store hangs, everything is halted, new tokens are not in the store yet
    or the keeper is being left: a restart would help nothing then, and could lose those tokens."""
    ready: bool
    """Whether calls may be sent here: the spool was read, the store answered a moment ago, logins open with the keys at
    hand, and the keeper is not being left."""
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
    """The summary of a fleet from the `counts` of its store."""
    counts = list(counts)
    earliest = min((count.earliest_due_at for count in counts if count.earliest_due_at is not None), default=now)
    return Summary(
        brokers={
            broker: BrokerSummary(**_of_accounts(totals([count for count in counts if count.broker == broker])))
            for broker in sorted({count.broker for count in counts})
        },
        **_of_accounts(totals(counts)),
        late=max(timedelta(), now - earliest),
        leased=sum(count.leased for count in counts),
        in_flight=in_flight,
        moving={way: sum(count.logins for count in counts if way in count.states) for way in Way},
        paused=paused,
        held_back=dict(held_back),
    )


def totals(counts: Collection[Count]) -> dict[str, Any]:
    """What a summary and figures have alike, by the names of their fields; states of moving logins are among them."""
    states: Counter[str] = Counter()
    for count in counts:
        states.update(dict.fromkeys(map(str, count.states), count.logins))
    sums = {name: sum(getattr(count, name) for count in counts) for name in ("logins", "expired", "due")}
    return {**sums, "states": dict(states)}


def _of_accounts(found: dict[str, Any]) -> dict[str, Any]:
    """`found` with the states of accounts alone, in their order."""
    states = {AccountState(name): found["states"][name] for name in found["states"].keys() - set(Way)}
    return {**found, "states": {state: states[state] for state in AccountState if states.get(state)}}


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
    last_round: datetime | None = field(default=None, init=False)
    """When the loop looked last for what is due, by the wall clock."""
    overdue_since: float | None = field(default=None, init=False)
    """Since when every claim finds logins that are later than `longest`."""

    def note_overdue(self, by: timedelta, now: float) -> None:
        """A claim found logins, the most overdue of them due for so long."""
        self.most_overdue = max(timedelta(), by)
        if self.most_overdue <= self.longest:
            self.overdue_since = None
        elif self.overdue_since is None:
            self.overdue_since = now
