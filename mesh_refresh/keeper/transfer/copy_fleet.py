"""Moves a whole fleet from one store to another, login by login, while keepers run on both."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from attrs import define, evolve, frozen

from mesh_refresh.clock import Clock, SystemClock
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper.errors import without_secrets
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.transfer.step import ELSEWHERE, GONE, MOVED, TAKEN_OVER, Carrier, Later
from mesh_refresh.logins import Way
from mesh_refresh.replies.lineage import Credential, refresh_token_of
from mesh_refresh.stores import BrokerPause, LoginNames, Page, Row, Store, StoreDamaged, WrongKey
from mesh_refresh.stores.row import NO_LOGINS
from mesh_refresh.tasks import ForeignTask
from mesh_refresh.tokens import Tokens

_log = logging.getLogger("mesh_refresh.keeper")

_AT_A_TIME = 100
_LONGEST_PAUSE = timedelta(seconds=5)
_AWAY = {way.value for way in Way}
"""The states of rows whose login is moving, or has moved."""


@frozen
class Copied:
    """How far a copy has come."""

    moved: int = 0
    """Logins that this run has moved."""
    taken_over: int = 0
    """Logins that were moved before, and for which the old store had something new."""
    left: int = 0
    """Logins that cannot be moved yet: a keeper has their lease, or the outcome of an exchange is unknown."""
    until: datetime | None = None
    """When the last of these can be, as far as that is known."""
    unreadable: tuple[str, ...] = ()
    """Logins that stay: their row cannot be read, or contradicts the other store's."""
    waits: bool = False
    """Whether the run only waits for those that are `left`, which it tries again every few seconds."""
    paused: tuple[str, ...] = ()
    """Brokers (``"*"``: all) that this run has paused in the new store, because they are in the old one."""
    gone: LoginNames = NO_LOGINS
    """Logins that were moved to this store, and that it does not have: they were removed there, or it was restored from
    an older backup."""
    elsewhere: LoginNames = NO_LOGINS
    """Logins that were moved to another store than this one, which does not have them; `take_back` brings them back."""


async def copy_fleet(
    source: Store,
    target: Store,
    *,
    policy: Policy | None = None,
    wait: bool = True,
    on_progress: Callable[[Copied], object] | None = None,
    may_resend: Callable[[Tokens], bool] | None = None,
    credential: Credential = refresh_token_of,
    clock: Clock | None = None,
) -> Copied:
    """Move every login of `source` to `target`, while keepers run on both. It may be stopped and begun again.

    At each moment, one of the stores at most exchanges a login. A login is moved when no keeper has its lease and no
    outcome of it is unknown. Late replies and added tokens for a moved login stay in the old store until the next run
    brings them over. Brokers that are paused in the old store are paused in the new one before the first login moves;
    an operator must resume them there.

    Args:
        source: the old store, open.
        target: the new store, open.
        policy: the keepers' policy: leases and waits are taken from it.
        wait: wait for logins that cannot be moved yet, until none is left; False: leave them.
        on_progress: is called with how far it has come, after each hundred logins.
        may_resend: `MeshClient.may_resend` of the keepers; None: every strategy allows resending.
        credential: `MeshClient.credential` of the keepers.
        clock: the source of time, for tests.

    Returns how far it has come. A cancel takes effect after the hundred logins that are under way. Raises
    `InvalidRequest` where both are one store, and the stores' `StoreError`, `WrongKey` among them.
    """
    if source.store_id == target.store_id:
        raise InvalidRequest("What is to be copied from and to is one store, or one is a copy of the other's file.")
    carrier = Carrier(source, target, policy or Policy(), clock or SystemClock(), may_resend, credential)
    copying = _Copying(carrier, dict(await source.paused()))
    return await copying.run(wait=wait, on_progress=on_progress or (lambda _: None))


@define
class _Copying:
    carrier: Carrier
    to_pause: dict[str, BrokerPause]
    """Brokers to pause in the new store before this run moves its first login."""
    paused: tuple[str, ...] = ()

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
        left = _LONGEST_PAUSE if until is None else until - self.carrier.clock.now()
        return min(max(left, timedelta(milliseconds=50)), _LONGEST_PAUSE)

    async def _pass(self, moved: int, taken: int, on_progress: Callable[[Copied], object]) -> Copied:
        """Try every login once."""
        done, page = Copied(moved, taken, paused=self.paused), Page(_AT_A_TIME)
        while rows := await self.carrier.source.rows(page):
            await self._pause_too(rows)
            ends, cancelled = await self._all(rows)
            done = evolve(_counted(done, rows, ends), paused=self.paused)
            on_progress(done)
            if cancelled is not None:
                raise cancelled
            page = evolve(page, after=rows[-1].login_id)
        return done

    async def _pause_too(self, rows: Sequence[Row]) -> None:
        """Pause brokers in the new store that are paused in the old one, once: a later `resume` there stays."""
        if all(row.states & _AWAY for row in rows):
            return
        for broker, pause in sorted(self.to_pause.items()):
            if broker not in await self.carrier.target.paused():
                await self.carrier.target.pause(broker, note=pause.note, by=pause.by, at=pause.at)
                self.paused = (*self.paused, broker)
            del self.to_pause[broker]

    async def _all(self, rows: Sequence[Row]) -> tuple[list[str | BaseException], asyncio.CancelledError | None]:
        """What came of each row, and the cancel that came meanwhile: no cancel breaks off a step.

        A lease that is left behind would hold up its login until it ends.
        """
        ends: dict[str, str | BaseException] = {}

        async def one(row: Row) -> None:
            try:
                ends[row.login_id] = await self.carrier.carry(row)
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


def _counted(done: Copied, rows: Sequence[Row], ends: Sequence[str | BaseException]) -> Copied:
    """`done` with the results of some more logins. Raises an error that is not about a single login."""
    number, until, unreadable = Counter(end for end in ends if isinstance(end, str)), done.until, list(done.unreadable)
    left = done.left
    for row, end in zip(rows, ends, strict=True):
        if isinstance(end, Later):
            left += 1
            until = end.until if until is None or (end.until is not None and end.until > until) else until
        elif isinstance(end, StoreDamaged | InvalidRequest) and not isinstance(end, WrongKey):
            _log.error("a login cannot be moved", extra={"login_id": row.login_id, **without_secrets(end)})
            unreadable.append(row.login_id)
        elif isinstance(end, BaseException):
            raise end
    return Copied(
        done.moved + number[MOVED],
        done.taken_over + number[TAKEN_OVER],
        left,
        until,
        tuple(unreadable),
        gone=done.gone.having(_ended(rows, ends, GONE)),
        elsewhere=done.elsewhere.having(_ended(rows, ends, ELSEWHERE)),
    )


def _ended(rows: Sequence[Row], ends: Sequence[str | BaseException], how: str) -> list[str]:
    return [row.login_id for row, end in zip(rows, ends, strict=True) if end == how]
