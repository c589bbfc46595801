"""Seven bugs to plant into a keeper, for as long as a block runs: a simulation must find each of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from attrs import evolve

from mesh_refresh.keeper import add_login as storing
from mesh_refresh.keeper.events import AccountRefreshed
from mesh_refresh.keeper.keeper import Keeper
from mesh_refresh.keeper.rules import mfa, plan, success
from mesh_refresh.keeper.rules.add import with_tokens
from mesh_refresh.keeper.rules.attempt import result_of
from mesh_refresh.keeper.runtime import exchange as unit
from mesh_refresh.keeper.runtime import writer as settling
from mesh_refresh.replies import brought


def original(owner: object, name: str) -> Any:
    """What a bug takes the place of, and calls. Bugs are made inside of what is private, too."""
    return getattr(owner, name)


@contextmanager
def events_before_the_write() -> Iterator[None]:
    """What is to be told is told as soon as it is known, and not when it is in the store."""
    right = original(unit.LoginExchange, "_keep")

    async def keep(self: Any, login: Any, attempt: Any, outcome: Any) -> None:
        change = settling.change_for(attempt, result_of(outcome, self.runtime.names))
        told = change(login, self.runtime.context()).events
        self.runtime.event_queue.tell(event for event in told if isinstance(event, AccountRefreshed))
        await right(self, login, attempt, outcome)

    with patch.object(unit.LoginExchange, "_keep", keep):
        yield


@contextmanager
def a_lease_shorter_than_the_deadline() -> Iterator[None]:
    """And nobody looks at what is left of it."""
    right = Keeper.__aenter__

    async def enter(self: Any) -> Any:
        soon = timedelta(milliseconds=100)
        self._policy = evolve(self._policy, lease=self._mesh.retry.deadline / 5, resend_after=soon, confirm_after=soon)
        return await right(self)

    def look_away(self: Any, _: Any) -> Callable[[], None]:
        def check() -> None:
            self.sent = True

        return check

    with patch.object(Keeper, "__aenter__", enter), patch.object(unit.LoginExchange, "_before_send", look_away):
        yield


@contextmanager
def a_late_settle_wins() -> Iterator[None]:
    """Whatever is stored by now, what an attempt brought is written over it."""
    always = lambda *_: True  # noqa: E731
    with patch.object(mfa, "is_newer", always), patch.object(success, "is_newer", always):
        yield


@contextmanager
def a_null_erases() -> Iterator[None]:
    """What a reply leaves out does not stay as it is stored."""
    right = brought.adopt

    def adopt(stored: Any, fresh: Any, news: Any, *, own: bool) -> Any:
        kept = right(stored, fresh, news, own=own)
        return kept if "refresh_token" in news else evolve(kept, refresh_token=None)

    with patch.object(success, "adopt", adopt):
        yield


@contextmanager
def an_open_attempt_erased() -> Iterator[None]:
    """A keeper that claims a login of which it holds the new pair gives the lease back, as if nothing had been sent."""
    right = plan.plan

    def planned(login: Any, claimed: Any, now: Any) -> Any:
        return plan.WriteBack(plan.put_off_for_a_look) if claimed.unsaved else right(login, claimed, now)

    with patch.object(unit, "plan", planned):
        yield


@contextmanager
def an_add_that_fences_off() -> Iterator[None]:
    """`add` draws a new epoch also where the refresh token stays, so that what comes for that one is dropped."""
    right = with_tokens

    def added(login: Any, tokens: Any, context: Any, terms: Any) -> Any:
        after, done = right(login, tokens, context, terms)
        old = {it.epoch: it for it in login.accounts}
        accounts = tuple(
            evolve(
                it, epoch=fresh, produced_by=0, settled_by=0, failed_by=0, unknown_since=None, resend_not_before=None
            )
            if old.get(it.epoch) not in (None, it)
            else it
            for it, fresh in zip(after.accounts, [context.new_id() for _ in after.accounts], strict=True)
        )
        return evolve(after, accounts=accounts), done

    with patch.object(storing, "with_tokens", added):
        yield


@contextmanager
def a_stranger_joins() -> Iterator[None]:
    """Whatever a reply names is of the login that it answers."""
    with patch.object(unit, "judge", lambda _, outcome: outcome):
        yield


BUGS: dict[str, Callable[[], Any]] = {
    "events before the write": events_before_the_write,
    "a lease shorter than the deadline": a_lease_shorter_than_the_deadline,
    "a late settle that overwrites a newer pair": a_late_settle_wins,
    "a null that erases a token": a_null_erases,
    "an open attempt that its own keeper erases": an_open_attempt_erased,
    "an add that fences off what it keeps": an_add_that_fences_off,
    "a stranger who joins a login": a_stranger_joins,
}
