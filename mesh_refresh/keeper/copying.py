"""Moves a fleet from one store to another, login by login, while keepers run on both."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from attrs import define, evolve, field, frozen

from mesh_refresh.clock import Clock, SystemClock
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper import failing, moving
from mesh_refresh.keeper.adding import Adding
from mesh_refresh.keeper.core import new_name
from mesh_refresh.keeper.errors import without_secrets
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.standing import Now
from mesh_refresh.logins import Login, Way
from mesh_refresh.stores import Busy, Page, Row, Store, StoreDamaged, WrongKey, row_of
from mesh_refresh.stores.row import QUIET
from mesh_refresh.stores.sealing import opened
from mesh_refresh.tasks import ForeignTask
from mesh_refresh.tokens import Tokens

_log = logging.getLogger("mesh_refresh.keeper")

_AT_A_TIME = 100
_LONGEST_PAUSE = timedelta(seconds=5)


@frozen
class Copied:
    """How far a copy has come."""

    moved: int = 0
    """Logins that this run has moved."""
    taken_over: int = 0
    """Logins that were moved before, for which something had come in the old store since."""
    left: int = 0
    """Logins that cannot be moved yet: somebody is at work on them, or nobody knows yet what became of an exchange."""
    until: datetime | None = None
    """When the last of these can be, as far as that is known."""
    unreadable: tuple[str, ...] = ()
    """Logins that stay where they are: what is kept of them cannot be read, or contradicts what the other store has."""
    waits: bool = False
    """Whether it only waits now, for those that are `left`; they are looked at again every few seconds."""


@define
class _Later(Exception):
    """This one cannot be moved yet."""

    until: datetime | None = None


async def copy_fleet(
    source: Store,
    target: Store,
    *,
    policy: Policy | None = None,
    wait: bool = True,
    on_progress: Callable[[Copied], object] | None = None,
    may_resend: Callable[[Tokens], bool] | None = None,
    clock: Clock | None = None,
) -> Copied:
    """Move every login of `source` to `target`, while keepers run on both. Stop it and begin it again as you like.

    A login is exchanged in one of the stores at the most at each moment. It is moved when nobody is at work on it and
    nothing is unknown of it, which with `wait` is waited for; else what is `left` is told. What comes for a moved login
    in the old store afterwards is kept there, and taken over by the next run; with `wait`, a run ends when there is
    nothing of that kind. Pauses are copied too. `policy` and `may_resend` (`MeshClient.may_resend`) should be those of
    the keepers. A cancel comes through when the hundred logins that are under way are done, a second or so later.

    Raises `InvalidRequest` where both are one store, and the stores' `StoreError`, `WrongKey` among them.
    """
    if await _are_one(source, target):
        raise InvalidRequest("What is to be copied from and to is one store, or one is a copy of the other's file.")
    copying = _Copying(source, target, policy or Policy(), clock or SystemClock(), may_resend)
    for broker in await source.paused():
        await target.pause(broker)
    return await copying.run(wait=wait, on_progress=on_progress or (lambda _: None))


@frozen
class _Copying:
    source: Store
    target: Store
    policy: Policy
    clock: Clock
    may_resend: Callable[[Tokens], bool] | None
    owner: str = field(factory=lambda: QUIET + new_name())

    async def run(self, *, wait: bool, on_progress: Callable[[Copied], object]) -> Copied:
        moved = taken = 0
        while True:
            done = await self._pass(moved, taken, on_progress)
            again = done.left or done.taken_over > taken
            if not again or (done.left and not wait):
                return done
            if done.left and (done.moved, done.taken_over) == (moved, taken):
                on_progress(evolve(done, waits=True))
                await asyncio.sleep(self._pause(done.until).total_seconds())
            moved, taken = done.moved, done.taken_over

    def _pause(self, until: datetime | None) -> timedelta:
        left = _LONGEST_PAUSE if until is None else until - self.clock.now()
        return min(max(left, timedelta(milliseconds=50)), _LONGEST_PAUSE)

    async def _pass(self, moved: int, taken: int, on_progress: Callable[[Copied], object]) -> Copied:
        """One look at every login."""
        done, page = Copied(moved, taken), Page(_AT_A_TIME)
        while rows := await self.source.rows(page):
            ends, cancelled = await self._all(rows)
            done = _counted(done, rows, ends)
            on_progress(done)
            if cancelled is not None:
                raise cancelled
            page = evolve(page, after=rows[-1].login_id)
        return done

    async def _all(self, rows: Sequence[Row]) -> tuple[list[str | BaseException], asyncio.CancelledError | None]:
        """What came of each, done to its end whoever cancels; and the cancel, where one came.

        A lease that is left behind looks like an exchange that nobody knows the end of: its login would be held up for
        as long as that must be waited for.
        """
        ends: dict[str, str | BaseException] = {}

        async def one(row: Row) -> None:
            try:
                ends[row.login_id] = await self._one(row)
            except BaseException as error:  # noqa: BLE001 - `_counted` raises it
                ends[row.login_id] = error

        loop = asyncio.get_running_loop()
        tasks = [ForeignTask(one(row), loop=loop) for row in rows]
        cancelled: asyncio.CancelledError | None = None
        while under_way := [task for task in tasks if not task.done()]:
            try:
                await asyncio.wait(under_way)
            except asyncio.CancelledError as error:
                cancelled = error
        return [ends[row.login_id] for row in rows], cancelled

    async def _one(self, row: Row) -> str:
        login = opened(self.source.cipher, row)
        if login.moving is None:
            return await self._move(login)
        if login.moving.way is Way.ARRIVING:
            raise _Later  # on its way into this store: the other copy must be finished first
        more = moving.has_more(login)
        if more:
            await self._take_over(login)
        await self._release(login.login_id)
        return "taken_over" if more else ""

    async def _move(self, login: Login) -> str:
        row = await self._leased(login.login_id)
        if row is None:
            return ""
        login = opened(self.source.cipher, row)
        if login.moving is not None:
            # Another copy was here in between.
            await self._give_back(login, self.owner)
            raise _Later
        now = self.clock.now()
        waits = [it.wait_until for it in login.accounts if it.wait_until is not None and it.wait_until > now]
        if waits:
            await self._give_back(login, self.owner)
            raise _Later(max(waits))
        await self._arrive(login)
        if not await self._swap(self.source, moving.marked(login), owner=self.owner):
            # Written meanwhile, by somebody without a lease: it is looked at anew.
            await self._give_back(login, self.owner)
            raise _Later(now)
        await self._release(login.login_id)
        return "moved"

    async def _leased(self, login_id: str) -> Row | None:
        """A lease that leaves no open attempt behind, if this is killed. None where there is no login any more."""
        row = await self.source.claim_one(login_id, self.owner, self.policy.lease)
        if isinstance(row, Busy) and not row.left:
            await self._settle_open(login_id)
            row = await self.source.claim_one(login_id, self.owner, self.policy.lease)
        if isinstance(row, Busy):
            raise _Later(self.clock.now() + row.left)
        if row is not None and row.open_attempt:  # in a store of somebody that does not know such owners
            await self._stamp(opened(self.source.cipher, row), self.owner)
        return row

    async def _settle_open(self, login_id: str) -> None:
        """Write down that nobody knows what came of it. Until then it is an open attempt, also if this is killed."""
        owner = new_name()
        row = await self.source.claim_one(login_id, owner, self.policy.lease)
        if isinstance(row, Row):
            login = opened(self.source.cipher, row)
            if row.open_attempt:
                await self._stamp(login, owner)
            await self._give_back(login, owner)

    async def _stamp(self, login: Login, owner: str) -> None:
        """An attempt was open when its lease ran out: nobody knows what became of it, and it must be waited for."""
        now = Now(self.clock.now(), self.policy, new_name)
        may = {it.epoch: self.may_resend is None or self.may_resend(it.tokens) for it in login.accounts}
        stamped = failing.found_open(login, login, now, may).login
        if stamped != login and login.moving is None:
            await self._swap(self.source, stamped, owner=owner, hold=self.policy.settle)
            raise _Later(now.at + self.policy.settle)

    async def _give_back(self, login: Login, owner: str) -> None:
        if not await self._swap(self.source, login, owner=owner):
            found = await self.source.read(login.login_id)
            if found is not None:
                await self.source.swap(found, owner=owner)

    async def _arrive(self, login: Login) -> None:
        """Into the new store, where nobody exchanges it yet."""
        while True:
            row = await self.target.read(login.login_id)
            if row is None:
                new = moving.arriving(login, None, new_name())
                if await self.target.insert(row_of(self.target.cipher, new, self.clock.now())):
                    return
                continue
            there = opened(self.target.cipher, row)
            is_ours = there.moving is not None and there.moving.way is Way.ARRIVING
            new = moving.arriving(login, there, "") if is_ours else moving.joined(login, there)
            if await self._swap(self.target, new):
                return

    async def _release(self, login_id: str) -> None:
        while True:
            row = await self.target.read(login_id)
            if row is None:
                return
            there = opened(self.target.cipher, row)
            if there.moving is None or there.moving.way is not Way.ARRIVING:
                return
            if await self._swap(self.target, moving.released(there)):
                return

    async def _take_over(self, login: Login) -> None:
        """What came for a moved login, into the store where it is now; then it is known to be there."""
        while True:
            row = await self.target.read(login.login_id)
            if row is None:
                break  # it was removed there, and stays so
            there = opened(self.target.cipher, row)
            how = Adding(self.clock.now(), self.policy, [new_name()])
            if await self._swap(self.target, moving.taken_over(login, there, how)):
                break
        if not await self._swap(self.source, moving.marked(login)):
            raise _Later(self.clock.now())

    async def _swap(
        self, store: Store, login: Login, *, owner: str | None = None, hold: timedelta = timedelta()
    ) -> bool:
        return await store.swap(row_of(store.cipher, login, self.clock.now()), owner=owner, hold=hold)


async def _are_one(source: Store, target: Store) -> bool:
    """Whether the first login has the same epoch in both: each store gives it another one."""
    for row in await source.rows(Page(1)):
        there = await target.read(row.login_id)
        return there is not None and there.epoch == row.epoch
    return False


def _counted(done: Copied, rows: Sequence[Row], ends: Sequence[str | BaseException]) -> Copied:
    """`done`, and what came of some more logins. Raises what is no matter of one login."""
    number, until, unreadable = Counter(end for end in ends if isinstance(end, str)), done.until, list(done.unreadable)
    left = done.left
    for row, end in zip(rows, ends, strict=True):
        if isinstance(end, _Later):
            left += 1
            until = end.until if until is None or (end.until is not None and end.until > until) else until
        elif isinstance(end, StoreDamaged | InvalidRequest) and not isinstance(end, WrongKey):
            _log.error("a login cannot be moved", extra={"login_id": row.login_id, **without_secrets(end)})
            unreadable.append(row.login_id)
        elif isinstance(end, BaseException):
            raise end
    return Copied(done.moved + number["moved"], done.taken_over + number["taken_over"], left, until, tuple(unreadable))
