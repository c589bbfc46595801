"""What must hold all along, whatever happens: it looks at every request that arrives and at every write."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import define, field

from mesh_refresh.keeper import Policy
from mesh_refresh.keeper.events import AccountRefreshed, Event
from mesh_refresh.logins import Account, AccountState, Login, Way
from mesh_refresh.stores import Row, sealing
from mesh_refresh.testing import End, FakeLogin, FakeMesh
from mesh_refresh.testing.model.ledger import Issued, TokenKind
from tests.belonging import of_others
from tests.simulation.alarms import Alarms
from tests.simulation.clock import BEGIN
from tests.simulation.excuses import Excuses
from tests.simulation.loop import Loop
from tests.simulation.pace import Pace
from tests.simulation.parking import Parking
from tests.simulation.sent import Hindrances, Sent
from tests.simulation.strategies import is_kept, opened
from tests.stores.open_memory import OpenMemory

if TYPE_CHECKING:
    from mesh_refresh.testing.fake.traffic import SentRequest
    from tests.simulation.process import Process

TOKEN = re.compile(r"fake-[a-z]+-\d+\|[0-9a-f]{16}/\+#")


class Violated(AssertionError):
    """A world in which something happened that must never happen."""


@define(eq=False)
class Judge:
    """Keeps book of a world."""

    loop: Loop
    fake: FakeMesh
    memories: list[OpenMemory]
    """One, or two between which the fleet is copied."""
    excuses: Excuses
    parking: Parking
    hindrances: Hindrances
    deadline: float
    jumps: bool
    """Whether the wall clock does not tell what came first."""
    policy: Policy
    odd: bool = False
    """Some strategies keep tokens in a form of their own."""
    processes: "dict[str, Process]" = field(factory=dict)
    """By their names, also those that are over."""
    misled: set[str] = field(factory=set)
    """Access tokens of which a reply told the lifetime wrongly."""
    broken: list[str] = field(factory=list)
    covered: Counter[str] = field(factory=Counter)
    sent: list[Sent] = field(factory=list)
    added: dict[str, float] = field(factory=dict)
    """When a login was added anew, or removed, last."""
    touched: dict[str, float] = field(factory=dict)
    """When an account was given another access token, last: it was not refreshed then."""
    _running: Counter[str] = field(factory=Counter)
    _last: dict[tuple[str, str], Sent] = field(factory=dict)
    """The last request of each process for each login."""
    until: str | None = None
    """Words of a violation with which the world ends."""
    _seen: dict[str, tuple[bytes, Login]] = field(factory=dict)
    pace: Pace = field(init=False)
    alarms: Alarms | None = None
    """In fine weather."""

    def __attrs_post_init__(self) -> None:
        self.pace = Pace(self.loop, self.fake, self.policy, self.deadline, self.violated, self.covered)

    @property
    def _cipher(self) -> Any:
        return self.memories[0].cipher

    def kept(self, login: str) -> Any:
        """What the store has in which the login is at home, or any store; None where none has it."""
        found = [kept for memory in self.memories if (kept := memory.kept(login))]
        return next((it for it in found if it.row.states.isdisjoint(Way)), found[0] if found else None)

    def has_moved_with(self, memory: OpenMemory, login: FakeLogin) -> bool:
        """Whether the row that the login has left behind in this store holds its newest tokens."""
        kept = memory.kept(login.id)
        if kept is None or Way.MOVED not in kept.row.states:
            return False
        live = {token.auth_token for token in login.live}
        return not live.isdisjoint(account.tokens.auth_token for account in opened(self._cipher, kept.row).accounts)

    def violated(self, what: str) -> None:
        """Note it; the world goes on, so that what follows can be seen too, unless this is what it is there for."""
        self.loop.enough = self.until is not None and self.until in what
        if len(self.broken) < 20 or self.loop.enough:
            self.broken.append(f"t={self.loop.now:.3f} step {self.loop.steps}: {what}")

    # What excuses the exchanges that are under way, or whose pair is not in the store yet, and no others.

    def dies(self, host: str) -> None:
        """A process is killed at this moment."""
        for sent in self._open(host):
            sent.crashed = True

    def stops(self, host: str) -> None:
        """A process is stopped at this moment."""
        for sent in self._open(host):
            sent.stopped = True

    @contextmanager
    def changing(self, login: str) -> Iterator[None]:
        """The person logs in anew, or is removed: under way from now on, and in the store when this is left."""
        changing = self.excuses.changing
        changing[login] = changing.get(login, 0) + 1
        for host in self.processes:
            for sent in self._open(host):
                sent.changed = sent.changed or sent.login == login
        try:
            yield
        finally:
            changing[login] -= 1
            self.added[login] = self.loop.now

    def _open(self, host: str) -> Iterator[Sent]:
        process = self.processes[host]
        core = process.core
        if core is None or not process.alive:
            return
        for login in sorted({*core.inflight.exchanges, *core.inflight.unsaved_logins}):
            sent = self._last.get((host, login))
            if sent is not None and (sent.ended is None or not self.excuses.stored.issuperset(sent.successors)):
                yield sent

    # Requests.

    def arrived(self, host: str, token: str | None) -> Sent | None:
        record = self.fake.ledger.find(token, TokenKind.REFRESH)
        if token is None or record is None:
            self.violated(f"{host} sent a token that nobody issued")
            return None
        self.covered["exchanges"] += 1
        if self.alarms is not None:
            self.covered[f"exchanges: {self.fake.logins[record.login].broker}"] += 1
        sent = Sent(host, token, record.login, self.loop.now, self._lease_end(record.login))
        sent.crashed = host in self.loop.dead
        sent.stopped = host in self.loop.stopped
        sent.changed = self._changed_since(record.login, self._claimed(sent))
        self.sent.append(sent)
        self._last[host, record.login] = sent
        self.parking.by_token.setdefault(token, []).append(sent)
        self.parking.by_login.setdefault(record.login, []).append(sent)
        self.pace.arrived(sent, self._claimed(sent))
        kept = self.kept(record.login)
        if kept is not None:
            self.pace.kept_back(self.fake.logins[record.login], kept.row, self.processes[host].clock.now())
        if self._running[token]:
            self.violated(f"{host} sent a token of {record.login} while another exchange with it was under way")
        self._running[token] += 1
        self._holds_lease(sent)
        if record.end in (End.SPENT, End.SIBLING):
            self._resent(sent, record)
        return sent

    def ended(self, sent: Sent, request: "SentRequest") -> None:
        self._running[sent.token] -= 1
        sent.ended, sent.record = self.loop.now, request
        excuses, record = self.excuses, self.fake.ledger.find(sent.token, TokenKind.REFRESH)
        if record is not None and record.end is End.SPENT and sent.token not in excuses.spent_by:
            sent.successors = record.successors
            excuses.spent_by[sent.token] = sent
            for other in self._tokens_of(sent.login):
                if other.end is End.SIBLING and other.ended_at == record.ended_at:
                    excuses.spent_by[other.value] = sent
        if request.outcome == "repeated" and sent.token in excuses.spent_by:
            excuses.spent_by[sent.token].repeats.append(sent)
        if request.outcome == "reuse":
            for other in self._tokens_of(sent.login):
                if other.end is End.REUSE:
                    excuses.revoked_by.setdefault(other.value, sent)
        if request.outcome in ("mfaRequired", "repeated"):
            self.parking.asked.add(sent.login)
        if request.fault == "wrong types":
            self.misled.update(seat.access for seat in self.fake.logins[sent.login].seats.all if seat.access)
        if request.fault:
            self.covered[f"fault: {request.fault}"] += 1
        if request.outcome:
            self.covered[f"outcome: {request.outcome}"] += 1

    def _tokens_of(self, login: str) -> list[Issued]:
        return [it for it in self.fake.ledger.tokens.values() if it.login == login and it.kind is TokenKind.REFRESH]

    def _holds_lease(self, sent: Sent) -> None:
        process = self.processes.get(sent.host)
        kept = None if process is None else process.store.memory.kept(sent.login)
        core = None if process is None else process.core
        if kept is None or core is None or sent.changed:
            return
        now = round((1000.0 + self.loop.now) * 1e6)
        if kept.lease.owner != core.owner or not kept.lease.is_taken(now):
            self.violated(f"{sent.host} sent a token of {sent.login} without its lease")

    def _lease_end(self, login: str) -> float:
        kept = self.kept(login)
        return self.loop.now if kept is None or kept.lease.until is None else float(kept.lease.until) / 1e6 - 1000.0

    def _claimed(self, sent: Sent) -> float:
        """When the row was claimed that this request was made of."""
        core = self.processes[sent.host].core if sent.host in self.processes else None
        unit = None if core is None else core.inflight.exchanges.get(sent.login)
        return sent.arrived if unit is None else float(unit.claimed_at) - 1000.0

    def _changed_since(self, login: str, since: float) -> bool:
        return bool(self.excuses.changing.get(login)) or self.added.get(login, -1e9) >= since

    def _resent(self, sent: Sent, record: Issued) -> None:
        """A spent token came again: nobody may hold what came for it."""
        self.covered["spent tokens sent again"] += 1
        sent.why = self.excuses.of_token(sent.token)
        if sent.why is not None:
            self.covered[f"spent tokens sent again: {sent.why}"] += 1
            return
        by = self.excuses.spent_by.get(sent.token)
        kept = by is not None and self.excuses.stored.issuperset(by.successors)
        self.violated(
            f"{sent.host} sent a spent token of {sent.login} ({record.end}), though what came for it"
            f" {'was stored' if kept else 'is held'}"
        )

    # Writes.

    def written(self, before: Row | None, after: Row | None) -> None:
        if after is None:
            return
        login = opened(self._cipher, after)
        self.excuses.stored |= _tokens_in(login)
        self._own_epochs(login)
        if self.alarms is not None:
            self.alarms.written(login, after)
        self.pace.written(login, next(iter(self.processes.values())).clock.now())
        kept = sealing.open_row(self._cipher, after).accounts if self.odd else ()
        if not self.fake.logins[login.login_id].options.mfa and not all(map(is_kept, kept)):
            self.violated(f"{login.login_id} does not keep what its strategy made of a reply")
        for account in login.accounts:
            self.covered[f"state: {account.state}"] += 1
            for record in of_others(self.fake.ledger.tokens, login.login_id, account):
                self.violated(f"{login.login_id} holds a {record.kind.value} token of {record.login}")
        if before is None or before.epoch != after.epoch:
            return
        known = self._seen.get(login.login_id)
        # The row as it was is what was seen last, claims apart: those do not touch what is sealed.
        old = known[1] if known is not None and known[0] is before.sealed else opened(self._cipher, before)
        self._seen[login.login_id] = (after.sealed, login)
        for account in old.accounts:
            self._compared(login, account)

    def _own_epochs(self, login: Login) -> None:
        """What is sent for one account must not be taken for another one's."""
        epochs = Counter(account.epoch for account in login.accounts)
        if epochs and max(epochs.values()) > 1:
            self.violated(f"two accounts of {login.login_id} have one epoch")

    def _compared(self, login: Login, old: Account) -> None:
        new = login.by_epoch(old.epoch)
        if new is None:
            return
        if old.state is AccountState.UNREADABLE and not new.parked and self.touched.get(login.login_id, 0.0) > 1e11:
            self.excuses.woken.add(old.tokens.refresh_token or "")
        if new.parked and (new.state, new.reason) != (old.state, old.reason):
            self._parked(login, new)
        had, has = old.tokens.refresh_token, new.tokens.refresh_token
        if had is None or had == has:
            return
        if has is None:
            self.violated(f"the refresh token of {login.login_id} was erased")
        elif self.fake.is_live(had) and not self.fake.is_live(has):
            self.violated(f"a live token of {login.login_id} was overwritten by a dead one")

    def _parked(self, login: Login, account: Account) -> None:
        cause = self.parking.cause(login, account)
        if cause is not None:
            self.parking.known[account.epoch, account.state] = cause
        else:
            record = self.fake.ledger.find(account.tokens.refresh_token, TokenKind.REFRESH)
            why = f"{account.reason}, its token {'is unknown' if record is None else record.end or 'is live'}"
            self.violated(f"{login.login_id} was parked as {account.state} for no reason that is known: {why}")

    # Events.

    def told(self, event: Event) -> None:
        """What an event says must be in the store."""
        self.covered[f"event: {type(event).__name__}"] += 1
        if self.alarms is not None:
            self._is_no_alarm(event)
        if not isinstance(event, AccountRefreshed) or self.jumps:
            return
        at = (event.at - BEGIN).total_seconds() - self.parking.skew
        if self._changed_since(event.login_id, at - self.deadline) or self.touched.get(event.login_id, -1e9) >= at:
            return
        rows = [kept.row for memory in self.memories if (kept := memory.kept(event.login_id))]
        accounts = [account for row in rows for account in opened(self._cipher, row).accounts]
        known = [it.refreshed_at for it in accounts if it.refreshed_at is not None]
        if not any(at >= event.at for at in known):
            self.violated(f"{event.login_id} was said to be refreshed before that was written")

    def _is_no_alarm(self, event: Event) -> None:
        """A person who has just logged in anew has ended what was under way, which no keeper is told."""
        assert self.alarms is not None
        if not self._changed_since(getattr(event, "login_id", ""), self.loop.now - 3 * self.deadline):
            self.alarms.told(event)


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
