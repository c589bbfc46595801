"""The contract of a store."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import ClassVar, Protocol, Self

from mesh_refresh.logins import Login
from mesh_refresh.stores.outbox import NoticeRow, Outbox
from mesh_refresh.stores.registry import Registry
from mesh_refresh.stores.row import BrokerPause, Busy, ClaimRequest, Count, Page, Row
from mesh_refresh.stores.sealing import Sealing, opened

ALL_BROKERS = "*"
"""Paused, it pauses every broker."""


class Store(Protocol):
    """Keeps a row for each login, and hands out leases. It sees no token, and so decides nothing about one.

    Derive from this class for a store of your own, and run `mesh_refresh.testing.StoreConformance` on it.

    **Every verb is one atomic step**, also beside other processes, and durable when it returns: what a power cut after
    that can undo, is a lost token. A verb that raises has done nothing, or (where the connection broke off) may have
    done all of it: every caller copes with both. Raise `StoreUnavailable` for what may pass, and `StoreDamaged` for
    what will not.

    **A lease** belongs to the `owner` that a claim named, from that claim until it is given back (by `swap` or
    `release` with that owner) or the store's clock has passed its end. Until then no claim gives that row to anybody,
    the same owner included; from the very moment of its end on, any claim may. The store's clock must not jump with
    the wall clock, nor stand still while a machine is suspended; processes that share the store share that clock.

    **An attempt is open** where a lease ran out under which something may have been sent: what became of that is
    unknown. `claim_one` with ``sends=False`` takes a lease under which nothing will be sent, and which leaves no open
    attempt behind: so a copy of a fleet may be killed.

    **Rows** are written whole or not at all. `revision` and `attempt` are the store's to raise; `epoch` is written by
    `insert` and kept. Times come back as they went in, to the microsecond, in UTC. Text is any Unicode text.
    """

    cancellation_safe: ClassVar[bool] = False
    """Whether every verb comes to its end in a task that refuses cancels, also while `asyncio.run` shuts down: where it
    uses no time-outs that work by cancelling, and no tasks of its own. False is always right."""
    cipher: Sealing
    """Seals and opens `Row.sealed` for those who use the store; the store itself never does."""
    store_id: str
    """Drawn at random when the store was made, and known once it is open: a backup that was restored has the same, and
    no other store has. A copy writes down where a login went."""

    @property
    def outbox(self) -> Outbox | None:
        """Notices that wait to be told. None: this store has none, and is given none."""
        return None

    @property
    def registry(self) -> Registry | None:
        """What processes tell each other. None: they cannot, by this store."""
        return None

    async def insert(self, row: Row, *, notices: Sequence[NoticeRow] = ()) -> bool:
        """A new row, with revision 1, no attempt and no lease. False, and nothing changed, where the id is taken.

        `notices` are written with it, in this order, as by `swap`.
        """
        ...

    async def read(self, login_id: str) -> Row | None:
        """The row as it is; None where there is none."""
        ...

    async def swap(
        self,
        row: Row,
        *,
        owner: str | None = None,
        hold: timedelta = timedelta(),
        notices: Sequence[NoticeRow] = (),
    ) -> bool:
        """Write `row` where the stored one has the same epoch and revision; else False, and nothing changed.

        Writes broker, state, due, expiry and change time and `sealed`, and raises the revision. Where `owner` holds the
        lease, it is given back, and no claim gets the row for `hold` from now on. A lease of somebody else stays
        theirs, and so does, without an owner, every lease and every hold.

        `notices`, which are about this login, are written to the outbox in the same transaction, in this order: never
        tried and not dead, whatever they say. Those whose ids are there are left alone. A store without an outbox is
        given none.
        """
        ...

    async def claim(self, demand: ClaimRequest) -> Sequence[Row]:
        """Lease due rows to ``demand.owner``, the longest due first.

        Due is a row whose `due_at` is not later than ``demand.now``, and one that has a `due_at` and was changed after
        ``demand.ahead``. Rows under a lease or a hold, and rows of paused brokers, are left out. At most
        ``demand.limit`` in all and ``demand.limit_of(broker)`` for each broker; a broker that is left out must not
        keep the others from being found. Each row comes back as it is after the claim: revision and attempt raised,
        and `open_attempt` where a lease had run out without being given back. `due_at` stays.

        For a minute and no longer, it may miss a row that another process wrote with a due time which is past what was
        claimed since, or that was under a lease or a hold when it was passed over.
        """
        ...

    async def claim_one(self, login_id: str, owner: str, lease: timedelta, *, sends: bool = True) -> Row | Busy | None:
        """Lease this row, due or not, paused or not. `Busy` under a lease or a hold; None where there is no row.

        ``sends=False``: the owner sends nothing under this lease. It does not get a row with an open attempt, which
        would be forgotten: `Busy` for no time.
        """
        ...

    async def release(self, login_id: str, owner: str, hold: timedelta) -> bool:
        """Give back the lease of `owner`, who has sent nothing under it; no claim gets the row for `hold` from now on.

        Changes nothing else, not the revision either. An attempt that was open when this lease was claimed is open for
        the next claim again. False, and nothing changed, where the lease is not this owner's.
        """
        ...

    async def delete(self, login_id: str) -> bool:
        """Forget a login and its notices, whoever has its lease. False where there is none."""
        ...

    async def rows(self, page: Page) -> Sequence[Row]:
        """Rows in the order of their login ids, by code points."""
        ...

    async def counts(self, now: datetime) -> Sequence[Count]:
        """How many rows there are, for each broker and each set of states that a row of it has."""
        ...

    async def pause(
        self, broker: str, *, paused: bool = True, note: str = "", by: str = "", at: datetime | None = None
    ) -> None:
        """From now on, no claim gives rows of `broker` (of any, for ``"*"``), in any process.

        `note` says why, `by` who paused it, and `at` since when (None: now); a pause that is there gets the new ones.
        ``paused=False`` ends the pause. The time of that is kept, whether or not there was a pause: see `resumed`.
        """
        ...

    async def paused(self) -> Mapping[str, BrokerPause]:
        """The pauses, by their brokers, perhaps with ``"*"`` among them."""
        ...

    async def resumed(self) -> Mapping[str, datetime]:
        """When ``pause(broker, paused=False)`` was called last, for each broker for which it was.

        Keepers with an open breaker ask for this at every `Policy.poll`, and let a probe through where there is a new
        time: so an operator ends a wait in every process.
        """
        ...

    async def aclose(self) -> None:
        """Let go of everything. Safe to call twice; what was asked for before is done first."""
        ...

    # Provided: each is right as it stands here, and may be done better.

    async def ping(self) -> None:
        """Ask the place where the rows are for something small. Raises as every verb does where it does not answer."""
        await self.paused()

    def watch(self, wake: Callable[[], object]) -> Callable[[], None]:
        """Call `wake`, in this event loop, when another process has made something due; what it gives ends that.

        A store that cannot tell does nothing here: keepers ask what is due at every `Policy.poll` in any case. It may
        be called without need.
        """
        del wake
        return lambda: None

    async def get(self, login_id: str) -> Login | None:
        """The login, opened; None where there is none. Raises `WrongKey` where no key at hand opens it."""
        row = await self.read(login_id)
        return None if row is None else opened(self.cipher, row)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
