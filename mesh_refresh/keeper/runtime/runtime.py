"""What the parts of one running keeper share."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, TypeVar

from mesh_refresh.client import MeshClient
from mesh_refresh.clock import Clock
from mesh_refresh.keeper.limits.key_mismatch import KeyMismatch
from mesh_refresh.keeper.limits.limiter import Limiter
from mesh_refresh.keeper.observed_store import observed
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.rules.clock_skew import rewind_login
from mesh_refresh.keeper.rules.transition import Context
from mesh_refresh.keeper.runtime.event_queue import EventQueue
from mesh_refresh.keeper.runtime.inflight import InFlight
from mesh_refresh.keeper.runtime.spool import Spool
from mesh_refresh.keeper.runtime.wakeups import Wakeups
from mesh_refresh.keeper.status import Vitals
from mesh_refresh.logins import Login
from mesh_refresh.observing import CombinedObserver, Observation, Observer, StoreFailed
from mesh_refresh.stores import Row, Store, StoreError
from mesh_refresh.stores.compare_and_swap import RowWrite, written
from mesh_refresh.stores.sealing import open_row
from mesh_refresh.stores.shared_reads import SharedReads
from mesh_refresh.tasks import ExchangeTask, run_foreign

_T = TypeVar("_T")


class Runtime:
    """The clock, the store, the client, the limits and the tasks of one keeper, bound to one event loop."""

    patience: ClassVar[float] = 3.0
    """Seconds that the store may take with a write. After that, new tokens go into the spool too, and a drain ends."""

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
        observer: CombinedObserver | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.mesh, self.policy, self.clock = mesh, policy, clock
        self.store = store if observer is None else observed(store, lambda verb: self.tell(StoreFailed(verb)))
        self.names, self.event_queue, self.spool = names, event_queue, spool
        self._observer = observer
        self.exchange_observer: Observer | None = None
        """Told of each exchange, in place of the client's observer. None: that one is told."""
        if observer is not None:
            self.watch_exchanges(observer)
        self.owner = names()
        """The owner of this keeper's leases. Drawn at each start: leases of an earlier life are another owner's."""
        self.limiter = Limiter(policy)
        self.key_mismatch = KeyMismatch(policy)
        self.inflight = InFlight()
        self.vitals = Vitals(self.loop.time(), policy.refresh_before)
        self.wakeups = Wakeups(self.loop)
        self.logins = SharedReads(self._read)
        """Logins as they are stored, read once for all callers who ask at the same time."""
        self.tasks: dict[ExchangeTask, None] = {}
        """Tasks that must end before the keeper is left, in the order in which they began."""
        self.notice_written = asyncio.Event()
        """There may be a notice to deliver: one was written, or a call of the handler has ended."""
        self.notices_stopped: str | None = None
        """Why no more notices are handed out: the handler has said so."""
        self.undoing = 0
        """Tasks that take backoffs back, under way."""
        self.closing = False
        """The keeper is being left: nothing new begins."""
        self.drained = False
        """The drain is over: a late reply gets its own time to be written."""
        self.left = False
        """Leaving has raised what was given up: what is given up later must be raised where it came."""
        self.give_up_at: float | None = None
        """When a failing store is no longer tried, in seconds of the event loop's clock; None before the drain."""
        self.patient_until = 0.0
        """Until when the write that began last is tried all the same, on that clock."""
        self.failed_at: float | None = None
        """When the store began to fail, in seconds of the monotonic clock; None while it works."""
        self.stop_listening: Callable[[], object] = lambda: None
        """Ends what `listen` began."""
        self._resumes_due = 0.0
        """When, on the monotonic clock, the store is asked again which brokers were resumed."""
        self._cancellation_safe = store.cancellation_safe

    def context(self) -> Context:
        """What the rules are told besides the login: the time, the policy, new ids, what an exchange spends."""
        return Context(self.clock.now(), self.policy, self.names, self.mesh.credential)

    def watch_exchanges(self, observer: Observer) -> None:
        """Tell `observer` of each exchange, beside those that are told already, the client's observer too."""
        told = (observer, self.exchange_observer, self.mesh.observer)
        self.exchange_observer = CombinedObserver(*(each for each in told if each is not None))

    def tell(self, happened: Observation) -> None:
        """Tell the keeper's observer, where it has one."""
        if self._observer is not None:
            self._observer.observe(happened)

    def at(self) -> datetime:
        """The wall clock."""
        return self.clock.now()

    def open_row(self, row: Row) -> Login:
        """The login of `row`, without times that a clock which was ahead has written. Raises `StoreError`."""
        try:
            login = open_row(self.store.cipher, row)
        except StoreError:
            self.key_mismatch.met(row.login_id, self.clock.monotonic())
            raise
        self.key_mismatch.forget(row.login_id)
        return rewind_login(login, self.clock.now())

    def remind(self) -> None:
        """Tell once more of breakers that have been open for long."""
        self.event_queue.tell(self.limiter.breakers.reminders(self.clock.monotonic(), self.clock.now()))

    async def notice_resumes(self, *, of: str | None = None) -> None:
        """Let a probe through where an operator has resumed a broker, in this process or in another one.

        Asks the store at once for the broker `of`, which was resumed here; else once in `Policy.poll`, and only while
        a breaker is open. Raises what the store raises.
        """
        now, breakers = self.clock.monotonic(), self.limiter.breakers
        if of is None and (not breakers.open or now < self._resumes_due):
            return
        self._resumes_due = now + self.policy.poll.total_seconds()
        if breakers.resumed(await self.stored(self.store.resumed), self.clock.monotonic()):
            self.wake()

    # Waiting.

    def listen(self) -> None:
        """Let the store wake this keeper when another process has made something due, where it can."""
        self.stop_listening = self.store.watch(self.wake)

    def wake(self, login_id: str | None = None) -> None:
        """Wake waiting tasks: capacity may have become free, or something may have become due.

        With `login_id`, that login has changed, and its callers check again too.
        """
        self.wakeups.wake(login_id)

    async def change(self, seconds: float | None, *, since: int | None = None) -> None:
        """See `Wakeups.change`."""
        await self.wakeups.change(seconds, since=since)

    async def pause(self, seconds: float) -> None:
        """Wait for so long, or until the keeper is being left: then there is less time."""
        end, closing = self.loop.time() + seconds, self.closing
        while (left := end - self.loop.time()) > 0 and self.closing is closing:
            await self.wakeups.sleep(left)

    # Tasks and calls of the store.

    def start(self, coroutine: Coroutine[Any, Any, None]) -> ExchangeTask:
        """Run `coroutine` in a task that no shutdown stops."""
        task = ExchangeTask.of(coroutine, self.loop)
        if not task.done():
            self.tasks[task] = None
            task.add_done_callback(self.tasks.pop)
        return task

    def protect(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Future[None]":
        """Run `coroutine` in a task that no shutdown stops. The future it gives may be awaited and cancelled freely."""
        task = self.start(coroutine)
        done: asyncio.Future[None] = self.loop.create_future()
        if task.done():
            _pass_on(task, done)
        else:
            task.add_done_callback(lambda ended: _pass_on(ended, done))
        return done

    def begin_write(self) -> float:
        """A write begins, and has `patience` even when the drain is over: until when, on the event loop's clock."""
        self.patient_until = self.loop.time() + self.patience
        return self.patient_until

    async def stored(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """What a verb of the store gives, called from a task that no shutdown stops. Raises what the verb raises."""
        try:
            # A child task costs as much as the call itself: only verbs that a shutdown could cut get one.
            result: _T = await (call() if self._cancellation_safe else run_foreign(call))
        except Exception:
            if self.failed_at is None:
                self.failed_at = self.clock.monotonic()
            raise
        self.failed_at = None
        self.vitals.store_answered_at = self.loop.time()
        return result

    async def written(self, store: Store, it: RowWrite[Any]) -> bool:
        """The same of a write: see `compare_and_swap`."""
        is_written = await self.stored(partial(written, store, it))
        if it.notices:
            self.notice_written.set()
        return is_written

    async def read(self, login_id: str, epoch: str | None = None) -> Login | None:
        """The same of a login. None where there is none, or (with `epoch`) another one has its name."""
        row = await self.stored(partial(self.store.read, login_id))
        return None if row is None or epoch not in (None, row.epoch) else self.open_row(row)

    async def _read(self, login_id: str) -> Login | None:
        row = await self.store.read(login_id)
        return None if row is None else self.open_row(row)


def _pass_on(task: "asyncio.Task[None]", done: "asyncio.Future[None]") -> None:
    error = None if task.cancelled() else task.exception()
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
        done.exception()  # the waiting task may be gone: asyncio must not complain of an error that nothing fetched
