"""The commands of a fleet, on a store of their own in the folder of the test."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from attrs import define

from mesh_refresh import Tokens
from mesh_refresh.keeper import Account, Keeper, Login
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing import FakeLogin, FakeMesh
from tests.cli.conftest import Cli, Process, Ran

T = TypeVar("T")

LONG_AGO = "2020-01-01T00:00:00Z"
"""When nothing that is imported is good any more: due at once."""


@define
class OpenFleet:
    """``mesh-refresh`` with a store and a key in its environment."""

    cli: Cli
    key: str

    def __call__(self, *arguments: str | Path, stdin: str | bytes = b"", secret: bool = False) -> Ran:
        """Run a command. `secret`: its standard output may hold tokens."""
        ran = self.cli(*arguments, stdin=stdin)
        assert self.key not in ran.err
        if not secret:
            shown = [token for token in self.fake.ledger.tokens if token in ran.out]
            assert not shown
            assert self.key not in ran.out
        return ran

    @property
    def fake(self) -> FakeMesh:
        return self.cli.served.fake

    @property
    def file(self) -> Path:
        return self.cli.folder / "fleet.db"

    def line(self, login_id: str, login: FakeLogin, **more: Any) -> str:
        """One of an import; due at once."""
        document = {"login": login_id, "obtained_at": LONG_AGO, "payload": login.link_payload(), **more}
        if login.trade_token:
            document["trade_token"] = login.trade_token
        return json.dumps(document) + "\n"

    def add(self, login_id: str, broker: str = "coinbase", **options: Any) -> FakeLogin:
        """A login at the fake, and in the store."""
        login = self.fake.login(broker, **options)
        assert self("import", "-", "-q", stdin=self.line(login_id, login)).code == 0
        return login

    def once(self, *options: str) -> Ran:
        return self("run", "--once", *options)

    def listed(self, *options: str) -> list[dict[str, Any]]:
        """What ``logins --json`` says."""
        ran = self("logins", "--json", *options)
        assert ran.code == 0
        return [json.loads(line) for line in ran.out.splitlines()]

    def states(self) -> dict[str, str]:
        return {it["login"]: it["state"] for it in self.listed()}

    def start(self, *arguments: str) -> Process:
        """A worker in a process of its own."""
        return self.cli.start("run", "--poll", "20ms", *arguments)

    def store(self, work: Callable[[SqliteStore], Awaitable[T]]) -> T:
        """What `work` finds in the store."""

        async def opened() -> T:
            async with SqliteStore.open(self.file, cipher=Cipher([self.key])) as store:
                return await work(store)

        return asyncio.run(opened())

    def login(self, login_id: str) -> Login:
        found = self.store(lambda store: store.get(login_id))
        assert found is not None
        return found

    def account(self, login_id: str) -> Account:
        return self.login(login_id).account()

    def lost(self) -> list[Any]:
        """What is lost if the store is all that is held."""

        async def held(store: SqliteStore) -> list[Tokens]:
            async with self.fake.client() as mesh, Keeper(mesh, store, background=False) as keeper:
                return [account.tokens async for login in keeper.logins() for account in login.accounts]

        return self.fake.lost(self.store(held))


@pytest.fixture
def fleet(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> OpenFleet:
    monkeypatch.delenv("MESH_REFRESH_KEY", raising=False)
    key = Cipher.generate_key()
    monkeypatch.setenv("MESH_REFRESH_STORE", "fleet.db")
    monkeypatch.setenv("MESH_REFRESH_KEYS", key)
    return OpenFleet(cli, key)


def read_until(process: Process, pattern: str) -> str:
    """What it writes to standard error, up to a line with `pattern`."""
    assert process.stderr is not None
    seen = ""
    while re.search(pattern, seen) is None:
        line = process.stderr.readline()
        assert line, f"it ended, and wrote: {seen}"
        seen += line
    return seen
