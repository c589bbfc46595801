"""The book of a long run: what each kill had in flight, what it cut, and what became of that."""

from collections import Counter
from collections.abc import Iterator
from statistics import median, quantiles
from typing import Any

from attrs import define, field

from mesh_refresh.keeper import AccountState, Reason
from mesh_refresh.testing import End, FakeMesh, SentRequest
from tests.keeper.processes.handle import Worker
from tests.keeper.processes.measured import EXCHANGE, WORKER

EXPLAINED = {Reason.REFUSED_AFTER_UNKNOWN, Reason.REFUSED_AFTER_SIBLING}


@define(eq=False)
class Book:
    """Tokens are compared in here, and none is ever printed."""

    fake: FakeMesh
    kinds: Counter[str] = field(factory=Counter)
    in_flight: int = 0
    """Exchanges that were under way at kills, summed up."""
    most_in_flight: int = 0
    cut: Counter[str] = field(factory=Counter)
    """By login: exchanges whose pair was rotated and not committed."""
    cut_requests: set[int] = field(factory=set)
    """Their numbers."""
    given_up: set[str] = field(factory=set)
    """Exchanges whose reply a process did not wait for any longer: its deadline had passed."""
    too_late: int = 0
    """Those of them that had rotated a pair: such as a kill would have cut."""
    hit: Counter[str] = field(factory=Counter)
    """By refresh token: how many kills had it in flight."""
    windows: list[float] = field(factory=list, repr=False)
    reconnected: int = 0
    """How often a person had to log in again."""
    drained: int = 0

    def ended(self, worker: Worker, kind: str) -> None:
        """A process is gone, and the fake is idle: nothing of it is under way any more."""
        self.kinds[kind] += 1
        self.gave_up(worker)
        self.windows += [note["window"] for note in worker.of("committed")]
        under_way = list(self._under_way(worker))
        if kind == "SIGTERM":
            assert not under_way, f"a drain has cut {len(under_way)} exchanges"
            assert worker.process.returncode == 0, worker.notes[-5:]
            self.drained += 1
            return
        self.in_flight += len(under_way)
        self.most_in_flight = max(self.most_in_flight, len(under_way))
        for request in under_way:
            self.hit[request.refresh_token or ""] += 1
            if has_rotated(request):
                self._note_cut(request)

    def gave_up(self, worker: Worker) -> None:
        """Look for what `worker` got no reply to in time, so far. On a machine with too much to do, that happens."""
        self.given_up |= {note["exchange"] for note in worker.of("unanswered")}
        for request in self.fake.requests:
            was_late = request.headers.get(EXCHANGE) in self.given_up and not is_cut(request)
            if was_late and request.number not in self.cut_requests and has_rotated(request):
                self.too_late += 1
                self.hit[request.refresh_token or ""] += 1
                self._note_cut(request)

    def _note_cut(self, request: SentRequest) -> None:
        self.cut[request.login or ""] += 1
        self.cut_requests.add(request.number)

    def _under_way(self, worker: Worker) -> Iterator[SentRequest]:
        """Its requests of which nothing was committed: the last ones of each login."""
        written = Counter(note["login"] for note in worker.of("committed"))
        sent: dict[str, list[SentRequest]] = {}
        for request in self.fake.requests:
            # What the fake has cut brings no reply, and so no commit; nor does what was not waited for.
            if is_cut(request) or request.headers.get(EXCHANGE) in self.given_up:
                continue
            if request.headers.get(WORKER) == worker.name and request.login is not None:
                sent.setdefault(request.login, []).append(request)
        for login, requests in sent.items():
            yield from requests[written[login] :]

    def check_parked(self, login_id: str, account: Any) -> None:
        """An account that must be logged in again was cut by a kill, and says so."""
        assert account.state is AccountState.RECONNECT_REQUIRED
        assert account.reason in EXPLAINED, (login_id, account.reason)
        assert self.cut[login_id], f"{login_id} was parked, though nothing of it was cut"
        assert not self.fake.is_live(account.tokens.refresh_token), f"{login_id} was parked with live tokens"

    def check_requests(self, mfa: frozenset[str]) -> None:
        """No token is sent more often than once, and once more for each cut by a kill or by the fake: no loop."""
        sent = Counter(
            request.refresh_token or ""
            for request in self.fake.requests
            if request.broker != "tdAmeritrade" and request.login not in mfa
        )
        cut = Counter(request.refresh_token or "" for request in self.fake.requests if is_cut(request))
        for token, times in sent.items():
            issued = self.fake.ledger.tokens[token]
            allowed = 1 + self.hit[token] + cut[token] + (issued.end is End.REPLACED)
            assert times <= allowed, f"a token was sent {times} times, where {self.hit[token]} kills had it in flight"
        for reuse in self.fake.reuses:
            if reuse.end is not End.REPLACED:
                assert self.cut[reuse.login], f"a spent token of {reuse.login} was sent, though nothing was cut"

    def figures(self) -> str:
        """What the run has shown."""
        kills = sum(self.kinds.values()) - self.drained
        by_kind = ", ".join(f"{kind} {number}" for kind, number in sorted(self.kinds.items()))
        p99 = quantiles(self.windows, n=100)[98]
        middle, longest = median(self.windows) * 1e3, max(self.windows) * 1e3
        times = f"median {middle:.2f} ms, p99 {p99 * 1e3:.2f} ms, longest {longest:.2f} ms"
        return "\n".join(
            (
                f"kills {kills}, drains {self.drained} ({by_kind})",
                f"exchanges {self.fake.exchanges['succeeded']}, requests {len(self.fake.requests)}",
                f"in flight at kills {self.in_flight} in all, {self.most_in_flight} at most",
                f"cut between rotation and commit {self.cut.total()}, logins to be reconnected {self.reconnected}",
                f"rotated, and not answered before the deadline {self.too_late}",
                f"spent tokens sent again after a cut {len(self.fake.reuses)}",
                f"from a pair's arrival to its commit, of {len(self.windows)} pairs: {times}",
            )
        )


def has_rotated(request: SentRequest) -> bool:
    """Whether it has spent its token."""
    return request.outcome == "succeeded" and request.broker != "tdAmeritrade"


def is_cut(request: SentRequest) -> bool:
    """Whether the fake has cut its connection."""
    return (request.fault or "").startswith("cut")
