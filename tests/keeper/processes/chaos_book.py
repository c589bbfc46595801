"""The book of a chaos run: what was done to the keepers, and the proof that it cost nothing but what it had to."""

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from attrs import define, field

from mesh_refresh.keeper import Account, AccountState, Reason
from mesh_refresh.testing import FakeLogin, SentRequest
from tests.belonging import of_others
from tests.keeper.processes.book import Book, has_rotated, is_cut
from tests.keeper.processes.handle import Worker
from tests.keeper.processes.measured import WORKER
from tests.keeper.processes.scene import tokens_in
from tests.keeper.processes.watched import WatchedTraffic

HELD = "new tokens could not be written"
MOST_ROUNDS = 4
"""Requests that a login may need after the chaos until it is fresh, or known to be lost: those of found attempts
that are sent once more, the refresh itself, and what a poll sees too late."""


@define(eq=False)
class ChaosBook(Book):
    """Tokens are compared in here, and none is ever printed."""

    traffic: WatchedTraffic = field(factory=WatchedTraffic)
    done: Counter[str] = field(factory=Counter)
    parked: Counter[str] = field(factory=Counter)
    """By login: how often a person had to log in again."""
    rounds: dict[str, int] = field(factory=dict)
    """For each login that was unsettled at the end of the chaos: the requests until it was not."""
    waited: int = 0
    """How often a process found the store out of reach at its start."""
    held: int = 0
    """Pairs that could not be written at once."""

    def ended(self, worker: Worker, kind: str) -> None:
        super().ended(worker, kind)
        self.waited += bool(worker.of("waits"))
        self.held += len({note["login"] for note in worker.of("log") if note["message"].startswith(HELD)})

    def found_parked(self, login_id: str, accounts: Iterable[Account]) -> None:
        """It was lost to a kill, and says so."""
        for account in accounts:
            self.check_parked(login_id, account)
            assert account.reason is Reason.REFUSED_AFTER_UNKNOWN, (login_id, account.reason)
        self.parked[login_id] += 1
        self.reconnected += 1

    def check(self, accounts: list[tuple[str, Account]], logins: Collection[FakeLogin], spools: Iterable[Path]) -> None:
        """All is quiet, and the keepers are gone. Raises `AssertionError` for what must not be."""
        lost = {item.login for item in self.fake.lost(tokens_in(accounts))}
        parked: dict[str, list[Account]] = {}
        for login_id, account in accounts:
            strange = [(it.kind, it.login) for it in of_others(self.fake.ledger.tokens, login_id, account)]
            assert not strange, f"{login_id} holds tokens of others: {strange}"
            assert account.state in (AccountState.ACTIVE, AccountState.RECONNECT_REQUIRED), (login_id, account.state)
            in_doubt = account.unknown_since is not None and not account.parked
            assert not in_doubt, f"{login_id} is still in doubt since {account.unknown_since}; {self.story(login_id)}"
            if account.parked:
                parked.setdefault(login_id, []).append(account)
        left = [path.name for folder in spools if folder.is_dir() for path in folder.iterdir()]
        assert not left, f"left in the spools: {left}"
        silent = sorted(lost - set(parked))
        assert not silent, f"lost without a word: {[(login_id, self.story(login_id)) for login_id in silent]}"
        for login_id, of_login in parked.items():
            self.found_parked(login_id, of_login)
        assert {login_id for login_id, _ in accounts} == {login.id for login in logins}, "a login is forgotten"
        assert all(times <= self.cut[login] for login, times in self.parked.items()), "lost more often than cut"
        assert self.reconnected <= self.cut.total() <= self.in_flight + self.too_late
        self.check_exchanges()
        slow = {login: number for login, number in self.rounds.items() if number > MOST_ROUNDS}
        assert not slow, f"not fresh within {MOST_ROUNDS} requests: {slow}"

    def story(self, login_id: str) -> str:
        """The last requests of a login, for whoever looks for a cause."""
        mine = [it for it in self.fake.requests if it.login == login_id][-4:]
        seen = [f"{it.at:%T.%f} by {it.headers.get(WORKER)}: {it.outcome}, {it.fault}, {it.status}" for it in mine]
        return f"its last requests of {len(self.fake.requests)}: " + "; ".join(seen)

    def check_exchanges(self) -> None:
        """One exchange of a login at a time, and no spent token sent, but where a kill cut the one that spent it."""
        overlaps = [(request.login, request.number) for request in self.traffic.overlaps]
        assert not overlaps, f"refreshed by two at once: {overlaps}"
        assert not self.fake.sent_twice()
        self.check_requests(frozenset())
        spent: dict[str, SentRequest] = {}
        for request in self.fake.requests:
            token, login = request.refresh_token or "", request.login or ""
            if request.outcome in ("reuse", "repeated"):
                by = spent.get(token)
                # Without one, it died with a sibling's.
                assert self.cut[login] if by is None else self.was_cut(by), f"a spent token of {login} was sent"
            elif has_rotated(request):
                spent[token] = request

    def was_cut(self, request: SentRequest) -> bool:
        """Whether its reply never reached the store: by a kill, or because the fake withheld it."""
        return request.number in self.cut_requests or is_cut(request)

    def figures(self) -> str:
        most = max(self.rounds.values(), default=0)
        done = ", ".join(f"{what} {number}" for what, number in sorted(self.done.items()))
        return "\n".join(
            (
                super().figures(),
                f"done: {done}; starts with the store out of reach {self.waited}",
                f"pairs that could not be written at once, and were held and spooled {self.held}",
                f"lost to kills {self.reconnected}, each with a reason; lost without one 0",
                f"exchanges of one login that overlapped {len(self.traffic.overlaps)}",
                f"after the chaos {len(self.rounds)} logins were unsettled, and needed {most} requests at most",
            )
        )
