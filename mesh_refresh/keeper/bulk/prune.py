"""Removes a login whose person has not logged in again for long."""

from collections.abc import Callable
from datetime import datetime, timedelta

from attrs import frozen

from mesh_refresh.keeper.ids import new_id
from mesh_refresh.logins import AccountState, Login
from mesh_refresh.stores import Row, Store
from mesh_refresh.stores.row import ahead_of
from mesh_refresh.stores.sealing import open_row

_LEASE = timedelta(minutes=1)


@frozen
class Prune:
    """Which logins are removed: see `concerns`."""

    parked_before: datetime
    now: datetime
    is_spooled: Callable[[str], bool]
    """Whether a spool may have tokens of this login."""

    def concerns(self, login: Login) -> bool:
        """Whether every account of `login` has been `reconnect_required` since before `parked_before`.

        False where a kept reply may hold a live token, where the login moves, and where the row was written by a clock
        that was ahead: how long ago that was is not known.
        """
        if login.moving is not None or (login.changed_at is not None and login.changed_at > ahead_of(self.now)):
            return False
        return bool(login.accounts) and all(
            account.state is AccountState.RECONNECT_REQUIRED
            and account.body is None
            and account.parked_at is not None
            and account.parked_at < self.parked_before
            for account in login.accounts
        )

    async def apply(self, store: Store, login: Login) -> bool:
        """Remove it. False: it is none of these any more, it is under a lease or a hold, or its last attempt is open.

        It is looked at under a lease of its own, and removed only as it was seen then. Raises the store's `StoreError`.
        """
        owner = new_id()
        row = await store.claim_one(login.login_id, owner, _LEASE, sends=False)
        if not isinstance(row, Row):
            return False
        is_gone = False
        try:
            if self.concerns(open_row(store.cipher, row)) and not self.is_spooled(login.login_id):
                is_gone = await store.delete(login.login_id, seen=row)
        finally:
            if not is_gone:
                await store.release(login.login_id, owner, timedelta())
        return is_gone
