"""Two services beside three workers on one store, restarted in turn under load: ``python -m tests.service.rolling``.

Every call must be answered, with tokens or with 503 and ``Retry-After``, and no token may be lost.
"""

import argparse
import asyncio
import os
import random
import re
import signal
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path

from aiohttp import ClientError, ClientSession
from attrs import define, field

from mesh_refresh.keeper import Keeper
from mesh_refresh.service import AccessKey, Scope
from mesh_refresh.service.access.changes import add_key, change_keys
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing import FakeMesh
from tests.keeper.processes.postgres import new_schema, own_server

_PATIENCE = 120.0
"""Seconds for a process to start or to end."""


@define
class Fleet:
    """The processes of a fleet, over one fake Mesh."""

    fake: FakeMesh
    folder: Path
    environment: dict[str, str]
    ports: tuple[int, ...]
    key: str
    answers: Counter[str] = field(factory=Counter)
    """How calls were answered: by status, and reason where it is no success."""

    @asynccontextmanager
    async def process(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A process that works from here on; at the end it is told to end, and waited for."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mesh_refresh", *arguments),
            stderr=asyncio.subprocess.PIPE,
            stdin=asyncio.subprocess.DEVNULL,
            cwd=self.folder,
            env=self.environment,
        )
        assert process.stderr is not None
        written = b""
        try:
            async with asyncio.timeout(_PATIENCE):
                while re.search(rb"the \w+ has started", written) is None:
                    line = await process.stderr.readline()
                    assert line, written.decode()
                    written += line
            rest = asyncio.create_task(process.stderr.read())
            yield process
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(_PATIENCE):
                written += await rest
            assert await process.wait() == 0, written.decode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def open(self) -> SqliteStore | PostgresStore:
        """The store, to be entered."""
        where, cipher = self.environment["MESH_REFRESH_STORE"], Cipher([self.environment["MESH_REFRESH_KEYS"]])
        if where.startswith("postgresql:"):
            return PostgresStore.open(where, cipher=cipher)
        return SqliteStore.open(where, cipher=cipher)

    def worker(self, number: int) -> Sequence[str]:
        return ("run", "--poll", "50ms", "--spool", f"worker-{number}.spool")

    def service(self, number: int) -> Sequence[str]:
        place = ("--listen", f"127.0.0.1:{self.ports[number]}", "--access", "access.toml")
        return ("serve", *place, "--spool", f"service-{number}.spool", "--drain-delay", "200ms", "--poll", "50ms")

    async def call(self, session: ClientSession, logins: int) -> None:
        """A caller who asks for tokens, and now and then for a refresh, until it is cancelled.

        It goes to the other service when one does not listen, and comes again when it is told to.
        """
        while True:
            login, port = f"login-{random.randrange(logins)}", random.choice(self.ports)
            method, path = random.choice((("GET", "tokens"), ("GET", "tokens"), ("POST", "refresh")))
            url = f"http://127.0.0.1:{port}/v1/logins/{login}/{path}"
            try:
                async with session.request(method, url, headers={"Authorization": f"Bearer {self.key}"}) as response:
                    document = await response.json()
                    told = f"{response.status} {document.get('reason', '')}".strip()
                    if response.status != 200 and (told.split()[0] != "503" or "Retry-After" not in response.headers):
                        told = f"wrong: {told}"
            except ClientError as error:
                told = f"no answer: {type(error).__name__}"
            self.answers[told] += 1
            await asyncio.sleep(0.01)


async def restart_in_turn(
    *, logins: int, callers: int, workers: int, rounds: int, url: str | None = None
) -> Counter[str]:
    """Restart each process `rounds` times while callers call. Gives how these were answered.

    The store is at `url`; None: an SQLite file. Raises `AssertionError` where a token is lost, or was sent twice.
    """
    with tempfile.TemporaryDirectory() as folder:
        async with FakeMesh() as fake:
            fleet = await _make(fake, Path(folder), url or f"{folder}/fleet.db", logins)
            async with ClientSession() as session:
                await _turn(fleet, session, logins=logins, callers=callers, workers=workers, rounds=rounds)
            await _check(fleet, logins)
    return fleet.answers


async def _make(fake: FakeMesh, folder: Path, where: str, logins: int) -> Fleet:
    fake.client_secret = "a-secret-for-the-test"
    seal = Cipher.generate_key()
    key, text = AccessKey.generate("caller", [Scope.TOKENS, Scope.OPERATE])
    change_keys(folder / "access.toml", add_key(key))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "MESH_BASE_URL": fake.base_url,
        "MESH_CLIENT_ID": fake.client_id,
        "MESH_CLIENT_SECRET": fake.client_secret,
        "MESH_REFRESH_STORE": where,
        "MESH_REFRESH_KEYS": seal,
    }
    fleet = Fleet(fake, folder, environment, (_free_port(), _free_port()), str.__str__(text))
    migrating = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mesh_refresh", "migrate"), env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    assert await migrating.wait() == 0
    async with fleet.open() as store, fake.client() as mesh, Keeper(mesh, store, background=False) as keeper:
        await keeper.add_many((f"login-{number}", fake.login("coinbase").token) for number in range(logins))
    return fleet


async def _turn(fleet: Fleet, session: ClientSession, *, logins: int, callers: int, workers: int, rounds: int) -> None:
    commands = [*(fleet.service(number) for number in range(2)), *(fleet.worker(number) for number in range(workers))]
    async with AsyncExitStack() as last:
        running = [AsyncExitStack() for _ in commands]
        for stack, command in zip(running, commands, strict=True):
            await last.enter_async_context(stack)
            await stack.enter_async_context(fleet.process(*command))
        calling = [asyncio.create_task(fleet.call(session, logins)) for _ in range(callers)]
        for _ in range(rounds):
            for stack, command in zip(running, commands, strict=True):
                await stack.aclose()
                await stack.enter_async_context(fleet.process(*command))
        for task in calling:
            task.cancel()
        await asyncio.gather(*calling, return_exceptions=True)


async def _check(fleet: Fleet, logins: int) -> None:
    """Raise `AssertionError` where a token is lost, or was sent twice."""
    async with fleet.open() as store:
        found = [await store.get(f"login-{number}") for number in range(logins)]
    held = [account.tokens for login in found if login is not None for account in login.accounts]
    assert len(held) == logins
    assert not fleet.fake.lost(held)
    assert not fleet.fake.reuses


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def main() -> None:
    """Run it, and print how the calls were answered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="restarts of each process")
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL of its own, and not on SQLite")
    options = parser.parse_args()
    with own_server() if options.postgres else nullcontext() as server:
        url = None if server is None else server.url(new_schema())
        turns = restart_in_turn(logins=200, callers=16, workers=3, rounds=options.rounds, url=url)
        answers = asyncio.run(turns)
    sys.stdout.writelines(f"{number:8,}  {told}\n" for told, number in answers.most_common())
    if any(told.startswith("wrong") for told in answers):
        raise SystemExit("an answer was neither 200 nor 503 with Retry-After")
    sys.stdout.write("no token was lost, and none was sent twice\n")


if __name__ == "__main__":
    main()
