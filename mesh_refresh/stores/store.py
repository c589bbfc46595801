"""The contract of a store. Why it is as it is: docs/decisions/the-contract-of-stores.md."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import ClassVar, Protocol, Self

from mesh_refresh.logins import Login
from mesh_refresh.stores.key_ids import key_id_of
from mesh_refresh.stores.outbox import NoticePage, NoticeRow, Outbox
from mesh_refresh.stores.registry import Registry
from mesh_refresh.stores.row import BrokerPause, Busy, ClaimRequest, Count, Page, Row
from mesh_refresh.stores.sealing import Sealing, open_row

_BATCH = 500
ALL_BROKERS = "*"
"""A pause of this broker pauses every broker."""


class Store(Protocol):
    """Keeps a row for each login, and hands out leases. It sees no token, and so takes no decision about one.

    Derive from this class for a store of your own, and run `mesh_refresh.testing.StoreConformance` on it. A store that
    lacks a verb cannot be made.

    **Every verb is one atomic step**, also beside other processes, and durable when it returns: a write that a power
    cut can undo is a lost token. A verb that raises has done nothing, or (where the connection broke off) may have done
    all of it: every caller copes with both. Raise `StoreUnavailable` for a fault that may pass, and `StoreDamaged` for
    one that will not.

    **A lease** belongs to the `owner` that a claim named, from that claim until it is given back (by `swap` or
    `release` with that owner) or the store's clock has passed its end. Until then no claim gives that row to an owner,
    the same one included; from the very moment of its end on, any claim may. The store's clock must not jump with the
    wall clock, nor stand still while a machine is suspended; processes that share the store share that clock.

    **An attempt is open** where a lease ran out under which something may have been sent: what became of that is
    unknown. `claim_one` with ``sends=False`` takes a lease under which nothing will be sent, and which leaves no open
    attempt behind: so a copy of a fleet may be killed.

    **Rows** are written whole or not at all. `revision` and `attempt` are the store's to raise; `epoch` is written by
    `insert` and kept. Times come back as they went in, to the microsecond, in UTC. Text is any Unicode text.
    """

    cancellation_safe: ClassVar[bool] = False
    """Whether every verb comes to its end in a task that refuses cancels, also while `asyncio.run` shuts down. That is
    so where the verbs use no time-outs that work by cancelling, and no tasks of their own. False is always right."""
    cipher: Sealing
    """Seals and opens `Row.sealed` for the users of the store. The store itself never does."""
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

    @abstractmethod
    async def insert(self, row: Row, *, notices: Sequence[NoticeRow] = ()) -> bool:
        """A new row, with revision 1, no attempt and no lease. False, and nothing changed, where the id is taken.

        `notices` are written with it, in this order, as by `swap`.
        """
        ...

    @abstractmethod
    async def read(self, login_id: str) -> Row | None:
        """The row as it is; None where there is none."""
        ...

    @abstractmethod
    async def swap(
        self,
        row: Row,
        *,
        owner: str | None = None,
        hold: timedelta = timedelta(),
        notices: Sequence[NoticeRow] = (),
    ) -> bool:
        """Write `row` where the stored one has the same epoch and revision; else False, and nothing changed.

        It writes the broker, the states, the three times and `sealed`, and raises the revision. Where `owner` has the
        lease, the lease is given back, and no claim gets the row for `hold` from now on. A lease of another owner
        stays. Without `owner`, every lease and every hold stays.

        `notices`, which are about this login, are written to the outbox in the same transaction, in this order, never
        tried and not dead, even where they say otherwise. Those whose ids are there are left alone. A store without an
        outbox is given none.
        """
        ...

    @abstractmethod
    async def claim(self, request: ClaimRequest) -> Sequence[Row]:
        """Lease due rows to ``request.owner``, the longest due first.

        Due is a row whose `due_at` is not later than ``request.now``, and one that has a `due_at` and was changed after
        ``request.ahead``. Rows under a lease or a hold, and rows of paused brokers, are left out. At most
        ``request.limit`` in all and ``request.limit_of(broker)`` for each broker; a broker that is left out must not
        keep the others from being found. Each row comes back as it is after the claim: revision and attempt raised,
        and `open_attempt` where a lease had run out without being given back. `due_at` stays.

        A claim may miss a row for a minute and no longer, in two cases: another process wrote the row with a due time
        before that of rows which were claimed since; or the row was under a lease or a hold when a claim passed it.
        """
        ...

    @abstractmethod
    async def claim_one(self, login_id: str, owner: str, lease: timedelta, *, sends: bool = True) -> Row | Busy | None:
        """Lease this row, due or not, paused or not. `Busy` under a lease or a hold; None where there is no row.

        ``sends=False``: the owner sends nothing under this lease. It does not get a row with an open attempt, which
        would be forgotten: `Busy` for no time.
        """
        ...

    @abstractmethod
    async def release(self, login_id: str, owner: str, hold: timedelta) -> bool:
        """Give back the lease of `owner`, who has sent nothing under it; no claim gets the row for `hold` from now on.

        Changes nothing else, not the revision either. An attempt that was open when this lease was claimed is open for
        the next claim again. False, and nothing changed, where the lease is not this owner's.
        """
        ...

    @abstractmethod
    async def delete(self, login_id: str, *, seen: Row | None = None) -> bool:
        """Forget a login and its notices, whether the login is under a lease or not. False where there is none.

        With `seen`, only where the stored row has the epoch and the revision of that; else False, and nothing changed.
        """
        ...

    @abstractmethod
    async def rows(self, page: Page) -> Sequence[Row]:
        """Rows in the order of their login ids, by code points."""
        ...

    @abstractmethod
    async def counts(self, now: datetime) -> Sequence[Count]:
        """How many rows there are, for each broker and each set of states that a row of it has."""
        ...

    @abstractmethod
    async def pause(
        self, broker: str, *, paused: bool = True, note: str = "", by: str = "", at: datetime | None = None
    ) -> None:
        """From now on, no claim gives rows of `broker` (of any, for ``"*"``), in any process.

        `note` says why, `by` who paused it, and `at` since when (None: now); a pause that is there gets the new ones.
        ``paused=False`` ends the pause. The time of that is kept, whether or not there was a pause: see `resumed`.
        """
        ...

    @abstractmethod
    async def paused(self) -> Mapping[str, BrokerPause]:
        """The pauses, by their brokers, perhaps with ``"*"`` among them."""
        ...

    @abstractmethod
    async def resumed(self) -> Mapping[str, datetime]:
        """When ``pause(broker, paused=False)`` was called last, for each broker for which it was.

        Keepers with an open breaker ask for this at every `Policy.poll`, and let a probe through where there is a new
        time: so an operator ends a wait in every process.
        """
        ...

    @abstractmethod
    async def aclose(self) -> None:
        """Finish the verbs that were called before, then let go of everything. Calling it twice is safe."""
        ...

    # Provided: each is right as it stands here, and may be done better.

    async def ping(self) -> None:
        """Ask the place where the rows are for something small. Raises as every verb does where it does not answer."""
        await self.paused()

    def watch(self, wake: Callable[[], object]) -> Callable[[], None]:
        """Call `wake`, in this event loop, when another process has made a row due. Gives a function that ends that.

        The store may call `wake` without need. A store that cannot tell does nothing here: keepers ask what is due at
        every `Policy.poll` in any case.
        """
        del wake
        return lambda: None

    async def insert_many(self, rows: Sequence[Row]) -> Sequence[bool]:
        """`insert` for each of `rows`, in this order; gives for each whether it was new.

        Each is as safe as by itself, and no more: where it raises, some of them may have been inserted.
        """
        return [await self.insert(row) for row in rows]

    async def due_by_hour(self, now: datetime, hours: int = 24) -> Sequence[int]:
        """How many rows fall due in each of the `hours` hours after `now`, whether their brokers are paused or not.

        An hour begins after its first moment: what is due at `now` is not in it.
        """
        due = [sum(it.due for it in await self.counts(now + timedelta(hours=hour))) for hour in range(hours + 1)]
        return [until - before for before, until in pairwise(due)]

    async def key_usage(self) -> Mapping[str, int]:
        """How many logins and notices each key seals, by the ids of the keys: see `key_id_of`. It reads all of them."""
        found: Counter[str] = Counter()
        after = None
        while rows := await self.rows(Page(_BATCH, after)):
            found.update(key_id_of(row.sealed) for row in rows)
            after = rows[-1].login_id
        after = None
        while self.outbox is not None and (notices := await self.outbox.page(NoticePage(_BATCH, after))):
            found.update(key_id_of(notice.sealed) for notice in notices)
            after = notices[-1].id
        return dict(found)

    async def get(self, login_id: str) -> Login | None:
        """The login, opened; None where there is none. Raises `WrongKey` where no key of the cipher opens it."""
        row = await self.read(login_id)
        return None if row is None else open_row(self.cipher, row)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
