"""Brings logins back to the store that they were moved from, because the other store is lost."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from attrs import evolve, frozen

from mesh_refresh.clock import Clock, SystemClock
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper.errors import without_secrets
from mesh_refresh.keeper.ids import new_id
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.rules.clock_skew import rewind_login
from mesh_refresh.keeper.rules.failure import stamp_taken_back
from mesh_refresh.keeper.rules.transition import Context
from mesh_refresh.keeper.writing import rows_of
from mesh_refresh.logins import Way
from mesh_refresh.replies.lineage import Credential, refresh_token_of
from mesh_refresh.stores import LoginNames, Page, Row, Store, StoreDamaged, WrongKey
from mesh_refresh.stores.compare_and_swap import NoWrite, RowWrite, compare_and_swap
from mesh_refresh.stores.row import NO_LOGINS
from mesh_refresh.stores.sealing import open_row
from mesh_refresh.tasks import all_of
from mesh_refresh.tokens import Tokens

_log = logging.getLogger("mesh_refresh.keeper")

_AT_A_TIME = 100
_AWAY = frozenset(way.value for way in Way)


@frozen
class TakenBack:
    """What was done with the logins that were moving, or had moved."""

    taken: int = 0
    """Logins that are at home in the old store again, each account with an unknown outcome."""
    held: LoginNames = NO_LOGINS
    """Logins that the other store has: left as they are."""
    unreadable: LoginNames = NO_LOGINS
    """Logins whose rows cannot be read: left as they are."""


async def take_back(
    source: Store,
    target: Store | None,
    *,
    policy: Policy | None = None,
    may_resend: Callable[[Tokens], bool] | None = None,
    credential: Credential = refresh_token_of,
    clock: Clock | None = None,
) -> TakenBack:
    """Bring logins of `source` home that `copy_fleet` moved to a store which is lost since.

    The tokens are those of before the move, and the lost store may have spent them: so each account comes back as after
    an exchange with an unknown outcome. No keeper may run on the lost store any more, not even on a restored one. The
    call may be interrupted and repeated at any point.

    Args:
        source: the store that the logins were moved from, open.
        target: the store that they were moved to. Logins that it has are left as they are. None: it cannot be opened,
            and every login is taken back.
        policy: the keepers' policy.
        may_resend: `MeshClient.may_resend` of the keepers; None: every strategy allows resending.
        credential: `MeshClient.credential` of the keepers.
        clock: the source of time, for tests.

    Raises `InvalidRequest` where both are one store, and the stores' `StoreError`, `WrongKey` among them.
    """
    if target is not None and source.store_id == target.store_id:
        raise InvalidRequest("What is to be taken back from is the store itself, or a copy of its file.")
    taking = _Taking(source, target, policy or Policy(), clock or SystemClock(), may_resend, credential)
    done, page = TakenBack(), Page(_AT_A_TIME, states=_AWAY)
    while rows := await source.rows(page):
        ends = await all_of(taking.take(row) for row in rows)
        done = _counted(done, rows, ends)
        page = evolve(page, after=rows[-1].login_id)
    return done


@frozen
class _Taking:
    source: Store
    target: Store | None
    policy: Policy
    clock: Clock
    may_resend: Callable[[Tokens], bool] | None
    credential: Credential

    async def take(self, row: Row) -> str:
        """Take the login of `row` back. Gives the field of `TakenBack` that counts it; empty where it is at home."""
        seen = await self._looked_up(row)
        return await compare_and_swap(self.source, partial(self._read, row.login_id), self._decide, seen=seen)

    async def _read(self, login_id: str) -> tuple[Row, bool] | None:
        row = await self.source.read(login_id)
        return None if row is None else await self._looked_up(row)

    async def _looked_up(self, row: Row) -> tuple[Row, bool]:
        """`row`, and whether the other store has its login: asked after each read, because another run may copy it."""
        return row, self.target is not None and await self.target.read(row.login_id) is not None

    def _decide(self, found: tuple[Row, bool] | None) -> RowWrite[str] | NoWrite[str]:
        if found is None:
            return NoWrite("")
        row, is_held = found
        try:
            login = open_row(self.source.cipher, row)
        except (StoreDamaged, WrongKey) as error:
            _log.error("a login cannot be taken back", extra={"login_id": row.login_id, **without_secrets(error)})
            return NoWrite("unreadable")
        if login.moving is None:
            return NoWrite("")
        if is_held:
            return NoWrite("held")
        context = Context(self.clock.now(), self.policy, new_id, self.credential)
        login = rewind_login(login, context.now)
        may = {account.epoch: self.may_resend is None or self.may_resend(account.tokens) for account in login.accounts}
        home = stamp_taken_back(evolve(login, moving=None), context, may)
        _, row, notices = rows_of(self.source, login, home, context.now)
        return RowWrite(row, "taken", notices=notices)


def _counted(done: TakenBack, rows: Sequence[Row], ends: Sequence[str]) -> TakenBack:
    """`done` with the results of some more logins."""

    def ended(how: str) -> list[str]:
        return [row.login_id for row, end in zip(rows, ends, strict=True) if end == how]

    return TakenBack(
        done.taken + ends.count("taken"), done.held.having(ended("held")), done.unreadable.having(ended("unreadable"))
    )
