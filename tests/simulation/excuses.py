"""Why a token is lost without anybody's fault: only what the design excuses, each within the time in which it holds."""

from collections.abc import Iterable
from pathlib import Path

from attrs import define, field

from mesh_refresh.testing import End, FakeMesh, Replies, Sharing
from mesh_refresh.testing.model.ledger import TokenKind, Withheld
from tests.simulation.loop import Loop
from tests.simulation.sent import Hindrances, Sent, keeper_of

WITHHELD = "withheld by a fault"
AT_THE_DEADLINE = "the reply came at the deadline, or later"
STOPPED = "the process was stopped until the deadline had passed"
CHANGED = "added anew or removed while it was under way"
CRASHED = "cut by a crash between rotation and commit"
HANDED_OVER = "raised as NotSaved to whoever stopped the keeper"
TOO_LONG = "kept from the store for longer than others wait"
UNKNOWABLE = "a sibling's string over one pair: no client can know"
RAN_OUT = "it ran out by the clock"
REVOKED = "revoked at the broker"
LOGGING_IN = "the person was logging in anew"
WOKEN = "an application brought an access token while the reply with the next pair was kept unread"


@define(eq=False)
class Excuses:
    """Looks into the ledger of the broker, the spools, and the times at which processes could do nothing."""

    loop: Loop
    fake: FakeMesh
    deadline: float
    slack: float
    """How much of a deadline the way to Mesh and back may take."""
    settle: float
    spools: list[Path]
    hindrances: Hindrances
    stored: set[str] = field(factory=set)
    """Refresh tokens that were in the store at some time, in kept bodies too."""
    woken: set[str] = field(factory=set)
    """Tokens of accounts that an application took out of `unreadable` with an access token of its own."""
    handed: set[str] = field(factory=set)
    """Those that the end of a keeper raised, and that are in no spool."""
    changing: dict[str, int] = field(factory=dict)
    """Logins that persons log into anew, or that are removed, at this moment."""
    spent_by: dict[str, Sent] = field(factory=dict)
    """Which request spent a token, or a sibling's with it."""
    revoked_by: dict[str, Sent] = field(factory=dict)
    """Which request with a spent token made the broker revoke this one."""

    def of_pair(self, sent: Sent) -> str | None:
        """Why nobody has (all of) what came for this request; None where somebody must have it."""
        missing = [value for value in sent.successors if value not in self.stored]
        if not missing:
            return None
        now = self.loop.now
        withheld = {self.fake.ledger.is_withheld(value) for value in missing}
        if Withheld.BY_FAULT in withheld:
            return WITHHELD
        ended = now if sent.ended is None else sent.ended
        last_moment = sent.arrived + self.deadline - self.slack
        if ended > last_moment:
            return AT_THE_DEADLINE
        stops = self.hindrances.spans.get(keeper_of(sent.host), ())
        if sent.stopped and any(it.begin <= last_moment <= it.until(now) for it in stops):
            return STOPPED
        if sent.changed:
            return CHANGED
        if sent.crashed and not self.spooled(missing):
            return CRASHED
        if Withheld.HUNG_UP in withheld:
            # A client that lives waits until its deadline.
            return next((why for it in sent.repeats if (why := self._why_hung_up(it)) is not None), None)
        if self.handed.intersection(missing):
            return HANDED_OVER
        reached = self.hindrances.reach(keeper_of(sent.host), ended, now)
        return TOO_LONG if reached is not None and reached >= sent.lease_end + self.settle else None

    def _why_hung_up(self, sent: Sent) -> str | None:
        if sent.ended is not None and sent.ended > sent.arrived + self.deadline - self.slack:
            return AT_THE_DEADLINE
        if sent.crashed:
            return CRASHED
        return STOPPED if sent.stopped else None

    def of_token(self, token: str | None) -> str | None:
        """Why the token is no good any more; None where it is good, or there is no excuse."""
        record = self.fake.ledger.find(token, TokenKind.REFRESH)
        if record is None or token is None:
            return None
        match record.end:
            case None:
                return None if record.alive(self.fake.clock.now()) else RAN_OUT
            case End.REVOKED:
                return REVOKED
            case End.REPLACED:
                return LOGGING_IN if self.changing.get(record.login) else None
            case End.REUSE:
                by = self.revoked_by.get(token)
                return None if by is None else by.why
            case End.SIBLING if unknowable(self.fake, record.login):
                return UNKNOWABLE
        if token in self.woken:
            return WOKEN
        by = self.spent_by.get(token)
        return None if by is None else self.of_pair(by)

    def spooled(self, values: Iterable[str]) -> bool:
        """Whether a file of a spool has one of them."""
        files = [path.read_bytes() for spool in self.spools for path in spool.glob("*.settlement")]
        return any(value.encode() in data for value in values for data in files)


def unknowable(fake: FakeMesh, name: str) -> bool:
    """With different strings over one pair and replies with one of them, a sibling's may be dead without a sign."""
    options = fake.logins[name].options
    return (
        options.accounts > 1
        and options.sharing is Sharing.DIFFERENT_STRINGS
        and (options.replies_with is Replies.ASKED or options.top_level or options.mfa_rotates)
    )
