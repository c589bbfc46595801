"""What a view shows: the logins as the store has them, and the requests that the fake Mesh sees."""

import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum

from attrs import define, field, frozen

from mesh_refresh import BrokerType
from mesh_refresh.cli.demo.fleet import DemoFleet, Member
from mesh_refresh.keeper import Account, AccountState, Login
from mesh_refresh.testing import FakeMesh

_SHORT = {str(BrokerType.INTERACTIVE_BROKERS): "IBKR"}
"""Names of brokers that are too long for their column."""


class Mood(Enum):
    """The colour of a text."""

    DIM = "dim"
    BUSY = "cyan"
    WARNING = "yellow"
    GOOD = "green"
    BAD = "red"


@frozen
class Scene:
    """A line of the story."""

    after: float
    """Seconds since the start."""
    text: str
    mood: Mood


@frozen
class FleetRow:
    """A row of the table: one login."""

    login_id: str
    broker: str
    note: str
    state: str
    mood: Mood
    refreshed: int
    left: timedelta | None
    """How long its access token is valid; None if that is not known."""
    lifetime: timedelta | None


@define(eq=False)
class Board:
    """Everything that a view shows."""

    fake: FakeMesh
    fleet: DemoFleet
    logins: dict[str, Login] = field(factory=dict)
    """The logins as the store had them a moment ago."""
    typed: str = ""
    """The characters of the code that the person has typed, hidden."""
    held_back: set[str | None] = field(factory=set)
    """The brokers whose breaker is open in the worker; None: all brokers."""
    orphans: dict[str, int] = field(factory=dict)
    """Logins that the killed worker had in an exchange, with their revisions at that time."""
    pid: int | None = None
    """The process of the worker."""
    over: bool = False
    served: int = 0
    """Callers that got valid tokens."""
    scenes: list[Scene] = field(factory=list)
    began: float = field(factory=time.monotonic)

    @property
    def refreshes(self) -> int:
        """Exchanges with new tokens, as the fake Mesh counts them."""
        return self.fake.exchanges["succeeded"]

    def rows(self, most: int) -> list[FleetRow]:
        """The first rows, `most` of them."""
        members = self.fleet.members[:most]
        done: Counter[str | None] = Counter()
        busy: set[str | None] = set()
        for request in self.fake.requests:
            if request.outcome == "succeeded":
                done[request.login] += 1
            if not request.done:
                busy.add(request.login)
        now = datetime.now(UTC)
        return [self._row(member, done, now, busy=member.login.id in busy) for member in members]

    def _row(self, member: Member, done: Mapping[str | None, int], now: datetime, *, busy: bool) -> FleetRow:
        login, left, lifetime = self.logins.get(member.login_id), None, None
        state, mood = "due", Mood.DIM
        if login is not None:
            state, mood = self._state(member, login, now, busy=busy)
            tokens = min((account.tokens for account in login.accounts), key=lambda tokens: tokens.expires_at or now)
            if tokens.expires_at is not None and tokens.obtained_at is not None:
                left, lifetime = max(timedelta(), tokens.expires_at - now), tokens.expires_at - tokens.obtained_at
        return FleetRow(
            member.login_id,
            _SHORT.get(member.broker, member.broker),
            member.note,
            state,
            mood,
            done.get(member.login.id, 0),
            left,
            lifetime,
        )

    def _state(self, member: Member, login: Login, now: datetime, *, busy: bool) -> tuple[str, Mood]:
        account = min(login.accounts, key=lambda account: account.due_at or now)
        if login.state is AccountState.MFA_REQUIRED and member is self.fleet.vanguard:
            return (f"a person types: {self.typed}" if self.typed else "wants an MFA code"), Mood.WARNING
        if login.state is AccountState.RECONNECT_REQUIRED:
            return "the person must log in again", Mood.BAD
        if self.orphans.get(member.login_id) == login.revision:
            return "leased by the killed worker", Mood.WARNING
        if busy:
            return "sent, waiting for the reply", Mood.BUSY
        return self._idle_state(account, member, now)

    def _idle_state(self, account: Account, member: Member, now: datetime) -> tuple[str, Mood]:
        if account.resend_not_before is not None:
            return "unknown outcome: waiting", Mood.WARNING
        if account.refused_at is not None:
            return "refused once: confirming", Mood.WARNING
        if account.state in (AccountState.MANAGED, AccountState.NOT_REFRESHABLE):
            return "good; nothing to refresh", Mood.GOOD
        if account.tokens.auth_token is None:
            return "ready a day after its login", Mood.GOOD
        if account.needs_code:
            return "fresh; now on demand only", Mood.GOOD
        if account.due_at is not None and account.due_at <= now and self.held_back & {None, member.broker}:
            return "due; the broker is held back", Mood.WARNING
        return "fresh", Mood.GOOD
