"""What keeper processes have around them: a fake Mesh in this process, one store, and a folder."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from attrs import define, field

from mesh_refresh import Tokens
from mesh_refresh.keeper import Account, Keeper, Policy
from mesh_refresh.stores import Cipher, Page, Store
from mesh_refresh.stores.sealing import open_row
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing import FakeLogin, FakeMesh, Lost, SentRequest
from tests.keeper.processes.handle import PATIENCE, Worker
from tests.keeper.processes.measured import WORKER, is_url
from tests.keeper.processes.worker import CLIENT_ID, CLIENT_SECRET, KEY, STORE, Settings
from tests.stores.postgres.postgres_handles import OpenPostgres

DEADLINE = 1.0
POLICY: dict[str, Any] = {
    "poll": 0.03,
    "lease": 1.5,
    "resend_after": 0.4,
    "confirm_after": 0.4,
    "min_interval": 0.2,
    "backoff": 0.3,
    "cool_down": 0.2,
    "refresh_fraction": 0.3,
    "drain": 1.0,
    "mfa_wait": 0.5,
}


@define(eq=False)
class Scene:
    """Logins of the fake are kept under the ids that it gave them."""

    fake: FakeMesh
    folder: Path
    where: str
    """The path of the file, or the URL of the database."""
    store: Store
    """This process's own, beside those of the keepers."""
    key: str
    policy: dict[str, Any]
    deadline: float = DEADLINE
    busy: float = 0.3
    """How long keepers wait for a store that is locked, or does not answer."""
    workers: list[Worker] = field(factory=list)
    _numbers: Iterator[int] = field(factory=lambda: count(1), repr=False)

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def spooled(self) -> int:
        """Files in the spool."""
        return len(list(self.spool.glob("*.settlement")))

    # Keepers.

    async def worker(self, *, go: bool = True, where: str | None = None, **settings: Any) -> Worker:
        """A new keeper process, which works already, or waits for its `go`. It finds the store in `where` else."""
        made = Settings(
            name=f"worker-{next(self._numbers)}",
            base_url=self.fake.base_url,
            deadline=self.deadline,
            spool=str(settings.pop("spool", self.spool)),
            busy=settings.pop("busy", self.busy),
            policy={**self.policy, **settings.pop("policy", {})},
            **settings,
        )
        secrets = {
            CLIENT_ID: self.fake.client_id,
            CLIENT_SECRET: self.fake.client_secret,
            KEY: self.key,
            STORE: where or self.where,
        }
        worker = await Worker.start(made, secrets)
        self.workers.append(worker)
        return await worker.go() if go else worker

    # Logins.

    async def add(self, logins: Iterable[FakeLogin]) -> None:
        """Into the store, by a keeper that has no loop."""
        policy = Policy(refresh_fraction=self.policy["refresh_fraction"])
        async with self.fake.client() as mesh, Keeper(mesh, self.store, policy=policy, background=False) as keeper:
            await keeper.add_many([(login.id, login.tokens) for login in logins])

    def written_down(self, logins: Iterable[FakeLogin]) -> Path:
        """A file for the order ``add``."""
        path = self.folder / "logins.json"
        path.write_text(json.dumps([(login.id, [it.to_json() for it in login.tokens]) for login in logins]))
        return path

    async def accounts(self, login_id: str | None = None) -> list[tuple[str, Account]]:
        """Every account in the store, with its login's id."""
        rows = await self.store.rows(Page(1_000_000))
        logins = [open_row(self.store.cipher, row) for row in rows if login_id in (None, row.login_id)]
        return [(login.login_id, account) for login in logins for account in login.accounts]

    async def account(self, login: FakeLogin) -> Account:
        """The only one of its login."""
        [(_, account)] = await self.accounts(login.id)
        return account

    async def leased(self) -> int:
        """How many logins are under a lease that has not run out."""
        return sum(number.leased for number in await self.store.counts(self.fake.clock.now()))

    async def due(self) -> int:
        """How many logins are due."""
        return sum(number.due for number in await self.store.counts(self.fake.clock.now()))

    async def lost(self) -> list[Lost]:
        """What the store does not have of what is live."""
        return self.fake.lost([account.tokens for _, account in await self.accounts()])

    async def assert_whole(self) -> None:
        """Nothing is lost, and no token was sent twice or after its end."""
        assert not await self.lost()
        assert not self.fake.reuses
        assert not self.fake.sent_twice()

    def requests_of(self, worker: Worker, login: FakeLogin | None = None) -> list[SentRequest]:
        """What a process has sent."""
        return [
            request
            for request in self.fake.requests
            if request.headers.get(WORKER) == worker.name and (login is None or request.login == login.id)
        ]

    def shares(self) -> Counter[str]:
        """How many requests each process has sent."""
        return Counter(request.headers.get(WORKER, "?") for request in self.fake.requests)

    async def until_stored(self, met: Callable[[list[tuple[str, Account]]], bool]) -> None:
        """Wait until the store is so. Nobody tells of another process's writes, so it is looked at again."""
        await until(self.accounts, met)


async def until(look: Callable[[], Any], met: Callable[[Any], bool] = bool, patience: float = PATIENCE) -> None:
    """Look at something outside of this process until it is so."""
    end = time.monotonic() + patience
    while True:
        found = look()
        if asyncio.iscoroutine(found):
            found = await found
        if met(found):
            return
        assert time.monotonic() < end, f"it did not come about; the last that was seen: {found!r:.500}"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def open_scene(
    folder: Path,
    *,
    where: str | None = None,
    mesh: FakeMesh | None = None,
    lifetime: float = 3,
    policy: dict[str, Any] | None = None,
    deadline: float = DEADLINE,
) -> AsyncIterator[Scene]:
    """With a file in `folder`, or the database at the URL `where`. At its end no process is left over."""
    key, where = Cipher.generate_key(), where or str(folder / "fleet.db")
    async with (
        mesh or FakeMesh(access_lifetime=timedelta(seconds=lifetime)) as fake,
        _store(where, Cipher([key])) as store,
    ):
        scene = Scene(fake, folder, where, store, key, {**POLICY, **(policy or {})}, deadline)
        try:
            yield scene
        finally:
            for worker in scene.workers:
                await worker.kill()


def _store(where: str, cipher: Cipher) -> Store:
    if is_url(where):
        return OpenPostgres.open(where, cipher=cipher, migrate=True)
    return SqliteStore.open(where, cipher=cipher)


def tokens_in(accounts: Iterable[tuple[str, Account]]) -> list[Tokens]:
    return [account.tokens for _, account in accounts]
