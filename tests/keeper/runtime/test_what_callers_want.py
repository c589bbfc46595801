"""What callers say beside a login: for how long they want its tokens, which were rejected, that it must be new."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mesh_refresh import InvalidRequest, MfaPending, Tokens
from mesh_refresh.keeper import (
    AmbiguousAccount,
    BreakerOpened,
    Keeper,
    KeeperLeaving,
    Login,
    LoginExists,
    NotReadyInTime,
    UnopenedRow,
    version_of,
)
from mesh_refresh.stores import Cipher, WrongKey
from mesh_refresh.testing import Fault
from tests.keeper.stage import HOUR, MINUTE, NOTHING, SECOND, SharedStore, Stage, runtime_of

WANTED = HOUR / 4


async def test_valid_for_refreshes_tokens_that_end_sooner(stage: Stage) -> None:
    """Before their time, and once: what has come lasts for half of its lifetime at the least."""
    login = stage.fake.login("coinbase", access_lifetime=HOUR)
    async with stage.keeper(min_interval=NOTHING) as keeper:
        await keeper.add("a", login.token)
        assert await keeper.tokens("a", valid_for=3 * HOUR) == login.token
        stage.clock.advance(HOUR / 2 + MINUTE)
        assert await keeper.tokens("a", valid_for=WANTED) == login.token
        fresh = await keeper.tokens("a", valid_for=3 * HOUR)
        assert fresh != login.token
        assert await keeper.tokens("a", valid_for=3 * HOUR) == fresh
        assert stage.sent() == 1
        with pytest.raises(InvalidRequest, match="valid_for takes a timedelta"):
            await keeper.tokens("a", valid_for=60)  # type: ignore[arg-type]
    await stage.assert_whole()


async def paused(_: Stage, keeper: Keeper) -> None:
    await keeper.pause("coinbase")


async def throttled(stage: Stage, keeper: Keeper) -> None:
    stage.fake.fail(Fault.throttle(5 * 3600))
    await keeper.add("b", stage.fake.login("coinbase").token)
    with pytest.raises(NotReadyInTime):
        await keeper.refresh("b")


async def fails(stage: Stage, _: Keeper) -> None:
    stage.fake.fail(Fault.problem(404), times=None)


async def refused(stage: Stage, _: Keeper) -> None:
    stage.fake.fail(Fault.refuse(), times=None)


async def full(_: Stage, keeper: Keeper) -> None:
    runtime_of(keeper).limiter.reserved = 1_000


@pytest.mark.parametrize("made", [paused, throttled, fails, refused, full])
async def test_valid_for_gives_what_is_there_where_nothing_better_can_be_had(
    stage: Stage, made: Callable[[Stage, Keeper], Awaitable[None]]
) -> None:
    """Until the hard margin, by one exchange at the most, and without waiting for what lasts."""
    login = stage.fake.login("coinbase", access_lifetime=HOUR)
    async with stage.keeper(min_interval=NOTHING) as keeper:
        await keeper.add("a", login.token)
        await made(stage, keeper)
        stage.clock.advance(HOUR - WANTED + SECOND)
        sent = stage.sent()
        assert await keeper.tokens("a", valid_for=WANTED, max_wait=NOTHING if made is full else None) == login.token
        assert stage.sent() <= sent + 1
        stage.clock.advance(WANTED)
        with pytest.raises(NotReadyInTime):
            await keeper.tokens("a", valid_for=WANTED, max_wait=NOTHING)
        runtime_of(keeper).limiter.reserved = 0


async def test_valid_for_waits_for_no_breaker(stage: Stage) -> None:
    """Not even for one that lets a probe go within the caller's time."""
    login = stage.fake.login("coinbase", access_lifetime=HOUR)
    async with stage.keeper(min_interval=NOTHING, cool_down=10 * SECOND) as keeper:
        await keeper.add("a", login.token)
        stage.clock.advance(HOUR - WANTED + SECOND)
        stage.fake.fail(Fault.throttle())
        await keeper.add("b", stage.fake.login("coinbase").token)
        with pytest.raises(NotReadyInTime):
            await keeper.refresh("b", max_wait=NOTHING)
        await stage.notes.until(BreakerOpened)
        async with asyncio.timeout(5):
            assert await keeper.tokens("a", valid_for=WANTED, max_wait=20 * SECOND) == login.token
        assert stage.sent() == 1


async def test_valid_for_sends_one_request_for_one_call(stage: Stage) -> None:
    """However little what it brought is good for."""
    login = stage.fake.login("coinbase", access_lifetime=HOUR)
    async with stage.keeper(min_interval=NOTHING) as keeper:
        await keeper.add("a", login.token)
        stage.clock.advance(HOUR - WANTED + SECOND)
        gate = stage.fake.hold(after_rotation=True)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(keeper.tokens("a", valid_for=WANTED))
            await gate.entered.wait()
            stage.clock.advance(HOUR - 2 * MINUTE)
            gate.release()
        assert asked.result() != login.token
        assert stage.sent() == 1


async def test_valid_for_gives_what_is_there_when_its_time_is_over(stage: Stage) -> None:
    """The exchange goes on, and the next caller gets what it brings; but none gets tokens that are out of date."""
    login = stage.fake.login("coinbase", access_lifetime=HOUR)
    async with stage.keeper(min_interval=NOTHING) as keeper:
        await keeper.add("a", login.token)
        stage.clock.advance(HOUR - WANTED + SECOND)
        gate = stage.fake.hold()
        assert await keeper.tokens("a", valid_for=WANTED, max_wait=NOTHING) == login.token
        await gate.entered.wait()
        gate.release()
        assert await keeper.tokens("a", valid_for=WANTED) != login.token
        assert stage.sent() == 1


async def test_a_version_is_refreshed_unless_that_was_done_since(stage: Stage) -> None:
    """The caller keeps no tokens, and one rejection is one exchange."""
    login = stage.fake.login("coinbase")
    async with stage.keeper(min_interval=NOTHING) as keeper:
        await keeper.add("a", login.token)
        version = version_of("a", await keeper.tokens("a"))
        fresh = await keeper.tokens("a", rejected=version)
        assert fresh != login.token
        assert await keeper.tokens("a", rejected=version) == fresh
        stage.clock.advance(2 * HOUR)
        assert await keeper.tokens("a", rejected=version) == fresh, "stored, ended, and not sent"
        assert stage.sent() == 1
        for wrong in ("", "v1", version.upper(), version + "0"):
            with pytest.raises(InvalidRequest, match="version_of"):
                await keeper.tokens("a", rejected=wrong)


async def test_a_new_login_only(stage: Stage) -> None:
    """`only_new` adds nothing to a login that is there."""
    async with stage.keeper() as keeper:
        first, second = (stage.fake.login("coinbase").token for _ in range(2))
        assert (await keeper.add("a", first, only_new=True)).new == (None,)
        with pytest.raises(LoginExists):
            await keeper.add("a", second, only_new=True)
        assert (await stage.account()).tokens.refresh_token == first.refresh_token


async def test_a_page_has_the_logins_that_do_not_open(stage: Stage) -> None:
    """`logins` leaves them out, and logs them."""
    other = SharedStore(stage.store, Cipher([Cipher.generate_key()]))
    async with stage.keeper() as keeper, stage.keeper(store=other) as another:
        for name, one in (("a", keeper), ("b", another), ("c", keeper)):
            await one.add(name, stage.fake.login("coinbase").token)
        first, second = await keeper.page(2)
        assert isinstance(first, Login)
        assert isinstance(second, UnopenedRow)
        assert isinstance(second.error, WrongKey)
        (third,) = await keeper.page(2, after=second.login_id)
        assert third.login_id == "c"
        assert not await keeper.page(state="mfa_required")
        with pytest.raises(InvalidRequest):
            await keeper.page(-1)


async def test_a_login_that_does_not_open_is_no_matter_of_waiting(stage: Stage) -> None:
    """Each caller is told why, also those who read it together."""
    other = SharedStore(stage.store, Cipher([Cipher.generate_key()]))
    async with stage.keeper() as keeper, stage.keeper(store=other) as another:
        await another.add("a", stage.fake.login("coinbase").token)
        calls = (keeper.tokens("a"), keeper.tokens("a"), keeper.refresh("a"), keeper.submit_mfa("a", "123456"))
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(error) for error in found] == [WrongKey] * 4
        assert len({id(error) for error in found}) == 4


async def test_pauses_say_who_and_why(stage: Stage) -> None:
    """Also all of them together."""
    async with stage.keeper() as keeper:
        await keeper.pause("webull", note="an outage", by="ann")
        await keeper.pause()
        found = await keeper.pauses()
        assert found.keys() == {"weBull", "*"}
        assert (found["weBull"].note, found["weBull"].by, found["weBull"].at) == ("an outage", "ann", stage.now)


async def test_errors_say_what_a_caller_can_do_next(stage: Stage) -> None:
    """Which accounts there are to choose from, what to show to the person, and that the keeper is being left."""
    async with stage.keeper() as keeper:
        several = stage.fake.login("robinhood", accounts=2)
        await keeper.add("several", several.tokens)
        with pytest.raises(AmbiguousAccount) as ambiguous:
            await keeper.tokens("several")
        assert ambiguous.value.account_ids == several.account_ids
        runtime_of(keeper).closing = True
        stage.clock.advance(2 * HOUR)
        with pytest.raises(KeeperLeaving):
            await keeper.tokens("several", several.account_ids[0], max_wait=NOTHING)
        runtime_of(keeper).closing = False
    assert issubclass(KeeperLeaving, NotReadyInTime)
    assert MfaPending(pending_id="p", display_message="Look at your telephone.").display_message


async def test_what_an_exchange_spends_is_the_strategys_to_say(stage: Stage) -> None:
    """Mostly the refresh token."""
    async with stage.keeper() as keeper:
        assert keeper.credential(Tokens("coinbase", "r", access_token="a")) == "r"
        assert keeper.credential(Tokens("coinbase", access_token="a")) is None
