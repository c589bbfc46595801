"""`Keeper`: the verbs of a fleet, entering and leaving."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Self

from mesh_refresh.client import MeshClient
from mesh_refresh.clock import Clock
from mesh_refresh.enums import named_broker
from mesh_refresh.errors import InvalidRequest, MeshRefreshError
from mesh_refresh.keeper import arguments
from mesh_refresh.keeper.add_login import add_login, add_logins
from mesh_refresh.keeper.arguments import checked_id
from mesh_refresh.keeper.errors import KeeperClosed
from mesh_refresh.keeper.ids import new_id
from mesh_refresh.keeper.listing import UnopenedRow, page_of, read_logins, read_page
from mesh_refresh.keeper.notices import NoticeHandler
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.reporting.documents import Process, open_figures, process_of
from mesh_refresh.keeper.reporting.reporter import Reporter, begin_reporting
from mesh_refresh.keeper.rules.add import Added, Terms
from mesh_refresh.keeper.runtime.claim_loop import ClaimLoop
from mesh_refresh.keeper.runtime.event_queue import EventQueue, Handler
from mesh_refresh.keeper.runtime.health import NOT_RUNNING, health_of, keep_pinging, ping, state_of
from mesh_refresh.keeper.runtime.notice_delivery import NoticeDelivery
from mesh_refresh.keeper.runtime.on_demand import OnDemand
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.runtime.shutdown import drain, raise_unsaved
from mesh_refresh.keeper.runtime.spool import Spool
from mesh_refresh.keeper.runtime.writer import read_spool
from mesh_refresh.keeper.status import Health, Summary, summed_up
from mesh_refresh.logins import Account, AccountState, Login, UnknownLogin
from mesh_refresh.masking import MaskedStr
from mesh_refresh.observing import CombinedObserver, Figures, KeeperEntered, KeeperLeft, Observer
from mesh_refresh.stores import BrokerPause, Sealing, Store
from mesh_refresh.tasks import run_to_end
from mesh_refresh.tokens import Tokens

_AT_A_TIME = 500
_SLACK = 1.1
"""A lease must last as long as an exchange may take, and as claiming and connecting take before it."""


class Keeper:
    """Keeps a fleet of logins fresh: refreshes each before its tokens end, once at a time across all processes.

    Several keepers, in one process or in many, may share a store. Enter a keeper with ``async with``, in the event loop
    that uses it, and enter it once. Entering reads the spool and starts the loop. Leaving waits until every exchange is
    over and written. Leaving raises `NotSaved` with the new tokens that neither the store nor the spool took, and
    `LeftInSpool` where all of them are in the spool.

    Args:
        mesh: the client that exchanges. The caller enters and closes it.
        store: where the logins are. The caller opens and closes it.
        policy: when to refresh, and how much at once; None is ``Policy()``.
        on_event: a function, sync or async, that is called with each `Event`, one after the other. Events may be lost.
        on_notice: an async function that is called with each `Notice` until it has returned once, also after a crash:
            docs/notices.md.
        background: False for a process that refreshes on demand only, such as a web service beside a worker.
        spool: a folder (mode 0700, made where it is missing) where new tokens wait, sealed, while the store fails. It
            should be on a disk that outlives the process; the workers of one machine may share it.
        clock: the source of time, for tests; None is the client's.
        names: gives ids that were never used, for tests.
        observer: told what the keeper does: see `mesh_refresh.telemetry`.
        role: what this process is for, such as ``run``, in what it tells the others by the store. None: it tells them
            nothing, and does not count the fleet.

    Raises:
        InvalidRequest: an argument is not of its kind, or ``policy.lease`` is too short for the client's deadline.
    """

    def __init__(
        self,
        mesh: MeshClient,
        store: Store,
        *,
        policy: Policy | None = None,
        on_event: Handler | None = None,
        on_notice: NoticeHandler | None = None,
        background: bool = True,
        spool: str | os.PathLike[str] | None = None,
        clock: Clock | None = None,
        names: Callable[[], str] = new_id,
        observer: Observer | None = None,
        role: str | None = "keeper",
    ) -> None:
        arguments.check_parts(
            mesh,
            store,
            policy=policy,
            on_event=on_event,
            on_notice=on_notice,
            spool=spool,
            clock=clock,
            names=names,
            observer=observer,
            role=role,
        )
        arguments.check_spool(spool, store)
        self._mesh, self._store = mesh, store
        self._policy = policy or Policy()
        if on_notice is not None and store.outbox is None:
            raise InvalidRequest("on_notice needs a store with an outbox, and this one has none.")
        if self._policy.lease < mesh.retry.deadline * _SLACK:
            raise InvalidRequest(
                "Policy.lease must be longer than the client's RetryPolicy.deadline, by a tenth at the least: no other "
                "process may claim a login while its exchange may still be under way."
            )
        self._on_event, self._on_notice = on_event, on_notice
        self._background, self._spool = background, spool
        self._clock, self._names = clock or mesh.clock, names
        self._observer = None if observer is None else CombinedObserver(observer)
        self._role = role
        self._reporter: Reporter | None = None
        self._entered: Runtime | None = None
        self._loop: asyncio.Task[None] | None = None
        self._delivery: NoticeDelivery | None = None
        self._delivering: asyncio.Task[None] | None = None
        self._pinging: asyncio.Task[None] | None = None
        self._left = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Keeper of {self._store!r} at {self._mesh!r}>"

    # Its life.

    async def __aenter__(self) -> Self:
        if self._entered is not None:
            raise InvalidRequest("This keeper was entered before: make one for each time.")
        if self._mesh.closed:
            raise InvalidRequest("The client of this keeper is closed: enter the client first, and leave it last.")
        event_queue = EventQueue(self._on_event, self._policy.event_queue)
        spool = None if self._spool is None else Spool(self._spool, self._store.cipher)
        runtime = Runtime(
            mesh=self._mesh,
            store=self._store,
            policy=self._policy,
            clock=self._clock,
            names=self._names,
            event_queue=event_queue,
            spool=spool,
            observer=self._observer,
        )
        self._entered = runtime
        runtime.inflight.reading_spool = spool is not None
        try:
            await ping(runtime)
            if spool is not None:
                await read_spool(runtime, spool)
        except BaseException:
            self._entered, runtime.closing = None, True
            runtime.wake()
            raise
        self._pinging = runtime.loop.create_task(keep_pinging(runtime), name="mesh_refresh ping")
        event_queue.start()
        runtime.listen()
        outbox = self._store.outbox
        if outbox is not None and (self._background or self._on_notice is not None):
            self._delivery = NoticeDelivery(runtime, outbox, self._on_notice)
            self._delivering = runtime.loop.create_task(self._delivery.run(), name="mesh_refresh notices")
        if self._background:
            self._loop = runtime.loop.create_task(ClaimLoop(runtime).run(), name="mesh_refresh keeper")
        self._reporter = begin_reporting(runtime, self._role)
        runtime.tell(KeeperEntered(runtime.owner, partial(state_of, runtime)))
        return self

    async def __aexit__(self, *_: object) -> None:
        runtime = self._runtime()
        runtime.closing = True
        if self._pinging is not None:
            self._pinging.cancel()
        runtime.stop_listening()
        runtime.give_up_at = runtime.loop.time() + self._policy.drain.total_seconds()
        runtime.wakeups.wake_all()
        try:
            cancelled = await run_to_end(self._drain(runtime), runtime.loop)
        finally:
            runtime.tell(KeeperLeft(runtime.owner))
            self._left.set()
            runtime.left = True
        raise_unsaved(runtime)
        if cancelled is not None:
            raise cancelled

    async def _drain(self, runtime: Runtime) -> None:
        loops = [task for task in (self._loop, self._delivering) if task is not None]
        try:
            await drain(runtime, loops, self._delivery, self._policy.drain)
        finally:
            if self._reporter is not None:
                await self._reporter.end()

    async def run(self) -> None:
        """Work until cancelled, then drain: for a process that does nothing else."""
        if self._entered is not None:
            await self._left.wait()
            return
        async with self:
            await asyncio.Event().wait()

    def _runtime(self) -> Runtime:
        runtime = self._entered
        if runtime is None or self._left.is_set():
            raise KeeperClosed
        if runtime.loop is not asyncio.get_running_loop():
            raise InvalidRequest("This keeper belongs to another event loop, the one in which it was entered.")
        return runtime

    # Adding and removing.

    async def add(self, login_id: str, tokens: Tokens | Iterable[Tokens], *, only_new: bool = False) -> Added:
        """Keep a login: one person at one broker, with one account or several.

        If the login is stored already, its accounts take these tokens, and a parked account works again. Tokens that
        the login has had before change nothing, so it is safe to repeat the call.

        Returns what was added, renewed or left as it was. Raises `InvalidRequest` where the tokens cannot be of one
        login, `LoginExists` with `only_new` where there is such a login, and the store's `StoreError`; then nothing was
        added, or all of it.
        """
        runtime, found = self._runtime(), arguments.as_tokens(tokens)
        del tokens  # a traceback may be rendered with its locals
        if isinstance(found, str):
            raise InvalidRequest(found)
        return await add_login(runtime, login_id, found, Terms(), only_new=only_new)

    async def add_many(
        self,
        logins: Iterable[tuple[str, Tokens | Iterable[Tokens]]],
        *,
        spread: timedelta = timedelta(),
        at_once: bool = False,
        on_demand: bool | str | Iterable[str] = (),
        on_error: Callable[[str, MeshRefreshError], object] | None = None,
    ) -> int:
        """`add` each of `logins`, some hundreds at a time: new logins of these are one transaction.

        Args:
            logins: pairs of a login id and its tokens.
            spread: tokens that are due when they are added fall due at random within this time.
            at_once: all tokens are due within `spread`, for tokens of unknown age.
            on_demand: brokers whose logins are refreshed when a caller asks for tokens and not by time, until an
                exchange succeeds without an MFA code; True is all brokers. It keeps an import from asking people for
                codes at night.
            on_error: is called with the login id and the error for each login that cannot be added, because it
                contradicts the stored one or that does not open; the others are added. None: the error is raised.

        Returns the number of logins that were changed. Raises `InvalidRequest` for a wrong entry and the store's
        `StoreError`; then the logins before it may have been added, and the call can be repeated with all of them.
        """
        wrong = arguments.wrong_many(logins, spread, on_error)
        if wrong:
            del logins  # a traceback may be rendered with its locals
            raise InvalidRequest(wrong)
        brokers = arguments.brokers_of(on_demand)
        if brokers is None:
            del logins  # a traceback may be rendered with its locals
            raise InvalidRequest("on_demand takes a broker, an iterable of brokers, or True for all of them.")
        adding = add_logins(self._runtime(), logins, Terms(spread, at_once, brokers), _AT_A_TIME, on_error)
        del logins  # as above
        return await adding

    async def remove(self, login_id: str) -> bool:
        """Delete a login and all of its tokens. Returns False where there was none. Raises the store's `StoreError`.

        The result of an exchange that is under way for it is dropped.
        """
        runtime = self._runtime()
        is_removed = await runtime.store.delete(checked_id(login_id))
        runtime.wake(login_id)
        return is_removed

    # Tokens.

    async def tokens(
        self,
        login_id: str,
        account_id: str | None = None,
        *,
        rejected: Tokens | str | None = None,
        valid_for: timedelta = timedelta(),
        max_wait: timedelta | None = None,
    ) -> Tokens:
        """Fresh tokens of one account, refreshed first where they must be.

        Args:
            login_id: the id that the login was added with.
            account_id: which account; None where the login has only one.
            rejected: tokens that the broker has just refused. They are refreshed, unless that was done since. Or their
                version, as `version_of` gives it: where it is not that of the stored tokens, these are returned as they
                are, and nothing is sent.
            valid_for: for how long the access token is wanted. One that ends sooner is refreshed first where that can
                be done now, by one exchange at the most; else it is what you get, until shortly before its end. More
                than half of the tokens' lifetime counts as half of it. Tokens without a known end last for ever.
            max_wait: how long to wait for an exchange; None is ``Policy.max_wait``. The exchange goes on after that.

        Raises:
            UnknownLogin, UnknownAccount: the store has no such login or account.
            AmbiguousAccount: the login has several accounts, and none was named.
            MfaPending: the broker waits for an MFA code; its ``pending_id`` names the question.
            ReconnectNeeded: the person must log in anew.
            LoginMoved: `copy_fleet` has moved the login to another store.
            WrongKey, StoreDamaged: the login does not open.
            NotReadyInTime: no fresh tokens in time: the store fails, the broker is paused, or an exchange takes long.
        """
        wait = self._wait(max_wait, valid_for)
        arguments.check_id("account_id", account_id)
        wrong = arguments.wrong_rejected(rejected)
        if wrong:
            del rejected  # a traceback may be rendered with its locals
            raise InvalidRequest(wrong)
        return await OnDemand(self._runtime()).tokens(checked_id(login_id), account_id, wait, rejected, valid_for)

    def now(self) -> datetime:
        """The time, by the clock in use."""
        return self._clock.now()

    @property
    def cipher(self) -> Sealing:
        """What seals the rows of the store."""
        return self._store.cipher

    def credential(self, tokens: Tokens) -> str | None:
        """What an exchange of `tokens` spends, by the strategy of their broker: mostly the refresh token."""
        return self._mesh.credential(tokens)

    async def refresh(
        self, login_id: str, account_id: str | None = None, *, max_wait: timedelta | None = None
    ) -> Tokens:
        """Exchange now, due or not, and return the new tokens. Raises what `tokens` raises.

        A token that may be spent is not sent again before the policy allows it: then this raises `NotReadyInTime`.
        """
        arguments.check_id("account_id", account_id)
        return await OnDemand(self._runtime()).refresh(checked_id(login_id), account_id, self._wait(max_wait))

    async def refresh_due(self) -> int:
        """Exchange all logins that are due now, for a worker that a timer starts. Returns how many were claimed.

        Logins of paused brokers and behind open breakers are left. Raises the store's `StoreError` where a claim fails.
        New tokens are written for as long as that takes: put a time-out of your own around the call, and leave the
        keeper then.
        """
        return await ClaimLoop(self._runtime()).all_due()

    async def submit_mfa(
        self,
        login_id: str,
        code: str,
        *,
        pending_id: str | None = None,
        account_id: str | None = None,
        max_wait: timedelta | None = None,
    ) -> Tokens:
        """Send an MFA code to the broker that waits for it, and return the fresh tokens. Any process may do that.

        Args:
            login_id: the id that the login was added with.
            code: what the person typed.
            pending_id: the question, as `MfaNeeded` and `MfaPending` named it; None where only one is open.
            account_id: the account; None where only one of the login waits for a code.
            max_wait: how long to wait; None is ``Policy.max_wait``.

        Raises:
            CodeRefused: the code is wrong. Question and tokens are as before.
            MfaPending: the broker asks again.
            CodeNotWanted: the question was answered, or never asked.
            UnknownLogin, UnknownAccount, AmbiguousAccount, LoginMoved: as `tokens`.
            NotReadyInTime: nothing was sent, or the result is not in the store yet.
            MeshRefreshError: what else an exchange raises.
        """
        code = MaskedStr(code.strip()) if isinstance(code, str) else ""
        if not code:
            raise InvalidRequest("The MFA code is empty, or no string; nothing was sent.")
        arguments.check_id("pending_id", pending_id)
        arguments.check_id("account_id", account_id)
        wait = self._wait(max_wait)
        return await OnDemand(self._runtime()).submit_mfa(checked_id(login_id), code, pending_id, account_id, wait)

    async def restart_mfa(
        self, login_id: str, account_id: str | None = None, *, max_wait: timedelta | None = None
    ) -> Account:
        """Make the broker send a new MFA code. Returns the account, which waits for it, or needs none any more.

        Raises `CodeNotWanted` where no question is open, `ReconnectNeeded` where the tokens are refused for good, and
        else what `tokens` raises.
        """
        arguments.check_id("account_id", account_id)
        return await OnDemand(self._runtime()).restart_mfa(checked_id(login_id), account_id, self._wait(max_wait))

    # Looking.

    async def login(self, login_id: str) -> Login:
        """The login as it is stored. Raises `UnknownLogin`, `WrongKey` where no key opens it, and `StoreError`."""
        found = await self._runtime().store.get(checked_id(login_id))
        if found is None:
            raise UnknownLogin
        return found

    def logins(
        self,
        *,
        state: AccountState | str | None = None,
        broker: str | None = None,
        changed_since: datetime | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Login]:
        """Logins in the order of their ids, read page by page.

        Args:
            state: only logins with an account in this state.
            broker: only logins of this broker.
            changed_since: only logins that were written then or later.
            after: only login ids greater than this, by Unicode code points.
            limit: how many at the most; None is all.

        A login that does not open with the keys at hand is logged as an error and left out. Raises `InvalidRequest`
        at once, and the store's `StoreError` while it is iterated.
        """
        arguments.check_filters(state, broker, changed_since, after, limit)
        page = page_of(_AT_A_TIME, state=state, broker=broker, changed_since=changed_since, after=after)
        return read_logins(self._runtime().store, page, limit)

    async def page(
        self,
        limit: int = 100,
        *,
        state: AccountState | str | None = None,
        broker: str | None = None,
        changed_since: datetime | None = None,
        after: str | None = None,
    ) -> Sequence[Login | UnopenedRow]:
        """The first `limit` of what `logins` gives. A login that does not open is among them, as an `UnopenedRow`.

        Fewer than `limit` are the last ones. Raises `InvalidRequest`, and the store's `StoreError`.
        """
        arguments.check_filters(state, broker, changed_since, after, limit)
        page = page_of(limit, state=state, broker=broker, changed_since=changed_since, after=after)
        return await read_page(self._runtime().store, page)

    async def pause(self, broker: str = "*", *, note: str = "", by: str = "") -> BrokerPause:
        """Begin no more exchanges of `broker` (``"*"``: of all), in any process, until `resume`.

        Exchanges that are under way end and are written. The store keeps `note` (why), `by` (who) and the time beside
        the pause, unsealed; pausing again replaces all three. Returns the pause. Raises `InvalidRequest` for what is no
        broker or no text, and the store's `StoreError`.
        """
        arguments.check_broker(broker)
        arguments.check_id("note", note)
        arguments.check_id("by", by)
        runtime = self._runtime()
        pause = BrokerPause(str(named_broker(broker)), note, by, runtime.at())
        await runtime.store.pause(pause.broker, note=pause.note, by=pause.by, at=pause.at)
        return pause

    async def resume(self, broker: str = "*") -> None:
        """End the pause of `broker`. A pause of all brokers (``"*"``) is ended by resuming all only.

        Where a breaker is open, one probe is sent at once: by this keeper, and by the loop of each other keeper of the
        store within ``Policy.poll``. A keeper without a loop sends it for its next caller. Raises the store's
        `StoreError`.
        """
        arguments.check_broker(broker)
        runtime, name = self._runtime(), str(named_broker(broker))
        await runtime.store.pause(name, paused=False)
        await runtime.notice_resumes(of=name)
        runtime.wake()

    async def pauses(self) -> Mapping[str, BrokerPause]:
        """The pauses, by their brokers; ``"*"`` is all brokers. Raises the store's `StoreError`."""
        return await self._runtime().store.paused()

    async def summary(self) -> Summary:
        """Counts of the whole fleet by broker and state, the most overdue login, and what this keeper has in flight.

        The store counts all rows for it. Raises the store's `StoreError`.
        """
        runtime = self._runtime()
        now = runtime.at()
        return summed_up(
            await runtime.store.counts(now),
            now,
            in_flight=runtime.limiter.in_flight,
            paused=frozenset(await runtime.store.paused()),
            held_back=runtime.limiter.breakers.open,
        )

    async def figures(self) -> Figures | None:
        """The fleet as one of its processes has counted it last: cheap, and a minute old or older.

        None: it was never counted, or the store has no registry, or no key at hand opens the figures. Raises the
        store's `StoreError`.
        """
        runtime = self._runtime()
        registry = runtime.store.registry
        return None if registry is None else open_figures(runtime.store.cipher, await registry.figures())

    async def processes(self) -> tuple[Process, ...]:
        """The processes of this fleet, by their names: this one as it is now, the others as they told last.

        None of them where the store has no registry. Raises the store's `StoreError`.
        """
        runtime = self._runtime()
        registry = runtime.store.registry
        if registry is None:
            return ()
        found = [process_of(runtime.store.cipher, report) for report in await registry.reports()]
        if self._reporter is None:
            return tuple(found)
        own = self._reporter.look()
        return tuple(sorted([own, *(it for it in found if it.process != own.process)], key=lambda it: it.process))

    def health(self) -> Health:
        """For probes and alerts, without I/O: whether this keeper is alive, is ready for calls, and does its work."""
        runtime = self._entered
        if runtime is None or self._left.is_set():
            return NOT_RUNNING
        # While the keeper is being left, the loop was ended on purpose.
        loop_died = self._loop is not None and self._loop.done() and not runtime.closing
        return health_of(runtime, loop_died=loop_died)

    def _wait(self, max_wait: timedelta | None, valid_for: timedelta | None = None) -> timedelta:
        arguments.check_wait(max_wait, valid_for)
        return self._policy.max_wait if max_wait is None else max_wait
