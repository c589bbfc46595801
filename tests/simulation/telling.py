"""Notices of a world: what was written, what handlers were given, and what must hold of both."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from random import Random
from typing import Any

from attrs import define, field

from mesh_refresh.keeper import Notice, NoticeKind, TryNoticeAgain
from mesh_refresh.keeper.notices import open_notice
from mesh_refresh.logins import AccountState, Login
from mesh_refresh.stores import MemoryStore, NoticeRow, StoreUnavailable
from tests.simulation.loop import Loop

_SAYS = {
    AccountState.ACTIVE: {"", "recovered", "mfa_done", "reconnect_soon"},
    AccountState.NOT_REFRESHABLE: {"", "recovered", "mfa_done", "reconnect_soon"},
    AccountState.MANAGED: {"", "recovered", "mfa_done"},
    AccountState.MFA_REQUIRED: {"mfa_needed"},
    AccountState.RECONNECT_REQUIRED: {"reconnect_required"},
    AccountState.UNREADABLE: {"unreadable"},
}
"""What the last notice of an account may say that is in this state."""


@define(eq=False)
class Telling:
    """Keeps book of the notices of a world, and decides how its handlers behave."""

    loop: Loop
    chance: Random
    unit: float
    span: float
    """How long handlers and outboxes have faults."""
    violated: Callable[[str], None]
    covered: Counter[str]
    written: dict[str, Notice] = field(factory=dict)
    of_login: dict[str, list[str]] = field(factory=dict)
    """The ids of each login in the order of writing, since it was removed last."""
    handled: set[str] = field(factory=set)
    _out: dict[tuple[str, int], dict[str, str]] = field(factory=dict)
    """Who is at work on a login's notices of a store: the ids, by the names of the processes."""

    @property
    def is_over(self) -> bool:
        return self.loop.now >= self.span

    def note(self, memory: MemoryStore, notices: Sequence[NoticeRow]) -> None:
        """These were written with a login."""
        for row in notices:
            notice = open_notice(memory.cipher, row)
            mine = self.of_login.setdefault(row.login_id, [])
            if row.id in self.written:
                self.violated(f"a notice of {row.login_id} was written twice")
            elif mine and notice.sequence <= self.written[mine[-1]].sequence:
                self.violated(f"a notice of {row.login_id} has no greater number than the one before")
            self.written[row.id] = notice
            mine.append(row.id)
            self.covered[f"notices: {notice.kind}"] += 1

    def removed(self, login_id: str) -> None:
        """Its notices are removed with it."""
        self.of_login.pop(login_id, None)

    def interrupted(self, host: str) -> None:
        """A process dies, or stands still: what it does is over, or may take longer than any lease."""
        for out in self._out.values():
            if out.pop(host, None) is not None:
                self.covered["handlers under way when a process died or stood still"] += 1

    def moved_away(self, notice_ids: Sequence[str]) -> None:
        """A copy takes them to the other store, also from under a handler; they may come back before that has ended."""
        for out in self._out.values():
            for host in [host for host, notice_id in out.items() if notice_id in notice_ids]:
                del out[host]

    async def handle(self, host: str, memory: MemoryStore, notice: Notice) -> None:
        """What a handler does: mostly its work. While the weather lasts, it may fail or hang."""
        self._begun(host, memory, notice)
        draw = 1.0 if self.is_over else self.chance.random()
        try:
            if draw < 0.06:
                self.covered["handlers that hang"] += 1
                await asyncio.sleep(1e6)
            await asyncio.sleep(self.unit * self.chance.random() / 2)
            if draw < 0.15:
                raise TryNoticeAgain(timedelta(seconds=self.unit * self.chance.random()))
            if draw < 0.3:
                raise OSError
        except BaseException:
            self.covered["handlers that fail"] += 1
            raise
        finally:
            self._out.get((notice.login_id, id(memory)), {}).pop(host, None)
        self.covered["notices taken again" if notice.id in self.handled else "notices taken"] += 1
        self.handled.add(notice.id)

    def _begun(self, host: str, memory: MemoryStore, notice: Notice) -> None:
        login_id = notice.login_id
        if self.written.get(notice.id) != notice:
            self.violated(f"a notice of {login_id} was invented")
        out = self._out.setdefault((login_id, id(memory)), {})
        if out:
            self.violated(f"two notices of {login_id} are out")
        out[host] = notice.id
        mine = self.of_login.get(login_id, [])
        before = mine[: mine.index(notice.id)] if notice.id in mine else []
        if not self.handled.issuperset(before):
            self.violated(f"a notice of {login_id} came before an earlier one")

    async def outbox_call(self, call: Callable[[], Any]) -> Any:
        """One verb of an outbox: some fail, before or after they have done their work."""
        fails, first = self.chance.random() < 0.08 and not self.is_over, self.chance.random() < 0.5
        if fails and first:
            raise StoreUnavailable
        result = await call()
        if fails:
            self.covered["acknowledgements of an outbox that were lost"] += 1
            raise StoreUnavailable("The outbox broke off after it had done its work.")
        return result

    def in_the_end(self, login: Login) -> Iterator[str]:
        """What is wrong with the notices of a login that is at home."""
        mine = [self.written[it] for it in self.of_login.get(login.login_id, [])]
        for notice in mine:
            if notice.id not in self.handled:
                yield f"{login.login_id} has a notice that no handler took: {notice.kind}"
        for account in login.accounts:
            name = account.tokens.account_id or account.tokens.mesh_account_id
            if [it.tokens.account_id or it.tokens.mesh_account_id for it in login.accounts].count(name) > 1:
                continue
            last = [str(it.kind) for it in mine if it.account_id == name and it.kind is not NoticeKind.ACCOUNT_JOINED]
            if (last or [""])[-1] not in _SAYS[account.state]:
                yield f"{login.login_id} {name} is {account.state}, and was told last: {(last or ['nothing'])[-1]}"


class SimOutbox:
    """One process's way to an outbox."""

    def __init__(self, memory: MemoryStore, call: Callable[..., Any], telling: Telling) -> None:
        self._memory, self._call, self._telling = memory, call, telling

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._memory.outbox, name)

        async def call(*args: Any, **options: Any) -> Any:
            if name == "drop":
                self._telling.moved_away(args[0])
            return await self._call(lambda: self._telling.outbox_call(lambda: verb(*args, **options)))

        return call
