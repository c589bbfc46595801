"""What must hold all along, whatever happens: it looks at every request that arrives and at every write."""

import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field

from mesh_refresh.keeper.events import AccountRefreshed, Event
from mesh_refresh.logins import Account, Login
from mesh_refresh.stores import MemoryStore, Row
from mesh_refresh.stores.sealing import opened
from mesh_refresh.testing import End, FakeMesh, Replies, Sharing
from mesh_refresh.testing.ledger import Issued, Kind
from tests.simulation.loop import Loop

if TYPE_CHECKING:
    from mesh_refresh.testing.traffic import SentRequest

TOKEN = re.compile(r"fake-[a-z]+-\d+\|[0-9a-f]{16}/\+#")


class Violated(AssertionError):
    """A world in which something happened that must never happen."""


@define(eq=False)
class Sent:
    """One request, and the process that sent it."""

    host: str
    token: str
    login: str
    """The broker's name of it; the keepers' is the same."""
    arrived: float
    ended: float | None = None
    record: "SentRequest | None" = None
    successors: tuple[str, ...] = ()
    siblings: tuple[str, ...] = ()
    """The refresh tokens of the login that were good when it came."""


@define(eq=False)
class Judge:
    """Keeps book of a world. `lenient`: outages may be longer than a keeper waits, so that tokens may die."""

    loop: Loop
    fake: FakeMesh
    memory: MemoryStore
    deadline: float
    slack: float
    """How long a reply may be on its way, at the most."""
    lenient: bool
    jumps: bool
    """Whether the wall clock does not tell what came first."""
    spools: list[Path] = field(factory=list)
    owners: dict[str, Callable[[], str | None]] = field(factory=dict)
    """The name under which each process leases."""
    misled: set[str] = field(factory=set)
    """Logins whose lifetimes a reply told wrongly."""
    broken: list[str] = field(factory=list)
    covered: Counter[str] = field(factory=Counter)
    sent: list[Sent] = field(factory=list)
    stored: set[str] = field(factory=set)
    """Refresh tokens that were in the store at some time, in kept bodies too."""
    spent_by: dict[str, Sent] = field(factory=dict)
    changed: dict[str, float] = field(factory=dict)
    """When a login was added anew, or removed, last."""
    slowed: list[tuple[str, float]] = field(factory=list)
    """Processes that stood still, and until when."""
    blemished: dict[str, str] = field(factory=dict)
    """Logins that lost a token in a way that no client can prevent, until the person logs in again: how."""
    _running: Counter[str] = field(factory=Counter)
    wanted: "defaultdict[str, deque[float]]" = field(factory=lambda: defaultdict(lambda: deque(maxlen=100)))
    """When callers asked for something of a login."""
    _lately: "defaultdict[str, deque[float]]" = field(factory=lambda: defaultdict(deque))
    """When requests of a login came, within the last deadline's length."""
    _seen: dict[str, tuple[bytes, Login]] = field(factory=dict)
    pace: float = 1.0
    """The least time between two exchanges of an account that nobody asks for."""

    def violated(self, what: str) -> None:
        """Note it; the world goes on, so that what follows can be seen too."""
        if len(self.broken) < 20:
            self.broken.append(f"t={self.loop._now:.3f} step {self.loop.steps}: {what}")

    def blemish(self, login: str, why: str) -> None:
        if login not in self.blemished:
            self.blemished[login] = why
            self.covered[f"blemished: {why}"] += 1

    # Requests.

    def arrived(self, host: str, token: str | None) -> Sent | None:
        record = self.fake.ledger.find(token, Kind.REFRESH)
        if token is None or record is None:
            self.violated(f"{host} sent a token that nobody issued")
            return None
        self.covered["exchanges"] += 1
        sent = Sent(host, token, record.login, self.loop._now)
        seats = self.fake.logins[record.login].seats.all
        sent.siblings = tuple(seat.refresh for seat in seats if seat.refresh is not None)
        self.sent.append(sent)
        self._paced(record.login)
        if self._running[token]:
            self.violated(f"{host} sent a token of {record.login} while another exchange with it was under way")
        self._running[token] += 1
        self._holds_lease(sent)
        if record.end in (End.SPENT, End.SIBLING):
            self._resent(sent, record)
        return sent

    def ended(self, sent: Sent, request: "SentRequest") -> None:
        self._running[sent.token] -= 1
        sent.ended, sent.record = self.loop._now, request
        record = self.fake.ledger.find(sent.token, Kind.REFRESH)
        if record is not None and record.end is End.SPENT and sent.token not in self.spent_by:
            sent.successors = record.successors
            self.spent_by[sent.token] = sent
            for value in sent.siblings:
                if self.fake.ledger.tokens[value].end is End.SIBLING:
                    self.spent_by.setdefault(value, sent)
        if request.outcome == "reuse":
            self.blemish(sent.login, "a spent token came again, as was to be expected, or of an earlier login")
        if request.fault == "wrong types":
            self.misled.add(sent.login)
        if request.fault:
            self.covered[f"fault: {request.fault}"] += 1
        if request.outcome:
            self.covered[f"outcome: {request.outcome}"] += 1

    def _paced(self, login: str) -> None:
        lately, now = self._lately[login], self.loop._now
        lately.append(now)
        while lately[0] < now - self.deadline:
            lately.popleft()
        accounts = len(self.fake.logins[login].account_ids)
        asked = sum(at >= now - 6 * self.deadline for at in self.wanted[login])
        most = accounts * (2 + self.deadline / self.pace) + 2 * asked
        self.covered["most requests of a login within a deadline"] = max(
            self.covered["most requests of a login within a deadline"], len(lately)
        )
        if len(lately) > most:
            self.violated(f"{login} was exchanged {len(lately)} times within {self.deadline} seconds: a loop")
            lately.clear()

    def _holds_lease(self, sent: Sent) -> None:
        kept = self.memory._kept.get(sent.login)
        owner = self.owners.get(sent.host, lambda: None)()
        if kept is None or owner is None or self._changed_since(sent.login, sent.arrived - self.deadline):
            return
        now = round((1000.0 + self.loop._now) * 1e6)
        if kept.owner != owner or not kept.is_taken(now):
            self.violated(f"{sent.host} sent a token of {sent.login} without its lease")

    def _changed_since(self, login: str, since: float) -> bool:
        return self.changed.get(login, -1e9) >= since

    def _resent(self, sent: Sent, record: Issued) -> None:
        """A spent token came again: nobody may hold what came for it."""
        self.covered["spent tokens sent again"] += 1
        if unknowable(self.fake, sent.login):
            self.covered["of these, of logins where no client can know"] += 1
            return
        by = self.spent_by.get(sent.token)
        why = self.excuse(by) if by is not None else self.blemished.get(sent.login)
        if why is None and not self.lenient:
            self.violated(
                f"{sent.host} sent a spent token of {sent.login} ({record.end}), though what came for it"
                f" {'was stored' if by and set(by.successors) & self.stored else 'is held'}"
            )
        self.blemish(sent.login, why or "an outage that was too long")

    def excuse(self, sent: Sent) -> str | None:
        """Why nobody has what came for this request; None where somebody must have it."""
        if set(sent.successors) & self.stored:
            return None
        if any(value in self.fake.ledger.undelivered for value in sent.successors):
            return "withheld by a fault, or the deadline had passed"
        ended = self.loop._now if sent.ended is None else sent.ended
        if ended - sent.arrived > self.deadline - self.slack:
            return "the reply came at the deadline"
        if any(host == sent.host and until >= sent.arrived - self.slack for host, until in self.slowed):
            return "the process stood still"
        if self._changed_since(sent.login, sent.arrived - self.deadline):
            return "added anew or removed meanwhile"
        if sent.host in self.loop.dead and not self.spooled(sent.successors):
            return "cut by a crash between rotation and commit"
        return None

    def spooled(self, values: tuple[str, ...]) -> bool:
        """Whether a file of a spool has one of them."""
        files = [path.read_bytes() for spool in self.spools for path in spool.glob("*.settlement")]
        return any(value.encode() in data for value in values for data in files)

    # Writes.

    def written(self, before: Row | None, after: Row | None) -> None:
        if after is None:
            return
        login = opened(self.memory.cipher, after)
        self.stored |= _tokens_in(login)
        for account in login.accounts:
            self.covered[f"state: {account.state}"] += 1
        if before is None or before.epoch != after.epoch:
            return
        known = self._seen.get(login.login_id)
        # The row as it was is what was seen last, claims apart: those do not touch what is sealed.
        old = known[1] if known is not None and known[0] is before.sealed else opened(self.memory.cipher, before)
        self._seen[login.login_id] = (after.sealed, login)
        for account in old.accounts:
            self._compared(login, account)

    def _compared(self, login: Login, old: Account) -> None:
        new = login.by_epoch(old.epoch)
        if new is None:
            return
        had, has = old.tokens.refresh_token, new.tokens.refresh_token
        if had is None or had == has:
            return
        if has is None:
            self.violated(f"the refresh token of {login.login_id} was erased")
        elif self.fake.is_live(had) and not self.fake.is_live(has):
            self.violated(f"a live token of {login.login_id} was overwritten by a dead one")

    # Events.

    def told(self, event: Event) -> None:
        """What an event says must be in the store."""
        self.covered[f"event: {type(event).__name__}"] += 1
        if not isinstance(event, AccountRefreshed) or self.jumps or self._changed_since(event.login_id, -1e8):
            return
        kept = self.memory._kept.get(event.login_id)
        login = None if kept is None else opened(self.memory.cipher, kept.row)
        known = [] if login is None else [it.refreshed_at for it in login.accounts if it.refreshed_at is not None]
        if not any(at >= event.at for at in known):
            self.violated(f"{event.login_id} was said to be refreshed before that was written")


def unknowable(fake: FakeMesh, name: str) -> bool:
    """With different strings over one pair and replies with one of them, a sibling's may be dead without a sign."""
    options = fake.logins[name].options
    return (
        options.accounts > 1
        and options.sharing is Sharing.DIFFERENT_STRINGS
        and (options.replies_with is Replies.ASKED or options.top_level or options.mfa_rotates)
    )


def _tokens_in(login: Login) -> set[str]:
    found: set[str] = set()
    for account in login.accounts:
        if account.tokens.refresh_token is not None:
            found.add(account.tokens.refresh_token)
        if account.pending is not None:
            found.update(TOKEN.findall(account.pending.document))
        if account.body is not None:
            found.update(TOKEN.findall(account.body.decode("utf-8", "replace")))
    return found


def sender(http: Any) -> str:
    """The process at the other end of a connection."""
    peer = http.transport.get_extra_info("peername") if http.transport is not None else None
    return "gone" if peer is None else str(peer[0])
