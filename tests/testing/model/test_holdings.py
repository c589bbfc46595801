"""Who holds what: the ledger, `lost`, and what it shows of itself."""

import logging

import pytest

from mesh_refresh import MfaRequired, NotSaved, Refreshed, UnreadableReply
from mesh_refresh.testing import FakeMesh, Fault, LossReason, Lost, ManualClock, Sharing
from tests.testing.conftest import Caller


async def test_what_nobody_wrote_down_is_lost(fake: FakeMesh, caller: Caller) -> None:
    """A pair that was delivered and kept by nobody is lost, until somebody has it."""
    login = fake.login("coinbase")
    assert not fake.lost()
    got = await caller.refresh(login.token)
    assert fake.lost() == [Lost(login.id, "acc-1", "coinbase", LossReason.NOT_HELD)]
    fake.hold_body(got.body)
    assert not fake.lost()


async def test_only_what_the_store_holds_counts_where_it_is_given(fake: FakeMesh, caller: Caller) -> None:
    """With `held`, memories of the hook do not help a store that has the old pair."""
    login = fake.login("coinbase", accounts=2, sharing=Sharing.PAIR_EACH)
    await caller.refresh(login.token)
    fake.hold_tokens(login.live)
    assert not fake.lost()
    assert [item.account for item in fake.lost(held=login.tokens)] == ["acc-1", "acc-2"]
    assert [item.account for item in fake.lost(held=login.live[:1])] == ["acc-2"]
    assert not fake.lost(held=login.live)


async def test_saved_takes_every_outcome(fake: FakeMesh) -> None:
    """The hook counts what is in a success, in a demand for a code, and in a body that could not be read."""
    seen: list[type] = []

    async def hook(outcome: Refreshed | MfaRequired | UnreadableReply) -> None:
        seen.append(type(outcome))

    logins = [fake.login("coinbase"), fake.login("coinbase", mfa=True, mfa_rotates=True), fake.login("coinbase")]
    async with fake.client(on_outcome=hook) as mesh:
        await mesh.refresh(logins[0].token)
        await mesh.refresh(logins[1].token)
        fake.fail(Fault.broken_json())
        with pytest.raises(UnreadableReply):
            await mesh.refresh(logins[2].token)
    assert seen == [Refreshed, MfaRequired, UnreadableReply]
    assert not fake.lost()


async def test_a_hook_that_fails_has_saved_nothing(fake: FakeMesh) -> None:
    """Where the test's own hook fails, nothing counts as held."""

    async def hook(outcome: object) -> None:
        raise RuntimeError

    login = fake.login("coinbase")
    async with fake.client(on_outcome=hook) as mesh:
        with pytest.raises(NotSaved):
            await mesh.refresh(login.token)
    assert [item.reason for item in fake.lost()] == [LossReason.NOT_HELD]


async def test_nothing_shows_a_token(fake: FakeMesh, caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a repr of anything in the kit nor a log line has a token in it."""
    caplog.set_level(logging.DEBUG)
    login = fake.login("weBull", mfa=True, mfa_rotates=True)
    await caller.refresh(login.token, accessToken=login.token.access_token)
    await caller.refresh(login.token, accessToken=login.token.access_token)
    shown = " ".join(
        [
            repr(fake),
            repr(fake.model),
            repr(fake.ledger),
            repr(fake.traffic),
            repr(fake.requests),
            repr(fake.reuses),
            repr(fake.undelivered),
            repr(login),
            repr(login.seats.all),
            repr(list(fake.ledger.tokens.values())),
            repr(fake.lost()),
            caplog.text,
        ]
    )
    for value in (*fake.ledger.tokens, fake.client_secret):
        assert value not in shown


async def test_the_same_seed_gives_the_same_tokens() -> None:
    """Tokens depend on the seed and the order of logins, on nothing else."""
    first, again, other = (FakeMesh(clock=ManualClock(), seed=seed) for seed in (1, 1, 2))
    assert first.login("coinbase").tokens == again.login("coinbase").tokens != other.login("coinbase").tokens


async def test_two_lines_are_enough() -> None:
    """The shortest test that anyone can write with the kit."""
    async with FakeMesh() as fake, fake.client() as mesh:
        assert isinstance(await mesh.refresh(fake.login("coinbase").token), Refreshed)
    assert fake.exchanges == {"succeeded": 1}
