"""Bugs of notices to plant into keepers: a simulation must find each of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from mesh_refresh.keeper import NoticeKind, writing
from mesh_refresh.keeper.rules import notices
from mesh_refresh.keeper.runtime import notice_delivery
from mesh_refresh.keeper.transfer import step
from mesh_refresh.stores import Row
from mesh_refresh.stores.memory import outbox
from tests.simulation.planted import original


@contextmanager
def taken_before_it_is_handled() -> Iterator[None]:
    """A notice is forgotten as soon as its handler is called."""
    right = original(notice_delivery.NoticeDelivery, "_deliver")

    async def deliver(self: Any, row: Any, began: float) -> None:
        await self._write(began, lambda: self._outbox.take(row.id, self._runtime.owner))
        await right(self, row, began)

    with patch.object(notice_delivery.NoticeDelivery, "_deliver", deliver):
        yield


@contextmanager
def a_notice_beside_the_write() -> Iterator[None]:
    """The row of a login is written, and its notices are written later, if that works."""
    right = writing.rows_of

    def rows_of(*args: Any, **options: Any) -> Any:
        login, row, made = right(*args, **options)
        return login, row, made[:-1]

    with patch("mesh_refresh.keeper.runtime.writer.rows_of", rows_of):
        yield


@contextmanager
def several_of_a_login_at_once() -> Iterator[None]:
    """A claim does not look for an earlier notice of the same login."""

    def all_of(self: Any) -> Any:
        return [kept for kept in self._kept.values() if not kept.row.is_dead]

    with patch.object(outbox.MemoryOutbox, "_first_of_each_login", all_of):
        yield


@contextmanager
def a_handler_that_outlives_its_lease() -> Iterator[None]:
    """Nothing ends it before another process takes the notice."""
    with patch.object(notice_delivery, "_HANDLING", 10.0):
        yield


@contextmanager
def what_is_true_is_told_again() -> Iterator[None]:
    """The login does not keep what was told of it."""
    right = notices.with_notices

    def forgetful(before: Any, after: Any, now: Any, **options: Any) -> Any:
        _, made = right(before, after, now, **options)
        return after, made

    with patch.object(writing, "with_notices", forgetful):
        yield


@contextmanager
def a_copy_that_leaves_notices_behind() -> Iterator[None]:
    """They are dropped from the old store, and not written to the new one."""
    right = original(step.Carrier, "_move_notices")

    async def move(self: Any, login: Row) -> None:
        if self.source.outbox is not None:
            await self.source.outbox.drop([row.id for row in await self.source.outbox.of(login.login_id)])
        await right(self, login)

    with patch.object(step.Carrier, "_move_notices", move):
        yield


@contextmanager
def a_recovery_that_is_not_told() -> Iterator[None]:
    """Only bad news is told."""
    right = original(notices, "_kinds")

    def kinds(*args: Any, **options: Any) -> Any:
        return (kind for kind in right(*args, **options) if kind != NoticeKind.RECOVERED)

    with patch.object(notices, "_kinds", kinds):
        yield


@contextmanager
def given_up_at_once() -> Iterator[None]:
    """A notice is dead after its first failure."""
    with patch.object(
        notice_delivery, "_is_too_old", lambda row, span, now: span < timedelta(days=4) and row.tries > 0
    ):
        yield


NOTICE_BUGS: dict[str, Callable[[], Any]] = {
    "a notice is taken before it is handled": taken_before_it_is_handled,
    "a notice that is not written with its login": a_notice_beside_the_write,
    "several notices of a login at once": several_of_a_login_at_once,
    "a handler that outlives its lease": a_handler_that_outlives_its_lease,
    "what is true is told again": what_is_true_is_told_again,
    "a copy that leaves notices behind": a_copy_that_leaves_notices_behind,
    "a recovery that is not told": a_recovery_that_is_not_told,
    "a notice that is given up at once": given_up_at_once,
}
