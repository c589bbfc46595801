"""`Keeper`: what a user types."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from attrs import evolve

from mesh_refresh.client import MeshClient
from mesh_refresh.clock import Clock
from mesh_refresh.enums import named_broker
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper.arguments import (
    brokers_of,
    check_broker,
    check_filters,
    check_id,
    check_parts,
    check_spool,
    check_wait,
    wrong_many,
)
from mesh_refresh.keeper.errors import KeeperClosed, LeftInSpool, without_secrets
from mesh_refresh.keeper.ids import new_id
from mesh_refresh.keeper.listing import UnopenedRow, page_of, read_page
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.rules.add import Added, wrong_login_id, wrong_tokens
from mesh_refresh.keeper.runtime.add_login import Terms, add_login, given, pair
from mesh_refresh.keeper.runtime.claim_loop import ClaimLoop
from mesh_refresh.keeper.runtime.event_queue import EventQueue, Handler
from mesh_refresh.keeper.runtime.health import NOT_RUNNING, health_of, keep_pinging, ping
from mesh_refresh.keeper.runtime.on_demand import OnDemand
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.runtime.shutdown import drain
from mesh_refresh.keeper.runtime.spool import Spool
from mesh_refresh.keeper.runtime.writer import GivenUp, PendingWrite
from mesh_refresh.keeper.status import Health, Summary, summed_up
from mesh_refresh.logins import Account, AccountState, Login, UnknownLogin
from mesh_refresh.masking import MaskedStr
from mesh_refresh.replies.outcomes import NotSaved
from mesh_refresh.stores import Page, Store
from mesh_refresh.tasks import run_to_end
from mesh_refresh.tokens import Tokens

_log = logging.getLogger("mesh_refresh.keeper")

_AT_A_TIME = 500
_SLACK = 1.1
"""A lease must last as long as an exchange may take, and as claiming and connecting take before it."""


class Keeper:
    """Keeps a fleet of logins fresh: each is refreshed before it ends, once at a time across all processes.

    `mesh` exchanges, and stays yours to close, as does `store`. `on_event` (sync or async) is told what happens.
    `background=False`: refreshes on demand only, for a web process beside a worker. `spool` is a folder where new
    tokens wait, sealed, while the store is gone. `clock` and `names` (which gives names that were never used) are for
    tests.

    Enter it with ``async with``; leaving it waits for what is under way, and raises `NotSaved` for new tokens that the
    store did not take.
    """

    def __init__(
        self,
        mesh: MeshClient,
        store: Store,
        *,
        policy: Policy | None = None,
        on_event: Handler | None = None,
        background: bool = True,
        spool: str | os.PathLike[str] | None = None,
        clock: Clock | None = None,
        names: Callable[[], str] = new_id,
    ) -> None:
        check_parts(mesh, store, policy=policy, on_event=on_event, spool=spool, clock=clock, names=names)
        check_spool(spool, store)
        self._mesh, self._store = mesh, store
        self._policy = policy or Policy()
        if self._policy.lease < mesh.retry.deadline * _SLACK:
            raise InvalidRequest(
                "Policy.lease must be longer than the client's RetryPolicy.deadline, by a tenth at the least: a login "
                "must not be given to somebody else while its exchange may still be under way."
            )
        self._on_event, self._background, self._spool = on_event, background, spool
        self._clock, self._names = clock or mesh.clock, names
        self._entered: Runtime | None = None
        self._loop: asyncio.Task[None] | None = None
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
        )
        self._entered = runtime
        runtime.inflight.reading_spool = spool is not None
        try:
            await ping(runtime)
            if spool is not None:
                await self._read_spool(runtime, spool)
        except BaseException:
            self._entered, runtime.closing = None, True
            runtime.wake()
            raise
        self._pinging = runtime.loop.create_task(keep_pinging(runtime), name="mesh_refresh ping")
        event_queue.start()
        runtime.listen()
        if self._background:
            self._loop = runtime.loop.create_task(ClaimLoop(runtime).run(), name="mesh_refresh keeper")
        return self

    async def _read_spool(self, runtime: Runtime, spool: Spool) -> None:
        runtime.inflight.spool_pending += 1
        try:
            await spool.prepare()
            latest: dict[str, asyncio.Future[None]] = {}
            for file in await spool.read():
                login_id = file.attempt.login_id
                write = PendingWrite(
                    runtime, file.attempt, file.result, path=file.path, earlier=True, after=latest.get(login_id)
                )
                latest[login_id] = runtime.protect(_take_up(runtime, write))
            runtime.inflight.reading_spool = False
        finally:
            runtime.inflight.spool_pending -= 1
            runtime.wake()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        runtime = self._runtime()
        runtime.closing = True
        if self._pinging is not None:
            self._pinging.cancel()
        runtime.stop_listening()
        runtime.give_up_at = runtime.loop.time() + self._policy.drain.total_seconds()
        runtime.wakeups.wake_all()
        try:
            cancelled = await run_to_end(drain(runtime, self._loop, self._policy.drain), runtime.loop)
        finally:
            self._left.set()
            runtime.left = True
        _raise_unsaved(runtime)
        if cancelled is not None:
            raise cancelled

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

    async def add(self, login_id: str, tokens: Tokens | Iterable[Tokens]) -> Added:
        """Keep this login: one person's at one broker, with its one or several accounts.

        For a login that is known, it is a new login of the person: the accounts that are named take these tokens.
        Tokens that were here before are no news, and change nothing, so that it is safe to repeat. Raises
        `InvalidRequest` for what cannot be one login, and the store's `StoreError`.
        """
        runtime, found = self._runtime(), given(tokens)
        del tokens  # a traceback may be rendered with its locals
        if isinstance(found, str):
            raise InvalidRequest(found)
        return await add_login(runtime, login_id, found)

    async def add_many(
        self,
        logins: Iterable[tuple[str, Tokens | Iterable[Tokens]]],
        *,
        spread: timedelta = timedelta(),
        at_once: bool = False,
        on_demand: bool | str | Iterable[str] = (),
    ) -> int:
        """`add` each of `logins`; gives how many were news.

        What is due at once falls due within `spread`. With `at_once`, all of it is: nobody knows how old it is.
        Logins of the brokers in `on_demand` (True: of all) are refreshed when their tokens are asked for and not by
        time, until an exchange goes through without a code: moving in asks no person for a code at night.
        They are added some hundreds at a time. Where one of them is wrong (`InvalidRequest`) or the store fails
        (`StoreError`), those before it may have been added, and all can be added again.
        """
        wrong = wrong_many(logins, spread)
        if wrong:
            del logins  # a traceback may be rendered with its locals
            raise InvalidRequest(wrong)
        brokers = brokers_of(on_demand)
        if brokers is None:
            del logins  # a traceback may be rendered with its locals
            raise InvalidRequest("on_demand takes a broker, an iterable of brokers, or True for all of them.")
        runtime, changed = self._runtime(), 0
        terms = Terms(spread, at_once, brokers)
        waiting: list[tuple[str, tuple[Tokens, ...]]] = []
        for login in logins:
            found = pair(login)
            if isinstance(found, str):
                del logins, login  # a traceback may be rendered with its locals
                raise InvalidRequest(found)
            waiting.append(found)
            if len(waiting) == _AT_A_TIME:
                changed += await _added(runtime, waiting, terms)
                waiting = []
        return changed + await _added(runtime, waiting, terms)

    async def remove(self, login_id: str) -> bool:
        """Forget a login and all of its tokens; False where there was none. What is under way for it is dropped.

        Raises the store's `StoreError`.
        """
        runtime = self._runtime()
        is_removed = await runtime.store.delete(_id(login_id))
        runtime.wake(login_id)
        return is_removed

    # Tokens.

    async def tokens(
        self,
        login_id: str,
        account_id: str | None = None,
        *,
        rejected: Tokens | None = None,
        max_wait: timedelta | None = None,
    ) -> Tokens:
        """Tokens that are fresh; refreshed first where they must be.

        `rejected`: the broker just refused these, so they are refreshed, unless somebody has done it since. Waits for
        at most `max_wait` (None: the policy's). Raises `UnknownLogin`, `AmbiguousAccount`, `MfaPending` (with its id),
        `ReconnectNeeded` or `NotReadyInTime`.
        """
        wait = self._wait(max_wait)
        check_id("account_id", account_id)
        wrong = wrong_tokens(rejected)
        if wrong:
            del rejected  # a traceback may be rendered with its locals
            raise InvalidRequest(wrong)
        return await OnDemand(self._runtime()).tokens(_id(login_id), account_id, rejected, wait)

    async def refresh(
        self, login_id: str, account_id: str | None = None, *, max_wait: timedelta | None = None
    ) -> Tokens:
        """Exchange now, due or not. Raises as `tokens` does; nothing is sent that could spend a token twice."""
        check_id("account_id", account_id)
        return await OnDemand(self._runtime()).refresh(_id(login_id), account_id, self._wait(max_wait))

    async def refresh_due(self) -> int:
        """Exchange everything that is due at this moment, and give the number of logins that were claimed for it.

        What cannot be sent now (a pause, a breaker) is left. For a worker that is started by a timer. Raises what the
        store raises at a claim; what has arrived is written for as long as it takes, so give it a time-out of your own
        and leave the keeper then.
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
        """Answer a question with `code`; gives the fresh tokens.

        `pending_id` says which question, as the event and `MfaPending` did. Raises `CodeRefused` for a wrong code
        (question and tokens are as they were), `MfaPending` where the broker asks again, `CodeNotWanted` where the
        question was answered already, `UnknownLogin`, `AmbiguousAccount`, `NotReadyInTime` (nothing was sent, or what
        came of it is not in the store yet), and what an exchange raises. Works in any process that has the store.
        """
        code = MaskedStr(code.strip()) if isinstance(code, str) else ""
        if not code:
            raise InvalidRequest("The MFA code is empty, or no string; nothing was sent.")
        check_id("pending_id", pending_id)
        check_id("account_id", account_id)
        wait = self._wait(max_wait)
        return await OnDemand(self._runtime()).submit_mfa(_id(login_id), code, pending_id, account_id, wait)

    async def restart_mfa(
        self, login_id: str, account_id: str | None = None, *, max_wait: timedelta | None = None
    ) -> Account:
        """Ask the broker for a new code; gives the account, which waits for it now, or needs none any more.

        Raises `CodeNotWanted` where no question is open, `ReconnectNeeded` where the tokens are refused for good, and
        `NotReadyInTime`.
        """
        check_id("account_id", account_id)
        return await OnDemand(self._runtime()).restart_mfa(_id(login_id), account_id, self._wait(max_wait))

    # Looking.

    async def login(self, login_id: str) -> Login:
        """The login as it is stored. Raises `UnknownLogin`, `WrongKey` where no key opens it, and `StoreError`."""
        found = await self._runtime().store.get(_id(login_id))
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
        """Logins in the order of their ids: those with an account in `state`, of `broker`, changed since then.

        `after` goes on behind a login id. Pages are read as they are needed, and raise the store's `StoreError`. A
        login that does not open with the keys at hand hides none of the others: it is logged as an error and left out.
        """
        check_filters(state, broker, changed_since, after, limit)
        page = page_of(
            _AT_A_TIME, state=state, broker=broker and named_broker(broker), changed_since=changed_since, after=after
        )
        return _pages(self._runtime(), page, limit)

    async def pause(self, broker: str = "*", *, note: str = "", by: str = "") -> None:
        """No more exchanges of `broker` (of all), in any process, until `resume`. What is under way ends well.

        The store keeps `note` (why) and `by` (who) beside the pause, unsealed, and the time. Pausing again replaces all
        three. Raises `InvalidRequest` for what is no broker or no text, and the store's `StoreError`.
        """
        check_broker(broker)
        check_id("note", note)
        check_id("by", by)
        runtime = self._runtime()
        await runtime.store.pause(str(named_broker(broker)), note=note, by=by, at=runtime.at())

    async def resume(self, broker: str = "*") -> None:
        """Go on with `broker`. A pause of all is ended only by resuming all.

        Where a breaker holds exchanges back, a probe goes at once: here, and in every process that has the store at its
        next look (`Policy.poll`).
        """
        check_broker(broker)
        runtime, name = self._runtime(), str(named_broker(broker))
        await runtime.store.pause(name, paused=False)
        await runtime.notice_resumes(of=name)
        runtime.wake()

    async def summary(self) -> Summary:
        """Counts by broker and state, how late the latest is, what is in flight."""
        runtime = self._runtime()
        now = runtime.at()
        return summed_up(
            await runtime.store.counts(now),
            now,
            in_flight=runtime.limiter.in_flight,
            paused=frozenset(await runtime.store.paused()),
            held_back=runtime.limiter.breakers.open,
        )

    def health(self) -> Health:
        """For probes and alerts, without I/O: whether this keeper is alive, is ready for calls, and does its work."""
        runtime = self._entered
        if runtime is None or self._left.is_set():
            return NOT_RUNNING
        # While the keeper is being left, the loop was ended on purpose.
        loop_died = self._loop is not None and self._loop.done() and not runtime.closing
        return health_of(runtime, loop_died=loop_died)

    def _wait(self, max_wait: timedelta | None) -> timedelta:
        check_wait(max_wait)
        return self._policy.max_wait if max_wait is None else max_wait


async def _added(runtime: Runtime, logins: list[tuple[str, tuple[Tokens, ...]]], terms: Terms) -> int:
    adding = (add_login(runtime, login_id, tokens, terms) for login_id, tokens in logins)
    done = await asyncio.gather(*adding, return_exceptions=True)
    for it in done:
        if isinstance(it, BaseException):
            raise it
    return sum(it.changed for it in done if not isinstance(it, BaseException))


def _raise_unsaved(runtime: Runtime) -> None:
    spooled = len(runtime.inflight.spilled) + runtime.inflight.in_spool
    if runtime.inflight.given_up:
        more = f" Those of {spooled} more are in the spool." if spooled else ""
        what = f"The store did not take new tokens of {len(runtime.inflight.given_up)} login(s).{more}"
        raise NotSaved(what, (*runtime.inflight.given_up, *runtime.inflight.spilled))
    if spooled:
        raise LeftInSpool(f"The store did not take new tokens of {spooled} login(s).", tuple(runtime.inflight.spilled))


async def _take_up(runtime: Runtime, write: PendingWrite) -> None:
    """Write what an earlier life of this process could not."""
    runtime.inflight.in_spool += 1
    try:
        settled = await write.save(None)
    except GivenUp:
        return
    runtime.inflight.in_spool -= 1
    runtime.event_queue.tell(settled.told)


def _id(login_id: str) -> str:
    wrong = wrong_login_id(login_id)
    if wrong:
        raise InvalidRequest(wrong)
    return login_id


async def _pages(runtime: Runtime, page: Page, limit: int | None) -> AsyncIterator[Login]:
    left = limit
    while left is None or left > 0:
        page = evolve(page, limit=_AT_A_TIME if left is None else min(left, _AT_A_TIME))
        read = await read_page(runtime.store, page)
        for it in read:
            if isinstance(it, UnopenedRow):
                _log.error("a login cannot be read", extra={"login_id": it.login_id, **without_secrets(it.error)})
                continue
            left = None if left is None else left - 1
            yield it
        if len(read) < page.limit:
            return
        page = evolve(page, after=read[-1].login_id)
