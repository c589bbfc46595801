"""What the parts of one running keeper share."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from mesh_refresh.client import MeshClient
from mesh_refresh.clock import Clock
from mesh_refresh.keeper.limits.key_mismatch import KeyMismatch
from mesh_refresh.keeper.limits.limiter import Limiter
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.rules.clock_skew import after_clock_went_back
from mesh_refresh.keeper.rules.fencing import Context
from mesh_refresh.keeper.runtime.event_queue import EventQueue
from mesh_refresh.keeper.runtime.shared_reads import SharedReads
from mesh_refresh.keeper.runtime.spool import Spool
from mesh_refresh.keeper.runtime.vitals import Vitals
from mesh_refresh.keeper.runtime.wakeups import Wakeups
from mesh_refresh.logins import Login
from mesh_refresh.replies.outcomes import Outcome
from mesh_refresh.stores import Row, Store
from mesh_refresh.stores.sealing import opened
from mesh_refresh.tasks import ExchangeTask, run_foreign

if TYPE_CHECKING:
    from mesh_refresh.keeper.runtime.exchange import LoginExchange
    from mesh_refresh.keeper.runtime.writer import PendingWrite

_T = TypeVar("_T")


def new_name() -> str:
    """A name that was never used: 128 random bits."""
    return secrets.token_hex(16)


class Runtime:
    """Everything with a side effect that a running keeper needs, bound to one event loop."""

    undoing = 0
    """Runs that take backoffs back, under way."""
    _resumes_due = 0.0
    """When, on the monotonic clock, the store is asked again which brokers were resumed."""
    patience: ClassVar[float] = 3.0
    """Seconds that a store may take with a write. Then new tokens are spooled beside it, and a drain ends."""

    def __init__(
        self,
        *,
        mesh: MeshClient,
        store: Store,
        policy: Policy,
        clock: Clock,
        names: Callable[[], str],
        event_queue: EventQueue,
        spool: Spool | None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.mesh, self.store, self.policy, self.clock = mesh, store, policy, clock
        self.names, self.event_queue, self.spool = names, event_queue, spool
        self._steady = store.cancellation_safe
        self.owner = names()
        """Drawn at each start: what an earlier life of this process leased is somebody else's."""
        self.limiter = Limiter(policy)
        self.key_mismatch = KeyMismatch(policy)
        self.units: dict[str, LoginExchange] = {}
        """Exchanges under way, by login."""
        self.saving: set[PendingWrite] = set()
        """Outcomes on their way into the store."""
        self.late: dict[PendingWrite, Outcome] = {}
        """Those of them that came after their exchanges, and what they save."""
        self.claiming: dict[str, asyncio.Future[None]] = {}
        """Claims for a caller that are under way, by login: others wait for them."""
        self.unsaved: dict[str, int] = {}
        """Logins with new tokens that are not in the store yet, and how many outcomes of each."""
        self.parked_leases: dict[str, int] = {}
        """Claims of such logins, by their numbers: the write of the new tokens gives their leases back."""
        self.unread = 0
        """Files of the spool that a store which fails has not taken yet: before it does, nothing is sent."""
        self.reading_spool = False
        """Nobody knows yet which logins have newer tokens there than in the store: nothing is answered or sent."""
        self.in_spool = 0
        """Files of the spool, from an earlier life, that are not in the store yet."""
        self.closing = False
        """Nothing new is begun."""
        self.drained = False
        """What still comes is late, and nothing waits for it but who brings it."""
        self.left = False
        """What was given up was raised: nobody looks at `given_up` and `spilled` any more."""
        self.give_up_at: float | None = None
        """When, on the loop's clock, a store that fails is not tried any longer, but for writes begun late."""
        self.patient_until = 0.0
        """Until when, on that clock, the write that began last may take."""
        self.failed_at: float | None = None
        """When the store failed last, on the monotonic clock; None while it works."""
        self.vitals = Vitals(self.loop.time(), policy.refresh_before)
        self.given_up: list[Outcome] = []
        """What the store did not take until the end, and is nowhere else."""
        self.spilled: list[Outcome] = []
        """What it did not take, and is in the spool."""
        self.wakeups = Wakeups(self.loop)
        self.logins = SharedReads(self._read)
        """Logins as they are stored, read for all callers who want one at once."""
        self.listen_no_more: Callable[[], object] = lambda: None
        """The store need not wake this keeper any longer."""
        self.tasks: set[ExchangeTask] = set()
        """What must come to its end before the keeper is left."""

    def now(self) -> Context:
        """What pure code is told."""
        return Context(self.clock.now(), self.policy, self.names, self.mesh.credential)

    def at(self) -> datetime:
        """The wall clock."""
        return self.clock.now()

    def opened(self, row: Row) -> Login:
        """The login of a row, as it must be seen at this moment. Raises `StoreError` where it does not open."""
        return after_clock_went_back(opened(self.store.cipher, row), self.clock.now())

    def remind(self) -> None:
        """Tell again what was told long ago, and still holds everything back."""
        self.event_queue.tell(self.limiter.breakers.reminders(self.clock.monotonic(), self.clock.now()))

    async def notice_resumes(self, *, of: str | None = None) -> None:
        """Let a probe through where a broker was resumed, in this process or in another one.

        Looks at once for the broker that was resumed here; else once in `Policy.poll`, and while a breaker is open.
        Raises what the store raises.
        """
        now, breakers = self.clock.monotonic(), self.limiter.breakers
        if of is None and (not breakers.open or now < self._resumes_due):
            return
        self._resumes_due = now + self.policy.poll.total_seconds()
        if breakers.resumed(await self.stored(self.store.resumed), self.clock.monotonic()):
            self.wake()

    # Something happened: whoever waits looks again.

    def listen(self) -> None:
        """Be woken by the store too, where it can tell of what other processes do."""
        self.listen_no_more = self.store.watch(self.wake)

    def wake(self, login_id: str | None = None) -> None:
        """A place is free, a login was added, a breaker closed. `login_id`: the login that has changed."""
        self.wakeups.wake(login_id)

    async def change(self, seconds: float | None, *, since: int | None = None) -> None:
        """See `Wakeups.change`."""
        await self.wakeups.change(seconds, since=since)

    def begin_write(self) -> float:
        """A write begins. It has `patience`, also where the time to drain is over: until when, on the loop's clock."""
        self.patient_until = self.loop.time() + self.patience
        return self.patient_until

    async def pause(self, seconds: float) -> None:
        """For so long, or until the keeper is being left: then there is not as much time."""
        end, closing = self.loop.time() + seconds, self.closing
        while (left := end - self.loop.time()) > 0 and self.closing is closing:
            await self.wakeups.sleep(left)

    async def _read(self, login_id: str) -> Login | None:
        row = await self.store.read(login_id)
        return None if row is None else self.opened(row)

    # Tasks and calls.

    def start(self, coroutine: Coroutine[Any, Any, None]) -> ExchangeTask:
        """Run `coroutine` in a task that no shutdown stops."""
        task = ExchangeTask.of(coroutine, self.loop)
        if not task.done():
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        return task

    def protect(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Future[None]":
        """The same for somebody who waits: what is given back may be awaited and cancelled freely."""
        task = self.start(coroutine)
        done: asyncio.Future[None] = self.loop.create_future()
        if task.done():
            _pass_on(task, done)
        else:
            task.add_done_callback(lambda ended: _pass_on(ended, done))
        return done

    async def stored(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """What a verb of the store gives, from within a protected task."""
        try:
            # A child task costs as much as the call itself: only verbs that a shutdown could cut get one.
            result: _T = await (call() if self._steady else run_foreign(call))
        except Exception:
            if self.failed_at is None:
                self.failed_at = self.clock.monotonic()
            raise
        self.failed_at = None
        self.vitals.store_answered_at = self.loop.time()
        return result


def _pass_on(task: "asyncio.Task[None]", done: "asyncio.Future[None]") -> None:
    error = None if task.cancelled() else task.exception()
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
        done.exception()  # whoever waited may be gone: that must not be complained of
