"""What several processes show as one: their probes, and their series."""

import asyncio
import time
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, field

from mesh_refresh.service.web.metrics import Collecting, join_series
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.telemetry import PrometheusObserver

_EVERY, _AT_START = 2.0, 0.1
"""Seconds between two questions to a process: in general, and until it is ready for the first time."""
_PATIENCE = 2.0
"""Seconds that a process has for an answer."""
_SILENT, _TO_START = 10.0, 60.0
"""Seconds without an answer after which a process counts as dead: in general, and after its start."""


@define
class _Seen:
    """What is known of a process."""

    at: float = inf
    """When it was started or answered, of a clock that never goes back; infinity: it is not asked."""
    patience: float = _TO_START
    """Seconds that it may be silent from then on."""
    alive: bool = True
    ready: bool = False
    problems: tuple[str, ...] = ("it has not been started yet",)


@define
class Processes(Probes):
    """The probes of several processes, which answer on sockets of their own.

    All must be alive, and all must be ready. One that has not answered for 10 seconds is neither; after its start
    it has a minute.
    """

    sockets: Mapping[str, Path] = field(kw_only=True)
    """By the name of the process."""
    on_ready: Callable[[], object] = field(default=lambda: None, kw_only=True)
    """Called when a process is ready for the first time."""
    now: Callable[[], float] = field(default=time.monotonic, kw_only=True)
    _seen: dict[str, _Seen] = field(init=False)
    _opened: set[str] = field(factory=set, init=False)
    """Those that have been ready."""

    def __attrs_post_init__(self) -> None:
        self._seen = {name: _Seen() for name in self.sockets}

    @property
    def has_started(self) -> bool:
        """Whether each has been ready."""
        return len(self._opened) == len(self.sockets)

    @property
    def alive(self) -> bool:
        """False: one of them is dead, or silent."""
        return self.is_ending or all(seen.alive and not self._silence(seen) for seen in self._seen.values())

    @property
    def ready(self) -> bool:
        """Whether all are."""
        return not self.is_ending and all(seen.ready and not self._silence(seen) for seen in self._seen.values())

    @property
    def problems(self) -> tuple[str, ...]:
        """Those of each process, with its name."""
        if self.is_ending:
            return ("the process is ending",)
        told = []
        for name, seen in self._seen.items():
            silence = self._silence(seen)
            problems = (f"it has not answered for {silence:.0f} s",) if silence else seen.problems
            told += [f"process {name}: {problem}" for problem in problems]
        return tuple(told)

    async def series(self, observer: PrometheusObserver | None) -> Collecting | None:
        """The series of all processes. Those of a process that does not answer are absent."""
        if observer is None:
            return None
        asked = (self._get(name, "metrics", aiohttp.ClientResponse.text) for name in self.sockets)
        answers = zip(self.sockets, await asyncio.gather(*asked), strict=True)
        return join_series({name: text for name, text in answers if text is not None})

    def ended(self, name: str, why: str) -> None:
        """A process has ended, and is started again later."""
        self._seen[name] = _Seen(alive=False, problems=(why,))

    async def watch(self, name: str) -> None:
        """Ask a process that was just started how it is, until this is cancelled."""
        seen = self._seen[name] = _Seen(self.now(), problems=("it is starting",))
        while True:
            await self._ask(name, seen)
            if seen.ready and name not in self._opened:
                self._opened.add(name)
                self.on_ready()
            await asyncio.sleep(_EVERY if name in self._opened else _AT_START)

    async def _ask(self, name: str, seen: _Seen) -> None:
        lives = await self._get(name, "livez", aiohttp.ClientResponse.json)
        ready = await self._get(name, "readyz", aiohttp.ClientResponse.json)
        if lives is not None and ready is not None:
            seen.at, seen.patience, seen.alive = self.now(), _SILENT, lives["alive"]
            seen.ready, seen.problems = ready["ready"], tuple(ready["problems"])

    async def _get(self, name: str, what: str, read: Callable[[aiohttp.ClientResponse], Any]) -> Any:
        """What a process answers; None: nothing in time."""
        timeout = aiohttp.ClientTimeout(total=_PATIENCE)
        connector = aiohttp.UnixConnector(str(self.sockets[name]))
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.get(f"http://localhost/{what}") as answer,
            ):
                return await read(answer)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    def _silence(self, seen: _Seen) -> float:
        """Seconds since it answered, where it should have answered since; 0 else."""
        silent = self.now() - seen.at
        return silent if silent >= seen.patience else 0.0
