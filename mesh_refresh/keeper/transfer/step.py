"""Carries one login from one store to another. What is written to which of them, and when, is all there is to it."""

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial

from attrs import define, evolve, field, frozen

from mesh_refresh.clock import Clock
from mesh_refresh.keeper.errors import without_secrets
from mesh_refresh.keeper.ids import new_id
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.rules.clock_skew import rewind_login
from mesh_refresh.keeper.rules.failure import stamp_open_attempt
from mesh_refresh.keeper.rules.transition import Context
from mesh_refresh.keeper.transfer import merge as moving
from mesh_refresh.keeper.writing import rows_of
from mesh_refresh.logins import Login, Way
from mesh_refresh.replies.lineage import Credential, refresh_token_of
from mesh_refresh.stores import Busy, Row, Store, StoreDamaged, WrongKey, row_of
from mesh_refresh.stores.compare_and_swap import NoWrite, RowWrite, compare_and_swap
from mesh_refresh.stores.sealing import open_row, sealed_for
from mesh_refresh.tokens import Tokens

_log = logging.getLogger("mesh_refresh.keeper")

MOVED, TAKEN_OVER, GONE, ELSEWHERE, NOTHING = "moved", "taken_over", "gone", "elsewhere", ""


@define
class Later(Exception):
    """The login cannot be moved yet: it is being exchanged, or an outcome is unknown."""

    until: datetime | None = None


@frozen
class Carrier:
    """Moves single logins from `source` to `target`, under leases of `owner` for which nothing is sent."""

    source: Store
    target: Store
    policy: Policy
    clock: Clock
    may_resend: Callable[[Tokens], bool] | None
    credential: Credential = refresh_token_of
    owner: str = field(factory=new_id)

    async def carry(self, row: Row) -> str:
        """Move the login of `row`, which is in the old store, one step or all of them. Gives what was done.

        Raises `Later`, and what the stores raise.
        """
        login = self._opened(self.source, row)
        if login.moving is None:
            return await self._move(login, row.sealed)
        if login.moving.way is Way.ARRIVING:
            return await self._leave(login, login.moving.other)
        more = moving.has_more(login)
        if not (await self._take_over(login) if more else await self._release(login.login_id)):
            return self._missing(login)
        if more:
            await self._release(login.login_id)
        return TAKEN_OVER if more else NOTHING

    def _missing(self, login: Login) -> str:
        """Why the new store does not have a moved login: removed there or lost, or the login went to another store."""
        is_here = login.moving is not None and login.moving.other == self.target.store_id
        return GONE if is_here else ELSEWHERE

    async def _leave(self, login: Login, origin: str) -> str:
        """A login that is arriving in the old store, from the store `origin`: the copy that brings it comes first.

        Where that copy was killed before its last step, this one takes the step.
        """
        row = await self.target.read(login.login_id)
        if row is None:
            if origin == self.target.store_id:
                return GONE  # removed there, before it was brought
            raise Later
        there = self._opened(self.target, row).moving
        if there is None:
            return NOTHING
        if (there.way, there.other) != (Way.MOVED, self.source.store_id):
            raise Later
        await evolve(self, source=self.target, target=self.source).carry(row)
        return await self._move(login)

    async def _move(self, login: Login, sealed: bytes | None = None) -> str:
        """`sealed` is what `login` was opened from: it is opened anew only where it was written since."""
        ends_at = self.clock.monotonic() + self.policy.lease.total_seconds()
        row = await self._leased(self.source, login.login_id)
        if row is None:
            return NOTHING
        if row.sealed == sealed:
            login = evolve(login, revision=row.revision, attempt=row.attempt)
        else:
            login = self._opened(self.source, row)
        try:
            self._check_ready(login)
            login, arrived = await self._arrive(login, ends_at)
        except Later:
            await self._give_back(self.source, login)
            raise
        if not await self._swap(self.source, moving.marked(login, self.target.store_id), owner=self.owner):
            # Written meanwhile without a lease, by a late reply or an `add`: start again with that.
            await self._give_back(self.source, login)
            raise Later(self.clock.now())
        await self._release(login.login_id, arrived)
        return MOVED

    def _check_ready(self, login: Login) -> None:
        if login.moving is not None:
            raise Later  # another copy was here in between
        now = self.clock.now()
        waits = [
            it.resend_not_before
            for it in login.accounts
            if it.resend_not_before is not None and it.resend_not_before > now
        ]
        if waits:
            raise Later(max(waits))

    # Leases.

    async def _leased(self, store: Store, login_id: str) -> Row | None:
        """A lease that leaves no open attempt behind, if this is killed. None where there is no login any more."""
        row = await store.claim_one(login_id, self.owner, self.policy.lease, sends=False)
        if isinstance(row, Busy) and not row.left:
            await self._settle_open(store, login_id)
            row = await store.claim_one(login_id, self.owner, self.policy.lease, sends=False)
        if isinstance(row, Busy):
            raise Later(self.clock.now() + row.left)
        return row

    async def _settle_open(self, store: Store, login_id: str) -> None:
        """Stamp an open attempt as unknown. Until that is written it stays open, even if this process is killed."""
        owner = new_id()
        row = await store.claim_one(login_id, owner, self.policy.lease)
        if isinstance(row, Row):
            login = self._opened(store, row)
            if row.open_attempt:
                await self._stamp(store, login, owner)
            await self._give_back(store, login, owner)

    async def _stamp(self, store: Store, login: Login, owner: str) -> None:
        """Write that the outcome of an attempt is unknown, and raise `Later`: its result may still come."""
        context = self._context()
        may = {it.epoch: self.may_resend is None or self.may_resend(it.tokens) for it in login.accounts}
        stamped = stamp_open_attempt(login, login, context, may)
        if stamped.changed and login.moving is None:
            _, row, notices = rows_of(store, login, stamped.login, context.now)
            await store.swap(row, owner=owner, hold=self.policy.resend_after, notices=notices)
            raise Later(context.now + self.policy.resend_after)

    async def _give_back(self, store: Store, login: Login, owner: str | None = None) -> None:
        owner = owner or self.owner
        if not await self._swap(store, login, owner=owner):
            found = await store.read(login.login_id)
            if found is not None:
                await store.swap(found, owner=owner)

    # What is written to the new store.

    async def _arrive(self, login: Login, ends_at: float) -> tuple[Login, Login | None]:
        """Write the login to the new store as arriving. Gives the login as the old store has it by then, and as the new
        store has it, where it was not there before. That is tried first: nearly always it was not.

        Raises `Later` once the lease has ended: another copy may have moved the login since, and an operator may have
        removed it there.
        """
        row: Row | None = None
        while True:
            login = rewind_login(login, self.clock.now())
            if self.clock.monotonic() >= ends_at:
                raise Later(self.clock.now())
            if row is None:
                new = moving.arriving(login, None, new_id(), self.credential, other=self.source.store_id)
                if await self.target.insert(row_of(self.target.cipher, new, self.clock.now())):
                    return login, evolve(new, revision=1)
            else:
                there = self._opened(self.target, row)
                if there.moving is None:
                    new = moving.joined(login, there, self.credential)
                else:
                    login = await self._with_news(login, there)
                    there = await self._with_room(there, moving.room(login))
                    new = moving.arriving(login, there, "", self.credential, other=self.source.store_id)
                if await self._swap(self.target, new):
                    return login, None
            row = await self.target.read(login.login_id)

    async def _with_news(self, login: Login, there: Login) -> Login:
        """A login that comes back, with what the new store got for it; the old store's row takes that over first."""
        if not moving.has_more(there) or there.moving is None or there.moving.way is not Way.MOVED:
            return login
        context = self._context()
        with_news = moving.taken_over(there, login, context)
        if with_news == login:
            return login
        with_news, row, notices = rows_of(self.source, login, with_news, context.now)
        if not await self.source.swap(row, notices=notices):
            raise Later(self.clock.now())
        return evolve(with_news, revision=login.revision + 1)

    async def _with_room(self, there: Login, many: int) -> Login:
        """`there`, after so many empty attempts: see `merge.arriving`."""
        for _ in range(many if there.attempt else 0):
            row = await self._leased(self.target, there.login_id)
            if row is None:
                raise Later(self.clock.now())
            there = self._opened(self.target, row)
            await self._give_back(self.target, there)
            if there.moving is None:
                raise Later(self.clock.now())  # another copy has released it meanwhile
            there = evolve(there, revision=there.revision + 1)
        return there

    async def _release(self, login_id: str, arrived: Login | None = None) -> bool:
        """False where there is no such login in the new store. `arrived` is the login as it was just inserted there."""
        if arrived is not None:
            await self._move_notices(login_id, arrived.epoch)
            if await self._swap(self.target, moving.released(arrived)):
                return True

        async def read() -> Row | None:
            row = await self.target.read(login_id)
            if row is not None:
                await self._move_notices(login_id, row.epoch)
            return row

        def decide(row: Row | None) -> RowWrite[bool] | NoWrite[bool]:
            if row is None:
                return NoWrite(result=False)
            there = self._opened(self.target, row)
            if there.moving is None or there.moving.way is not Way.ARRIVING:
                return NoWrite(result=True)
            return RowWrite(self._row(self.target, moving.released(there)), result=True)

        return await compare_and_swap(self.target, read, decide)

    async def _move_notices(self, login_id: str, epoch: str) -> None:
        """Notices that no handler has taken go with their login, dead ones too. They keep their ids.

        One that does not open stays behind: it could be told in neither store. `epoch` is that of the login's row in
        the new store: where it is removed there meanwhile, its notices are too.
        """
        here, there = self.source.outbox, self.target.outbox
        if here is None or there is None:
            return
        moved = []
        for notice in await here.of(login_id):
            try:
                moved.append(sealed_for(self.target.cipher, notice, self.source.cipher))
            except (WrongKey, StoreDamaged) as error:
                _log.error("a notice cannot be moved", extra={"login_id": login_id, **without_secrets(error)})
        if moved:
            await there.put(moved)
            still = await self.target.read(login_id)
            if still is None or still.epoch != epoch:
                await there.drop([notice.id for notice in moved])
            await here.drop([notice.id for notice in moved])

    async def _take_over(self, login: Login) -> bool:
        """Bring what the old store got for a moved login to the new store, and mark it as brought.

        False where the new store does not have the login: then it stays where it is.
        """

        def decide(row: Row | None) -> RowWrite[bool] | NoWrite[bool]:
            if row is None:
                return NoWrite(result=False)
            there, context = self._opened(self.target, row), self._context()
            _, row, notices = rows_of(self.target, there, moving.taken_over(login, there, context), context.now)
            return RowWrite(row, result=True, notices=notices)

        if not await compare_and_swap(self.target, partial(self.target.read, login.login_id), decide):
            return False
        if not await self._swap(self.source, moving.marked(login, self.target.store_id)):
            raise Later(self.clock.now())
        return True

    def _context(self) -> Context:
        return Context(self.clock.now(), self.policy, new_id, self.credential)

    def _opened(self, store: Store, row: Row) -> Login:
        return rewind_login(open_row(store.cipher, row), self.clock.now())

    async def _swap(self, store: Store, login: Login, *, owner: str | None = None) -> bool:
        return await store.swap(self._row(store, login), owner=owner)

    def _row(self, store: Store, login: Login) -> Row:
        now = self.clock.now()
        return row_of(store.cipher, rewind_login(login, now), now)
