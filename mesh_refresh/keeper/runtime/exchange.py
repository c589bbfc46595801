"""One exchange of a login: claimed, sent, written. Nothing from outside breaks it off."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from mesh_refresh.client import SendOptions
from mesh_refresh.errors import InvalidRequest, MeshRefreshError, NotSent
from mesh_refresh.keeper.errors import NotReadyInTime, without_secrets
from mesh_refresh.keeper.events import Event
from mesh_refresh.keeper.limits.limiter import Permit
from mesh_refresh.keeper.rules.attempt import Attempt, result_of
from mesh_refresh.keeper.rules.failure import Unknown, apply_failure
from mesh_refresh.keeper.rules.mfa import mark_answered, reopen_question
from mesh_refresh.keeper.rules.plan import Change, Choice, Claimed, LeaveLease, WriteBack, not_sent, plan
from mesh_refresh.keeper.rules.select import Send
from mesh_refresh.keeper.rules.transition import Context, Transition
from mesh_refresh.keeper.rules.unreadable import judge
from mesh_refresh.keeper.runtime.breaker_signals import blame, blame_user_code
from mesh_refresh.keeper.runtime.inflight import ExchangeHandle
from mesh_refresh.keeper.runtime.late_replies import late_replies
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.runtime.writer import GivenUp, PendingWrite, Settled, swap
from mesh_refresh.logins import Account, AccountState, Login
from mesh_refresh.replies.outcomes import MfaRequired, Outcome, Refreshed, UnreadableReply
from mesh_refresh.stores import Row, StoreError, StoreUnavailable

_log = logging.getLogger("mesh_refresh.keeper")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
"""Seconds between two tries of a write that holds no token."""


class HeldBack(Exception):
    """The request was about to be sent, and must not be, for a reason of the keeper's own."""

    def __init__(self, why: str, *, back_off: bool = False) -> None:
        super().__init__(why)
        self.back_off = back_off
        """Whether the reason would hold at once again."""


class LoginExchange:
    """Owns the lease of one claimed row, and one permit that its creator acquired; gives both back when it ends.

    `claimed_at` is in seconds of the monotonic clock, before the claim. `code` is the MFA code that a person typed.
    """

    def __init__(
        self, runtime: Runtime, row: Row, claimed_at: float, choose: Choice, permit: Permit, *, code: str | None = None
    ) -> None:
        self.runtime = runtime
        self.handle = ExchangeHandle(row.login_id, row.broker, claimed_at, runtime.loop.create_future())
        self._row, self._choose, self._code = row, choose, code
        self._permit = permit

    def start(self) -> ExchangeHandle:
        """Begin, in a task that no shutdown stops."""
        # Where the lease of an earlier exchange ran out under it, that one may have tokens: callers wait for it.
        self.runtime.inflight.exchanges.setdefault(self.handle.login_id, self.handle)
        _ = self.runtime.start(self._run())
        return self.handle

    async def _run(self) -> None:
        runtime, handle = self.runtime, self.handle
        try:
            await self._execute()
        except Exception as error:  # noqa: BLE001 - the lease runs out by itself, and callers must not hang
            _log.error("an exchange ended in an unexpected way", extra=self._known(error))
        finally:
            runtime.limiter.leave(self._permit)
            if runtime.inflight.exchanges.get(handle.login_id) is handle:
                del runtime.inflight.exchanges[handle.login_id]
            if not handle.done.done():
                handle.done.set_result(None)
            runtime.wake(handle.login_id)

    async def _execute(self) -> None:
        runtime, login_id = self.runtime, self.handle.login_id
        try:
            login = runtime.open_row(self._row)
        except StoreError as error:
            await self._leave_unopened(error)
            return
        if runtime.key_mismatch.opened():
            _log.warning("logins open again: this process claims as before")
        context = runtime.context()
        claimed = Claimed(
            open_attempt=self._row.open_attempt,
            unsaved=runtime.inflight.is_unsaved(login_id),
            with_code=self._code is not None,
            choose=self._choose,
            may_resend=runtime.mesh.may_resend,
        )
        match plan(login, claimed, context):
            case LeaveLease():
                runtime.inflight.parked_leases[login_id] = self._row.attempt
            case WriteBack(change, hold):
                await self._write(login, change, hold)
            case Send() as send:
                await self._send(login, send, context)

    async def _leave_unopened(self, error: StoreError) -> None:
        """Give a row that does not open back as it is: a process with other keys may open it.

        An open attempt stays open: only a process that can read the row can write down that its outcome is unknown.
        """
        runtime, login_id = self.runtime, self.handle.login_id
        _log.error("a login cannot be read", extra=self._known(error))
        self.handle.error = error
        if runtime.key_mismatch.failed(login_id, runtime.clock.monotonic()):
            _log.error(
                "this process claims nothing more: several logins in a row do not open with its keys. Nothing was "
                "sent, and other processes may take them. Start it with the key that sealed them"
            )
        try:
            await runtime.stored(lambda: runtime.store.release(login_id, runtime.owner, runtime.policy.backoff))
        except Exception as failed:  # noqa: BLE001 - a store may raise anything: the lease runs out by itself
            _log.warning("a login was left to its lease", extra=self._known(failed))

    async def _write(self, login: Login, change: Change, hold: timedelta = timedelta()) -> None:
        """Write what holds no token. If the store fails until the lease ends, the next claim finds an open attempt."""
        runtime, pause = self.runtime, _FIRST_PAUSE
        runtime.begin_write()
        events: list[Event] = []
        while True:
            try:
                self._settled(await swap(runtime, login, change, hold, mine=self._is_mine, events=events))
            except Exception as error:  # noqa: BLE001 - a store may raise anything
                left = self._lease_left()
                if runtime.closing or left <= 0:
                    _log.warning("a login was left to its lease", extra=self._known(error))
                    return
                await asyncio.sleep(min(pause, left))
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                return

    def _lease_left(self) -> float:
        """Seconds."""
        return self.runtime.policy.lease.total_seconds() - (self.runtime.clock.monotonic() - self.handle.claimed_at)

    def _is_mine(self, attempt: int) -> bool:
        return attempt == self._row.attempt

    def _settled(self, settled: Settled) -> None:
        self.handle.login = settled.login
        self.runtime.event_queue.tell(settled.events)

    def _known(self, error: BaseException | None = None) -> dict[str, object]:
        return {"login_id": self.handle.login_id, **({} if error is None else without_secrets(error))}

    # Sending.

    async def _send(self, login: Login, send: Send, context: Context) -> None:
        account = send.account
        code_for = account.pending.id if account.pending is not None and self._code is not None else None
        attempt = Attempt.of(
            login, account, context.now, code_for=code_for, renew=send.renew, credential=context.credential
        )
        if code_for is not None:
            marked = await self._mark_answering(login, account.epoch)
            if marked is None or marked.by_epoch(account.epoch) is None:
                await self._write_not_sent(login, attempt)
                return
            login = marked
        late = late_replies(self.runtime, login, attempt, self.handle.done)
        options = SendOptions(
            max_requests=1,
            before_send=self._before_send(login),
            call_on_outcome=False,
            on_late=late,
            observer=self.runtime.exchange_observer,
            late=_lateness(account, context),
        )
        outcome: Refreshed | MfaRequired | UnreadableReply
        try:
            outcome = await self._sent(send, options)
        except UnreadableReply as error:
            if not error.may_hold_token:
                await self._failed(login, attempt, error, account)
                return
            outcome, self.handle.error = error, error
        except MeshRefreshError as error:
            cause = error.__cause__
            if isinstance(error, InvalidRequest) and not self.handle.sent and isinstance(cause, Exception):
                await self._not_made(login, attempt, cause, account)
            else:
                await self._failed(login, attempt, error, account)
            return
        except Exception as error:
            if self.handle.sent:
                raise
            await self._not_made(login, attempt, error, account)
            return
        await self._keep(login, attempt, outcome)

    async def _sent(self, send: Send, options: SendOptions) -> Refreshed | MfaRequired:
        mesh, account = self.runtime.mesh, send.account
        asks = account.state is AccountState.MFA_REQUIRED and account.pending is not None
        pending = MfaRequired.from_json(account.pending.document) if asks and account.pending is not None else None
        if self._code is not None and pending is not None:
            return await mesh.submit_mfa(pending, self._code, sending=options)
        tokens = account.tokens if pending is None else pending.tokens
        return await mesh.refresh(tokens, create_new_refresh_token=True if send.renew else None, sending=options)

    async def _mark_answering(self, login: Login, epoch: str) -> Login | None:
        """Write, before a code goes out, that it does: after a crash, no other code is sent for the same question.

        None: the code must not be sent.
        """

        def mark(stored: Login, _: Context) -> Transition:
            account = stored.by_epoch(epoch)
            return Transition(stored if account is None else mark_answered(stored, account))

        try:
            return (await swap(self.runtime, login, mark, timedelta(), mine=None)).login
        except Exception as error:  # noqa: BLE001 - a store may raise anything: nothing was sent
            self.handle.error = StoreUnavailable("The store failed before the code was sent; nothing was sent.")
            self.handle.error.__cause__ = error
            return None

    def _before_send(self, login: Login) -> Callable[[], Any]:
        """The last check, when the connection is there and no byte was sent. What it gives raises `HeldBack`."""
        runtime, handle = self.runtime, self.handle

        def look() -> None:
            if runtime.closing:
                raise HeldBack("the keeper is being left")
            if runtime.inflight.is_unsaved(handle.login_id):
                raise HeldBack("what came for this login is not in the store yet", back_off=True)
            if self._lease_left() < runtime.mesh.retry.deadline.total_seconds():
                raise HeldBack("too little is left of the lease", back_off=True)
            now = runtime.clock.monotonic()
            if runtime.limiter.breakers.blocked(handle.broker, now, self._permit.probe) is not None:
                raise HeldBack("a breaker has opened")
            handle.sent = True

        async def look_at_the_row() -> None:
            # The owner of an attempt that was left open may have written new tokens since the claim.
            try:
                row = await runtime.store.read(handle.login_id)
            except Exception as error:
                raise HeldBack("the store failed", back_off=True) from error
            if row is None or (row.epoch, row.revision) != (login.epoch, login.revision):
                raise HeldBack("the login was changed meanwhile")
            look()

        is_unknown = any(account.unknown_since is not None for account in login.accounts)
        return look_at_the_row if is_unknown else look

    # What came of it.

    async def _keep(self, login: Login, attempt: Attempt, outcome: Refreshed | MfaRequired | UnreadableReply) -> None:
        """Write a reply that holds tokens, before anything else."""
        runtime, handle = self.runtime, self.handle
        handle.answered, handle.outcome = True, outcome
        breakers, probe = runtime.limiter.breakers, self._permit.probe
        try:
            outcome = handle.outcome = self._judged(login, outcome)
            if isinstance(outcome, UnreadableReply):
                # Before the write, which may take long: meanwhile, other exchanges would go the same way.
                now, at = runtime.clock.monotonic(), runtime.at()
                counted = None if attempt.with_code is not None else handle.login_id
                runtime.event_queue.tell(breakers.unreadable(handle.broker, counted, now, at, probe))
            write = PendingWrite(runtime, attempt, result_of(outcome, runtime.names))
            handle.write = write
            settled = await write.save(login)
        except Exception as error:
            # After any error, leaving the keeper raises the outcome: the only live tokens may be on it.
            runtime.inflight.give_up(outcome, handle.write)
            handle.error = NotReadyInTime("the store did not take the new tokens")
            if not isinstance(error, GivenUp):
                raise
            return
        finally:
            handle.outcome = None
        self._settled(settled)
        if not isinstance(outcome, UnreadableReply):
            now, at, name = runtime.clock.monotonic(), runtime.at(), attempt.epoch
            runtime.event_queue.tell(breakers.succeeded(handle.broker, handle.login_id, now, at, probe, account=name))

    def _judged(self, login: Login, outcome: Refreshed | MfaRequired | UnreadableReply) -> Outcome:
        """`outcome`, or the reply to keep in its place where it cannot be of this login."""
        if isinstance(outcome, UnreadableReply):
            return outcome
        judged = judge(login, outcome)
        if isinstance(judged, UnreadableReply):
            _log.error("a reply names no account of its login", extra=self._known())
            self.handle.error = judged
        return judged

    async def _failed(self, login: Login, attempt: Attempt, error: MeshRefreshError, account: Account) -> None:
        runtime, handle, held = self.runtime, self.handle, error.__cause__
        handle.error = error
        if isinstance(error, NotSent) and isinstance(held, HeldBack):
            handle.error = NotReadyInTime(str(held))
            if held.back_off:
                _log.warning("an exchange was held back: %s", held, extra=self._known())
            await self._write_not_sent(login, attempt, back_off=held.back_off)
            return
        if isinstance(error, InvalidRequest) and runtime.mesh.closed:
            handle.error = NotReadyInTime("the client is closed")
            await self._write_not_sent(login, attempt, back_off=True)
            return
        failure = blame(runtime, error, account, attempt, self._permit)
        if failure is None:
            await self._write(login, lambda stored, _: Transition(reopen_question(stored, attempt)))
            return
        hold = runtime.policy.resend_after if isinstance(failure, Unknown) else timedelta()
        await self._write(login, lambda stored, context: apply_failure(stored, attempt, failure, context), hold)

    async def _not_made(self, login: Login, attempt: Attempt, error: Exception, account: Account) -> None:
        """A part of the user's, a strategy most likely, raised before anything was sent."""
        _log.error("a request could not be made", extra=self._known(error))
        self.handle.not_made = True
        self.handle.error = NotReadyInTime(f"the request could not be made ({type(error).__name__})")
        failure = blame_user_code(self.runtime, error, account, attempt, self._permit)
        await self._write(login, lambda stored, context: apply_failure(stored, attempt, failure, context))

    async def _write_not_sent(self, login: Login, attempt: Attempt, *, back_off: bool = False) -> None:
        await self._write(login, lambda stored, context: not_sent(stored, attempt, context, back_off=back_off))


def _lateness(account: Account, context: Context) -> float | None:
    """For how many seconds the account has been due; None: it is not."""
    late = None if account.due_at is None else (context.now - account.due_at).total_seconds()
    return late if late is not None and late >= 0 else None
