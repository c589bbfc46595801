"""Lets a login be exchanged once more whose tokens a broker has refused falsely."""

from datetime import datetime
from functools import partial

from attrs import frozen

from mesh_refresh.keeper.rules.clock_skew import rewind_login
from mesh_refresh.keeper.rules.failure import undo_refusals
from mesh_refresh.keeper.rules.transition import Transition
from mesh_refresh.keeper.writing import rows_of
from mesh_refresh.logins import Login, Reason
from mesh_refresh.stores import Store
from mesh_refresh.stores.compare_and_swap import NoWrite, RowWrite, compare_and_swap


@frozen
class Retry:
    """Which accounts are retried: see `undo_refusals`."""

    reason: Reason
    since: datetime | None
    now: datetime

    def concerns(self, login: Login) -> bool:
        """Whether any account of `login` is retried."""
        return self._undo(login, self.now).changed

    async def apply(self, store: Store, login: Login, due_at: datetime) -> bool:
        """Make the accounts active, and due at `due_at`. False: `login` is none of these any more.

        What another process writes meanwhile is read and decided anew. Raises the store's `StoreError`.
        """

        def decide(stored: Login | None) -> RowWrite[bool] | NoWrite[bool]:
            if stored is None or stored.epoch != login.epoch:
                return NoWrite(result=False)
            stored = rewind_login(stored, self.now)
            applied = self._undo(stored, due_at)
            if not applied.changed:
                return NoWrite(result=False)
            _, row, notices = rows_of(store, stored, applied.login, self.now)
            return RowWrite(row, result=True, notices=notices)

        return await compare_and_swap(store, partial(store.get, login.login_id), decide, seen=login)

    def _undo(self, login: Login, due_at: datetime) -> Transition:
        return undo_refusals(login, self.reason, due_at, self.since)
