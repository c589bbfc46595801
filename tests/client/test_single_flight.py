"""Equal requests share one exchange; unequal ones for one token wait for one another."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import (
    CodeRefused,
    MeshClient,
    MeshRefreshError,
    MfaRequired,
    NotSaved,
    OutcomeUnknown,
    Refreshed,
    RetryPolicy,
    SendOptions,
    TokensRefused,
    Unavailable,
)
from mesh_refresh.testing import FakeMesh, Fault, Replies, Sharing, WrongCode

ONCE = RetryPolicy(max_requests=1, deadline=timedelta(hours=1))


async def both(*callers: Any) -> list[Any]:
    return await asyncio.gather(*callers, return_exceptions=True)


async def test_a_thousand_callers(fake: FakeMesh) -> None:
    """A thousand callers with one token are one request, and each has the new tokens."""
    login = fake.login("coinbase")
    async with fake.client() as mesh:
        outcomes = await asyncio.gather(*(mesh.refresh(login.token) for _ in range(1000)))
    assert len(fake.requests) == 1
    assert {outcome.tokens.refresh_token for outcome in outcomes} == {login.live[0].refresh_token}
    assert fake.lost() == []


async def test_each_has_its_own_account(fake: FakeMesh) -> None:
    """Callers with two accounts of a login share the reply, and each has its own account and its own ref."""
    told: list[Any] = []

    async def hook(outcome: Any) -> None:
        told.append(outcome)

    login = fake.login("coinbase", accounts=3)
    accounts = [evolve(tokens, ref=f"user-{n}") for n, tokens in enumerate(login.tokens)]
    async with fake.client(on_outcome=hook) as mesh:
        outcomes = await asyncio.gather(*(mesh.refresh(tokens) for tokens in accounts for _ in range(2)))
    assert len(fake.requests) == 1
    for tokens, outcome in zip([tokens for tokens in accounts for _ in range(2)], outcomes, strict=True):
        assert isinstance(outcome, Refreshed)
        assert outcome.before == tokens
        assert (outcome.tokens.account_id, outcome.tokens.ref) == (tokens.account_id, tokens.ref)
        assert [fresh.ref for fresh in outcome.all_tokens].count(tokens.ref) == 1
        assert len(outcome.all_tokens) == 3
    assert sorted(outcome.before.ref for outcome in told) == ["user-0", "user-1", "user-2"]
    assert fake.lost() == []


async def test_errors_are_not_shared(fake: FakeMesh) -> None:
    """Callers who share a refusal each raise an error of their own."""
    login = fake.login("coinbase")
    fake.fail(Fault.refuse())
    async with fake.client() as mesh:
        one, two = await both(mesh.refresh(login.token), mesh.refresh(login.token))
    assert isinstance(one, TokensRefused)
    assert isinstance(two, TokensRefused)
    assert one is not two
    assert len(fake.requests) == 1


async def test_other_tokens_do_not_wait(fake: FakeMesh) -> None:
    """A refresh of another token goes its own way while one waits."""
    gate = fake.hold()
    async with fake.client() as mesh:
        held = asyncio.create_task(mesh.refresh(fake.login("coinbase").token))
        await gate.entered.wait()
        assert isinstance(await mesh.refresh(fake.login("coinbase").token), Refreshed)
        gate.release()
        await held
    assert fake.lost() == []


async def test_unequal_after_success(fake: FakeMesh) -> None:
    """An unequal request waits for the first, and is then made from what came of it: no token is sent twice."""
    login = fake.login("tdAmeritrade", rotates=True)
    async with fake.client() as mesh:
        one, two = await asyncio.gather(
            mesh.refresh(login.token), mesh.refresh(login.token, create_new_refresh_token=True)
        )
    assert isinstance(one, Refreshed)
    assert isinstance(two, Refreshed)
    assert [request.refresh_token for request in fake.requests] == [login.token.refresh_token, one.tokens.refresh_token]
    assert fake.requests[1].body["createNewRefreshToken"] is True
    assert fake.reuses == []
    assert fake.sent_twice() == []
    assert two.tokens.refresh_token == login.live[0].refresh_token
    assert fake.lost() == []


async def test_unequal_after_success_without_rotation(fake: FakeMesh) -> None:
    """The same where the first left the refresh token as it was."""
    login = fake.login("tdAmeritrade")
    async with fake.client() as mesh:
        _, two = await asyncio.gather(
            mesh.refresh(login.token), mesh.refresh(login.token, create_new_refresh_token=True)
        )
    assert isinstance(two, Refreshed)
    assert len(fake.requests) == 2
    assert fake.sent_twice() == []
    assert two.tokens.refresh_token != login.token.refresh_token
    assert fake.lost() == []


async def test_unequal_after_a_retryable_error(fake: FakeMesh) -> None:
    """After a first that may be repeated, an unequal request goes ahead."""
    login = fake.login("tdAmeritrade")
    fake.fail(Fault.unavailable())
    async with fake.client(retry=ONCE) as mesh:
        one, two = await both(mesh.refresh(login.token), mesh.refresh(login.token, create_new_refresh_token=True))
    assert isinstance(one, Unavailable)
    assert isinstance(two, Refreshed)
    assert [request.refresh_token for request in fake.requests] == [login.token.refresh_token] * 2
    assert fake.sent_twice() == []


@pytest.mark.parametrize("fault", [Fault.refuse(), Fault.cut(after_rotation=True), Fault.broken_json()], ids=str)
async def test_unequal_after_another_error(fake: FakeMesh, fault: Fault) -> None:
    """After a refusal, or where the token may be spent, an unequal request shares the error and is not sent."""
    login = fake.login("tdAmeritrade", rotates=True)
    fake.fail(fault)
    async with fake.client(retry=ONCE) as mesh:
        one, two = await both(mesh.refresh(login.token), mesh.refresh(login.token, create_new_refresh_token=True))
    assert isinstance(one, TokensRefused | OutcomeUnknown)
    assert type(one) is type(two)
    assert len(fake.requests) == 1


async def test_unequal_after_a_question(fake: FakeMesh) -> None:
    """Where the first asked for a code, an unequal request shares the question."""
    login = fake.login("vanguard", mfa=True)
    async with fake.client() as mesh:
        one, two = await asyncio.gather(
            mesh.refresh(login.token), mesh.refresh(login.token, create_new_refresh_token=True)
        )
    assert isinstance(one, MfaRequired)
    assert isinstance(two, MfaRequired)
    assert len(fake.requests) == 1
    assert fake.lost() == []


async def test_the_first_gives_up(fake: FakeMesh) -> None:
    """An unequal request that waits goes ahead when the first is cancelled before its bytes."""
    login, held = fake.login("tdAmeritrade"), asyncio.Event()
    async with fake.client() as mesh:
        reached = asyncio.Event()

        async def wait() -> None:
            reached.set()
            await held.wait()

        one = asyncio.create_task(mesh.refresh(login.token, sending=SendOptions(before_send=wait)))
        await reached.wait()
        two = asyncio.create_task(mesh.refresh(login.token))
        await asyncio.sleep(0)
        one.cancel()
        assert isinstance(await two, Refreshed)
    assert one.cancelled()
    assert len(fake.requests) == 1
    assert fake.lost() == []


async def test_rejoined_while_it_is_ending(fake: FakeMesh) -> None:
    """A caller who comes as an exchange is being ended for want of callers begins another one."""
    login, entered = fake.login("coinbase"), asyncio.Event()
    asked = 0

    async def secret() -> str:
        nonlocal asked
        asked += 1
        entered.set()
        if asked == 1:
            await asyncio.Event().wait()
        return fake.client_secret

    async with MeshClient(fake.client_id, secret, base_url=fake.base_url, on_outcome=fake.saved) as mesh:
        one = asyncio.create_task(mesh.refresh(login.token))
        await entered.wait()
        one.cancel()
        two = asyncio.create_task(mesh.refresh(login.token))
        assert isinstance(await two, Refreshed)
    assert one.cancelled()
    assert fake.lost() == []


async def test_code_is_never_rebuilt(fake: FakeMesh) -> None:
    """A code that waits for a refresh of the same token is not sent with what came of that: it shares the outcome."""
    login = fake.login("vanguard", mfa=True)
    async with fake.client() as mesh:
        pending = await mesh.refresh(login.token)
        assert isinstance(pending, MfaRequired)
        login.options = evolve(login.options, mfa=False)
        one, two = await both(mesh.refresh(pending.tokens), mesh.submit_mfa(pending, login.code))
    assert isinstance(one, Refreshed)
    assert isinstance(two, Refreshed)
    assert [request.body.get("mfaCode") for request in fake.requests] == [None, None]
    assert fake.reuses == []
    assert fake.sent_twice() == []
    assert fake.lost() == []


async def test_two_codes(fake: FakeMesh) -> None:
    """Of two different codes for one question, the second is not sent beside the first."""
    login = fake.login("vanguard", mfa=True, wrong_code=WrongCode.FAILED)
    async with fake.client() as mesh:
        pending = await mesh.refresh(login.token)
        assert isinstance(pending, MfaRequired)
        one, two = await both(mesh.submit_mfa(pending, "000000"), mesh.submit_mfa(pending, login.code))
    assert isinstance(one, CodeRefused)
    assert one.pending == pending
    assert fake.sent_twice() == []
    assert isinstance(two, CodeRefused | Refreshed)
    assert fake.lost() == []


async def test_one_code_twice(fake: FakeMesh) -> None:
    """The same code from two callers at once, and once more after it, is one request."""
    login = fake.login("vanguard", mfa=True)
    async with fake.client() as mesh:
        pending = await mesh.refresh(login.token)
        assert isinstance(pending, MfaRequired)
        first, second = await asyncio.gather(*(mesh.submit_mfa(pending, login.code) for _ in range(2)))
        third = await mesh.submit_mfa(pending, login.code)
    assert isinstance(first, Refreshed)
    assert isinstance(second, Refreshed)
    assert isinstance(third, Refreshed)
    assert len(fake.requests) == 2
    assert fake.reuses == []
    assert fake.lost() == []


async def test_pair_each(fake: FakeMesh) -> None:
    """Accounts of a login with a pair each are exchanged by themselves."""
    login = fake.login("coinbase", accounts=2, sharing=Sharing.PAIR_EACH, replies_with=Replies.ASKED)
    async with fake.client() as mesh:
        await asyncio.gather(*(mesh.refresh(tokens) for tokens in login.tokens))
    assert fake.lost() == []


async def test_hook_failure_reaches_every_caller(fake: FakeMesh) -> None:
    """Where the hook fails, each of the callers who share has a NotSaved with its own outcome."""

    async def hook(outcome: Any) -> None:
        raise OSError("the disk is full")

    login = fake.login("coinbase", accounts=2)
    accounts = [evolve(tokens, ref=n) for n, tokens in enumerate(login.tokens)]
    async with fake.client(on_outcome=hook) as mesh:
        results = await both(*(mesh.refresh(tokens) for tokens in (*accounts, accounts[0])))
    for tokens, error in zip((*accounts, accounts[0]), results, strict=True):
        assert isinstance(error, NotSaved)
        assert error.outcome.before == tokens
        fake.hold_tokens(error.outcome.all_tokens)
    assert len({id(error) for error in results}) == 3
    assert fake.lost() == []


async def test_hook_fails_for_one_of_two(fake: FakeMesh) -> None:
    """A hook that fails for one account's ref costs the other one nothing."""

    async def hook(outcome: Any) -> None:
        if outcome.before.ref == "bad":
            raise OSError

    login = fake.login("coinbase", accounts=2)
    bad, good = (evolve(tokens, ref=ref) for tokens, ref in zip(login.tokens, ("bad", "good"), strict=True))
    async with fake.client(on_outcome=hook) as mesh:
        one, two = await both(mesh.refresh(bad), mesh.refresh(good))
    assert isinstance(one, NotSaved)
    assert isinstance(two, Refreshed)
    assert fake.lost() == []


async def test_unhooked_share_is_its_own(fake: FakeMesh) -> None:
    """A caller without the hook and one with it do not run two exchanges of one token at once."""
    login = fake.login("coinbase")
    async with fake.client() as mesh:
        one, two = await both(
            mesh.refresh(login.token, sending=SendOptions(call_on_outcome=False)), mesh.refresh(login.token)
        )
    assert not isinstance(one, MeshRefreshError)
    assert not isinstance(two, MeshRefreshError)
    assert fake.reuses == []
    assert fake.sent_twice() == []
    assert fake.lost() == []
