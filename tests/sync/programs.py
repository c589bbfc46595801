"""Programs without an event loop, run as processes beside a FakeMesh."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from datetime import timedelta
from pathlib import Path

from attrs import field, frozen

from mesh_refresh import MeshClient
from mesh_refresh.keeper import Keeper
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing import FakeLogin, FakeMesh
from mesh_refresh.testing.fake.gate import Gate

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds after which a test fails."""

HEAD = """
import multiprocessing, os, signal, sys, threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from mesh_refresh import *
from mesh_refresh import sync
from mesh_refresh.keeper import *
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore
from tests.sync.programs import opened_store

def say(*words):
    print(*words, flush=True)

keeper = sync.Keeper(
    MeshClient.from_env, opened_store, spool="spool", policy=Policy(drain=timedelta(seconds=2))
)
"""


def opened_store() -> SqliteStore | PostgresStore:
    """The fleet of the current folder, or of the database that the environment names."""
    cipher = Cipher(os.environ["MESH_REFRESH_KEYS"].split(","))
    if url := os.environ["FLEET"]:
        return PostgresStore.open(url, cipher=cipher)
    return SqliteStore.open("fleet.db", cipher=cipher, busy_timeout=timedelta(seconds=1))


@frozen
class Scene:
    """A fleet in a folder, the fake that it is refreshed at, and programs that do it."""

    fake: FakeMesh
    folder: Path
    url: str = field(default="", repr=False)
    """Of the database. Empty: it is a file in the folder."""
    key: str = field(factory=Cipher.generate_key, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """What programs are told."""
        return {
            **os.environ,
            "PYTHONFAULTHANDLER": "1",
            "MESH_CLIENT_ID": self.fake.client_id,
            "MESH_CLIENT_SECRET": self.fake.client_secret,
            "MESH_BASE_URL": self.fake.base_url,
            "MESH_REFRESH_KEYS": self.key,
            "FLEET": self.url,
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(self.folder))),
        }

    def store(self) -> SqliteStore | PostgresStore:
        """The fleet, to be opened."""
        if self.url:
            return PostgresStore.open(self.url, cipher=Cipher([self.key]), migrate=True)
        return SqliteStore.open(self.folder / "fleet.db", cipher=Cipher([self.key]))

    async def add(self, **logins: FakeLogin) -> None:
        """Put `logins` into the fleet."""
        mesh = MeshClient(self.fake.client_id, self.fake.client_secret, base_url=self.fake.base_url)
        async with mesh, self.store() as store, Keeper(mesh, store, background=False) as keeper:
            for name, login in logins.items():
                await keeper.add(name, login.token)

    async def assert_whole(self) -> None:
        """No live token is lost: the store has each."""
        mesh = MeshClient(self.fake.client_id, self.fake.client_secret, base_url=self.fake.base_url)
        spool = self.folder / "spool"
        async with mesh, self.store() as store:
            async with Keeper(mesh, store, background=False, spool=spool):
                pass  # what is in the spool is in the store when it is left
            async with Keeper(mesh, store, background=False) as keeper:
                logins = [login async for login in keeper.logins()]
        assert not self.fake.lost([login.account().tokens for login in logins])

    async def run(self, program: str, *arguments: str) -> "Run":
        """Start `program`, behind `HEAD`."""
        file = self.folder / "program.py"
        file.write_text(HEAD + program)
        return await self.start(sys.executable, str(file), *arguments)

    async def start(self, *command: str) -> "Run":
        """Start a command in the folder."""
        return Run(
            await asyncio.create_subprocess_exec(
                *command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,
            )
        )


@frozen
class Run:
    """One that runs."""

    process: Process

    async def said(self) -> str:
        """The next line that it says."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE):
                if line := await self.process.stdout.readline():
                    return line.decode().strip()
        except TimeoutError:
            self.process.kill()
        raise AssertionError(await self.over())

    async def complains_of(self, words: str) -> None:
        """Wait until it says `words` on standard error."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while words not in (line := await self.process.stderr.readline()).decode():
                assert line, await self.over()

    async def type_enter(self) -> None:
        """Let it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        await self.process.stdin.drain()

    async def reached(self, gate: Gate) -> None:
        """Wait until a request waits at `gate`."""
        try:
            async with asyncio.timeout(PATIENCE):
                await gate.arrivals(1)
        except TimeoutError:
            self.process.kill()
            raise AssertionError(await self.over()) from None

    async def interrupted_at(self, gate: Gate) -> None:
        """Press Ctrl-C when a request waits at `gate`."""
        await self.reached(gate)
        self.process.send_signal(signal.SIGINT)

    async def over(self) -> tuple[int, str, str]:
        """Its exit code, and what it said last, on both streams. One that does not end is told to say where it is."""
        ends = asyncio.ensure_future(self.process.communicate())
        await asyncio.wait((ends,), timeout=PATIENCE)
        if not ends.done():
            self.process.send_signal(signal.SIGABRT)
        out, err = await ends
        return self.process.returncode or 0, out.decode().strip(), err.decode()

    async def is_done(self) -> str:
        """What it said last. Fails where it failed."""
        code, out, err = await self.over()
        assert code == 0, f"{out}\n{err}"
        return out
