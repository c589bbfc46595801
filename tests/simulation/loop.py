"""simloop's event loop, with processes that die or stand still between any two of its steps.

simloop's own `crash` cancels a machine's tasks, and tasks that refuse a cancel would survive it. A process that is
killed here takes no further step: whatever of it is ready or will be is dropped.
"""

import asyncio
import hashlib
import importlib
import random
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

_simloop: Any = importlib.import_module("simloop")
_net: Any = importlib.import_module("simloop._net")
_HOST: Any = _net._current_host  # noqa: SLF001 - simloop does not tell otherwise whose step it is

SERVER = "mesh"
_STEP = 1e-6
"""Seconds that a step takes. A clock that stands still while somebody computes is one that no machine has."""


class Enough(Exception):
    """A world has shown what it is there for."""


class Stuck(Exception):
    """A world took more steps than any sound one does: something in it goes round and round."""


class _Future(asyncio.Future[Any]):
    """Hashed by its number, so that a set of futures has the same order in every process."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class _Mute:
    """In place of simloop's recorder: the log of choices tells two runs apart as well, and is small."""

    events: tuple[Any, ...] = ()

    def record(self, *_: Any) -> None:
        pass

    def __len__(self) -> int:
        return 0


class _Bound:
    """What aiohttp asks of a listening socket."""

    def __init__(self, port: int) -> None:
        self._port = port

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", self._port


class _Server(_net.SimServer):  # type: ignore[misc]
    @property
    def sockets(self) -> tuple[Any, ...]:
        return (_Bound(self._port),)


class _Network(_net.SimNetwork):  # type: ignore[misc]
    def name_server(self) -> None:
        self.host(SERVER)
        self._names["127.0.0.1"] = SERVER

    def streams_of(self, host: str) -> list[Any]:
        """Taken out of the network: nothing arrives at them any more."""
        return [self._streams.pop(key) for key in [key for key in self._streams if key[1] == host]]

    def silence(self, host: str) -> None:
        self._alive[host] = False


class Loop(_simloop.SimLoop):  # type: ignore[misc]
    """One world's loop. Hosts of simloop's network are the processes; `SERVER` is where 127.0.0.1 is."""

    def __init__(self, seed: int, most_steps: int) -> None:
        super().__init__(seed)
        self._recorder = _Mute()
        self._draw = random.Random(f"{seed}:steps").random
        self._most_steps = most_steps
        self._futures = 0
        self.steps = 0
        self.enough = False
        """The world ends before its next step."""
        self.dead: set[str] = set()
        self.stopped: dict[str, list[Any]] = {}
        self.complaints: list[str] = []
        self._later: list[tuple[int, Callable[[], None]]] = []
        self._graves: list[Any] = []
        self.set_exception_handler(self._complain)
        self.net.__class__ = _Network
        self.net.name_server()

    @property
    def now(self) -> float:
        """Seconds since the world began. No machine's clock is asked."""
        return float(self._now)

    # What simloop does, but for the dead.

    def _step(self) -> None:
        self.steps += 1
        self._now += _STEP
        if self.enough:
            raise Enough
        if self.steps > self._most_steps:
            raise Stuck(f"more than {self._most_steps} steps")
        while self._later and self._later[0][0] <= self.steps:
            self._later.pop(0)[1]()
        ready = self._ready
        while not ready:
            self._advance_clock()
        index = int(self._draw() * len(ready))
        self._choice_log.append(index)
        entry = ready[index]
        ready[index] = ready[-1]
        ready.pop()
        handle = entry[2]
        if handle.cancelled():
            return
        host = handle.get_context().get(_HOST, "driver")
        if host in self.dead:
            self._graves.append(handle)
        elif host in self.stopped:
            self.stopped[host].append(entry)
        else:
            handle._run()  # noqa: SLF001 - as every event loop does

    def create_future(self) -> asyncio.Future[Any]:
        future = _Future(loop=self)
        self._futures += 1
        future.number = self._futures
        return future

    async def create_server(self, *args: Any, **options: Any) -> Any:
        options.pop("reuse_address", None)
        server = await super().create_server(*args, **options)
        server.__class__ = _Server
        return server

    # Processes.

    def start(self, host: str, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = self.net.host(host).create_task(coroutine)
        return task

    def after_steps(self, steps: int, call: Callable[[], None]) -> None:
        """Do it between two steps, so many from now."""
        self._later.append((self.steps + steps, call))
        self._later.sort(key=lambda item: item[0])

    def kill(self, host: str, *, silent: bool) -> None:
        """No task of it takes a step again. Its peers see its connections reset, or (`silent`) nothing at all."""
        self.dead.add(host)
        # Kept until the world ends: a coroutine that is collected runs its `finally`, which a dead process does not.
        self._graves += [task for task in asyncio.all_tasks(self) if _host_of(task) == host]
        self._graves.append(self.stopped.pop(host, None))
        for transport in self.net.streams_of(host):
            self._graves.append(transport)
            if not silent and not transport._closed:  # noqa: SLF001 - one that is only closing sends a reset too
                transport._send("rst")  # noqa: SLF001 - `abort` would run code of the dead
        if silent:
            self.net.silence(host)

    def stop_process(self, host: str) -> None:
        """As SIGSTOP does."""
        self.stopped.setdefault(host, [])

    def continue_process(self, host: str) -> None:
        """As SIGCONT does."""
        self._ready.extend(self.stopped.pop(host, ()))

    # Afterwards.

    def fingerprint(self, *more: object) -> str:
        """The same for two runs that took the same steps."""
        digest = hashlib.sha256(self._choice_log.tobytes())
        digest.update(repr((self._now, self.steps, *more)).encode())
        return digest.hexdigest()[:32]

    def finish(self) -> None:
        """Let go of everything, without letting it run."""
        self.complaints = list(self.complaints)
        self.set_exception_handler(lambda *_: None)
        self.close()

    def _complain(self, _: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        message = str(context.get("message"))
        if "was destroyed but it is pending" not in message:
            # aiohttp's server, when it is stopped between two requests of a connection.
            if "'NoneType' object is not callable" in repr(error):
                return
            where = traceback.format_tb(error.__traceback__)[-1:] if isinstance(error, BaseException) else []
            self.complaints.append(f"{message} {error!r} {' '.join(where)}")


def _host_of(task: "asyncio.Task[Any]") -> str:
    found: str = task.get_context().get(_HOST, "driver")  # type: ignore[attr-defined, unused-ignore]
    return found
