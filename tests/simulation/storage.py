"""The store as the processes of a world see it: slow, sometimes gone, and watched."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, Protocol, TypeVar

from mesh_refresh.stores import (
    BrokerPause,
    Busy,
    ClaimRequest,
    Count,
    NoticeRow,
    Outbox,
    Page,
    Row,
    Store,
    StoreUnavailable,
)
from tests.simulation.telling import SimOutbox, Telling
from tests.stores.open_memory import OpenMemory

_T = TypeVar("_T")


class Watcher(Protocol):
    """Who is shown every write."""

    def written(self, before: Row | None, after: Row | None) -> None: ...


class SimStore(Store):
    """One process's way to the memory that all of them share.

    A verb takes a while before and after its one atomic step, so that a process can die on either side of it. While it
    is `gone`, it raises, and where `gone` says so after having done its work.
    """

    def __init__(
        self, memory: OpenMemory, chance: Random, latency: float, watcher: Watcher, telling: Telling | None = None
    ) -> None:
        self.cipher, self.store_id = memory.cipher, memory.store_id
        self.memory = self._memory = memory
        self._chance, self._latency, self._watcher = chance, latency, watcher
        self.gone: float = 0.0
        """The share of verbs that fail."""
        self.gone_after: float = 0.5
        """Of these, the share that have done their work."""
        self.only_swaps = False
        """As where a disk is full: everything else works."""
        self.stuck = 0
        """So many of the next writes do not come through before `stuck_until`, as on a connection that hangs."""
        self.stuck_until = 0.0
        self.hangs_until = 0.0
        """No verb comes through before, as on a connection that hangs."""
        self.failures = 0
        self._telling = telling
        self._outbox: Any = None if telling is None else SimOutbox(memory, self._call, telling)

    @property
    def outbox(self) -> Outbox | None:
        found: Outbox | None = self._outbox
        return found

    def _written(self, before: Row | None, after: Row | None, notices: Sequence[NoticeRow]) -> None:
        self._watcher.written(before, after)
        if self._telling is not None:
            self._telling.note(self._memory, notices)

    async def _call(self, verb: Callable[[], Coroutine[Any, Any, _T]], *, swap: bool = False) -> _T:
        await self._pause()
        hangs = self.hangs_until - asyncio.get_running_loop().time()
        if hangs > 0:
            await asyncio.sleep(hangs)
        left = self.stuck_until - asyncio.get_running_loop().time()
        if swap and self.stuck and left > 0:
            self.stuck -= 1
            await asyncio.sleep(left)
        fails = self.gone > 0 and (swap or not self.only_swaps) and self._chance.random() < self.gone
        if fails and self._chance.random() >= self.gone_after:
            self.failures += 1
            raise StoreUnavailable
        result = await verb()
        await self._pause()
        if fails:
            self.failures += 1
            raise StoreUnavailable("The store broke off after it had done its work.")
        return result

    async def _pause(self) -> None:
        draw = self._chance.random()
        if draw < 0.3:
            await asyncio.sleep(self._latency * self._chance.random())
        elif draw < 0.5:
            await asyncio.sleep(0)

    def _row(self, login_id: str) -> Row | None:
        kept = self._memory.kept(login_id)
        return None if kept is None else kept.row

    async def insert(self, row: Row, *, notices: Sequence[NoticeRow] = ()) -> bool:
        async def verb() -> bool:
            done = await self._memory.insert(row, notices=notices)
            if done:
                self._written(None, self._row(row.login_id), notices)
            return done

        return await self._call(verb)

    async def read(self, login_id: str) -> Row | None:
        return await self._call(lambda: self._memory.read(login_id))

    async def swap(
        self,
        row: Row,
        *,
        owner: str | None = None,
        hold: timedelta = timedelta(),
        notices: Sequence[NoticeRow] = (),
    ) -> bool:
        async def verb() -> bool:
            before = self._row(row.login_id)
            done = await self._memory.swap(row, owner=owner, hold=hold, notices=notices)
            if done:
                self._written(before, self._row(row.login_id), notices)
            return done

        telling = self._telling if notices else None
        return await self._call(verb if telling is None else lambda: telling.outbox_call(verb), swap=True)

    async def claim(self, request: ClaimRequest) -> Sequence[Row]:
        return await self._call(lambda: self._memory.claim(request))

    async def claim_one(self, login_id: str, owner: str, lease: timedelta, *, sends: bool = True) -> Row | Busy | None:
        return await self._call(lambda: self._memory.claim_one(login_id, owner, lease, sends=sends))

    async def release(self, login_id: str, owner: str, hold: timedelta) -> bool:
        return await self._call(lambda: self._memory.release(login_id, owner, hold))

    async def delete(self, login_id: str, *, seen: Row | None = None) -> bool:
        async def verb() -> bool:
            before = self._row(login_id)
            done = await self._memory.delete(login_id, seen=seen)
            if done:
                self._watcher.written(before, None)
                if self._telling is not None:
                    self._telling.removed(login_id)
            return done

        return await self._call(verb)

    async def rows(self, page: Page) -> Sequence[Row]:
        return await self._call(lambda: self._memory.rows(page))

    async def counts(self, now: datetime) -> Sequence[Count]:
        return await self._call(lambda: self._memory.counts(now))

    async def due_by_hour(self, now: datetime, hours: int = 24) -> Sequence[int]:
        return await self._call(lambda: self._memory.due_by_hour(now, hours))

    async def pause(
        self, broker: str, *, paused: bool = True, note: str = "", by: str = "", at: datetime | None = None
    ) -> None:
        return await self._call(lambda: self._memory.pause(broker, paused=paused, note=note, by=by, at=at))

    async def paused(self) -> dict[str, BrokerPause]:
        return await self._call(self._memory.paused)

    async def resumed(self) -> dict[str, datetime]:
        return await self._call(self._memory.resumed)

    async def aclose(self) -> None:
        pass
