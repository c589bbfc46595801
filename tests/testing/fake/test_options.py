"""What a login is like: every option takes effect, also when it is changed on the way."""

from datetime import timedelta
from itertools import product

import pytest
from attrs import evolve

from mesh_refresh.testing import FakeMesh, ManualClock, Replies, Sharing
from tests.testing.conftest import Caller


@pytest.mark.parametrize(("linked", "replied"), list(product((True, False), (True, False, None))))
async def test_link_and_replies_name_accounts_each_in_its_own_way(
    fake: FakeMesh, caller: Caller, linked: bool, replied: bool | None
) -> None:
    """The documented example names none, though Link does: both can be had, and either alone."""
    login = fake.login("etoro", accounts=2, named=linked, named_replies=replied)
    assert [it.account_id is not None for it in login.tokens] == [linked] * 2
    assert ["account" in entry for entry in login.link_payload()["accountTokens"]] == [linked] * 2
    got = await caller.refresh(login.token)
    assert ["account" in entry for entry in got.pairs] == [linked if replied is None else replied] * 2


async def test_options_that_are_changed_on_the_way(fake: FakeMesh, caller: Caller) -> None:
    """The next tokens are made as the new options say, in all that options decide."""
    login = fake.login("etoro", accounts=2, sharing=Sharing.PAIR_EACH)
    login.options = evolve(login.options, token_ids=True, replies_with=Replies.ASKED)
    (entry,) = (await caller.refresh(login.token)).pairs
    assert "tokenId" in entry
    assert "accessToken" not in entry
    login.options = evolve(login.options, sharing=Sharing.ONE_PAIR, replies_with=Replies.ALL, token_ids=False)
    entries = (await caller.refresh(login.live[0])).pairs
    assert entries[0]["refreshToken"] == entries[1]["refreshToken"]
    assert {"tokenId", "accessToken"} & set(entries[0]) == {"accessToken"}


async def test_accounts_that_part_on_the_way(fake: FakeMesh, caller: Caller) -> None:
    """Accounts that shared a pair have one each with their next tokens, and each lives on its own."""
    login = fake.login("etoro", accounts=2)
    login.options = evolve(login.options, sharing=Sharing.PAIR_EACH)
    await caller.refresh(login.token)
    login.options = evolve(login.options, replies_with=Replies.ASKED)
    await caller.refresh(login.live[1])
    assert len({it.refresh_token for it in login.live}) == 2
    assert fake.is_live(login.live[0].refresh_token)


async def test_the_number_of_accounts_stays(fake: FakeMesh) -> None:
    """Accounts have tokens and ids: another number is another login, and asking for it says so."""
    login = fake.login("coinbase")
    with pytest.raises(ValueError, match="number of accounts"):
        login.options = evolve(login.options, accounts=2)
    assert login.options.accounts == 1


@pytest.mark.parametrize("broker", ["coinbase", "weBull"])
async def test_nothing_from_before_a_new_login_is_good(fake: FakeMesh, caller: Caller, broker: str) -> None:
    """After `again`, and after `revoke` and `again`, every older token is refused: access tokens too."""
    login = fake.login(broker)
    for revoked in (False, True):
        old = login.live[0]
        if revoked:
            login.revoke()
        (new,) = login.again()
        assert not fake.is_live(old.access_token)
        assert not fake.is_live(old.refresh_token)
        assert fake.is_live(new.access_token)
        mixed = await caller.refresh(new, accessToken=old.access_token)
        assert mixed.status == (400 if broker == "weBull" else 200)
        if broker == "weBull":
            assert (await caller.refresh(new, accessToken=new.access_token)).status == 200


def test_no_two_logins_share_an_account_id() -> None:
    """A program that takes one login's account for another's is found out by the ids too."""
    fake = FakeMesh()
    ids = [name for _ in range(3) for name in fake.login("etoro", accounts=2).account_ids]
    assert ids == [f"acc-{number}" for number in range(1, 7)]


def test_no_two_fakes_share_a_token() -> None:
    """Unless both are given the same seed: what one has issued, the other has never seen."""
    first, other = FakeMesh(), FakeMesh()
    assert not {*first.login("coinbase").token.secrets} & {*other.login("coinbase").token.secrets}
    again, same = FakeMesh(seed=7), FakeMesh(seed=7)
    assert again.login("coinbase").token.refresh_token == same.login("coinbase").token.refresh_token


@pytest.mark.parametrize(
    ("broker", "access", "refresh"),
    [
        ("coinbase", timedelta(hours=1), None),
        ("tdAmeritrade", timedelta(minutes=30), timedelta(days=90)),
        ("eTrade", timedelta(hours=17), None),
    ],
)
def test_lifetimes_are_the_brokers_own(broker: str, access: timedelta, refresh: timedelta | None) -> None:
    """Where neither the login nor the fake says otherwise. The clock begins at noon, which is 07:00 in New York."""
    clock = ManualClock()
    token = FakeMesh(clock=clock).login(broker).token
    assert token.expires_at == clock.now() + access
    assert token.refresh_token_expires_at == (None if refresh is None else clock.now() + refresh)
    day = timedelta(days=1)
    said = FakeMesh(clock=clock, access_lifetime=day, refresh_lifetime=2 * day).login(broker).token
    assert said.expires_at == clock.now() + day
    assert FakeMesh(access_lifetime=None).login(broker).token.expires_at is None
    assert FakeMesh(clock=clock).login(broker, access_lifetime=day).token.expires_at == clock.now() + day
