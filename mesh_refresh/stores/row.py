"""Logins as a store sees them, and what a store is asked for. Values only."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from attrs import field, frozen

from mesh_refresh.masking import masked_size

_NAMED = 100
_END = datetime.max.replace(tzinfo=UTC)
CLOCK_TOLERANCE = timedelta(minutes=2)
"""A row that was changed further in the future than this was written before the wall clock was put back."""


@frozen(slots=False)  # faster to make
class Row:
    """One login. All that is secret is in `sealed`, which the store cannot open."""

    login_id: str
    broker: str
    states: frozenset[str]
    """The states of its accounts: `AccountState` names them. Of a login that is moved to another store, ``moved`` or
    ``arriving`` alone. To a store they are names of lower-case letters and ``_``."""
    due_at: datetime | None
    """When the loop may claim it; None: never."""
    expires_at: datetime | None
    """When the first of its access tokens ends, where that is known; for counts only."""
    changed_at: datetime
    sealed: bytes = field(repr=masked_size)
    epoch: str = ""
    """Drawn at random when the login was made; the store keeps it as long as the row."""
    revision: int = 0
    """Raised by one with every write of the row, claims too. The store does it."""
    attempt: int = 0
    """Raised by one with every claim, and never lowered. The store does it."""
    open_attempt: bool = False
    """Of a row that was just claimed: the lease before this one ran out, and its owner may have sent something."""


@frozen
class Busy:
    """The row is under a lease or a hold."""

    left: timedelta
    """For how long, at the most. Zero: it is free, but not for an owner that sends nothing: an attempt is open."""


@frozen
class ClaimRequest:
    """What a claim wants. Its owner may send something for each row that it gets."""

    owner: str
    """Who claims: a name that no other process has, and that this process had not before."""
    lease: timedelta
    now: datetime
    """To what `Row.due_at` is compared: the wall clock. Leases are told by the store's own clock."""
    limit: int
    """The most rows to claim."""
    limit_each: int | None = None
    """The most rows to claim of each broker that is not in `limits`."""
    limits: Mapping[str, int] = field(factory=dict)
    """The most rows to claim of these brokers. Zero: none."""
    wall: datetime | None = None
    """The wall clock, where `now` is an earlier moment: only rows that were due then are wanted."""

    def limit_of(self, broker: str) -> int:
        """The most rows to claim of `broker`."""
        limit = self.limits.get(broker, self.limit_each)
        return self.limit if limit is None else min(limit, self.limit)

    @property
    def ahead(self) -> datetime:
        """A row that was changed after this, and has a due time, is due: the clock was put back since."""
        return ahead_of(self.wall or self.now)


def ahead_of(wall: datetime) -> datetime:
    """What was written after this, by the wall clock, was written before that clock was put back to `wall`."""
    return later(wall, CLOCK_TOLERANCE)


def later(wall: datetime, by: timedelta) -> datetime:
    """The time `by` after `wall`, or the last one there is."""
    return wall + min(by, _END - wall)


@frozen
class Page:
    """Which rows are wanted, in the order of their login ids."""

    limit: int
    after: str | None = None
    """Only login ids greater than this (by Unicode code points)."""
    states: frozenset[str] | None = None
    """Only rows with at least one of these states."""
    broker: str | None = None
    changed_since: datetime | None = None
    """Only rows changed then or later."""


@frozen
class Count:
    """How many rows of one broker have one set of states."""

    broker: str
    states: frozenset[str]
    logins: int
    expired: int
    """Those of them whose `expires_at` has passed."""
    due: int
    """Those of them whose `due_at` has passed."""
    earliest_due_at: datetime | None
    """The least `due_at` among them."""
    leased: int
    """Those of them under a lease that has not run out."""


@frozen
class BrokerPause:
    """Exchanges of a broker are paused."""

    broker: str
    """``"*"`` is all of them."""
    note: str = ""
    """Why, in words that a person wrote."""
    by: str = ""
    """Who paused it."""
    at: datetime | None = None
    """When, by the wall clock. Each pause that a store gives has it."""


@frozen
class LoginNames:
    """How many logins there are of a kind, and the ids of some."""

    number: int = 0
    first: tuple[str, ...] = ()
    """The ids of the first hundred."""

    def having(self, login_ids: Sequence[str]) -> "LoginNames":
        """These names, and those of `login_ids`."""
        return LoginNames(self.number + len(login_ids), (*self.first, *login_ids)[:_NAMED])


NO_LOGINS = LoginNames()


@frozen
class Resealed:
    """The result of sealing every row anew."""

    number: int = 0
    """Logins that are sealed with the first key now."""
    unopened: LoginNames = NO_LOGINS
    """Logins that no key at hand opens, or a notice of theirs, which were left as they are."""
    notices: int = 0
    """Notices that are sealed with the first key now."""
