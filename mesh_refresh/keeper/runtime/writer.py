"""Writes results of exchanges: merge, compare and swap, and never give up on a live token.

See docs/decisions/the-keeper.md. A result that the store does not take at once goes into the spool too.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from attrs import define, evolve, field

from mesh_refresh.keeper.errors import without_secrets
from mesh_refresh.keeper.events import Event
from mesh_refresh.keeper.rules.attempt import Attempt, CodeWanted, ExchangeResult, Success, Unreadable
from mesh_refresh.keeper.rules.clock_skew import rewind_login, rewind_result
from mesh_refresh.keeper.rules.mfa import park_with_question
from mesh_refresh.keeper.rules.plan import Change
from mesh_refresh.keeper.rules.success import apply_success, find_stuck_renewals
from mesh_refresh.keeper.rules.transition import Context, Transition
from mesh_refresh.keeper.rules.unreadable import keep_unreadable
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.runtime.spool import Spool
from mesh_refresh.keeper.writing import rows_of
from mesh_refresh.logins import Login
from mesh_refresh.stores import StoreDamaged, WrongKey
from mesh_refresh.stores.compare_and_swap import NoWrite, RowWrite, compare_and_swap
from mesh_refresh.tasks import ExchangeTask, run_foreign

_log = logging.getLogger("mesh_refresh.keeper")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_SPILLING = 30.0
"""Seconds that the spool's disk may take at the end of a keeper, when the store has been given up."""

Mine = Callable[[int], bool]
"""Whether a write gives back the lease of the claim with this number."""


class GivenUp(Exception):
    """The store did not take a result before the keeper was left."""


@define
class Settled:
    """What is in the store now."""

    login: Login | None
    """As it was written (with the revision of before, where the lease was given back); None: it was removed."""
    events: tuple[Event, ...] = ()


async def swap(
    runtime: Runtime,
    login: Login,
    change: Change,
    hold: timedelta,
    *,
    mine: Mine | None,
    events: list[Event] | None = None,
) -> Settled:
    """Write `change` of `login`, or of what the store has by now. Give the lease back where it is `mine` to give.

    This process may have claimed the login again since: a write that is repeated, because its acknowledgement was lost,
    must not give back that later lease. Where the transition holds the login, no claim gets it for `hold`. The notices
    of the change are written with it.

    Repeating the call does no harm: `change` finds what it has done. `events` keeps them from one try to the next,
    because a second try finds nothing to tell any more. Raises what the store raises.
    """
    events = [] if events is None else events
    is_first_try = not events
    read = partial(runtime.read, login.login_id, login.epoch)

    def decide(stored: Login | None) -> RowWrite[Settled] | NoWrite[Settled]:
        if stored is None:
            return NoWrite(Settled(None))
        context = runtime.context()
        stored = rewind_login(stored, context.now)  # the clock may have been put right since the login was opened
        applied = change(stored, context)
        if is_first_try:
            events.clear()  # no try before this one has written: what is stored now may lead to other events
        if not events:
            events.extend((*applied.events, *find_stuck_renewals(stored, applied.login, context)))
        after, row, notices = rows_of(runtime.store, stored, applied.login, context.now)
        written = evolve(after, revision=row.revision + 1) if mine is None else after
        owner = runtime.owner if mine is not None and mine(stored.attempt) else None
        wait = hold if applied.hold else timedelta()
        return RowWrite(row, Settled(written, tuple(events)), owner=owner, hold=wait, notices=notices)

    return await compare_and_swap(runtime.store, read, decide, seen=login, write=runtime.written)


def change_for(attempt: Attempt, result: ExchangeResult) -> Change:
    """The change that a result with tokens, a question or an unreadable body makes."""

    def change(login: Login, context: Context) -> Transition:
        sent, came = rewind_result(attempt, result, context.now)
        if isinstance(came, Success):
            return apply_success(login, sent, came, context)
        if isinstance(came, CodeWanted):
            return park_with_question(login, sent, came, context)
        return keep_unreadable(login, sent, came, context)

    return change


@define(eq=False)
class PendingWrite:
    """One result on its way into the store: tried until it is durable, and spooled meanwhile where that takes long."""

    runtime: Runtime
    attempt: Attempt
    result: ExchangeResult
    hold: timedelta = timedelta()
    path: Path | None = None
    """The file of the spool that holds it; None while no file does."""
    earlier: bool = False
    """It was found in the spool, where an earlier process left it."""
    after: "asyncio.Future[None] | None" = None
    """What must be over before it is written: the exchange that it is a late reply to, or the write of an older file of
    the spool."""
    _patient_until: float = field(default=0.0, init=False)
    """Until when it is tried even if the drain is over, on the event loop's clock."""
    _pause: float = field(default=_FIRST_PAUSE, init=False)
    _has_failed: bool = field(default=False, init=False)
    _events: list[Event] = field(factory=list, init=False)
    _is_in_store: bool = field(default=False, init=False)
    _spilling: ExchangeTask | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """From here on, the store is known to be out of date for this login."""
        self.runtime.inflight.begin_write(self.attempt.login_id)
        self.runtime.inflight.spool_pending += self.earlier

    async def save(self, login: Login | None) -> Settled:
        """Write it, for as long as it takes. Without a `login`, the login is read first.

        Raises `GivenUp` when the keeper is being left, its time to drain is over and the store still fails.
        """
        runtime, inflight = self.runtime, self.runtime.inflight
        # A store may also never answer.
        patience = runtime.loop.call_later(runtime.patience, self.spill_meanwhile)
        self._patient_until = runtime.begin_write()
        inflight.writes[self] = None
        try:
            return await self._tried(login)
        finally:
            patience.cancel()
            inflight.writes.pop(self, None)
            inflight.spool_pending -= self.earlier
            inflight.end_write(self.attempt.login_id)
            runtime.wake(self.attempt.login_id)

    async def _tried(self, login: Login | None) -> Settled:
        runtime, change = self.runtime, change_for(self.attempt, self.result)
        if self.after is not None:
            await asyncio.wait((self.after,))
            self._patient_until = runtime.begin_write()
        while True:
            try:
                login = login or await runtime.read(self.attempt.login_id, self.attempt.login_epoch)
                settled = Settled(None)
                if login is not None:
                    settled = await swap(runtime, login, change, self.hold, mine=self._is_mine, events=self._events)
            except (WrongKey, StoreDamaged) as error:
                if login is not None or self.path is None:
                    await self._failed(error)
                    continue
                _log.error("a file stays in the spool: its login cannot be read", extra=self._known(error))
                raise GivenUp from error
            except Exception as error:  # noqa: BLE001 - a store may raise anything: these may be the only live tokens
                await self._failed(error)
            else:
                await self._landed(there=settled.login is not None)
                return settled

    def _is_mine(self, number: int) -> bool:
        """Whether the lease is this attempt's, or a later claim's that waits for this write. Late replies have none."""
        if number == self.runtime.inflight.parked_leases.get(self.attempt.login_id):
            return True
        return number == self.attempt.number and not self.is_late

    @property
    def is_late(self) -> bool:
        """Whether it came after its exchange, whose own result is written first."""
        return isinstance(self.result, Unreadable) and self.result.late

    def spill_meanwhile(self) -> None:
        """The store takes long: copy the result into the spool too."""
        if self.path is None and self.runtime.spool is not None:
            _log.warning("the store takes long with new tokens", extra=self._known(None))
            self._start_spilling()

    async def spilled(self) -> None:
        """Copy it into the spool, and wait for that. `path` tells whether the spool has it."""
        self._start_spilling()
        if self._spilling is not None:
            await asyncio.wait((self._spilling,), timeout=_SPILLING)

    def _start_spilling(self) -> None:
        """One task at a time: two would write two files."""
        spool, running = self.runtime.spool, self._spilling is not None and not self._spilling.done()
        if spool is not None and self.path is None and not running:
            self._spilling = self.runtime.start(self._spill(spool))

    def _known(self, error: BaseException | None) -> dict[str, object]:
        return {"login_id": self.attempt.login_id, **({} if error is None else without_secrets(error))}

    async def _failed(self, error: Exception) -> None:
        runtime = self.runtime
        if not self._has_failed:
            self._has_failed = True
            _log.error(
                "new tokens could not be written; they are kept, and it is tried again", extra=self._known(error)
            )
        self._start_spilling()
        if self._spilling is not None:
            await asyncio.wait((self._spilling,), timeout=runtime.patience)
        give_up_at = None if runtime.give_up_at is None else max(runtime.give_up_at, self._patient_until)
        if give_up_at is not None and runtime.loop.time() >= give_up_at:
            await self.spilled()
            raise GivenUp from error
        pause = self._pause if give_up_at is None else min(self._pause, max(0.0, give_up_at - runtime.loop.time()))
        await runtime.pause(max(pause, 0.001))
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    async def _spill(self, spool: Spool) -> None:
        try:
            path = await run_foreign(lambda: spool.write(self.attempt, self.result))
        except Exception as error:  # noqa: BLE001 - the store may still take it
            _log.error("new tokens could not be spooled either", extra=self._known(error))
            return
        if not self._is_in_store:
            self.path = path
            _log.info("new tokens wait in the spool", extra=self._known(None))
        else:
            await run_foreign(lambda: spool.forget(path))  # it was written meanwhile

    async def _landed(self, *, there: bool) -> None:
        self._is_in_store = True
        if self._has_failed and there:
            _log.warning("the new tokens are written now", extra=self._known(None))  # as loud as what is over
        if not there:
            _log.warning("new tokens are of a login that the store does not have", extra=self._known(None))
        if self.path is None or self.runtime.spool is None:
            return
        spool, path = self.runtime.spool, self.path
        try:
            await run_foreign(lambda: spool.forget(path) if there or not self.earlier else spool.set_aside(path))
        except Exception as error:  # noqa: BLE001 - the next start finds that it is in the store already
            _log.warning("a file of the spool could not be removed", extra=without_secrets(error))


async def read_spool(runtime: Runtime, spool: Spool) -> None:
    """Begin to write what earlier lives of this process, or other ones, could not."""
    runtime.inflight.spool_pending += 1
    try:
        await spool.prepare()
        latest: dict[str, asyncio.Future[None]] = {}
        for file in await spool.read():
            login_id = file.attempt.login_id
            after = latest.get(login_id)
            write = PendingWrite(runtime, file.attempt, file.result, path=file.path, earlier=True, after=after)
            latest[login_id] = runtime.protect(_take_up(runtime, write))
        runtime.inflight.reading_spool = False
    finally:
        runtime.inflight.spool_pending -= 1
        runtime.wake()


async def _take_up(runtime: Runtime, write: PendingWrite) -> None:
    runtime.inflight.in_spool += 1
    try:
        settled = await write.save(None)
    except GivenUp:
        return
    runtime.inflight.in_spool -= 1
    runtime.event_queue.tell(settled.events)
