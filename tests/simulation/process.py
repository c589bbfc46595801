"""One process with a keeper in it, from its start to its end, good or bad."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field

from mesh_refresh import MeshClient, Transport
from mesh_refresh.keeper import Keeper, Notice
from mesh_refresh.replies.outcomes import NotSaved, UnreadableReply
from tests.keeper.stage import runtime_of
from tests.simulation.choices import Choices
from tests.simulation.clock import Clock
from tests.simulation.judge import TOKEN, Judge
from tests.simulation.loop import Loop
from tests.simulation.sent import Span, keeper_of
from tests.simulation.storage import SimStore
from tests.simulation.strategies import MIXED, ODD, bare
from tests.simulation.telling import Telling


@define(eq=False)
class Process:
    """A life of one keeper. Another life of it is another process, with another name."""

    name: str
    loop: Loop
    judge: Judge
    store: SimStore
    clock: Clock
    choices: Choices
    names: Callable[[], str]
    spool: Path | None
    chance: Random
    transport: Transport | None = None
    telling: Telling | None = None
    """In worlds with handlers of notices."""
    odd: bool = False
    """Some of its brokers have strategies that keep tokens in another form."""
    keeper: Keeper | None = None
    mesh: MeshClient | None = None
    alive: bool = True
    stopped: bool = False
    ready: asyncio.Event = field(factory=asyncio.Event)
    leave: asyncio.Event = field(factory=asyncio.Event)
    ended: asyncio.Event = field(factory=asyncio.Event)
    running: "asyncio.Task[Any] | None" = None
    callers: list["asyncio.Task[Any]"] = field(factory=list)
    down: Span | None = None
    """From its end until the next life of its keeper is there."""

    def begin(self) -> None:
        """Run it."""
        self.judge.processes[self.name] = self
        self.running = self.loop.start(self.name, self._run())

    @property
    def usable(self) -> bool:
        return self.alive and not self.stopped and self.ready.is_set() and not self.leave.is_set()

    @property
    def core(self) -> Any:
        return None if self.keeper is None else runtime_of(self.keeper)

    def call(self, coroutine: Any) -> "asyncio.Task[Any]":
        """A caller's task in this process."""
        task = self.loop.start(self.name, coroutine)
        self.callers = [it for it in self.callers if not it.done()]
        self.callers.append(task)
        return task

    def die(self, *, silent: bool) -> None:
        """Everything in its memory is gone."""
        if not self.alive:
            return
        self.judge.dies(self.name)
        if self.telling is not None:
            self.telling.interrupted(self.name)
        self.alive = False
        core = self.core
        under_way = 0 if core is None else len(core.inflight.exchanges)
        self.judge.covered["crashes"] += 1
        self.judge.covered["exchanges under way at crashes"] += under_way
        self.loop.kill(self.name, silent=silent)
        self._down()
        self.ended.set()

    def _down(self) -> None:
        self.down = self.judge.hindrances.begin(keeper_of(self.name), self.loop.now)

    async def _run(self) -> None:
        fake = self.judge.fake
        try:
            async with MeshClient(
                fake.client_id,
                fake.client_secret,
                base_url=fake.base_url,
                retry=self.choices.retry,
                clock=self.clock,
                transport=self.transport,
                strategies=ODD if self.odd else MIXED,
            ) as self.mesh:
                await self._keep(self.mesh)
        except NotSaved as error:
            self.judge.covered["left with unsaved tokens"] += 1
            found = set(TOKEN.findall(" ".join(text for it in error.outcomes or () for text in _texts(it))))
            left = {it for it in found if not self.judge.excuses.spooled((it,))}
            self.judge.excuses.handed |= left
            if self.spool is not None and left:
                self.judge.violated(f"{self.name} was left with a pair that it did not spill")
        except Exception as error:  # noqa: BLE001 - whatever ends a keeper is the find of this simulation
            self.judge.violated(f"{self.name} ended with {type(error).__name__}: {error}")
        finally:
            self.alive = False
            self._down()
            self.ended.set()

    async def _keep(self, mesh: MeshClient) -> None:
        self.keeper = Keeper(
            mesh,
            self.store,
            policy=self.choices.policy,
            on_event=self._told,
            on_notice=None if self.telling is None else self._noticed,
            spool=self.spool,
            clock=self.clock,
            names=self.names,
            role=None,  # what a process reports of itself would make another world of each seed
        )
        async with self.keeper:
            self.ready.set()
            await self.leave.wait()

    async def _noticed(self, notice: Notice) -> None:
        assert self.telling is not None
        await self.telling.handle(self.name, self.store.memory, notice)

    async def _told(self, event: Any) -> None:
        self.judge.told(event)
        if self.chance.random() < 0.2:
            await asyncio.sleep(self.choices.deadline * self.chance.random())


def _texts(outcome: Any) -> Iterator[str]:
    """What an outcome that was not saved holds."""
    if isinstance(outcome, UnreadableReply):
        yield outcome.body.decode("utf-8", "replace")
    else:
        yield from (bare(it).refresh_token or "" for it in outcome.all_tokens)
