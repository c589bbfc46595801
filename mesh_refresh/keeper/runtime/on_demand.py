"""Callers who want tokens of one login now."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from attrs import define

from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.keeper.errors import CodeNotWanted, NotReadyInTime, ReconnectNeeded
from mesh_refresh.keeper.rules.schedule import is_good
from mesh_refresh.keeper.rules.select import (
    Answer,
    CodeFirst,
    Good,
    NotBefore,
    Parked,
    Send,
    answer_refresh,
    answer_restart,
    answer_tokens,
)
from mesh_refresh.keeper.rules.transition import Context
from mesh_refresh.keeper.runtime.claimer import Claimer, Deadline
from mesh_refresh.keeper.runtime.exchange import LoginExchange
from mesh_refresh.keeper.runtime.wakeups import Followed
from mesh_refresh.logins import Account, AccountState, AmbiguousAccount, Login, LoginMoved, Way
from mesh_refresh.masking import MaskedStr
from mesh_refresh.replies.outcomes import MfaPending
from mesh_refresh.tokens import Tokens

_T = TypeVar("_T")
Judge = Callable[["TokenRequest", Login, Account, Context], Answer]


@define
class TokenRequest:
    """Which account, by which rule."""

    login_id: str
    account_id: str | None
    judge: Judge
    tried: bool = False
    """An exchange was sent for it."""

    def choose(self, login: Login, context: Context) -> Send | None:
        """What to exchange of the login as it was claimed: the rule looks again."""
        try:
            found = self.judge(self, login, login.account(self.account_id), context)
        except LookupError:
            return None  # it has other accounts by now: the caller finds out by itself
        return found if isinstance(found, Send) else None


class OnDemand(Claimer):
    """What the verbs of a keeper do for one login."""

    async def tokens(self, login_id: str, account_id: str | None, rejected: Tokens | None, wait: timedelta) -> Tokens:
        """Fresh tokens, refreshed first where they must be."""

        def judge(_: TokenRequest, login: Login, account: Account, context: Context) -> Answer:
            return answer_tokens(login, account, context, rejected=rejected)

        return await self._fresh(TokenRequest(login_id, account_id, judge), Deadline(self.runtime, wait))

    async def refresh(self, login_id: str, account_id: str | None, wait: timedelta) -> Tokens:
        """Tokens of an exchange that ended after this was asked for."""
        before = (await self.read(login_id, Deadline(self.runtime, wait))).account(account_id)

        def judge(wish: TokenRequest, login: Login, account: Account, context: Context) -> Answer:
            if _is_fresher(account, before) and is_good(account.tokens, context.now, context.policy):
                return Good(account.tokens)
            found = answer_refresh(login, account, context)
            if wish.tried and isinstance(found, Send):
                # A second one is sent only where `tokens` would send it.
                rejected = account.tokens
                return answer_tokens(login, account, context, rejected=rejected)
            return found

        return await self._fresh(TokenRequest(login_id, account_id, judge), Deadline(self.runtime, wait))

    async def restart_mfa(self, login_id: str, account_id: str | None, wait: timedelta) -> Account:
        """The account after a new question was asked for."""
        deadline = Deadline(self.runtime, wait)
        before = (await self.read(login_id, deadline)).account(account_id).pending
        if before is None:
            raise CodeNotWanted

        def judge(_: TokenRequest, login: Login, account: Account, context: Context) -> Answer:
            return answer_restart(login, account, before.id, context)

        await self._fresh(TokenRequest(login_id, account_id, judge), deadline)
        return (await self.read(login_id, deadline)).account(account_id)

    async def submit_mfa(
        self, login_id: str, code: str, pending_id: str | None, account_id: str | None, wait: timedelta
    ) -> Tokens:
        """Fresh tokens, after the broker took the code."""
        with self.runtime.wakeups.follow(login_id) as followed:
            return await self._submit(followed, MaskedStr(code), pending_id, account_id, Deadline(self.runtime, wait))

    async def _submit(
        self, followed: Followed, code: str, pending_id: str | None, account_id: str | None, deadline: Deadline
    ) -> Tokens:
        held: MeshRefreshError | None = None
        while True:
            await self.settle_first(followed, deadline)
            seen = followed.changes
            login = await self.read(followed.login_id, deadline)
            account = _at_home(login, _asked(login, pending_id, account_id))
            assert account.pending is not None  # noqa: S101 - `_asked` looks for it
            wanted: str = account.pending.id
            pending_id = wanted  # and no other, if it is asked anew meanwhile
            if account.resend_not_before is not None and self.runtime.at() < account.resend_not_before:
                why = "nobody knows yet what became of the last exchange"
                await self.wait_until(account.resend_not_before, why, deadline, followed, seen)
                continue
            if held is not None and not deadline.left:
                raise held

            def choose(claimed: Login, context: Context, wanted: str = wanted) -> Send | None:
                found = next((it for it in claimed.accounts if _waits_for(it, wanted)), None)
                waits = (
                    found is not None and found.resend_not_before is not None and context.now < found.resend_not_before
                )
                return None if found is None or waits else Send(found)

            unit = await self.claimed(login, choose, deadline, code)
            if unit is None:
                continue
            await self.ended(unit, deadline)
            if _was_tried(unit):
                return _after_code(unit, account, wanted)
            # Nothing was sent: held back, or somebody's open attempt came first. The question may still be open.
            held = NotReadyInTime("nothing was sent") if unit.error is None else unit.error.for_another()

    async def _fresh(self, wish: TokenRequest, deadline: Deadline) -> Tokens:
        with self.runtime.wakeups.follow(wish.login_id) as followed:
            return await self._followed(wish, deadline, followed)

    async def _followed(self, wish: TokenRequest, deadline: Deadline, followed: Followed) -> Tokens:
        runtime = self.runtime
        login: Login | None = None
        seen = followed.changes
        while True:
            await self.settle_first(followed, deadline)
            if login is None:
                seen = followed.changes
                login = await self.read(wish.login_id, deadline)
            account = login.account(wish.account_id)
            found = wish.judge(wish, login, account, runtime.now())
            match found if isinstance(found, Good) else _at_home(login, found):
                case Good(tokens):
                    return tokens
                case CodeFirst(pending_id):
                    raise MfaPending(pending_id=pending_id)
                case Parked(reason, display_message):
                    raise ReconnectNeeded(reason, display_message)
                case NotBefore(at, why):
                    await self.wait_until(at, why, deadline, followed, seen)
                    login = None
                case Send():
                    unit = runtime.units.get(wish.login_id) or await self.claimed(login, wish.choose, deadline)
                    login = None
                    if unit is not None:
                        await self.ended(unit, deadline)
                        login, wish.tried = unit.login, wish.tried or _was_tried(unit)
                        if not deadline.left and unit.error is not None:
                            raise NotReadyInTime(f"the last exchange failed ({type(unit.error).__name__})")


def _at_home(login: Login, it: _T) -> _T:
    """`it`, unless the login has left this store, or is on its way into it: the other one may have newer tokens."""
    if login.moving is None:
        return it
    if login.moving.way is Way.MOVED:
        raise LoginMoved
    raise NotReadyInTime("the login is being moved into this store")


def _was_tried(unit: LoginExchange) -> bool:
    """Whether what was asked for was begun, and not only held back."""
    return unit.sent or unit.not_made or not isinstance(unit.error, NotReadyInTime | None)


def _is_fresher(account: Account, before: Account) -> bool:
    """Whether an exchange of this account has ended since. A sibling's may have brought it a refresh token only."""
    if account.epoch != before.epoch:
        return True
    came = (account.refreshed_at, account.tokens.auth_token) != (before.refreshed_at, before.tokens.auth_token)
    return came and account.settled_by != before.settled_by


def _asked(login: Login, pending_id: str | None, account_id: str | None) -> Account:
    """The account that waits for a code."""
    if account_id is not None:
        account = login.account(account_id)
        found = [account] if account.pending is not None else []
    else:
        found = [account for account in login.accounts if account.pending is not None]
    if pending_id is not None:
        found = [account for account in found if account.pending is not None and account.pending.id == pending_id]
    found = [account for account in found if account.pending is not None and not account.pending.answered]
    if not found:
        raise CodeNotWanted
    if len(found) > 1:
        raise AmbiguousAccount("Several accounts of this login wait for a code: say which, by pending_id.")
    return found[0]


def _waits_for(account: Account, pending_id: str) -> bool:
    return account.pending is not None and account.pending.id == pending_id and not account.pending.answered


def _after_code(unit: LoginExchange, account: Account, pending_id: str) -> Tokens:
    """What a code led to."""
    if unit.error is not None:
        raise unit.error.for_another()
    after = None if unit.login is None else unit.login.by_epoch(account.epoch)
    if after is None:
        raise CodeNotWanted("The login was removed or added anew meanwhile; what the code brought is of nobody.")
    if after.pending is not None and after.pending.id != pending_id:
        raise MfaPending(pending_id=after.pending.id)
    if after.state is AccountState.ACTIVE and unit.sent:
        return after.tokens
    raise CodeNotWanted
