"""Ctrl-C under asyncio.run at every phase of an exchange, in a process of its own."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh import Tokens
from mesh_refresh.testing import FakeLogin, FakeMesh, Fault

ROOT = Path(__file__).parents[3]
WATCHDOG = 120
"""Seconds for the other program: minutes, because it may have to share the machine."""


class Program:
    """The other process."""

    def __init__(self, process: asyncio.subprocess.Process, file: Path) -> None:
        self.process, self.file = process, file

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    async def says(self, word: str) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            if line.decode().strip() == word:
                return
        raise AssertionError(f"it ended without having said {word!r}")

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b".")

    async def ends(self) -> int:
        return await self.process.wait()

    def saved(self) -> list[Tokens]:
        return [Tokens.from_json(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []


@asynccontextmanager
async def program(
    fake: FakeMesh, login: FakeLogin, folder: Path, phase: str = "", **options: Any
) -> AsyncIterator[Program]:
    """The other process, begun; it is to have ended at the end."""
    told = {
        "phase": phase,
        "client_id": fake.client_id,
        "secret": fake.client_secret,
        "base_url": fake.base_url,
        "tokens": login.token.to_json(),
        "file": str(folder / "saved"),
        "loop": "asyncio",
        "transport": None,
        "early": False,
        "handler": False,
        "stays_open": False,
        **options,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.client.ending.interrupted", json.dumps(told),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stderr is not None
    errors = asyncio.create_task(process.stderr.read())
    try:
        async with asyncio.timeout(WATCHDOG):
            yield Program(process, folder / "saved")
            await process.wait()
    except BaseException:
        if process.returncode is None:
            process.kill()
        print((await errors).decode())  # noqa: T201 - pytest shows it with the failure
        raise
    finally:
        await process.wait()
        said = (await errors).decode()
        assert process.stdin is not None
        process.stdin.close()
    assert "Task was destroyed" not in said
    assert fake.client_secret not in said


def nothing_sent(fake: FakeMesh, run: Program) -> None:
    assert fake.requests == []
    assert run.saved() == []
    assert fake.lost() == []


def saved_once(fake: FakeMesh, run: Program) -> None:
    assert fake.exchanges["succeeded"] == 1
    assert len(fake.requests) == 1
    fake.hold_tokens(run.saved())
    assert fake.lost() == []


OPEN = pytest.mark.parametrize("stays_open", [False, True], ids=["closes", "does not close"])


@OPEN
@pytest.mark.parametrize("phase", ["before connecting", "connecting", "connection in hand"])
async def test_before_the_bytes(fake: FakeMesh, tmp_path: Path, phase: str, stays_open: bool) -> None:
    """Ctrl-C before the bytes ends the program at once, and nothing was sent."""
    async with program(fake, fake.login("coinbase"), tmp_path, phase, stays_open=stays_open) as run:
        await run.says("here")
        run.interrupt()
        await run.says("cancelled")
        assert await run.ends() != 0
    nothing_sent(fake, run)


async def test_looking_up_a_name(fake: FakeMesh, tmp_path: Path) -> None:
    """Ctrl-C while the host's name is looked up ends the program, and nothing was sent."""
    url = fake.base_url.replace("127.0.0.1", "localhost")
    async with program(fake, fake.login("coinbase"), tmp_path, "looking up a name", base_url=url) as run:
        await run.says("here")
        run.interrupt()
        await run.says("cancelled")
        # asyncio.run waits for the thread that looks it up.
        run.go_on()
        assert await run.ends() != 0
    nothing_sent(fake, run)


async def test_between_attempts(fake: FakeMesh, tmp_path: Path) -> None:
    """Ctrl-C between two attempts ends the program at once, and the token is not spent."""
    fake.fail(Fault.throttle(600))
    async with program(fake, fake.login("coinbase"), tmp_path) as run:
        await run.says("here")
        run.interrupt()
        await run.says("cancelled")
        assert await run.ends() != 0
    assert len(fake.requests) == 1
    assert run.saved() == []
    assert fake.lost() == []


@OPEN
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("after_rotation", [False, True], ids=["before rotation", "after rotation"])
async def test_sent(fake: FakeMesh, tmp_path: Path, after_rotation: bool, loop: str, stays_open: bool) -> None:
    """Ctrl-C while Mesh works on the request: the pair is saved before the program ends."""
    gate = fake.hold(after_rotation=after_rotation)
    async with program(fake, fake.login("coinbase"), tmp_path, loop=loop, stays_open=stays_open) as run:
        await gate.entered.wait()
        run.interrupt()
        await run.says("cancelled")
        gate.release()
        assert await run.ends() != 0
    saved_once(fake, run)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_main_returns_early(fake: FakeMesh, tmp_path: Path, loop: str) -> None:
    """A main() that returns while a refresh runs: the pair is saved before the program ends."""
    gate = fake.hold()
    async with program(fake, fake.login("coinbase"), tmp_path, loop=loop, early=True) as run:
        await gate.entered.wait()
        run.go_on()
        await run.says("cancelled")
        gate.release()
        assert await run.ends() == 0
    saved_once(fake, run)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_handler_cancels_every_task(fake: FakeMesh, tmp_path: Path, loop: str) -> None:
    """A signal handler that cancels every task in the running loop: the pair is saved before the program ends."""
    gate = fake.hold(after_rotation=True)
    async with program(fake, fake.login("coinbase"), tmp_path, loop=loop, handler=True) as run:
        await gate.entered.wait()
        run.interrupt()
        await run.says("cancelled")
        gate.release()
        assert await run.ends() != 0
    saved_once(fake, run)


async def test_handler_cancels_the_hook(fake: FakeMesh, tmp_path: Path) -> None:
    """A signal handler that cancels every task does not reach on_outcome: it goes on, and saves."""
    async with program(fake, fake.login("coinbase"), tmp_path, "in the hook", handler=True) as run:
        await run.says("saving")
        run.interrupt()
        await run.says("cancelled")
        run.go_on()
        assert await run.ends() != 0
    saved_once(fake, run)


@OPEN
async def test_in_the_hook(fake: FakeMesh, tmp_path: Path, stays_open: bool) -> None:
    """Ctrl-C inside on_outcome: it goes on to its end, and has saved before the program ends."""
    async with program(fake, fake.login("coinbase"), tmp_path, "in the hook", stays_open=stays_open) as run:
        await run.says("saving")
        run.interrupt()
        await run.says("cancelled")
        run.go_on()
        assert await run.ends() != 0
    saved_once(fake, run)


async def test_half_the_reply(fake: FakeMesh, tmp_path: Path) -> None:
    """Ctrl-C when half of the reply has come: the rest is waited for, and the pair is saved."""
    half, rest = asyncio.Event(), asyncio.Event()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, down = await asyncio.open_connection(fake.server.host, fake.server.port)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-len"))
        down.write(head + await reader.readexactly(length))
        head = await upstream.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-len"))
        body = await upstream.readexactly(length)
        writer.write(head + body[: length // 2])
        await writer.drain()
        half.set()
        await rest.wait()
        writer.write(body[length // 2 :])
        await writer.drain()
        for end in (writer, down):
            end.close()
            await end.wait_closed()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with program(fake, fake.login("coinbase"), tmp_path, base_url=url) as run:
            await half.wait()
            run.interrupt()
            await run.says("cancelled")
            rest.set()
            assert await run.ends() != 0
    saved_once(fake, run)


@pytest.mark.parametrize("early", [False, True], ids=["Ctrl-C", "main returns"])
async def test_transport_of_the_user(fake: FakeMesh, tmp_path: Path, early: bool) -> None:
    """A transport of the user's, and what it awaits, outlive Ctrl-C and a main() that returns early."""
    gate = fake.hold(after_rotation=True)
    async with program(fake, fake.login("coinbase"), tmp_path, transport="plain", early=early) as run:
        await gate.entered.wait()
        if early:
            run.go_on()
        else:
            run.interrupt()
        await run.says("cancelled")
        gate.release()
        assert (await run.ends() == 0) == early
    saved_once(fake, run)


async def test_second_ctrl_c(fake: FakeMesh, tmp_path: Path) -> None:
    """An impatient second Ctrl-C while the program waits for the exchange may end it, and it does not hang."""
    gate = fake.hold(after_rotation=True)
    async with program(fake, fake.login("coinbase"), tmp_path) as run:
        await gate.entered.wait()
        run.interrupt()
        await run.says("cancelled")
        run.interrupt()
        gate.release()
        assert await run.ends() != 0
    assert len(fake.requests) == 1
