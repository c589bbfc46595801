"""What callers say beside a login: for how long they want its tokens, which were rejected, that it must be new."""

import pytest

from mesh_refresh import InvalidRequest, MfaPending, Tokens
from mesh_refresh.keeper import (
    AmbiguousAccount,
    KeeperLeaving,
    Login,
    LoginExists,
    NotReadyInTime,
    UnopenedRow,
    version_of,
)
from mesh_refresh.stores import Cipher, WrongKey
from tests.keeper.stage import HOUR, MINUTE, NOTHING, SharedStore, Stage, runtime_of


async def test_valid_for_refreshes_tokens_that_end_sooner(stage: Stage) -> None:
    """Once: a broker whose tokens live for less gives what it gives."""
    login = stage.fake.login("coinbase", access_lifetime=HOUR)
    async with stage.keeper(min_interval=NOTHING) as keeper:
        await keeper.add("a", login.token)
        assert await keeper.tokens("a", valid_for=HOUR) == login.token
        stage.clock.advance(MINUTE)
        fresh = await keeper.tokens("a", valid_for=HOUR)
        assert fresh != login.token
        assert stage.sent() == 1
        assert await keeper.tokens("a", valid_for=3 * HOUR) == fresh
        assert stage.sent() == 1
        stage.clock.advance(MINUTE)
        assert await keeper.tokens("a", valid_for=3 * HOUR) != fresh
        assert stage.sent() == 2
        with pytest.raises(InvalidRequest, match="valid_for takes a timedelta"):
            await keeper.tokens("a", valid_for=60)  # type: ignore[arg-type]
    await stage.assert_whole()


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
