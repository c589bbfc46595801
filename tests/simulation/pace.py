"""How often a login is exchanged, and how long others keep it waiting: what a policy promises of both."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from datetime import datetime, timedelta

from attrs import define, field

from mesh_refresh.keeper import Policy
from mesh_refresh.keeper.rules.schedule import ONCE_A_DAY
from mesh_refresh.logins import Account, Login
from mesh_refresh.stores import Row
from mesh_refresh.stores.row import CLOCK_TOLERANCE
from mesh_refresh.testing import FakeLogin, FakeMesh
from tests.simulation.loop import Loop
from tests.simulation.sent import Sent

_A_SECOND = timedelta(seconds=1)
_MOST = "most requests of a login within a deadline"
_LONGEST = "longest that a healthy login was overdue, in ms"


@define(eq=False)
class Pace:
    """Looks at every request and at every write. `violated` is told what must not be."""

    loop: Loop
    fake: FakeMesh
    policy: Policy
    deadline: float
    violated: Callable[[str], None]
    covered: Counter[str]
    wanted: "defaultdict[str, deque[float]]" = field(factory=lambda: defaultdict(lambda: deque(maxlen=100)))
    """When callers asked for something of a login."""
    sick: set[str] = field(factory=set)
    """Logins and brokers that have a fault of their own for as long as the weather lasts."""
    given: set[datetime | None] = field(factory=set)
    """When applications say that they obtained tokens, which no keeper knows better."""
    jumped: float = -1e9
    """When the wall clock jumped last: what succeeded before may be exchanged once more."""
    _lately: "defaultdict[str, deque[float]]" = field(factory=lambda: defaultdict(deque))
    """When requests of a login came, within the last deadline's length."""
    _succeeded: dict[str, tuple[datetime, float]] = field(factory=dict)
    """The last success of a login: what the row says, and when that was on the loop's clock."""
    _early: "defaultdict[str, deque[float]]" = field(factory=lambda: defaultdict(deque))
    """When requests came within the least interval of their login, and callers may have asked for it."""

    @property
    def _least(self) -> float:
        """Between two exchanges of an account that no caller asks for."""
        policy = self.policy
        return min(policy.min_interval, policy.backoff / 2, policy.cool_down, policy.resend_after).total_seconds()

    def arrived(self, sent: Sent, claimed: float) -> None:
        """A request of a login whose row was claimed then."""
        self._is_no_loop(sent.login)
        self._respects_the_interval(sent.login, claimed)

    def _is_no_loop(self, login: str) -> None:
        lately, now = self._lately[login], self.loop.now
        lately.append(now)
        while lately[0] < now - self.deadline:
            lately.popleft()
        accounts = len(self.fake.logins[login].account_ids)
        most = accounts * (2 + self.deadline / self._least) + 2 * self.asked(login, now - 6 * self.deadline)
        self.covered[_MOST] = max(self.covered[_MOST], len(lately))
        if len(lately) > most:
            self.violated(f"{login} was exchanged {len(lately)} times within {self.deadline} seconds: a loop")
            lately.clear()

    def asked(self, login: str, since: float) -> int:
        """How often callers asked for it since then."""
        return sum(at >= since for at in self.wanted[login])

    def _respects_the_interval(self, login: str, claimed: float) -> None:
        """Within `Policy.min_interval` after a success, only a caller makes an exchange; none makes many."""
        _, at = self._succeeded.get(login, (None, -1e9))
        now, least = self.loop.now, self.policy.min_interval.total_seconds()
        if now - at >= least * 0.99 - 0.001 or claimed < at or self.jumped > at - self.deadline:
            return
        self.covered["exchanges within the least interval, for callers"] += 1
        early, since = self._early[login], now - 10 * self.deadline
        early.append(now)
        while early[0] < since:
            early.popleft()
        asked = self.asked(login, since)
        if len(early) > 3 * asked:
            self.violated(
                f"{login} was exchanged {now - at:.3f} s after a success, within its least interval, {len(early)} times"
                f" lately, and callers asked {asked} times"
            )
            early.clear()

    # Writes.

    def written(self, login: Login, now: datetime) -> None:
        """What a store has from now on, which a process that shows this time has written."""
        seen, _ = self._succeeded.get(login.login_id, (None, 0.0))
        if login.succeeded_at is None:
            self._succeeded.pop(login.login_id, None)
        elif login.succeeded_at != seen:
            late = max(timedelta(), now - login.succeeded_at).total_seconds()
            self._succeeded[login.login_id] = login.succeeded_at, self.loop.now - late
        self._is_bounded(login)

    def _is_bounded(self, login: Login) -> None:
        """No wait is longer than the policy says, counted from the write that keeps it, and nothing of what has
        happened is in the future, which every other time is counted from."""
        at, name = login.changed_at, login.login_id
        if at is None:
            return
        self._is_past(name, at, "round", login.round_at)
        self._is_past(name, at, "success", login.succeeded_at)
        for account in login.accounts:
            self._waits_no_longer(name, at, account)
            for what, moment in (
                ("tokens", None if account.tokens.obtained_at in self.given else account.tokens.obtained_at),
                ("refresh", account.refreshed_at),
                ("renewal", account.renewed_at),
                ("first failure", account.failing_since),
                ("parking", account.parked_at),
                ("refusal", account.refused_at),
                ("unknown outcome", account.unknown_since),
                ("question", None if account.pending is None else account.pending.asked_at),
            ):
                self._is_past(name, at, what, moment)

    def _is_past(self, name: str, at: datetime, what: str, moment: datetime | None) -> None:
        if moment is not None and moment > at + CLOCK_TOLERANCE:
            self.violated(f"{name}: its {what} is written as of {moment}, in the future, at {at}")

    def _waits_no_longer(self, name: str, at: datetime, account: Account) -> None:
        policy, tokens = self.policy, account.tokens
        resend = max(policy.resend_after, policy.resend_after_cap) + _A_SECOND
        held = max(policy.backoff_cap, policy.resend_after, ONCE_A_DAY) + _A_SECOND
        if account.resend_not_before is not None and account.resend_not_before - at > resend:
            self.violated(f"{name} waits until {account.resend_not_before}, from {at}")
        if account.retry_not_before is not None and account.retry_not_before - at > held:
            self.violated(f"{name} is held until {account.retry_not_before}, from {at}")
        ends = (tokens.expires_at, tokens.refresh_token_expires_at, tokens.not_before)
        longest = max(held, resend, policy.keep_alive or held, policy.mfa_wait + _A_SECOND)
        latest = max(at + longest, *(moment for moment in ends if moment is not None), at)
        if account.due_at is not None and account.due_at > latest:
            self.violated(f"{name} is due only at {account.due_at}, and nothing of it is as late as that")

    # Neighbours.

    def is_healthy(self, login: FakeLogin) -> bool:
        """Whether only other logins have faults."""
        return self.sick.isdisjoint((login.id, login.broker))

    def kept_back(self, login: FakeLogin, row: Row, now: datetime) -> None:
        """It is exchanged, or the weather is over: since when has it been due?

        Others' faults may open a breaker over it, which one probe closes; longer than its longest pause is too long.
        """
        if not self.sick or not self.is_healthy(login) or row.due_at is None:
            return
        overdue = (now - row.due_at).total_seconds()
        self.covered[_LONGEST] = max(self.covered[_LONGEST], int(1000 * overdue))
        self.covered["exchanges beside sick neighbours"] += 1
        if overdue > self.policy.cool_down_cap.total_seconds() + self.deadline:
            self.violated(f"{login.id} ({login.broker}) is healthy, and was kept back for {overdue:.1f} s by others")
