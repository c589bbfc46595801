"""Why an account is parked: what really happened in its world must say so too."""

from collections.abc import Iterator
from datetime import datetime

from attrs import define, field

from mesh_refresh.logins import Account, AccountState, Login, Reason
from mesh_refresh.testing import FakeMesh
from mesh_refresh.testing.model.ledger import TokenKind
from tests.simulation.choices import REFUSING
from tests.simulation.clock import BEGIN
from tests.simulation.excuses import Excuses
from tests.simulation.sent import Sent

REFUSED = "a fault refused good tokens"
UNREADABLE_REPLY = "a reply that cannot be read"
ASKED_FOR_A_CODE = "the person must give a code"
NOT_REFRESHABLE = "it never had a refresh token"
TOO_SOON = "a clock that jumped let delayed tokens go out too soon"
NOT_KNOWN = "sent without an answer, and not settled yet"


@define(eq=False)
class Parking:
    """Keeps the requests of each token, and the replies that could not be read."""

    fake: FakeMesh
    excuses: Excuses
    jumps: bool
    """Whether the wall clock does not tell when something was."""
    skew: float
    by_token: dict[str, list[Sent]] = field(factory=dict)
    known: dict[tuple[str, AccountState], str] = field(factory=dict)
    """What was the cause when an account (its epoch) was parked: after what came since, it may not show any more."""
    by_login: dict[str, list[Sent]] = field(factory=dict)
    asked: set[str] = field(factory=set)
    """Logins of which the broker has asked for a code."""
    unreadable: dict[str, list[bytes]] = field(factory=dict)
    """What went out in place of a reply, by the token that was sent."""

    def cause(self, login: Login, account: Account) -> str | None:
        """Why it is parked; None where nothing says so but the keeper."""
        options = self.fake.logins[login.login_id].options
        match account.state:
            case AccountState.MFA_REQUIRED:
                fits = options.mfa and account.pending is not None and login.login_id in self.asked
                return ASKED_FOR_A_CODE if fits else None
            case AccountState.UNREADABLE:
                return self._unreadable(login, account)
            case AccountState.NOT_REFRESHABLE | AccountState.MANAGED:
                return None if options.refreshable else NOT_REFRESHABLE
            case AccountState.RECONNECT_REQUIRED:
                return self._reconnect(account, refreshable=options.refreshable)
            case AccountState.ACTIVE:
                return None

    def _unreadable(self, login: Login, account: Account) -> str | None:
        """The account's own body really went out for its token, or that of one whose reply may have been its too."""
        others = [it for it in login.accounts if it.body is not None]
        held = [account] if account.body is not None else others
        if not held:
            # The one with the body has been renewed, or logged into anew: then at least there was such a reply.
            return UNREADABLE_REPLY if self._was_unreadable(login.login_id) else None
        # A body stays after a success, until it is taken out: it may have come for an earlier token.
        known = any(
            it.body is not None and (sent.startswith(it.body) or sent in it.body)
            for it in held
            for sent in self._unreadable_of(login.login_id)
        )
        return UNREADABLE_REPLY if known else None

    def _was_unreadable(self, name: str) -> bool:
        return any(self._unreadable_of(name))

    def _unreadable_of(self, name: str) -> Iterator[bytes]:
        tokens = self.fake.ledger.tokens
        for value, replies in self.unreadable.items():
            if value in tokens and tokens[value].login == name:
                yield from replies

    def _reconnect(self, account: Account, *, refreshable: bool) -> str | None:
        if account.reason is None:
            return None
        token = account.tokens.refresh_token
        if account.reason in (Reason.NOT_REFRESHABLE, Reason.EXPIRED) or token is None:
            managed = account.tokens.token_id is not None  # Mesh renews it: there is nothing to tell a person
            return None if refreshable or managed else NOT_REFRESHABLE
        if not self.fake.is_live(token):
            return self.excuses.of_token(token)
        if self._came_too_soon(token):
            return TOO_SOON
        refusals = self._refusals(token)
        match account.reason:
            case Reason.REFUSED:
                enough = refusals >= 2
            case Reason.REFUSED_AFTER_UNKNOWN:
                enough = refusals >= 1 and self.is_unknown(account)
            case Reason.REFUSED_AFTER_SIBLING:
                enough = refusals >= 1
            case _:
                enough = False
        return REFUSED if enough else None

    def _refusals(self, token: str) -> int:
        """How often in a row a fault refused this token although it is good."""
        found = 0
        for sent in self.by_token.get(token, ()):
            if _refused(sent):
                found += 1
            elif sent.record is not None and sent.record.fault is None and sent.record.outcome == "succeeded":
                found = 0
        return found

    def _came_too_soon(self, token: str) -> bool:
        record = self.fake.ledger.find(token, TokenKind.REFRESH)
        if record is None or not self.jumps or not self.fake.logins[record.login].options.delayed:
            return False
        return any(it.record is not None and it.record.outcome == "badRequest" for it in self.by_token.get(token, ()))

    def is_unknown(self, account: Account) -> bool:
        """Whether something happened after which a keeper cannot know what became of the account's tokens."""
        since = account.unknown_since
        if since is None:
            return False
        now = self.excuses.loop.now
        token = account.tokens.refresh_token or ""
        if any(self._without_answer(it) for it in self.by_token.get(token, ())):
            return True
        # A claim counts as an attempt, although nothing may have been sent: its process was hindered.
        end = now if self.jumps else self._at(since)
        # It is found when somebody wants the login next, which may be long after its lease has run out.
        came = account.renewed_at
        begin = 0.0 if self.jumps or came is None else self._at(came) - self.excuses.deadline * 2
        record = self.fake.ledger.find(token, TokenKind.REFRESH)
        others = [] if record is None else self.by_login.get(record.login, [])
        if any(begin <= it.arrived <= end and self._without_answer(it) for it in others):
            return True  # an exchange of a sibling may have spent this one's too
        return self.excuses.hindrances.any_between(begin, end, now)

    def _without_answer(self, sent: Sent) -> bool:
        record = sent.record
        if record is None or sent.ended is None or sent.crashed or sent.stopped or record.status is None:
            return True
        slow = sent.ended - sent.arrived > self.excuses.deadline - self.excuses.slack
        return slow or (record.fault is not None and not _refused(sent) and record.fault != "none")

    def _at(self, moment: datetime) -> float:
        return (moment - BEGIN).total_seconds() - self.skew


def _refused(sent: Sent) -> bool:
    record = sent.record
    if record is None:
        return False
    # A first reply that asks for a code may have no token: then what stands in its place refuses.
    without = record.outcome == "mfaRequired" and record.fault in ("failed with token", "error 400 with token")
    return without or record.fault in REFUSING
