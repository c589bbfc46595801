"""The logins of the demo, as a view shows them: what the store has, and what the fake Mesh sees."""

import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum

from attrs import define, field, frozen

from mesh_refresh.cli.demo.fleet import DemoFleet, Member
from mesh_refresh.keeper import Account, AccountState, Login
from mesh_refresh.testing import FakeMesh


class Mood(Enum):
    """How something looks."""

    DIM = "dim"
    BUSY = "cyan"
    WARNING = "yellow"
    GOOD = "green"
    BAD = "red"


@frozen
class Scene:
    """Something that has happened."""

    after: float
    """Seconds since the start."""
    text: str
    mood: Mood


@frozen
class FleetRow:
    """What to show of one login."""

    login_id: str
    broker: str
    note: str
    state: str
    mood: Mood
    refreshed: int
    left: timedelta | None
    """For how long its access token is good; None where that is not known."""
    lifetime: timedelta | None


@define(eq=False)
class Board:
    """All that a view shows."""

    fake: FakeMesh
    fleet: DemoFleet
    logins: dict[str, Login] = field(factory=dict)
    """As the store had them a moment ago."""
    typed: str = ""
    """What of the code the person has typed."""
    held_back: bool = False
    """The worker's breaker is open."""
    orphans: dict[str, int] = field(factory=dict)
    """Logins that a killed worker has left with their requests out, and the revisions in which it left them."""
    pid: int | None = None
    """The worker's process."""
    over: bool = False
    served: int = 0
    """Callers who were given good tokens."""
    scenes: list[Scene] = field(factory=list)
    began: float = field(factory=time.monotonic)

    @property
    def refreshes(self) -> int:
        """Exchanges that brought fresh tokens, by the fake's own count."""
        return self.fake.exchanges["succeeded"]

    def rows(self, most: int) -> list[FleetRow]:
        """The first ones."""
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
        state, mood = "waiting", Mood.DIM
        if login is not None:
            state, mood = self._state(member, login, now, busy=busy)
            tokens = min((it.tokens for it in login.accounts), key=lambda it: it.expires_at or now)
            if tokens.expires_at is not None and tokens.obtained_at is not None:
                left, lifetime = max(timedelta(), tokens.expires_at - now), tokens.expires_at - tokens.obtained_at
        return FleetRow(
            member.login_id, member.broker, member.note, state, mood, done.get(member.login.id, 0), left, lifetime
        )

    def _state(self, member: Member, login: Login, now: datetime, *, busy: bool) -> tuple[str, Mood]:
        account = min(login.accounts, key=lambda it: it.due_at or now)
        if login.state is AccountState.MFA_REQUIRED and member is self.fleet.vanguard:
            return (f"the person types it: {self.typed}" if self.typed else "wants a code"), Mood.WARNING
        if login.state is AccountState.RECONNECT_REQUIRED:
            return "the person must log in again", Mood.BAD
        if self.orphans.get(member.login_id) == login.revision:
            return "orphaned: its lease runs out", Mood.WARNING
        if busy:
            return "sent, waits for the reply", Mood.BUSY
        return self._at_rest(account, now)

    def _at_rest(self, account: Account, now: datetime) -> tuple[str, Mood]:
        if account.resend_not_before is not None:
            return "its fate is unknown: settles", Mood.WARNING
        if account.refused_at is not None:
            return "refused: settles, asks again", Mood.WARNING
        if account.needs_code:
            return "fresh; on demand from here", Mood.GOOD
        if account.due_at is not None and account.due_at <= now and self.held_back:
            return "due, held back like all", Mood.WARNING
        return "fresh", Mood.GOOD
