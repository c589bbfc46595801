"""One login's exchange, from its claim to its settling: a unit that nothing from outside breaks off."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from attrs import evolve

from mesh_refresh.client import SendOptions
from mesh_refresh.errors import InvalidRequest, MeshRefreshError, NotSent
from mesh_refresh.keeper.errors import NotReadyInTime, without_secrets
from mesh_refresh.keeper.events import Event
from mesh_refresh.keeper.limits.limiter import Permit
from mesh_refresh.keeper.rules.attempt import Attempt, result_of
from mesh_refresh.keeper.rules.failure import Unknown, apply_failure, park_expired, park_unsendable, stamp_open_attempt
from mesh_refresh.keeper.rules.mfa import mark_answered, reopen_question
from mesh_refresh.keeper.rules.select import Send, choose_due, postpone
from mesh_refresh.keeper.rules.transition import Context, Transition, with_account
from mesh_refresh.keeper.rules.unreadable import judge
from mesh_refresh.keeper.runtime.breaker_signals import blame, not_made
from mesh_refresh.keeper.runtime.late_replies import late_replies
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.runtime.writer import GivenUp, PendingWrite, Settled, swap
from mesh_refresh.logins import Account, AccountState, Login
from mesh_refresh.replies.outcomes import MfaRequired, Outcome, Refreshed, UnreadableReply
from mesh_refresh.stores import Row, StoreError, StoreUnavailable

_log = logging.getLogger("mesh_refresh.keeper")

Choice = Callable[[Login, Context], "Send | None"]
"""Which account to exchange, of the login as it was claimed; None: none of them, after all."""


class HeldBack(Exception):
    """What was about to be sent must not be, for a reason of ours."""

    def __init__(self, why: str, *, pause: bool = False) -> None:
        super().__init__(why)
        self.pause = pause
        """Whether it would be so again at once."""


class LoginExchange:
    """Has a place at the limiter, which whoever made it took, and gives that back at its end."""

    def __init__(
        self, runtime: Runtime, row: Row, claimed_at: float, choose: Choice, place: Permit, *, code: str | None = None
    ) -> None:
        self.runtime = runtime
        self.login_id = row.login_id
        self.broker = row.broker
        self.answered = False
        """Fresh tokens came, and are on their way into the store: what the store has is out of date."""
        self.sent = False
        self.not_made = False
        """A part of the user's raised before anything was sent: at once again would be the same."""
        self.login: Login | None = None
        """What was written in the end."""
        self.error: MeshRefreshError | None = None
        """What the exchange raised."""
        self.outcome: Outcome | None = None
        """What came, as long as it is not in the store."""
        self.saving: PendingWrite | None = None
        self.done: asyncio.Future[None] = runtime.loop.create_future()
        self._row, self._claimed_at, self._choose, self._code = row, claimed_at, choose, code
        self._place = place

    @property
    def exchanging(self) -> bool:
        """Whether a reply may still come."""
        return self.sent and self.outcome is None and self.error is None

    def start(self) -> None:
        """Begin. From here on, the row's lease is this unit's to give back."""
        runtime = self.runtime
        # Where the lease of an earlier one ran out under it, that one may have tokens: it stays the one to wait for.
        runtime.units.setdefault(self.login_id, self)
        _ = runtime.start(self._run())

    async def _run(self) -> None:
        runtime = self.runtime
        try:
            await self._claimed()
        except Exception as error:  # noqa: BLE001 - the lease runs out by itself, and callers must not hang
            _log.error(
                "an exchange ended in an unexpected way", extra={"login_id": self.login_id, **without_secrets(error)}
            )
        finally:
            runtime.limiter.leave(self._place)
            if runtime.units.get(self.login_id) is self:
                del runtime.units[self.login_id]
            if not self.done.done():
                self.done.set_result(None)
            runtime.wake(self.login_id)

    async def _claimed(self) -> None:
        runtime = self.runtime
        try:
            login = runtime.opened(self._row)
        except StoreError as error:
            await self._leave_alone(error)
            return
        if runtime.key_mismatch.opened():
            _log.warning("logins open again: this process claims as before")
        if self.login_id in runtime.unsaved:
            # Tokens that come after these are on their way into the store.
            if self._row.open_attempt:
                # Nobody else may think that it is settled. The write of those tokens gives this lease back.
                runtime.parked_leases[self.login_id] = self._row.attempt
                return
            await self._write(login, lambda stored, context: Transition(postpone(stored, context)))
            return
        if self._row.open_attempt and await self._found_open(login):
            return
        context = runtime.now()
        wish = self._choose(login, context) if login.moving is None else None
        if wish is None:
            await self._write(login, nothing_to_send)
            return
        if self._code is None and self._may_be_spent(wish.account):
            await self._write(login, lambda stored, context: park_unsendable(stored, wish.account, context))
            return
        await self._exchange(login, wish, context)

    def _may_be_spent(self, account: Account) -> bool:
        """Whether its tokens were sent before with an unknown fate, and their strategy allows no second request."""
        return account.unknown_since is not None and not self.runtime.mesh.may_resend(account.tokens)

    async def _found_open(self, login: Login) -> bool:
        """Stamp what nobody knows about; False where all of it was written after all."""
        may = {it.epoch: self.runtime.mesh.may_resend(it.tokens) for it in login.accounts}

        def stamp(stored: Login, context: Context) -> Transition:
            return stamp_open_attempt(stored, login, context, may)

        if not stamp(login, self.runtime.now()).changed:
            return False
        await self._write(login, stamp, self.runtime.policy.resend_after)
        return True

    async def _leave_alone(self, error: StoreError) -> None:
        """A row that does not open is given back as it is: a process with other keys may open it.

        What is open stays open: only a process that can read the row can write down that its fate is unknown.
        """
        runtime = self.runtime
        _log.error("a login cannot be read", extra={"login_id": self.login_id, **without_secrets(error)})
        self.error = error
        if runtime.key_mismatch.failed(self.login_id, runtime.clock.monotonic()):
            _log.error(
                "this process claims nothing more: several logins in a row do not open with its keys. Nothing was "
                "sent, and other processes may take them. Start it with the key that sealed them"
            )
        try:
            await runtime.stored(lambda: runtime.store.release(self.login_id, runtime.owner, runtime.policy.backoff))
        except Exception as failed:  # noqa: BLE001 - whatever a store raises: the lease runs out by itself
            _log.warning("a login was left to its lease", extra={"login_id": self.login_id, **without_secrets(failed)})

    async def _write(
        self, login: Login, change: Callable[[Login, Context], Transition], hold: timedelta = timedelta()
    ) -> None:
        """Write what holds no token. Where the store fails, the lease runs out and somebody else finds it open."""
        runtime, pause = self.runtime, 0.05
        runtime.begin_write()
        told: list[Event] = []
        while True:
            try:
                self._settled(await swap(runtime, login, change, hold, mine=self._is_mine, told=told))
            except Exception as error:  # noqa: BLE001 - whatever a store raises
                left = runtime.policy.lease.total_seconds() - (runtime.clock.monotonic() - self._claimed_at)
                if runtime.closing or left <= 0:
                    _log.warning(
                        "a login was left to its lease", extra={"login_id": self.login_id, **without_secrets(error)}
                    )
                    return
                await asyncio.sleep(min(pause, left))
                pause = min(pause * 2, 5.0)
            else:
                return

    def _is_mine(self, number: int) -> bool:
        return number == self._row.attempt

    def _settled(self, settled: Settled) -> None:
        self.login = settled.login
        self.runtime.event_queue.tell(settled.told)

    # The exchange.

    async def _exchange(self, login: Login, wish: Send, context: Context) -> None:
        account = wish.account
        asks = account.pending.id if account.pending is not None and self._code is not None else None
        attempt = Attempt.of(
            login, account, context.now, code_for=asks, renew=wish.renew, credential=context.credential
        )
        if asks is not None:
            marked = await self._mark_answering(login, account.epoch)
            if marked is None or marked.by_epoch(account.epoch) is None:
                await self._write(login, lambda stored, context: _untouched(stored, attempt, context))
                return
            login = marked
        late = late_replies(self.runtime, login, attempt, self.done)
        sending = SendOptions(max_requests=1, before_send=self._before_send(login), call_on_outcome=False, on_late=late)
        outcome: Refreshed | MfaRequired | UnreadableReply
        try:
            outcome = await self._sent(wish, sending)
        except UnreadableReply as error:
            if not error.may_hold_token:
                await self._failed(login, attempt, error, account)
                return
            outcome, self.error = error, error
        except MeshRefreshError as error:
            cause = error.__cause__
            if isinstance(error, InvalidRequest) and not self.sent and isinstance(cause, Exception):
                await self._not_made(login, attempt, cause, account)
            else:
                await self._failed(login, attempt, error, account)
            return
        except Exception as error:
            if self.sent:
                raise
            await self._not_made(login, attempt, error, account)
            return
        await self._keep(login, attempt, outcome)

    async def _sent(self, wish: Send, sending: SendOptions) -> Refreshed | MfaRequired:
        mesh, account = self.runtime.mesh, wish.account
        pending = _continuation(account) if account.state is AccountState.MFA_REQUIRED else None
        if self._code is not None and pending is not None:
            return await mesh.submit_mfa(pending, self._code, sending=sending)
        tokens = account.tokens if pending is None else pending.tokens
        return await mesh.refresh(tokens, create_new_refresh_token=True if wish.renew else None, sending=sending)

    async def _not_made(self, login: Login, attempt: Attempt, error: Exception, account: Account) -> None:
        """Something of the user's, a strategy most likely, raised before the bytes."""
        _log.error("a request could not be made", extra={"login_id": self.login_id, **without_secrets(error)})
        self.not_made, self.error = True, NotReadyInTime(f"the request could not be made ({type(error).__name__})")
        failure = not_made(self.runtime, error, account, attempt, self._place)
        await self._write(login, lambda stored, context: apply_failure(stored, attempt, failure, context))

    async def _mark_answering(self, login: Login, epoch: str) -> Login | None:
        """Before a code goes out: after a crash, no other code is sent for the same question. None: not to be sent."""

        def mark(stored: Login, _: Context) -> Transition:
            found = stored.by_epoch(epoch)
            return Transition(stored if found is None else mark_answered(stored, found))

        try:
            return (await swap(self.runtime, login, mark, timedelta(), mine=None)).login
        except Exception as error:  # noqa: BLE001 - whatever a store raises: nothing was sent
            self.error = StoreUnavailable("The store failed before the code was sent; nothing was sent.")
            self.error.__cause__ = error
            return None

    def _before_send(self, login: Login) -> Callable[[], Any]:
        """The last look, with the connection in hand."""
        runtime, policy = self.runtime, self.runtime.policy
        unknown = any(account.unknown_since is not None for account in login.accounts)

        def look() -> None:
            if runtime.closing:
                raise HeldBack("the keeper is being left")
            if self.login_id in runtime.unsaved:
                raise HeldBack("what came for this login is not in the store yet", pause=True)
            now = runtime.clock.monotonic()
            if now - self._claimed_at + runtime.mesh.retry.deadline.total_seconds() > policy.lease.total_seconds():
                raise HeldBack("too little is left of the lease", pause=True)
            if runtime.limiter.breakers.blocked(self.broker, now, self._place.probe) is not None:
                raise HeldBack("a breaker has opened")

        def check() -> None:
            look()
            self.sent = True

        async def check_row() -> None:
            # After somebody's open attempt, that somebody may have written new tokens since.
            try:
                row = await runtime.store.read(self.login_id)
            except Exception as error:
                raise HeldBack("the store failed", pause=True) from error
            if row is None or (row.epoch, row.revision) != (login.epoch, login.revision):
                raise HeldBack("the login was changed meanwhile")
            check()

        return check_row if unknown else check

    async def _keep(self, login: Login, attempt: Attempt, outcome: Refreshed | MfaRequired | UnreadableReply) -> None:
        """Into the store, before anything else."""
        runtime = self.runtime
        self.answered, self.outcome = True, outcome
        breakers, probe = runtime.limiter.breakers, self._place.probe
        try:
            outcome = self.outcome = self._judged(login, outcome)
            if isinstance(outcome, UnreadableReply):
                # Before the write, which may take long: meanwhile, others would go the same way.
                now, at = runtime.clock.monotonic(), runtime.at()
                counted = None if attempt.with_code is not None else self.login_id
                runtime.event_queue.tell(breakers.unreadable(self.broker, counted, now, at, probe))
            self.saving = PendingWrite(runtime, attempt, result_of(outcome, runtime.names))
            settled = await self.saving.save(login)
        except Exception as error:
            # Whatever went wrong: leaving the keeper raises it, and the only live tokens may be on that.
            self.give_up(outcome)
            self.error = NotReadyInTime("the store did not take the new tokens")
            if not isinstance(error, GivenUp):
                raise
            return
        finally:
            self.outcome = None
        self._settled(settled)
        if not isinstance(outcome, UnreadableReply):
            now, at, name = runtime.clock.monotonic(), runtime.at(), attempt.epoch
            runtime.event_queue.tell(breakers.succeeded(self.broker, self.login_id, now, at, probe, account=name))

    def _judged(self, login: Login, outcome: Refreshed | MfaRequired | UnreadableReply) -> Outcome:
        """`outcome`, or the reply to keep in its place, where it cannot be of this login."""
        if isinstance(outcome, UnreadableReply):
            return outcome
        judged = judge(login, outcome)
        if isinstance(judged, UnreadableReply):
            _log.error("a reply names no account of its login", extra={"login_id": self.login_id})
            self.error = judged
        return judged

    def give_up(self, outcome: Outcome) -> None:
        """The store does not take it until the keeper is left."""
        spilled = self.saving is not None and self.saving.path is not None
        (self.runtime.spilled if spilled else self.runtime.given_up).append(outcome)

    async def _failed(self, login: Login, attempt: Attempt, error: MeshRefreshError, account: Account) -> None:
        runtime = self.runtime
        self.error = error
        if isinstance(error, NotSent) and isinstance(error.__cause__, HeldBack):
            held = error.__cause__
            self.error = NotReadyInTime(str(held))
            if held.pause:
                _log.warning("an exchange was held back: %s", held, extra={"login_id": self.login_id})
            await self._write(login, lambda stored, context: _untouched(stored, attempt, context, pause=held.pause))
            return
        if isinstance(error, InvalidRequest) and runtime.mesh.closed:
            self.error = NotReadyInTime("the client is closed")
            await self._write(login, lambda stored, context: _untouched(stored, attempt, context, pause=True))
            return
        failure = blame(runtime, error, account, attempt, self._place)
        hold = runtime.policy.resend_after if isinstance(failure, Unknown) else timedelta()
        if failure is None:
            await self._write(login, lambda stored, _: Transition(reopen_question(stored, attempt)))
            return
        await self._write(login, lambda stored, context: apply_failure(stored, attempt, failure, context), hold)


def loop_choice(login: Login, context: Context) -> Send | None:
    """What the loop exchanges."""
    return choose_due(login, context)


def nothing_to_send(stored: Login, context: Context) -> Transition:
    """The lease goes back; whatever is due and may not be sent is put off, to the next look at the soonest.

    What has expired may have held up another account until now: that one is not claimed again at once either.
    """
    expired = park_expired(stored, context)
    return Transition(postpone(expired.login, context), expired.events)


def _untouched(stored: Login, attempt: Attempt, context: Context, *, pause: bool = False) -> Transition:
    """Nothing was sent: only the lease goes back, and a question that was about to be answered is open again."""
    login = reopen_question(stored, attempt) if attempt.with_code is not None else stored
    account = login.by_epoch(attempt.epoch)
    if not pause or account is None or account.due_at is None:
        return Transition(login)
    return Transition(with_account(login, account, evolve(account, due_at=context.now + context.policy.backoff)))


def _continuation(account: Account) -> MfaRequired | None:
    return None if account.pending is None else MfaRequired.from_json(account.pending.document)
