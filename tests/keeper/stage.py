"""What every story about a keeper needs: its surroundings, notes of its events, a store that fails when told to."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from attrs import define, field

from mesh_refresh import MeshClient, RefreshRequest, RetryPolicy, Tokens
from mesh_refresh.keeper import Account, Event, Keeper, Login, Policy
from mesh_refresh.stores import Cipher, MemoryStore, NoticeRow, Page, Row, Store, StoreError, StoreUnavailable
from mesh_refresh.strategies import DefaultStrategy
from mesh_refresh.telemetry import Observer
from mesh_refresh.testing import FakeLogin, FakeMesh, ManualClock
from tests.belonging import of_others

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOTHING = timedelta()
EVER = timedelta(hours=100)
"""To wait so long in a test is to hang: it shows what has to come at once."""

_E = TypeVar("_E", bound=Event)


def runtime_of(keeper: Keeper) -> Any:
    """What a keeper that is entered works with; None where it is not entered."""
    return keeper._entered  # noqa: SLF001 - the one way in, for tests that look at what is under way


class Notes:
    """A handler that writes down every event."""

    def __init__(self) -> None:
        self.all: list[Event] = []
        self._more = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.all.append(event)
        self._more.set()

    def of(self, kind: type[_E]) -> list[_E]:
        return [event for event in self.all if isinstance(event, kind)]

    async def until(self, kind: type[_E], count: int = 1) -> list[_E]:
        """Wait until `count` of them have come."""
        while len(found := self.of(kind)) < count:
            self._more.clear()
            await self._more.wait()
        return found


class Once(DefaultStrategy):
    """A broker whose requests may not be sent twice."""

    def may_resend(self, request: RefreshRequest) -> bool:
        return False


class SharedStore(MemoryStore):
    """The rows and pauses of another store, for a process of its own. With `cipher`, that process has other keys."""

    def __init__(self, of: MemoryStore, cipher: Cipher | None = None) -> None:
        super().__init__()
        vars(self).update(vars(of))
        self.cipher, self.made_up_cipher = cipher or of.cipher, False


class FaultyStore(SharedStore):
    """Shares the rows of another one, and raises where it is told to, before or after it has done its work."""

    def __init__(self, of: MemoryStore) -> None:
        super().__init__(of)
        self.gone: frozenset[str] = frozenset()
        """Verbs that raise, and do nothing."""
        self.mute: list[str] = []
        """Verbs that raise once for each entry, after they have done their work."""
        self.error: type[StoreError] = StoreUnavailable
        """What they raise."""
        self.failures: Counter[str] = Counter()
        self._more = asyncio.Event()
        self.meanwhile: dict[str, Callable[[], Any]] = {}
        """What happens right before a verb does its work, once."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return self._at_risk(name, found) if name in _VERBS else found

    def lose(self, *verbs: str) -> None:
        """From now on these fail; all of them, where none is named."""
        self.gone = frozenset(verbs or _VERBS)

    def come_back(self) -> None:
        self.gone = frozenset()

    async def has_failed(self, verb: str, count: int = 1) -> None:
        """Wait until `verb` has failed so often."""
        while self.failures[verb] < count:
            self._more.clear()
            await self._more.wait()

    def _at_risk(self, name: str, verb: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **options: Any) -> Any:
            if name in self.gone:
                self.failures[name] += 1
                self._more.set()
                raise self.error
            if name in self.meanwhile:
                await self.meanwhile.pop(name)()
            result = await verb(*args, **options)
            if name in self.mute:
                self.mute.remove(name)
                raise StoreUnavailable
            return result

        return call


class HangingStore(FaultyStore):
    """Never answers a write, once it is told to hang."""

    def __init__(self, of: MemoryStore) -> None:
        super().__init__(of)
        self.hangs = False
        self.asked = asyncio.Event()
        """It was asked for a write, and does not answer."""

    async def swap(
        self,
        row: Row,
        *,
        owner: str | None = None,
        hold: timedelta = NOTHING,
        notices: Sequence[NoticeRow] = (),
    ) -> bool:
        if self.hangs:
            self.asked.set()
            await asyncio.Event().wait()
        return await super().swap(row, owner=owner, hold=hold, notices=notices)


_VERBS = frozenset(
    {
        "insert",
        "read",
        "swap",
        "claim",
        "claim_one",
        "release",
        "delete",
        "rows",
        "counts",
        "pause",
        "paused",
        "resumed",
    }
)


@define(eq=False)
class Stage:
    """The surroundings of one or several keepers."""

    clock: ManualClock
    fake: FakeMesh
    store: MemoryStore = field(init=False)
    notes: Notes = field(factory=Notes)

    def __attrs_post_init__(self) -> None:
        self.store = MemoryStore(clock=self.clock)

    @asynccontextmanager
    async def keeper(
        self,
        *,
        store: Store | None = None,
        background: bool = False,
        on_event: Any = None,
        on_notice: Any = None,
        spool: Any = None,
        secret: Any = None,
        strategies: Any = None,
        retry: RetryPolicy | None = None,
        base_url: str | None = None,
        observer: Observer | None = None,
        role: str | None = "keeper",
        **policy: Any,
    ) -> AsyncIterator[Keeper]:
        """A keeper with a client of its own, as another process would have; without a loop, unless it is asked for."""
        policy.setdefault("poll", timedelta(milliseconds=10))
        if "resend_after" in policy:
            policy.setdefault("confirm_after", policy["resend_after"])
        keys = self.fake.client_id, secret or self.fake.client_secret
        async with (
            MeshClient(
                *keys, base_url=base_url or self.fake.base_url, clock=self.clock, strategies=strategies, retry=retry
            ) as mesh,
            Keeper(
                mesh,
                store or self.store,
                policy=Policy(**policy),
                on_event=on_event or self.notes,
                on_notice=on_notice,
                background=background,
                spool=spool,
                observer=observer,
                role=role,
            ) as keeper,
        ):
            yield keeper

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def sent(self) -> int:
        """Requests so far."""
        return len(self.fake.requests)

    async def login(self, login_id: str = "a") -> Login:
        found = await self.store.get(login_id)
        assert found is not None
        return found

    async def account(self, login_id: str = "a", account_id: str | None = None) -> Account:
        return (await self.login(login_id)).account(account_id)

    async def accounts(self) -> list[Account]:
        rows = await self.store.rows(Page(1_000_000))
        return [account for row in rows for account in (await self.login(row.login_id)).accounts]

    async def held(self) -> list[Tokens]:
        """Every set of tokens in the store."""
        return [account.tokens for account in await self.accounts()]

    async def lost(self, **options: Any) -> list[Any]:
        """What the store does not have of what is live."""
        for account in await self.accounts():
            self.fake.hold_body(account.body or b"")
            self.fake.hold_tokens([account.tokens])
        bodies = any(account.body for account in await self.accounts())
        return self.fake.lost(None if bodies else await self.held(), **options)

    async def assert_whole(self) -> None:
        """Nothing is lost, no token was sent twice or after its end, and no login has tokens of two."""
        for row in await self.store.rows(Page(1_000_000)):
            found = await self.login(row.login_id)
            owners = {it.login for account in found.accounts for it in of_others(self.fake.ledger.tokens, "", account)}
            assert len(owners) <= 1, f"{row.login_id} holds tokens of {sorted(owners)}"
        assert not await self.lost()
        assert not self.fake.reuses
        assert not self.fake.sent_twice()

    async def pass_by(self, keeper: Keeper, span: timedelta, *, step: timedelta = MINUTE) -> None:
        """Let time pass step by step. After each step the keeper refreshes what is due."""
        for _ in range(span // step):
            self.clock.advance(step)
            await keeper.refresh_due()

    async def assert_fresh(self, keeper: Keeper, login: FakeLogin, login_id: str = "a") -> None:
        """The keeper hands out live tokens for every account."""
        for account_id in login.account_ids:
            fresh = await keeper.tokens(login_id, account_id)
            assert self.fake.is_live(fresh.access_token)
            assert self.fake.is_live(fresh.refresh_token)

    async def abandoned(self, login_id: str = "a", *, lease: timedelta = timedelta(minutes=3)) -> None:
        """Another process takes the login, and dies with its attempt open; its lease runs out."""
        await self.store.claim_one(login_id, "a process that died", lease)
        self.clock.advance(lease)
