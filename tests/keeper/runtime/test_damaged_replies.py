"""Edges that damage replies, mix them up, or answer twice: nothing is lost, and nobody gets what is not theirs."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import MeshClient, MfaPending, NotSaved, SendOptions, Tokens, UnreadableReply
from mesh_refresh.keeper import (
    AccountState,
    AccountUnreadable,
    BreakerFault,
    BreakerOpened,
    Keeper,
    LeftInSpool,
    NotReadyInTime,
    Reason,
    ReconnectNeeded,
)
from mesh_refresh.keeper.rules.unreadable import ONLY_STRANGERS
from mesh_refresh.keeper.runtime.spool import files
from mesh_refresh.stores import Busy, Cipher, MemoryStore, NoticeRow, Row, StoreUnavailable
from mesh_refresh.testing import Delivery, FakeLogin, Fault, MfaToken
from tests.belonging import give_own_ids, of_others
from tests.keeper.stage import HOUR, NOTHING, FaultyStore, HangingStore, Stage

PARKED = AccountState.UNREADABLE


# A broken edge.


@pytest.mark.parametrize("fault", ["broken json", "html 200"])
async def test_a_broken_edge_opens_the_breaker_of_its_broker(stage: Stage, fault: str) -> None:
    """Sixty are due: it has met few more than were in flight, the other broker goes on, and all is well afterwards."""
    async with stage.keeper(concurrency=4, concurrency_each=3, unreadable_run=5) as keeper:
        for number in range(60):
            await keeper.add(f"u{number}", stage.fake.login("coinbase").token)
        for number in range(8):
            await keeper.add(f"w{number}", stage.fake.login("kraken").token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.all()[fault], broker="coinbase", times=None)
        for _ in range(3):
            await keeper.refresh_due()
        met = [it for it in stage.fake.requests if it.body["type"] == "coinbase"]
        assert 5 <= len(met) <= 5 + 3
        assert stage.sent() - len(met) == 8
        (opened,) = await stage.notes.until(BreakerOpened)
        assert (opened.broker, opened.fault) == ("coinbase", BreakerFault.UNREADABLE)
        states = [account.state for account in await stage.accounts()]
        assert states.count(PARKED) == (len(met) if fault == "broken json" else 0)
        stage.clock.advance(timedelta(minutes=1))
        before = stage.sent()
        await keeper.refresh_due()
        assert stage.sent() == before + 1, "one probe, which parks itself only"
        stage.fake.heal()
        stage.clock.advance(timedelta(minutes=1))
        for _ in range(3):
            await keeper.refresh_due()
        assert stage.sent() >= before + 50
    await stage.assert_whole()


# Somebody else's reply.


def replayed(stage: Stage, login: FakeLogin) -> tuple[Fault, Fault]:
    """Two faults: none, which keeps what `login` is answered next; and that answer in the place of another one's."""
    kept: list[Any] = []

    def keep(answer: Any, sent: Any) -> Any:
        kept.append(Fault.none().shape(answer, sent))
        return kept[0]

    return evolve(Fault.none(), shape=keep), Fault("a reply to somebody else", Delivery.UNTOUCHED, lambda *_: kept[0])


@pytest.mark.parametrize("mfa", [False, True])
async def test_a_reply_to_somebody_else_reaches_nobody(stage: Stage, mfa: bool) -> None:
    """A proxy answers ben with what was anna's: nothing joins, nothing is overwritten, and the bytes are kept."""
    anna, ben = (
        give_own_ids(stage.fake, stage.fake.login("etoro", accounts=2, mfa=mfa, mfa_token=MfaToken.ENTRIES))
        for _ in range(2)
    )
    async with stage.keeper() as keeper:
        await keeper.add("anna", anna.live)
        await keeper.add("ben", ben.live)
        before = await stage.login("ben")
        whole, mixed_up = replayed(stage, anna)
        stage.fake.fail(whole, login=anna)
        stage.fake.fail(mixed_up, login=ben)
        with suppress(MfaPending):
            await keeper.refresh("anna", anna.account_ids[0])
        with pytest.raises(ReconnectNeeded) as told_why:
            await keeper.refresh("ben", ben.account_ids[0])
        assert (told_why.value.reason, told_why.value.display_message) == (Reason.UNREADABLE, ONLY_STRANGERS)
        login = await stage.login("ben")
        assert [it.tokens for it in login.accounts] == [it.tokens for it in before.accounts]
        assert stage.fake.requests[-1].fault == "a reply to somebody else"
        kept = login.account(ben.account_ids[0])
        assert (kept.state, kept.display_message, kept.pending) == (PARKED, ONLY_STRANGERS, None)
        theirs = (await stage.login("anna")).account(anna.account_ids[0])
        assert mfa or (theirs.tokens.access_token or "?").encode() in (kept.body or b"")
        await stage.notes.until(AccountUnreadable)
        with pytest.raises(ReconnectNeeded):
            await keeper.refresh("ben", ben.account_ids[0])
    for login_id, owner in (("anna", anna), ("ben", ben)):
        for account in (await stage.login(login_id)).accounts:
            assert not [*of_others(stage.fake.ledger.tokens, owner.id, account)]


# What comes late.


Late = Callable[[UnreadableReply], Awaitable[object] | object]


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> list[Late]:
    """What the keeper gives to the client for each exchange, to be called with what comes afterwards."""
    found: list[Late] = []
    right: Any = MeshClient.refresh

    async def refresh(self: MeshClient, tokens: Tokens, *, sending: SendOptions, **options: Any) -> Any:
        assert sending.on_late is not None
        found.append(sending.on_late)
        return await right(self, tokens, sending=sending, **options)

    monkeypatch.setattr(MeshClient, "refresh", refresh)
    return found


STRAY = UnreadableReply("A second reply came.", body=b'{"accessToken":"fake-late"}', may_hold_token=True)


async def told(late: Late, keeper: Keeper) -> None:
    """Of a keeper that is not left the client waits for nothing: its time for a hook is shorter than an outage."""
    assert late(STRAY) is None
    while keeper.health().unsaved:  # noqa: ASYNC110 - a keeper has no event for this
        await asyncio.sleep(0)


async def told_afterwards(late: Late) -> None:
    done = late(STRAY)
    assert inspect.isawaitable(done)
    await done


class Owners(FaultyStore):
    """Notes whose lease each write gives back."""

    def __init__(self, of: MemoryStore) -> None:
        super().__init__(of)
        self.owners: list[str | None] = []

    async def swap(
        self,
        row: Row,
        *,
        owner: str | None = None,
        hold: timedelta = NOTHING,
        notices: Sequence[NoticeRow] = (),
    ) -> bool:
        self.owners.append(owner)
        return await super().swap(row, owner=owner, hold=hold, notices=notices)


async def test_a_late_reply_goes_into_the_row(stage: Stage, late: list[Late]) -> None:
    """The exchange is over and its lease is back: parked, with the bytes and the tokens that the exchange brought."""
    store = Owners(stage.store)
    async with stage.keeper(store=store) as keeper:
        login = stage.fake.login("coinbase")
        await keeper.add("a", login.token)
        fresh = await keeper.refresh("a")
        await told(late[0], keeper)
        assert (store.owners[-2] is None, store.owners[-1]) == (False, None)
        account = await stage.account()
        assert (account.state, account.body, account.tokens) == (PARKED, STRAY.body, fresh)
        assert await keeper.tokens("a") == fresh
        assert keeper.health().ok
        stage.clock.advance(3 * HOUR)
        assert await keeper.refresh_due() == 0
        await stage.notes.until(AccountUnreadable)
        assert late[0](UnreadableReply("Noise.", body=b"<html>")) is None
    assert await stage.store.claim_one("a", "somebody else", HOUR)


async def test_a_late_reply_while_somebody_else_has_the_lease(stage: Stage, late: list[Late]) -> None:
    """Their lease stays theirs, and this keeper claims to have none."""
    store = Owners(stage.store)
    async with stage.keeper(store=store) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        await keeper.refresh("a")
        assert store.owners[-1] is not None
        await stage.store.claim_one("a", "somebody else", HOUR)
        await told(late[0], keeper)
        assert (await stage.account()).state is PARKED
        assert store.owners[-1] is None
        assert isinstance(await stage.store.claim_one("a", "a third one", HOUR), Busy)


async def test_nothing_is_sent_of_a_login_while_a_late_reply_is_written(stage: Stage, late: list[Late]) -> None:
    """Also where the next exchange was claimed before: its token could end the one that is inside."""
    store, writing = FaultyStore(stage.store), list[asyncio.Future[None]]()

    async def secret() -> str:
        if len(late) == 2 and not writing:
            writing.append(asyncio.ensure_future(told(late[0], keeper)))
            await asyncio.sleep(0)
            store.lose("read")
        return stage.fake.client_secret

    async with stage.keeper(store=store, secret=secret, min_interval=NOTHING) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        await keeper.refresh("a")
        with pytest.raises((NotReadyInTime, StoreUnavailable)):
            await keeper.refresh("a", max_wait=timedelta(seconds=0.2))
        assert stage.sent() == 1
        store.come_back()
        await writing[0]
    assert stage.sent() == 1
    assert (await stage.account()).body == STRAY.body


async def others_run() -> None:
    """Whatever may be written beside this is written."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_late_reply_is_written_after_what_its_exchange_has_brought(stage: Stage, late: list[Late]) -> None:
    """It comes while that is on its way into the store. Written first, its parking would end with that success."""
    store, writing = FaultyStore(stage.store), []

    async def comes_late() -> None:
        writing.append(asyncio.ensure_future(told(late[0], keeper)))
        await others_run()

    async with stage.keeper(store=store) as keeper:
        login = stage.fake.login("coinbase")
        await keeper.add("a", login.token)
        store.meanwhile["swap"] = comes_late
        fresh = await keeper.refresh("a")
        await writing[0]
    account = await stage.account()
    assert (account.state, account.body, account.tokens) == (PARKED, STRAY.body, fresh)
    await stage.assert_whole()


async def test_a_late_reply_that_the_store_takes_later(stage: Stage, late: list[Late]) -> None:
    """It is tried until it lands, and counted until then."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        await keeper.refresh("a")
        store.lose("swap")
        writing = asyncio.ensure_future(told(late[0], keeper))
        await store.has_failed("swap", 2)
        assert keeper.health().unsaved == 1
        store.come_back()
        await writing
        assert keeper.health().unsaved == 0
    assert (await stage.account()).state is PARKED


@pytest.mark.parametrize("kind", [FaultyStore, HangingStore])
async def test_leaving_raises_a_late_reply_that_the_store_does_not_take(
    stage: Stage, late: list[Late], kind: type[FaultyStore]
) -> None:
    """Where it raises, and where it does not answer."""
    store = kind(stage.store)

    async def work() -> None:
        async with stage.keeper(store=store, drain=timedelta(seconds=0.05)) as keeper:
            await keeper.add("a", stage.fake.login("coinbase").token)
            await keeper.refresh("a")
            if isinstance(store, HangingStore):
                store.hangs = True
            else:
                store.lose("swap")
            _ = late[0](STRAY)

    with pytest.raises(NotSaved) as caught:
        await work()
    assert caught.value.outcomes == (STRAY,)


async def test_a_late_reply_in_the_spool(stage: Stage, late: list[Late], tmp_path: Path) -> None:
    """The store is away until the end; the next keeper writes it, after what its exchange has brought."""
    stage.store = MemoryStore(clock=stage.clock, cipher=Cipher([Cipher.generate_key()]))
    store, login = FaultyStore(stage.store), stage.fake.login("coinbase")

    async def work() -> None:
        async with stage.keeper(store=store, spool=tmp_path, drain=timedelta(seconds=0.05)) as keeper:
            await keeper.add("a", login.token)
            gate = stage.fake.hold(after_rotation=True)
            caller = asyncio.create_task(keeper.refresh("a", max_wait=NOTHING))
            await gate.arrivals(1)
            store.lose("swap")
            gate.release()
            await store.has_failed("swap", 2)
            _ = late[0](STRAY)
            with suppress(NotReadyInTime):
                await caller

    with pytest.raises(LeftInSpool) as left:
        await work()
    assert STRAY in (left.value.outcomes or ())
    assert len(files(tmp_path)) == 2
    store.come_back()
    store.meanwhile["swap"] = others_run
    async with stage.keeper(store=store, spool=tmp_path) as keeper:
        (event,) = await stage.notes.until(AccountUnreadable)
        assert event.login_id == "a"
        assert keeper.health().ok
    account = await stage.account()
    assert (account.state, account.body) == (PARKED, STRAY.body)
    assert account.tokens.refresh_token == login.live[0].refresh_token
    assert not files(tmp_path)


async def test_a_late_reply_after_the_keeper_was_left(stage: Stage, late: list[Late]) -> None:
    """The client is closed last: the store takes it, as long as it does; else the client is told."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store, drain=NOTHING) as keeper:
        for login_id in ("a", "b"):
            await keeper.add(login_id, stage.fake.login("coinbase").token)
            await keeper.refresh(login_id)
    await told_afterwards(late[0])
    assert (await stage.account("a")).body == STRAY.body
    store.lose()
    with pytest.raises(NotSaved) as caught:
        await told_afterwards(late[1])
    assert caught.value.outcomes == (STRAY,)


async def test_late_replies_open_the_breaker(stage: Stage, late: list[Late]) -> None:
    """An edge that answers twice is a broken one."""
    async with stage.keeper(unreadable_run=3) as keeper:
        for number in range(3):
            await keeper.add(f"u{number}", stage.fake.login("coinbase").token)
            await keeper.refresh(f"u{number}")
        for number in range(3):
            await told(late[number], keeper)
        (opened,) = await stage.notes.until(BreakerOpened)
        assert opened.fault is BreakerFault.UNREADABLE
