"""A keeper process, as whoever started it has it in hand."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import asdict, define, field

from tests.keeper.processes.worker import Settings

ROOT = Path(__file__).parents[3]
PATIENCE = 60.0
"""Seconds after which a test does not wait any longer, and fails."""


@define(eq=False)
class Worker:
    """One keeper process: its orders go in, and its notes come out."""

    name: str
    process: asyncio.subprocess.Process
    notes: list[dict[str, Any]] = field(factory=list, repr=False)
    _more: asyncio.Event = field(factory=asyncio.Event, repr=False)
    _reader: "asyncio.Task[None] | None" = field(default=None, repr=False)
    _orders: int = 0

    @classmethod
    async def start(cls, settings: Settings, secrets: dict[str, str]) -> "Worker":
        """A process that has imported everything, and waits for `go`."""
        command = [sys.executable, "-W", "error", "-m", "tests.keeper.processes.worker"]
        process = await asyncio.create_subprocess_exec(
            *command,
            json.dumps(asdict(settings)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **secrets},
        )
        worker = cls(settings.name, process)
        worker._reader = asyncio.create_task(worker._read())
        await worker.told("ready")
        return worker

    async def go(self) -> "Worker":
        """Let it begin, and wait until it has."""
        await self.begin()
        await self.told("started")
        return self

    async def begin(self) -> None:
        """Let it begin."""
        await self._write(b"\n")

    # What it says.

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            # The last line of a process that is killed may be cut.
            with suppress(ValueError):
                self.notes.append(json.loads(line))
                self._tell()
        self.notes.append({"kind": "gone"})
        self._tell()

    def _tell(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    def of(self, kind: str, **facts: Any) -> list[dict[str, Any]]:
        """Its notes of that kind so far."""
        wanted = {"kind": kind, **facts}.items()
        return [note for note in self.notes if wanted <= _flat(note)]

    async def until(self, met: Callable[["Worker"], bool]) -> None:
        """Wait until `met` holds; asked again with each note."""
        async with asyncio.timeout(PATIENCE):
            while not met(self):
                if self.of("gone"):
                    raise AssertionError(f"{self.name} is gone: {self.notes[-5:]}")
                await self._more.wait()

    async def told(self, kind: str, **facts: Any) -> dict[str, Any]:
        """Wait for such a note."""
        await self.until(lambda it: bool(it.of(kind, **facts)))
        return self.of(kind, **facts)[0]

    # What it is told.

    async def order(self, do: str, **facts: Any) -> int:
        """Have it do something, and do not wait for that."""
        self._orders += 1
        await self._write(json.dumps({"id": self._orders, "do": do, **facts}).encode() + b"\n")
        return self._orders

    async def ask(self, do: str, **facts: Any) -> dict[str, Any]:
        """What came of an order."""
        return await self.told("answer", id=await self.order(do, **facts))

    async def _write(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        with suppress(ConnectionError):  # it was killed
            await self.process.stdin.drain()

    # What is done to it.

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def kill(self) -> None:
        """``kill -9``; comes back when it is gone, and everything that it said is read."""
        self.signal(signal.SIGKILL)
        await self.over()

    async def stop(self) -> None:
        """SIGSTOP."""
        self.signal(signal.SIGSTOP)
        await self.stopped()

    async def stopped(self) -> None:
        """Wait until it stands still."""
        pid = self.process.pid
        async with asyncio.timeout(PATIENCE):
            await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WSTOPPED)

    def go_on(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    async def end(self) -> int:
        """SIGTERM; its exit code."""
        self.signal(signal.SIGTERM)
        return await self.over()

    async def over(self, patience: float | None = PATIENCE) -> int:
        """Wait until it is gone; its exit code."""
        async with asyncio.timeout(patience):
            code = await self.process.wait()
            if self._reader is not None:
                await self._reader
            if self.process.stdin is not None:
                self.process.stdin.close()
                with suppress(ConnectionError):
                    await self.process.stdin.wait_closed()
        return code


def _flat(note: dict[str, Any]) -> Any:
    """The facts that can be compared."""
    return {name: value for name, value in note.items() if not isinstance(value, list)}.items()
