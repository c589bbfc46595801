"""Starts, watches, kills and stops the process of the worker."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure
from mesh_refresh.masking import MaskedDict

OnEvent = Callable[[Mapping[str, Any]], None]

_LOG = "worker.log"
_MODULE = "mesh_refresh.cli.demo.worker"
"""Not imported here: running a module that has been imported gives a warning."""


class Worker:
    """Starts one process after the other; at most one runs. Leaving it kills the process that is left."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *, fast: bool) -> None:
        self._folder, self._fast = folder, fast
        # The worker needs the import path of this process, because it runs in another folder.
        path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        self._environment = MaskedDict({**os.environ, **environment, "PYTHONPATH": path})
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ends = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill_and_wait()  # there is no real token to wait for

    async def start(self, on_event: OnEvent, group: asyncio.TaskGroup) -> int:
        """Start a process, and pass its events to `on_event`. Returns its id once its keeper works.

        An end of the process without a kill or a stop is a `Failure` in `group`.
        """
        with (self._folder / _LOG).open("ab") as log:
            # A session of its own, so that Ctrl-C reaches the demo only.
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", _MODULE, *(["--fast"] if self._fast else []),
                stdin=PIPE, stdout=PIPE, stderr=log,
                cwd=self._folder, env=self._environment, start_new_session=True,
            )  # fmt: skip
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._process, self._ends = process, False
        self._reading = group.create_task(self._read(process, on_event, ready))
        await ready
        return process.pid

    async def kill_and_wait(self) -> bool:
        """``kill -9``, and wait until the process is gone. Whether the kill is what ended it."""
        self._ends = True
        if self._process is None:
            return False
        if self._process.returncode is None:
            self._process.kill()
        await self._wait_for(self._process)
        return self._process.returncode == -signal.SIGKILL

    async def stop(self) -> None:
        """Send SIGTERM: the worker finishes its exchanges. Raises `Failure` if it fails."""
        self._ends = True
        process = self._process
        if process is not None:
            if process.returncode is None:
                process.terminate()
            await self._wait_for(process)
            self._check(process)

    def _check(self, process: Process) -> None:
        code = process.returncode
        if code:
            lines = (self._folder / _LOG).read_text(errors="replace").splitlines()
            why = lines[-1] if lines and code > 0 else f"it ended with {code}"
            raise Failure(f"The worker of the demo failed: {why}", Exit.FAILED)

    async def _wait_for(self, process: Process) -> None:
        await process.wait()
        if self._reading is not None:
            await asyncio.wait((self._reading,))

    async def _read(self, process: Process, on_event: OnEvent, ready: "asyncio.Future[None]") -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        async for line in process.stdout:
            if not line.endswith(b"\n"):
                break  # cut by the kill
            if not ready.done():
                ready.set_result(None)
            else:
                on_event(json.loads(line))
        await process.wait()
        if not self._ends:
            self._check(process)
            raise Failure("The worker of the demo ended by itself. Please report this line.", Exit.FAILED)
