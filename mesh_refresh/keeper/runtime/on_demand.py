"""Callers that want tokens of one login now."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TypeVar

from attrs import define

from mesh_refresh.keeper.errors import CodeNotWanted, NotReadyInTime, ReconnectNeeded
from mesh_refresh.keeper.rules.mfa import find_question
from mesh_refresh.keeper.rules.schedule import is_good
from mesh_refresh.keeper.rules.select import (
    Answer,
    Asked,
    CodeFirst,
    Good,
    NotBefore,
    Parked,
    Send,
    answer_refresh,
    answer_restart,
    answer_tokens,
    choose_question,
    outcome_unknown,
)
from mesh_refresh.keeper.rules.transition import Context
from mesh_refresh.keeper.runtime.claimer import Claimer, Deadline
from mesh_refresh.keeper.runtime.inflight import ExchangeHandle
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.runtime.wakeups import Followed
from mesh_refresh.logins import Account, AccountState, Login, LoginMoved, Way
from mesh_refresh.masking import MaskedStr
from mesh_refresh.observing import AnsweredFrom, TokensAnswered
from mesh_refresh.replies.outcomes import MfaPending
from mesh_refresh.tokens import Tokens

_T = TypeVar("_T")
Rule = Callable[["TokenRequest", Login, Account, Context], Answer]
"""What is answered, of the account as it is stored now."""


@define
class TokenRequest:
    """Which account a caller asks for, and the rule by which it is answered."""

    login_id: str
    account_id: str | None
    rule: Rule
    tried: bool = False
    """An exchange was begun for it."""
    waited: bool = False
    """What was stored would not do, and an exchange of this or of another process brought the answer."""
    spare: Tokens | None = None
    """What the caller gets where it gets nothing better in time."""

    def choose(self, login: Login, context: Context) -> Send | None:
        """What to exchange of the login as it was claimed: the rule decides once more."""
        try:
            found = self.rule(self, login, login.account(self.account_id), context)
        except LookupError:
            return None  # it has other accounts by now: the caller sees that at its next look
        return found if isinstance(found, Send) else None


class OnDemand:
    """The verbs of a keeper about one login."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._claimer = Claimer(runtime)

    async def tokens(
        self,
        login_id: str,
        account_id: str | None,
        wait: timedelta,
        rejected: Tokens | str | None,
        valid_for: timedelta,
    ) -> Tokens:
        """See `Keeper.tokens`."""

        def rule(request: TokenRequest, login: Login, account: Account, context: Context) -> Answer:
            lasting = timedelta() if request.tried else valid_for  # one exchange for that is enough
            return answer_tokens(login, account, context, rejected=rejected, valid_for=lasting)

        begun, request = self._runtime.loop.time(), TokenRequest(login_id, account_id, rule)
        answer: AnsweredFrom | None = "failed"
        try:
            found = await self._fresh_or_spare(request, Deadline(self._runtime, wait))
            answer = "refreshed" if request.waited and found is not request.spare else "store"
        except asyncio.CancelledError:
            answer = None
            raise
        finally:
            if answer is not None:
                self._runtime.tell(TokensAnswered(answer, self._runtime.loop.time() - begun))
        return found

    async def refresh(self, login_id: str, account_id: str | None, wait: timedelta) -> Tokens:
        """Tokens of an exchange that ended after this was asked for."""
        deadline = Deadline(self._runtime, wait)
        before = (await self._claimer.read(login_id, deadline)).account(account_id)

        def rule(request: TokenRequest, login: Login, account: Account, context: Context) -> Answer:
            if _is_fresher(account, before) and is_good(account.tokens, context.now, context.policy):
                return Good(account.tokens)
            found = answer_refresh(login, account, context)
            if request.tried and isinstance(found, Send):
                # A second exchange is sent only where `tokens` would send it.
                return answer_tokens(login, account, context, rejected=account.tokens)
            return found

        return await self._fresh(TokenRequest(login_id, account_id, rule), deadline)

    async def restart_mfa(self, login_id: str, account_id: str | None, wait: timedelta) -> Account:
        """The account after a new question was asked for."""
        deadline = Deadline(self._runtime, wait)
        before = (await self._claimer.read(login_id, deadline)).account(account_id).pending
        if before is None:
            raise CodeNotWanted

        def rule(_: TokenRequest, login: Login, account: Account, context: Context) -> Answer:
            return answer_restart(login, account, before.id, context)

        await self._fresh(TokenRequest(login_id, account_id, rule), deadline)
        return (await self._claimer.read(login_id, deadline)).account(account_id)

    async def submit_mfa(
        self, login_id: str, code: str, pending_id: str | None, account_id: str | None, wait: timedelta
    ) -> Tokens:
        """Fresh tokens, after the broker took the code."""
        with self._runtime.wakeups.follow(login_id) as followed:
            return await self._submit(followed, MaskedStr(code), pending_id, account_id, Deadline(self._runtime, wait))

    async def _submit(
        self, followed: Followed, code: str, pending_id: str | None, account_id: str | None, deadline: Deadline
    ) -> Tokens:
        claimer, not_sent = self._claimer, None
        while True:
            await claimer.wait_for_writes(followed, deadline)
            seen = followed.changes
            login = await claimer.read(followed.login_id, deadline)
            account, question = _check_at_home(login, find_question(login, pending_id, account_id))
            pending_id = question  # the code answers this question, and none that is asked meanwhile
            must_wait = outcome_unknown(Asked(login, account, self._runtime.context()))
            if must_wait is not None:
                await claimer.wait_until(must_wait.at, must_wait.why, deadline, followed, seen)
                continue
            if not_sent is not None and not deadline.left:
                raise not_sent
            exchange = await claimer.claimed(login, partial(choose_question, question), deadline, code)
            if exchange is None:
                continue
            await claimer.wait_for_end(exchange, deadline)
            if _was_tried(exchange):
                return _after_code(exchange, account, question)
            # Held back, or an open attempt had to be stamped first. The question may still be open.
            error = exchange.error
            not_sent = NotReadyInTime("nothing was sent") if error is None else error.for_another()

    async def _fresh_or_spare(self, request: TokenRequest, deadline: Deadline) -> Tokens:
        try:
            return await self._fresh(request, deadline)
        except NotReadyInTime:
            spare, runtime = request.spare, self._runtime
            if spare is None or runtime.inflight.is_out_of_date(request.login_id):
                raise
            if not is_good(spare, runtime.at(), runtime.policy):
                raise
            return spare

    async def _fresh(self, request: TokenRequest, deadline: Deadline) -> Tokens:
        with self._runtime.wakeups.follow(request.login_id) as followed:
            return await self._answered(request, deadline, followed)

    async def _answered(self, request: TokenRequest, deadline: Deadline, followed: Followed) -> Tokens:
        runtime, claimer = self._runtime, self._claimer
        login: Login | None = None
        seen = followed.changes
        while True:
            await claimer.wait_for_writes(followed, deadline)
            if login is None:
                seen = followed.changes
                login = await claimer.read(request.login_id, deadline)
            found = request.rule(request, login, login.account(request.account_id), runtime.context())
            request.spare = found.spare if isinstance(found, Send) else None
            if request.spare is not None and self._would_wait(login):
                return request.spare
            match found if isinstance(found, Good) else _check_at_home(login, found):
                case Good(tokens):
                    return tokens
                case CodeFirst(pending_id, display_message):
                    raise MfaPending(pending_id=pending_id, display_message=display_message)
                case Parked(reason, display_message):
                    raise ReconnectNeeded(reason, display_message)
                case NotBefore(at, why):
                    await claimer.wait_until(at, why, deadline, followed, seen)
                    login = None
                case Send():
                    request.waited = True
                    exchange = runtime.inflight.exchanges.get(request.login_id)
                    exchange = exchange or await claimer.claimed(login, request.choose, deadline)
                    login = None
                    if exchange is not None:
                        await claimer.wait_for_end(exchange, deadline)
                        login, request.tried = exchange.login, request.tried or _was_tried(exchange)
                        if not deadline.left and exchange.error is not None:
                            raise NotReadyInTime(f"the last exchange failed ({type(exchange.error).__name__})")

    def _would_wait(self, login: Login) -> bool:
        """Whether it is known that no exchange of the login may begin now."""
        breakers, now = self._runtime.limiter.breakers, self._runtime.clock.monotonic()
        return login.moving is not None or breakers.blocked(str(login.broker), now) is not None


def _check_at_home(login: Login, found: _T) -> _T:
    """`found`, unless the login moved out of this store, or is moving in: the other store may have newer tokens."""
    if login.moving is None:
        return found
    if login.moving.way is Way.MOVED:
        raise LoginMoved
    raise NotReadyInTime("the login is being moved into this store")


def _was_tried(exchange: ExchangeHandle) -> bool:
    """Whether the request went out, or failed before that for a reason other than the keeper's own."""
    return exchange.sent or exchange.not_made or not isinstance(exchange.error, NotReadyInTime | None)


def _is_fresher(account: Account, before: Account) -> bool:
    """Whether an exchange of this account has ended since. A sibling's may have brought it a refresh token only."""
    if account.epoch != before.epoch:
        return True
    came = (account.refreshed_at, account.tokens.auth_token) != (before.refreshed_at, before.tokens.auth_token)
    return came and account.settled_by != before.settled_by


def _after_code(exchange: ExchangeHandle, account: Account, pending_id: str) -> Tokens:
    """The tokens that a code led to. Raises what the exchange raised, or `MfaPending` where the broker asks again."""
    if exchange.error is not None:
        raise exchange.error.for_another()
    after = None if exchange.login is None else exchange.login.by_epoch(account.epoch)
    if after is None:
        raise CodeNotWanted("The login was removed or added anew meanwhile, and does not take what the code brought.")
    if after.pending is not None and after.pending.id != pending_id:
        raise MfaPending(pending_id=after.pending.id, display_message=after.pending.display_message)
    if after.state is AccountState.ACTIVE and exchange.sent:
        return after.tokens
    raise CodeNotWanted
