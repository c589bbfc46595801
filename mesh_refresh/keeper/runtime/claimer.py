"""The way of a caller to an exchange of one login: read it, wait for a place, claim it, wait for the end."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.keeper.errors import NotReadyInTime
from mesh_refresh.keeper.runtime.exchange import Choice, LoginExchange
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.runtime.wakeups import Followed
from mesh_refresh.logins import Login, LoginMoved, UnknownLogin, Way
from mesh_refresh.stores import BrokerPause, Busy
from mesh_refresh.stores.store import ALL_BROKERS

_LOOK_AGAIN = 0.25
"""Seconds between two looks at a login that another process is at work on."""

_FOR_THE_STORE = 1.0
"""Seconds: the least that a store is given."""


class Deadline:
    """Until when somebody waits."""

    def __init__(self, runtime: Runtime, wait: timedelta) -> None:
        self._loop = runtime.loop
        self._end = runtime.loop.time() + max(0.0, wait.total_seconds())

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self._end - self._loop.time())

    @property
    def left_for_the_store(self) -> float:
        """Seconds that a store may take to answer. Who does not wait at all still wants to know what it has."""
        return max(_FOR_THE_STORE, self.left)


class Claimer:
    """What every verb about one login begins with. Raises `NotReadyInTime` where the caller's time does not suffice."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    async def claimed(
        self, login: Login, choose: Choice, deadline: Deadline, code: str | None = None
    ) -> LoginExchange | None:
        """A unit that has begun; None where somebody else is at work on the login, and it must be looked at again."""
        runtime = self.runtime
        other = runtime.claiming.get(login.login_id)
        if other is not None:
            await self._until(other, deadline, "another caller waits for the exchange of this login")
            return None
        runtime.claiming[login.login_id] = runtime.loop.create_future()
        try:
            return await self._claim(login, choose, deadline, code)
        finally:
            runtime.claiming.pop(login.login_id).set_result(None)

    async def _claim(self, login: Login, choose: Choice, deadline: Deadline, code: str | None) -> LoginExchange | None:
        runtime, broker = self.runtime, str(login.broker)
        await self._unless_paused(broker, deadline)
        waited = await self._place(broker, deadline)
        found: list[LoginExchange | Busy | None] = []
        place = runtime.limiter.enter(broker, runtime.clock.monotonic())

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
                unit = LoginExchange(runtime, row, claimed_at, choose, place, code=code)
                unit.start()
                started = True
                found.append(unit)
            finally:
                if not started:
                    runtime.limiter.leave(place, begun=False)
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
        match found[0]:
            case LoginExchange() as unit:
                return unit
            case Busy(left):
                await self._until_written(login, left, deadline)
                return None
            case _:
                raise UnknownLogin

    async def _unless_paused(self, broker: str, deadline: Deadline) -> None:
        try:
            async with asyncio.timeout(deadline.left_for_the_store):
                paused = await self.runtime.store.paused()
                await self.runtime.notice_resumes()
        except Exception as error:
            raise _store_failed(error) from error
        _check_paused(paused, broker)

    async def _place(self, broker: str, deadline: Deadline) -> bool:
        """Wait for a place, at once where that could not help in time; whether there was anything to wait for."""
        runtime, waited = self.runtime, False
        self._check_open()
        runtime.remind()
        while runtime.unread:
            waited = True
            if not deadline.left:
                raise NotReadyInTime("the store does not take what is in the spool")
            await runtime.change(deadline.left)
        while (shut := runtime.limiter.shut(broker, runtime.clock.monotonic())) is not None:
            self._check_open()
            left, waited = deadline.left, True
            if not left or (shut.seconds is not None and shut.seconds > left):
                retry_at = None if shut.seconds is None else runtime.at() + timedelta(seconds=shut.seconds)
                raise NotReadyInTime(shut.why, retry_at=retry_at)
            waits = left if shut.seconds is None else min(left, shut.seconds)
            if runtime.limiter.breakers.open:
                waits = min(waits, runtime.policy.poll.total_seconds())  # it may be resumed meanwhile
            runtime.limiter.asking += shut.crowded
            try:
                await runtime.change(waits)
            finally:
                runtime.limiter.asking -= shut.crowded
            await self._notice_resumes(deadline)
        return waited

    async def _notice_resumes(self, deadline: Deadline) -> None:
        try:
            async with asyncio.timeout(deadline.left_for_the_store):
                await self.runtime.notice_resumes()
        except Exception as error:
            raise _store_failed(error) from error

    async def settle_first(self, followed: Followed, deadline: Deadline) -> None:
        """Where new tokens of this login are on their way into the store, what it has is out of date."""
        runtime, login_id = self.runtime, followed.login_id
        while runtime.reading_spool:
            self._check_open()
            if not deadline.left:
                raise NotReadyInTime("the spool has not been read yet")
            await runtime.change(deadline.left)
        while True:
            unit = runtime.units.get(login_id)
            if not (unit is not None and unit.answered) and login_id not in runtime.unsaved:
                return
            if not deadline.left:
                raise NotReadyInTime("the store does not take the new tokens")
            await followed.change(min(deadline.left, 1.0))

    async def read(self, login_id: str, deadline: Deadline) -> Login:
        try:
            async with asyncio.timeout(deadline.left_for_the_store):
                login = await self.runtime.logins.get(login_id)
        except Exception as error:
            raise _store_failed(error) from error
        if login is None:
            raise UnknownLogin
        if login.moving is not None and login.moving.way is Way.MOVED:
            raise LoginMoved
        return login

    async def resend_not_before(
        self, at: datetime, why: str, deadline: Deadline, followed: Followed, since: int
    ) -> None:
        """Until then, or until this process changes the login; `since`: its changes before it was read."""
        self._check_open()
        left = (at - self.runtime.at()).total_seconds()
        if left > deadline.left:
            raise NotReadyInTime(why, retry_at=at)
        await followed.change(max(left, 0.0), since=since)

    def _check_open(self) -> None:
        if self.runtime.closing:
            raise NotReadyInTime("the keeper is being left")

    async def _until_written(self, login: Login, left: timedelta, deadline: Deadline) -> None:
        """Until whoever has `login` has written it, or may have it no longer: before that, no claim could get it."""
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

    async def ended(self, unit: LoginExchange, deadline: Deadline) -> None:
        """Until the unit has ended, or the caller's time has; the unit goes on."""
        await self._until(unit.done, deadline, "the exchange is still under way")

    async def _until(self, done: "asyncio.Future[None]", deadline: Deadline, why: str) -> None:
        await asyncio.wait((done,), timeout=deadline.left)
        if not done.done():
            raise NotReadyInTime(why)


def _store_failed(error: Exception) -> MeshRefreshError:
    return NotReadyInTime(f"the store failed ({type(error).__name__})")


def _check_paused(paused: Mapping[str, BrokerPause], broker: str) -> None:
    if broker in paused or ALL_BROKERS in paused:
        raise NotReadyInTime("exchanges of this broker are paused")
