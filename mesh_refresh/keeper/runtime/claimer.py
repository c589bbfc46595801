"""How a caller comes to an exchange of one login: read it, wait for a permit, claim it, wait for the end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.keeper.errors import KeeperLeaving, NotReadyInTime
from mesh_refresh.keeper.rules.plan import Choice
from mesh_refresh.keeper.runtime.exchange import LoginExchange
from mesh_refresh.keeper.runtime.inflight import ExchangeHandle
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.runtime.wakeups import Followed
from mesh_refresh.logins import Login, LoginMoved, UnknownLogin, Way
from mesh_refresh.stores import BrokerPause, Busy, StoreDamaged, WrongKey
from mesh_refresh.stores.store import ALL_BROKERS

_T = TypeVar("_T")

_LOOK_AGAIN = 0.25
"""Seconds between two reads of a login whose lease another process has."""

_FOR_THE_STORE = 1.0
"""Seconds that a store has to answer, at the least: a caller that does not wait at all still gets what is stored."""


class Deadline:
    """Until when one caller waits."""

    def __init__(self, runtime: Runtime, wait: timedelta) -> None:
        self._loop = runtime.loop
        self._end = runtime.loop.time() + max(0.0, wait.total_seconds())

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self._end - self._loop.time())


class Claimer:
    """Reads, claims and waits for the callers of one keeper.

    Each method raises `NotReadyInTime` where the caller's time does not suffice or the store fails, and `WrongKey` or
    `StoreDamaged` where the login does not open.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    async def claimed(
        self, login: Login, choose: Choice, deadline: Deadline, code: str | None = None
    ) -> ExchangeHandle | None:
        """An exchange that has begun; None where another task or process had the login: read it again then.

        Raises `UnknownLogin` where the login is gone.
        """
        runtime = self.runtime
        other = runtime.inflight.claims.get(login.login_id)
        if other is not None:
            await self._until(other, deadline, "another caller waits for the exchange of this login")
            return None
        runtime.inflight.claims[login.login_id] = runtime.loop.create_future()
        try:
            return await self._claim(login, choose, deadline, code)
        finally:
            runtime.inflight.claims.pop(login.login_id).set_result(None)

    async def _claim(self, login: Login, choose: Choice, deadline: Deadline, code: str | None) -> ExchangeHandle | None:
        runtime, broker = self.runtime, str(login.broker)
        await self._check_not_paused(broker, deadline)
        waited = await self._wait_for_permit(broker, login.login_id, deadline)
        found: list[ExchangeHandle | Busy | None] = []
        permit = runtime.limiter.enter(broker, runtime.clock.monotonic())

        async def claim() -> None:
            started = False
            try:
                if waited:
                    _check_paused(await runtime.stored(runtime.store.paused), broker)
                claimed_at = runtime.clock.monotonic()
                row = await runtime.stored(
                    lambda: runtime.store.claim_one(login.login_id, runtime.owner, runtime.policy.lease)
                )
                if row is None or isinstance(row, Busy):
                    found.append(row)
                    return
                found.append(LoginExchange(runtime, row, claimed_at, choose, permit, code=code).start())
                started = True
            finally:
                if not started:
                    runtime.limiter.leave(permit, begun=False)
                    if runtime.limiter.asking:
                        runtime.wake()

        try:
            claiming = runtime.protect(claim())
            await self._until(claiming, deadline, "the store does not answer")
            claiming.result()
        except NotReadyInTime:
            raise
        except Exception as error:
            raise _store_failed(error) from error
        match found:
            case [ExchangeHandle() as exchange]:
                return exchange
            case [Busy(left)]:
                await self._until_written(login, left, deadline)
                return None
            case [None]:
                raise UnknownLogin
            case _:  # the shutdown has ended the claim
                raise KeeperLeaving

    async def _check_not_paused(self, broker: str, deadline: Deadline) -> None:
        paused = await _answered(self.runtime.store.paused, deadline)
        await _answered(self.runtime.notice_resumes, deadline)
        _check_paused(paused, broker)

    async def _wait_for_permit(self, broker: str, login_id: str, deadline: Deadline) -> bool:
        """Wait until a permit is free. Gives whether that took any wait.

        Raises `NotReadyInTime` at once where it is known that none is free in time.
        """
        runtime, waited = self.runtime, False
        self._check_open()
        runtime.remind()
        while runtime.inflight.spool_pending:
            waited = True
            if not deadline.left:
                raise NotReadyInTime("the store does not take what is in the spool")
            await runtime.change(deadline.left)
        while (shut := runtime.limiter.shut(broker, login_id, runtime.clock.monotonic())) is not None:
            self._check_open()
            left, waited = deadline.left, True
            if not left or (shut.seconds is not None and shut.seconds > left):
                retry_at = None if shut.seconds is None else runtime.at() + timedelta(seconds=shut.seconds)
                raise NotReadyInTime(shut.why, retry_at=retry_at)
            waits = left if shut.seconds is None else min(left, shut.seconds)
            if runtime.limiter.breakers.open:
                waits = min(waits, runtime.policy.poll.total_seconds())  # an operator may resume it meanwhile
            runtime.limiter.asking += shut.crowded
            try:
                await runtime.change(waits)
            finally:
                runtime.limiter.asking -= shut.crowded
            await _answered(runtime.notice_resumes, deadline)
        return waited

    async def wait_for_writes(self, followed: Followed, deadline: Deadline) -> None:
        """Wait until new tokens of this login are in the store: until then, the stored ones are out of date."""
        runtime, login_id = self.runtime, followed.login_id
        while runtime.inflight.reading_spool:
            self._check_open()
            if not deadline.left:
                raise NotReadyInTime("the spool has not been read yet")
            await runtime.change(deadline.left)
        while True:
            if not runtime.inflight.is_out_of_date(login_id):
                return
            if not deadline.left:
                raise NotReadyInTime("the store does not take the new tokens")
            await followed.change(min(deadline.left, 1.0))

    async def read(self, login_id: str, deadline: Deadline) -> Login:
        """The login as it is stored. Raises `UnknownLogin`, or `LoginMoved` where another store has it."""
        login = await _answered(partial(self.runtime.logins.get, login_id), deadline)
        if login is None:
            raise UnknownLogin
        if login.moving is not None and login.moving.way is Way.MOVED:
            raise LoginMoved
        return login

    async def wait_until(self, at: datetime, why: str, deadline: Deadline, followed: Followed, since: int) -> None:
        """Wait until `at`, or until this process changes the login. `since`: its changes before it was read."""
        self._check_open()
        left = (at - self.runtime.at()).total_seconds()
        if left > deadline.left:
            raise NotReadyInTime(why, retry_at=at)
        await followed.change(max(left, 0.0), since=since)

    def _check_open(self) -> None:
        if self.runtime.closing:
            raise KeeperLeaving

    async def _until_written(self, login: Login, left: timedelta, deadline: Deadline) -> None:
        """Wait until the owner of the lease has written the login, or the lease has ended: no claim gets it before."""
        runtime, seen = self.runtime, (login.epoch, login.revision)
        ends = runtime.clock.monotonic() + left.total_seconds()
        while True:
            self._check_open()
            if not deadline.left:
                raise NotReadyInTime("another process is at work on this login", retry_at=runtime.at() + left)
            await runtime.pause(min(_LOOK_AGAIN, deadline.left, max(left.total_seconds(), 0.001)))
            left = timedelta(seconds=max(0.0, ends - runtime.clock.monotonic()))
            stored = await self.read(login.login_id, deadline)
            if not left or (stored.epoch, stored.revision) != seen:
                return

    async def wait_for_end(self, exchange: ExchangeHandle, deadline: Deadline) -> None:
        """Wait until the exchange is over. Where the caller's time ends first, the exchange goes on."""
        await self._until(exchange.done, deadline, "the exchange is still under way")

    async def _until(self, done: "asyncio.Future[None]", deadline: Deadline, why: str) -> None:
        await asyncio.wait((done,), timeout=deadline.left)
        if not done.done():
            raise NotReadyInTime(why)


async def _answered(ask: Callable[[], Awaitable[_T]], deadline: Deadline) -> _T:
    """What a store gives to this caller, who does not wait for long."""
    try:
        async with asyncio.timeout(max(_FOR_THE_STORE, deadline.left)):
            return await ask()
    except Exception as error:
        raise _store_failed(error) from error


def _store_failed(error: Exception) -> MeshRefreshError:
    if isinstance(error, WrongKey | StoreDamaged):
        return error.for_another()  # waiting helps nothing
    return NotReadyInTime(f"the store failed ({type(error).__name__})")


def _check_paused(paused: Mapping[str, BrokerPause], broker: str) -> None:
    if broker in paused or ALL_BROKERS in paused:
        raise NotReadyInTime("exchanges of this broker are paused")
