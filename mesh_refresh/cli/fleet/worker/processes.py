"""``mesh-refresh run --processes``: starts workers, starts them again, ends them, and sums up what they did."""

import asyncio
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from socket import socketpair
from tempfile import TemporaryDirectory

from attrs import define, field

from mesh_refresh.cli.fleet.support.listen_options import ListenOptions
from mesh_refresh.cli.fleet.worker.tally import list_events
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.loop import Loop
from mesh_refresh.cli.terminal.messages import Failure, format_count
from mesh_refresh.service.processes import Processes
from mesh_refresh.service.supervision import Supervision

_log = logging.getLogger("mesh_refresh.cli")

_SHORT_LIFE = 60.0
"""Seconds. A process that ends sooner than that after its start has failed to work."""
_FIRST_WAIT = 1.0
"""Seconds before a process is started again; doubled with each short life."""
_SHORT_LIVES = 5
"""So many in a row, and nobody believes in the next one. The waits between them stay below a watchdog of systemd."""
_HOPELESS = frozenset({Exit.INVALID, Exit.STORE})
"""Exit codes that another start would end with too."""


_CHILD = (sys.executable, "-P", "-m", "mesh_refresh.cli.fleet.worker.child")
"""With -P, a module in the working folder is not taken for one of ours."""
_STDIN = 0
_LONGEST_REPORT = 65_536


def wait_before_restart(short_lives: int) -> float | None:
    """Seconds until a process is started again, after so many short lives in a row. None: it is not."""
    return None if short_lives >= _SHORT_LIVES else _FIRST_WAIT * 2.0 ** max(0, short_lives - 1)


def run_processes(listen: ListenOptions, count: int) -> int:
    """Run `count` workers with the command line of this process, until a signal comes. Returns the exit code."""
    if os.name != "posix":
        raise Failure(
            "--processes needs a POSIX system: a process passes signals on to others, and asks them on sockets."
        )
    try:
        folder = TemporaryDirectory(prefix="mesh-refresh-", ignore_cleanup_errors=True)  # of mode 0700
    except OSError:
        raise Failure("There is no folder for the sockets of the processes: let TMPDIR name one.") from None
    with folder as path:
        names = map(str, range(1, count + 1))
        processes = Processes(sockets={name: Path(path, f"{name}.sock") for name in names})
        workers = Workers(processes, listen.supervise(processes) or Supervision(processes), sys.argv[1:])
        return workers.run()


@define
class Workers:
    """The processes, each kept running by a task of its own."""

    processes: Processes
    supervision: Supervision
    arguments: Sequence[str]
    """Of the command line, which is that of each process too."""
    _stack: AsyncExitStack = field(factory=AsyncExitStack, init=False)
    _tasks: "list[asyncio.Task[int]]" = field(factory=list, init=False)
    _running: dict[str, Process] = field(factory=dict, init=False)
    _events: Counter[str] = field(factory=Counter, init=False)
    """How many events of each class the processes that have ended told of."""
    _restarts: int = field(default=0, init=False)
    _unreported: int = field(default=0, init=False)
    """Processes that ended without a report."""
    _one_works: "asyncio.Future[None]" = field(init=False)
    """Until the first process works, no other is started: what is wrong with all is told once."""
    _ending: "asyncio.Future[None]" = field(init=False)

    def run(self) -> int:
        """Keep the processes running until a signal comes, then end them. Returns the exit code."""
        with Loop(on_impatience=self._hurry) as loop:
            received = signal.SIGTERM
            codes: list[int] = [Exit.FAILED]
            try:
                loop.run(self._begin())
                codes = [loop.run(self._wait())]
            except KeyboardInterrupt:
                codes, received = [], loop.received or signal.SIGINT
                loop.run(self.supervision.linger())
                _log.info("%s: the workers are told to end", received.name)
            finally:
                loop.closing()
                ends = loop.run(self._end(received))
        if not codes:
            codes = [loop.exit_code if end == -received else end for end in ends]
        _log.info("the %d workers have stopped: %s", len(ends), self._sum_up(are_saved=not any(codes)))
        return _worst(codes)

    async def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._one_works, self._ending = loop.create_future(), loop.create_future()
        self.processes.on_ready = self._on_ready
        await self._stack.enter_async_context(self.supervision)
        self.supervision.begin("the workers are being started")
        self._tasks = [asyncio.create_task(self._keep(name)) for name in self.processes.sockets]

    async def _wait(self) -> int:
        """Wait until a process ends that is not started again. Returns its exit code."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()

    async def _end(self, number: int) -> list[int]:
        """Send the signal to the processes, and wait for their ends. Returns their exit codes."""
        self.supervision.end()
        if self._tasks:
            self._ending.set_result(None)
        self._signal(number)
        try:
            return await asyncio.gather(*self._tasks)
        finally:
            await self._stack.aclose()

    def _hurry(self) -> None:
        """A further signal has come: the processes are told too, and say what they wait for."""
        if not self.supervision.hurry():
            self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.send_signal(number)

    def _on_ready(self) -> None:
        if not self._one_works.done():
            self._one_works.set_result(None)
        if self.processes.has_started:
            _log.info("all %d workers have started", len(self._tasks))
            self.supervision.work()

    async def _keep(self, name: str) -> int:
        """Start a process, and start it again when it ends. Returns the exit code that it ended with for good."""
        if name != next(iter(self.processes.sockets)):
            await asyncio.wait((self._one_works, self._ending), return_when=asyncio.FIRST_COMPLETED)
        loop, short_lives = asyncio.get_running_loop(), 0
        while not self._ending.done():
            began = loop.time()
            code = await self._live(name)
            if code in _HOPELESS:
                return code  # it has said why
            if self._ending.done():
                if code:
                    _log.warning("worker %s has ended %s", name, _how(code))
                return code
            short_lives = short_lives + 1 if loop.time() - began < _SHORT_LIFE else 0
            wait = wait_before_restart(short_lives)
            if wait is None:
                _log.error("worker %s has ended %s, %d times in a row at once", name, _how(code), short_lives)
                return code
            self.processes.ended(name, f"it has ended {_how(code)}, and is started again")
            _log.warning("worker %s has ended %s, and is started again in %.0f s", name, _how(code), wait)
            self._restarts += 1
            await asyncio.wait((self._ending,), timeout=wait)
        return Exit.REFRESHED

    async def _live(self, name: str) -> int:
        """Start a process, and wait for its end. Returns its exit code, of a signal the number below zero."""
        with ExitStack() as sockets:
            try:
                ours, theirs = map(sockets.enter_context, socketpair())
                # A session of its own: Ctrl-C at a terminal reaches this process only, which passes it on once.
                process = await asyncio.create_subprocess_exec(
                    *(*_CHILD, name, str(self.processes.sockets[name]), *self.arguments),
                    stdin=theirs.fileno(),
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
                    start_new_session=True,
                )
            except OSError as error:
                _log.error("worker %s cannot be started: %s", name, error.strerror or type(error).__name__)
                return Exit.FAILED
            self._running[name] = process
            if self._ending.done():
                process.terminate()
            watching = asyncio.create_task(self.processes.watch(name))
            try:
                code = await process.wait()
            finally:
                watching.cancel()
                del self._running[name]
            report = b""
            ours.settimeout(0)  # its end does not come while a process that the worker has started lives
            with suppress(OSError):
                report = ours.recv(_LONGEST_REPORT)
        if report:
            self._events.update(json.loads(report))
        self._unreported += not report and code < 0
        return code

    def _sum_up(self, *, are_saved: bool) -> str:
        parts = list_events(self._events)
        if self._restarts:
            parts.append(format_count(self._restarts, "restart"))
        if self._unreported:
            parts.append(f"{format_count(self._unreported, 'process', 'processes')} killed and not counted")
        told = ", ".join(parts) or "nothing was refreshed"
        return f"{told}; all results are in the store" if are_saved else told


def report_events(events: Mapping[str, int]) -> None:
    """Tell the parent of this process how many events of each class it had."""
    with suppress(OSError):  # the parent is gone
        os.write(_STDIN, json.dumps(events).encode())


def _how(code: int) -> str:
    return f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"


def _worst(codes: Sequence[int]) -> int:
    """The exit code of all together: that of the worst, and of a signal where nothing is worse."""
    failed = [Exit.FAILED if code < 0 else code for code in codes if code and code < Exit.HUNG_UP]
    return max(failed or codes)
