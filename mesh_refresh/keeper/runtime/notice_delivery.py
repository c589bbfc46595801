"""Delivers notices: claims what is due in the outbox, and calls the handler until it has returned once.

Why it is as it is: docs/decisions/notices.md.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

from mesh_refresh.keeper.errors import without_secrets
from mesh_refresh.keeper.notices import Notice, NoticeHandler, PacedHandler, StopNotices, TryNoticeAgain, open_notice
from mesh_refresh.keeper.rules.notices import next_try
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.stores import NoticeRow, Outbox, StoreDamaged, WrongKey
from mesh_refresh.tasks import ExchangeTask, ForeignTask, call_hook

_log = logging.getLogger("mesh_refresh.keeper")

_AT_ONCE, _MOST_AT_ONCE = 10, 100
"""Handlers under way at once: of one that does not say how many it takes, and of one that does."""
_HANDLING = 0.8
"""The part of a lease that a handler may take. The rest is to end it, and to write what came of it."""
_CLEANING_UP = 0.1
"""The part of a lease that a cancelled handler may take to end."""
_GATHER = 0.005
"""Seconds to wait for more handlers to end: a claim costs the same for one notice as for many."""
_PURGE_EVERY, _IDLE = 3600.0, 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 10.0
_UNOPENED = 3
"""After so many notices in a row that do not open, this process claims one at a time, and seldom."""


class NoticeDelivery:
    """Hands the notices of a store to one handler, and forgets old ones. Without a handler it only forgets."""

    def __init__(self, runtime: Runtime, outbox: Outbox, handler: NoticeHandler | None) -> None:
        self._runtime, self._outbox, self._handler = runtime, outbox, handler
        self._tasks: dict[ExchangeTask, None] = {}
        self._calls: dict[ForeignTask, None] = {}
        """Calls of the handler under way."""
        self._not_begun = 0
        """Notices that were claimed, and are not in the handler's hands yet: it does not count them itself."""
        self._purge_at = self._retry_at = runtime.clock.monotonic()
        """When old notices are forgotten, and when a store that failed, or whose notices did not open, is asked again:
        on the monotonic clock."""
        self._purged_at: tuple[datetime, float] | None = None
        """When old notices were forgotten last, by the wall clock and on the monotonic one."""
        self._failures = self._unopened = 0
        self._is_ending = False

    async def run(self) -> None:
        """Deliver until this is cancelled."""
        runtime, is_more = self._runtime, False
        while not runtime.closing:
            runtime.notice_written.clear()
            try:
                is_more = await self._claim_some()
                await self._purge()
            except Exception as error:  # noqa: BLE001 - a store may raise anything: it is asked again
                is_more = False
                self._note_failure(error)
            if not is_more:
                await self._wait()

    async def finish(self) -> None:
        """End: calls under way have until `Runtime.give_up_at`. Later ones are cancelled, and their notices given back.

        `run` was cancelled before.
        """
        loop = self._runtime.loop
        left = max(0.0, (self._runtime.give_up_at or 0.0) - loop.time())
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=left)
        self._is_ending = True
        for call in list(self._calls):
            call.end()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=self._runtime.patience)
        for task in list(self._tasks):
            _log.warning("a notice is left to its lease: its handler or the store does not answer")
            task.end()

    # Claiming.

    def _places(self) -> int:
        """How many notices may be claimed now."""
        handler, runtime = self._handler, self._runtime
        if handler is None or runtime.closing or runtime.notices_stopped is not None:
            return 0
        if runtime.clock.monotonic() < self._retry_at:
            return 0
        at_work = max(len(self._tasks), len(self._calls))  # a call that does not end when it is cancelled has no task
        room = _AT_ONCE - at_work
        if isinstance(handler, PacedHandler):
            capacity = handler.capacity()
            if type(capacity) is not int:
                raise TypeError("capacity() of on_notice must give a whole number")
            room = min(capacity - self._not_begun, _MOST_AT_ONCE - at_work)
        return room if self._unopened < _UNOPENED else min(room, 1 - len(self._tasks))

    async def _claim_some(self) -> bool:
        """Claim what there is room for, and begin to deliver it. Gives whether there may be more, and room for it."""
        places = self._places()
        if places <= 0:
            return False
        claimed: list[NoticeRow] = []
        # A shutdown must not cut in between a claim and the calls that it is for.
        await self._runtime.protect(self._claim(places, claimed))
        if self._failures:
            _log.warning("notices are claimed again")  # as loud as what is over
            self._failures = 0
        return len(claimed) == places and self._places() > 0

    async def _claim(self, places: int, claimed: list[NoticeRow]) -> None:
        runtime, began = self._runtime, self._runtime.clock.monotonic()  # before the claim: the lease begins later
        lease, at = runtime.policy.lease, runtime.at()
        claim = partial(self._outbox.claim, runtime.owner, lease, now=at, limit=places)
        claimed += await runtime.stored(claim)
        self._not_begun += len(claimed)
        for row in claimed:
            task = ExchangeTask.of(self._deliver(row, began), runtime.loop)
            self._tasks[task] = None
            task.add_done_callback(self._over)

    def _over(self, task: ExchangeTask) -> None:
        self._tasks.pop(task, None)
        self._runtime.notice_written.set()

    async def _wait(self) -> None:
        """Until a notice is written here, a call has ended, or the time of the next look."""
        if self._handler is None:
            await asyncio.sleep(_IDLE)
            return
        try:
            async with asyncio.timeout(min(self._runtime.policy.poll.total_seconds(), _IDLE)):
                await self._runtime.notice_written.wait()
        except TimeoutError:
            return
        await asyncio.sleep(_GATHER)

    def _note_failure(self, error: Exception) -> None:
        if not self._failures:
            _log.error("notices cannot be claimed; it is tried again", extra=without_secrets(error))
        self._failures += 1
        pause = min(_LONGEST_PAUSE, self._runtime.policy.poll.total_seconds() * 2.0 ** min(self._failures - 1, 60))
        self._retry_at = self._runtime.clock.monotonic() + pause

    async def _purge(self) -> None:
        now = self._runtime.clock.monotonic()
        if now < self._purge_at or now < self._retry_at:
            return
        at = by = self._runtime.at()
        if self._purged_at is not None:  # a wall clock that has leapt forward since is believed the next time
            last, then = self._purged_at
            by = min(at, last + timedelta(seconds=now - then))
        before = by - self._runtime.policy.notice_keep
        forgotten: int = await self._runtime.stored(lambda: self._outbox.purge(before))
        self._purge_at, self._purged_at = now + _PURGE_EVERY, (at, now)
        if forgotten:
            _log.warning("old notices were forgotten", extra={"number": forgotten})

    # One notice.

    async def _deliver(self, row: NoticeRow, began: float) -> None:
        runtime = self._runtime
        lease = runtime.policy.lease.total_seconds()
        self._not_begun -= 1
        notice = self._opened(row)
        if notice is None:
            await self._not_taken(row, began)
            return
        if _is_too_old(row, 2 * runtime.policy.notice_give_up, runtime.at()):
            _log.error("a notice is given up: no try of it has ended", extra=_facts(notice))
            await self._write(began, partial(self._outbox.bury, row.id, runtime.owner))
            return
        self._not_begun += 1
        call = ForeignTask(self._call(notice), loop=runtime.loop, name="mesh_refresh notice")
        call.owner = asyncio.current_task()
        self._calls[call] = None
        call.add_done_callback(lambda done: self._calls.pop(done, None))
        await asyncio.wait((call,), timeout=max(0.0, began + lease * _HANDLING - runtime.clock.monotonic()))
        if not call.done():
            call.end()
            await asyncio.wait((call,), timeout=lease * _CLEANING_UP)
        if not call.done():
            _log.error("a handler of notices does not end; its notice is left to its lease", extra=_facts(notice))
            return
        error = asyncio.CancelledError() if call.cancelled() else call.exception()
        if error is None:
            await self._write(began, partial(self._outbox.take, row.id, runtime.owner))
        elif isinstance(error, StopNotices):
            self._stop(str(error))
            await self._write(began, partial(self._outbox.give_back, row.id, runtime.owner, row.due_at))
        else:
            self._log_failure(notice, error)
            await self._not_taken(row, began, error, notice)

    async def _call(self, notice: Notice) -> None:
        self._not_begun -= 1
        called = None if self._handler is None else call_hook(self._handler, notice)
        if not isinstance(called, Awaitable):
            raise StopNotices("on_notice is no async function, so the keeper cannot wait for it")
        await called

    def _opened(self, row: NoticeRow) -> Notice | None:
        try:
            notice = open_notice(self._runtime.store.cipher, row)
        except (StoreDamaged, WrongKey) as error:
            _log.error("a notice cannot be read", extra={"login_id": row.login_id, **without_secrets(error)})
            self._unopened += 1
            if self._unopened >= _UNOPENED:
                self._retry_at = self._runtime.clock.monotonic() + self._runtime.policy.halt_probe.total_seconds()
            return None
        self._unopened = 0
        return notice

    async def _not_taken(
        self, row: NoticeRow, began: float, error: BaseException | None = None, notice: Notice | None = None
    ) -> None:
        """Give it back for a later try; or give it up. One that was cancelled at the keeper's end is due at once."""
        runtime, now = self._runtime, self._runtime.at()
        if _is_too_old(row, runtime.policy.notice_give_up, now) and not self._is_ending:
            _log.error("a notice is given up", extra={"login_id": row.login_id} if notice is None else _facts(notice))
            await self._write(began, partial(self._outbox.bury, row.id, runtime.owner))
            return
        after, due_at = error.after if isinstance(error, TryNoticeAgain) else None, row.due_at
        if after is not None or not self._is_ending:
            due_at = next_try(row.id, row.tries, after, now, runtime.policy)
        await self._write(began, partial(self._outbox.give_back, row.id, runtime.owner, due_at))

    async def _write(self, began: float, verb: Callable[[], Awaitable[bool]]) -> None:
        """Write what came of a notice, for as long as its lease is this process'. After that, it is told again."""
        runtime, pause = self._runtime, _FIRST_PAUSE
        while True:
            try:
                await runtime.stored(verb)
            except Exception as error:  # noqa: BLE001 - a store may raise anything
                left = began + runtime.policy.lease.total_seconds() - runtime.clock.monotonic()
                if self._is_ending or left <= 0:
                    _log.warning("a notice was left to its lease, and is told again", extra=without_secrets(error))
                    return
                await asyncio.sleep(min(pause, left))
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                return

    def _stop(self, why: str) -> None:
        if self._runtime.notices_stopped is None:
            self._runtime.notices_stopped = why
            _log.error("no more notices are handed out: %s. They wait in the store", why)

    def _log_failure(self, notice: Notice, error: BaseException) -> None:
        if isinstance(error, TryNoticeAgain):
            _log.info("a notice was not taken: %s", error, extra=_facts(notice))
        elif isinstance(error, asyncio.CancelledError):
            _log.warning("a handler of notices was cancelled, or took too long", extra=_facts(notice))
        else:
            # With the traceback, which is the handler's own: a notice holds no secret.
            _log.warning("a handler of notices raised", extra=_facts(notice), exc_info=error)


def _is_too_old(row: NoticeRow, span: timedelta, now: datetime) -> bool:
    return row.first_tried_at is not None and now - row.first_tried_at >= span


def _facts(notice: Notice) -> dict[str, object]:
    """What a log record says of a notice: not the broker's text, which may hold anything."""
    return {"notice_id": notice.id, "kind": notice.kind.value, "login_id": notice.login_id, "broker": notice.broker}
