"""What may have spent a token is never hidden by what came later, and never sent again for another caller."""

import asyncio
import copy
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import (
    CodeRefused,
    InvalidRequest,
    MfaRequired,
    NotSaved,
    OutcomeUnknown,
    Refreshed,
    RetryPolicy,
    SendOptions,
    Throttled,
    Tokens,
    UnreadableReply,
)
from mesh_refresh.testing import FakeMesh, Fault

SOON = RetryPolicy(deadline=timedelta(milliseconds=300))
RESENDING = RetryPolicy(resend_unknown=True, resend_after=timedelta(0), backoff=timedelta(0))


async def test_unequal_caller_at_the_deadline(fake: FakeMesh) -> None:
    """A caller who waits for another's exchange does not send the token again when that one's fate is unknown."""
    gate = fake.hold(after_rotation=True)
    mesh = fake.client(retry=SOON)
    login = fake.login("coinbase")
    one = asyncio.create_task(mesh.refresh(login.token))
    await gate.entered.wait()
    other = asyncio.create_task(mesh.refresh(login.token, create_new_refresh_token=True))
    results = await asyncio.gather(one, other, return_exceptions=True)
    assert [type(result) for result in results] == [OutcomeUnknown, OutcomeUnknown]
    assert len(fake.requests) == 1
    assert not fake.reuses
    gate.release()
    await mesh.aclose()


async def test_later_failures_do_not_hide_an_unknown_one(fake: FakeMesh) -> None:
    """After a request with an unknown fate, being throttled is no proof that no token is spent."""
    fake.fail(Fault.cut(after_rotation=True))
    fake.fail(Fault.throttle(600))
    async with fake.client(retry=RESENDING) as mesh:
        with pytest.raises(OutcomeUnknown) as caught:
            await mesh.refresh(fake.login("coinbase").token)
    assert caught.value.token_may_be_spent
    assert isinstance(caught.value.__cause__, Throttled)


async def test_the_right_code_after_a_wrong_one(fake: FakeMesh) -> None:
    """A code that was not sent is not called wrong because another one was."""
    login = fake.login("vanguard", mfa=True)
    async with fake.client() as mesh:
        pending = await mesh.refresh(login.token)
        assert isinstance(pending, MfaRequired)
        gate = fake.hold()
        wrong = asyncio.create_task(mesh.submit_mfa(pending, "000000"))
        await gate.entered.wait()
        right = asyncio.create_task(mesh.submit_mfa(pending, login.code))
        await asyncio.sleep(0)
        gate.release()
        first, second = await asyncio.gather(wrong, right, return_exceptions=True)
    assert isinstance(first, CodeRefused)
    assert isinstance(second, Refreshed)


async def test_plain_refresh_beside_a_code(fake: FakeMesh) -> None:
    """A refresh that waits for a code's exchange takes what came of it, and asks for no other code."""
    login = fake.login("vanguard", mfa=True)
    async with fake.client() as mesh:
        pending = await mesh.refresh(login.token)
        assert isinstance(pending, MfaRequired)
        gate = fake.hold()
        coded = asyncio.create_task(mesh.submit_mfa(pending, login.code))
        await gate.entered.wait()
        plain = asyncio.create_task(mesh.refresh(pending.tokens))
        await asyncio.sleep(0)
        gate.release()
        one, other = await asyncio.gather(coded, plain)
    assert isinstance(one, Refreshed)
    assert isinstance(other, Refreshed)
    assert one.tokens.refresh_token == other.tokens.refresh_token


async def test_what_not_saved_says_of_bytes(fake: FakeMesh) -> None:
    """Where the outcome is a reply that cannot be read, NotSaved points to its bytes."""

    def hook(_: Any) -> None:
        raise OSError

    fake.fail(Fault.broken_json())
    mesh = fake.client(on_outcome=hook)
    with pytest.raises(NotSaved) as caught:
        await mesh.refresh(fake.login("coinbase").token)
    assert isinstance(caught.value.outcome, UnreadableReply)
    assert "succeeded" not in str(caught.value)
    assert ".outcome.body" in str(caught.value)
    assert copy.deepcopy(caught.value).outcomes == caught.value.outcomes
    fake.hold_body(caught.value.outcome.body)
    await mesh.aclose()


async def test_a_hook_cannot_close_its_client(fake: FakeMesh) -> None:
    """A hook that closes the client that waits for it is refused at once."""
    refused: list[InvalidRequest] = []

    async def hook(_: Any) -> None:
        try:
            await mesh.aclose()
        except InvalidRequest as error:
            refused.append(error)

    mesh = fake.client(on_outcome=hook)
    assert isinstance(await mesh.refresh(fake.login("coinbase").token), Refreshed)
    assert len(refused) == 1
    await mesh.aclose()


async def test_two_accounts_without_a_ref(fake: FakeMesh) -> None:
    """Accounts that have no ref are told apart by their ids: the hook is told of each, and each asks."""
    told: list[str | None] = []
    login = fake.login("coinbase")
    assert login.token.refresh_token is not None
    async with fake.client(on_outcome=lambda outcome: told.append(outcome.before.account_id)) as mesh:
        accounts = [Tokens("coinbase", login.token.refresh_token, account_id=name) for name in ("one", "two")]
        await asyncio.gather(*map(mesh.refresh, accounts))
    # The first reply names no account: of it, the second takes the refresh token that both share, and asks for itself.
    assert sorted(map(str, told)) == ["one", "two", "two"]
    assert len(fake.requests) == 2
    assert fake.reuses == []


async def test_senseless_arguments(fake: FakeMesh) -> None:
    """What is no SendOptions and no strategy is refused before anything is sent."""
    token = fake.login("coinbase").token
    async with fake.client() as mesh:
        with pytest.raises(InvalidRequest):
            await mesh.refresh(token, sending=None)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest):
            await mesh.refresh(Tokens("coinbase", "   "), sending=SendOptions())
    for strategies in ({"coinbase": object}, {"coinbase": 7}, [7]):
        with pytest.raises(InvalidRequest):
            fake.client(strategies=strategies)
    assert not fake.requests
