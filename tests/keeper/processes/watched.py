"""A fake Mesh that watches logins, and not only tokens: whether two exchanges of one login ever overlap."""

from collections import Counter
from datetime import timedelta

from attrs import define, field

from mesh_refresh.testing import FakeMesh, SentRequest
from mesh_refresh.testing.fake.traffic import Traffic
from tests.keeper.processes.measured import WORKER


@define(eq=False)
class WatchedTraffic(Traffic):
    """Also knows what belongs together."""

    overlaps: list[SentRequest] = field(factory=list)
    """Requests of a login of which another one was still being answered."""
    by_worker: dict[str, list[SentRequest]] = field(factory=dict)
    _busy: Counter[str] = field(factory=Counter)

    def enter(self, request: SentRequest) -> None:
        super().enter(request)
        self.by_worker.setdefault(request.headers.get(WORKER, ""), []).append(request)
        if request.login is not None:
            if self._busy[request.login]:
                self.overlaps.append(request)
            self._busy[request.login] += 1

    def leave(self, request: SentRequest) -> None:
        super().leave(request)
        if request.login is not None:
            self._busy[request.login] -= 1


class WatchedMesh(FakeMesh):
    """A fake Mesh with such a watch."""

    def __init__(self, *, seed: int, lifetime: float) -> None:
        super().__init__(seed=seed, access_lifetime=timedelta(seconds=lifetime))
        # What the fake shows are these lists.
        self.traffic = self.watched = WatchedTraffic(self.requests, self.exchanges, twice=self.traffic.twice)
        self.server.traffic = self.traffic

    def all_done(self, worker: str) -> bool:
        """Whether nothing of that process is being answered."""
        return all(request.done for request in self.watched.by_worker.get(worker, ()))
