"""More bugs to plant, each of which a keeper once had: those of the wide worlds."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

from attrs import evolve

from mesh_refresh.keeper.keeper import Keeper
from mesh_refresh.keeper.limits import breakers
from mesh_refresh.keeper.rules import attempt as attempts
from mesh_refresh.keeper.rules import clock_skew, select, siblings, success
from mesh_refresh.keeper.runtime import claimer
from mesh_refresh.keeper.runtime import exchange as unit
from mesh_refresh.keeper.runtime import runtime as core
from mesh_refresh.keeper.runtime import writer as settling
from mesh_refresh.keeper.transfer import step as carrying
from mesh_refresh.stores import sealing
from tests.simulation.planted import original
from tests.simulation.strategies import bare

_EVER = timedelta(days=36_500)
_IN_THE_END = datetime.max.replace(tzinfo=UTC)


@contextmanager
def one_epoch_for_all() -> Iterator[None]:
    """A copy draws one name for all accounts that it takes over, and no write tells them apart (K1)."""
    right, names = original(carrying.Carrier, "_context"), itertools.count(1)

    def adding(self: Any) -> Any:
        name = f"drawn-once-{next(names)}"
        how = right(self)
        one: Any = (lambda: name) if callable(how.new_id) else [name]
        return evolve(how, new_id=one)

    with (
        patch.object(carrying.Carrier, "_context", adding),
        patch.object(sealing, "_told_apart", lambda login: login, create=True),
    ):
        yield


@contextmanager
def a_drain_that_spills_nothing() -> Iterator[None]:
    """What is unwritten when a keeper is left is left to itself (K2)."""

    async def spilled(self: Any) -> None:
        del self

    with (
        patch.object(settling.PendingWrite, "spilled", spilled, create=True),
        patch.object(settling.PendingWrite, "spill_meanwhile", lambda _: None),
        patch.object(settling.PendingWrite, "_start_spilling", lambda _: None),
    ):
        yield


@contextmanager
def at_once_again() -> Iterator[None]:
    """An account that a reply without rotation leaves out stays as it was: due at once (K3)."""
    right = original(siblings, "_try_later")

    def unserved(login: Any, account: Any, attempt: Any, now: Any) -> Any:
        is_spent = now.credential(account.tokens) == attempt.spent
        return account if is_spent else right(login, account, attempt, now)

    with patch.object(siblings, "_try_later", unserved):
        yield


@contextmanager
def a_round_in_the_future() -> Iterator[None]:
    """The round of a login's accounts stays where a clock that was ahead has put it (K4)."""
    right, began = clock_skew.rewind_login, original(success, "_round_at")

    def wrong(login: Any, now: Any) -> Any:
        seen = right(login, now)
        return seen.succeeding(login.round_at, seen.succeeded_at)

    def round_at(login: Any, attempt: Any, context: Any) -> datetime:
        found: datetime = began(login, attempt, evolve(context, now=_IN_THE_END))
        return found

    with (
        patch.object(core, "rewind_login", wrong),
        patch.object(settling, "rewind_login", wrong),
        patch.object(settling, "rewind_result", lambda attempt, kept, _: (attempt, kept)),
        patch.object(success, "_round_at", round_at),
    ):
        yield


@contextmanager
def a_wait_without_an_end() -> Iterator[None]:
    """After an unknown outcome, tokens wait for the end of the access token, however far away that is (K7)."""
    right = Keeper.__aenter__

    async def enter(self: Any) -> Any:
        self._policy = evolve(self._policy, resend_after_cap=_EVER, keep_alive=None)
        return await right(self)

    with patch.object(Keeper, "__aenter__", enter):
        yield


@contextmanager
def the_reply_once_more() -> Iterator[None]:
    """What a strategy made of a reply is not believed: the reply is read again (P2)."""
    right = attempts.result_of

    def result_of(outcome: Any, names: Any) -> Any:
        found = getattr(outcome, "all_tokens", None)
        return right(outcome if not found else evolve(outcome, all_tokens=tuple(map(bare, found))), names)

    with patch.object(unit, "result_of", result_of):
        yield


@contextmanager
def a_login_as_it_was_claimed() -> Iterator[None]:
    """What is written counts no time anew, though the clock was put right since the login was read."""
    with patch.object(settling, "rewind_login", lambda login, _: login):
        yield


@contextmanager
def no_least_interval() -> Iterator[None]:
    """What has just succeeded may be exchanged again."""
    with (
        patch.object(select, "_interval_end", lambda _success, context: context.now),
        patch.object(success, "respect_min_interval", lambda login, _policy: login),
    ):
        yield


@contextmanager
def one_login_is_enough() -> Iterator[None]:
    """A request of one login that is not accepted opens the breaker of its broker (K5)."""
    right = Keeper.__aenter__

    async def enter(self: Any) -> Any:
        self._policy = evolve(self._policy, fault_logins=1, refusal_logins=1, refusal_share=0.0)
        return await right(self)

    with patch.object(Keeper, "__aenter__", enter):
        yield


@contextmanager
def one_broker_is_all() -> Iterator[None]:
    """Where one broker throttles or fails, all are held back (K6)."""
    for_all = (*original(breakers, "_FOR_ALL"), *original(breakers, "_SPREADING"))
    with patch.object(breakers, "_FOR_ALL", for_all):
        yield


@contextmanager
def patience_for_callers() -> Iterator[None]:
    """Who asks for tokens waits a hundred times as long as was said."""
    right = claimer.Deadline.__init__

    def long(self: Any, runtime: Any, wait: Any) -> None:
        right(self, runtime, 100 * wait)

    with patch.object(claimer.Deadline, "__init__", long):
        yield


WIDE_BUGS: dict[str, Callable[[], Any]] = {
    "K1: one epoch for all accounts of a copy": one_epoch_for_all,
    "K2: a drain that spills nothing": a_drain_that_spills_nothing,
    "K3: an account without an entry is due at once": at_once_again,
    "K4: a round in the future": a_round_in_the_future,
    "K7: a wait without an end": a_wait_without_an_end,
    "P2: the reply is read once more": the_reply_once_more,
    "K5: one login's fault opens a breaker": one_login_is_enough,
    "K6: one broker's outage is everybody's": one_broker_is_all,
    "a login that is written as it was claimed": a_login_as_it_was_claimed,
    "an exchange within the least interval": no_least_interval,
    "a caller who waits longer than was said": patience_for_callers,
}
