"""The caller is cancelled at every single step of the event loop."""

import asyncio
import gc
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import MeshClient, NotSaved, Outcome, Refreshed, RetryPolicy, Tokens
from mesh_refresh.testing import FakeMesh
from tests.client.ending.stepping import at_every_step, looping
from tests.transport.transports import BySession, PlainTransport

PATIENT = RetryPolicy(deadline=timedelta(hours=1))


async def secret_of_a_vault() -> str:
    await asyncio.sleep(0)
    return "fake-client-secret"


def given(**options: Any) -> Callable[[FakeMesh], MeshClient]:
    """Clients with a hook that saves."""

    def make(fake: FakeMesh) -> MeshClient:
        made = {name: value() if name == "transport" else value for name, value in options.items()}
        return fake.client(retry=PATIENT, **made)

    return make


def with_secret(fake: FakeMesh) -> MeshClient:
    return MeshClient(fake.client_id, secret_of_a_vault, base_url=fake.base_url, on_outcome=fake.saved, retry=PATIENT)


def with_slow_hook(fake: FakeMesh) -> MeshClient:
    async def save(outcome: Outcome) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        await fake.saved(outcome)

    return MeshClient(fake.client_id, fake.client_secret, base_url=fake.base_url, on_outcome=save, retry=PATIENT)


def with_name(fake: FakeMesh) -> MeshClient:
    url = fake.base_url.replace("127.0.0.1", "localhost")
    return fake.client(retry=PATIENT, base_url=url)


CLIENTS = {
    "plain": given(),
    "a slow hook": with_slow_hook,
    "a secret to be awaited": with_secret,
    "the long way through aiohttp": given(transport=BySession),
    "a transport of the user's": given(transport=PlainTransport),
    "a name to be looked up": with_name,
}


def ended_well(caller: "asyncio.Task[Any]") -> bool:
    """Cancelled, or with a result; the result of another kind is raised."""
    return caller.cancelled() or isinstance(caller.result(), Refreshed)


# On Python 3.11 asyncio itself leaves a socket open where a connection is given up in its last step.
@pytest.mark.filterwarnings(
    "ignore:unclosed transport:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("name", CLIENTS)
def test_hook_has_it(name: str) -> None:
    """A caller cancelled at any step costs no token where on_outcome saves, and sends at most one request."""

    async def story(k: int) -> bool:
        async with FakeMesh() as fake:
            login, mesh = fake.login("coinbase"), CLIENTS[name](fake)
            caller = asyncio.create_task(mesh.refresh(login.token))
            looping().arm(k, caller.cancel)
            await asyncio.wait((caller,))
            beyond = looping().disarm()
            assert ended_well(caller)
            await mesh.aclose()
            assert fake.lost() == []
            assert len(fake.requests) <= 1
            return not beyond

    at_every_step(story)
    gc.collect()


def test_hook_has_it_on_a_kept_connection() -> None:
    """The same where the connection is there already."""

    async def story(k: int) -> bool:
        async with FakeMesh() as fake:
            mesh, login = fake.client(retry=PATIENT), fake.login("coinbase")
            await mesh.refresh(fake.login("coinbase").token)
            caller = asyncio.create_task(mesh.refresh(login.token))
            looping().arm(k, caller.cancel)
            await asyncio.wait((caller,))
            beyond = looping().disarm()
            assert ended_well(caller)
            await mesh.aclose()
            assert fake.lost() == []
            assert len(fake.requests) <= 2
            return not beyond

    at_every_step(story, at_least=8)


def test_next_caller_has_it() -> None:
    """Without a hook, what came for a cancelled caller is given to the next one who brings the token."""

    async def story(k: int) -> bool:
        async with FakeMesh() as fake:
            login = fake.login("coinbase")
            async with unhooked(fake) as mesh:
                caller = asyncio.create_task(mesh.refresh(login.token))
                looping().arm(k, caller.cancel)
                await asyncio.wait((caller,))
                beyond = looping().disarm()
                assert ended_well(caller)
                outcome = await mesh.refresh(login.token)
                assert isinstance(outcome, Refreshed)
                fake.hold_tokens(outcome.all_tokens)
            assert fake.lost() == []
            assert fake.exchanges["succeeded"] == 1
            assert fake.reuses == []
            return not beyond

    at_every_step(story)


def test_close_raises_it() -> None:
    """Without a hook and without another caller, aclose raises what came as NotSaved."""

    async def story(k: int) -> bool:
        async with FakeMesh() as fake:
            login, mesh = fake.login("coinbase"), unhooked(fake)
            caller = asyncio.create_task(mesh.refresh(login.token))
            looping().arm(k, caller.cancel)
            await asyncio.wait((caller,))
            beyond = looping().disarm()
            if ended_well(caller) and not caller.cancelled():
                fake.hold_tokens(caller.result().all_tokens)
            try:
                await mesh.aclose()
            except NotSaved as error:
                assert caller.cancelled()
                assert fake.exchanges["succeeded"] == 1
                for outcome in error.outcomes or ():
                    fake.hold_tokens(outcome.all_tokens)
            assert fake.lost() == []
            assert len(fake.requests) <= 1
            return not beyond

    at_every_step(story)


@pytest.mark.parametrize("first", [True, False], ids=["the first", "the second"])
@pytest.mark.parametrize("hook", [True, False], ids=["hook", "no hook"])
def test_the_other_caller_has_it(first: bool, hook: bool) -> None:
    """Of two callers who share an exchange, the one who is not cancelled has the outcome, from one request."""

    async def story(k: int) -> bool:
        async with FakeMesh() as fake:
            login = fake.login("coinbase")
            mesh = fake.client(retry=PATIENT) if hook else unhooked(fake)
            callers = [asyncio.create_task(mesh.refresh(login.token)) for _ in range(2)]
            gone, there = callers if first else reversed(callers)
            looping().arm(k, gone.cancel)
            await asyncio.wait(callers)
            beyond = looping().disarm()
            assert ended_well(gone)
            fake.hold_tokens(there.result().all_tokens)
            await mesh.aclose()
            assert fake.lost() == []
            assert len(fake.requests) == 1
            return not beyond

    at_every_step(story)


def test_two_accounts_of_a_login() -> None:
    """Of two accounts with refs of their own that share an exchange, the cancelled one's outcome is kept too."""

    async def story(k: int) -> bool:
        async with FakeMesh() as fake:
            login = fake.login("coinbase", accounts=2)
            one, two = (renamed(tokens, f"ref-{n}") for n, tokens in enumerate(login.tokens))
            mesh = unhooked(fake)
            callers = [asyncio.create_task(mesh.refresh(tokens)) for tokens in (one, two)]
            looping().arm(k, callers[0].cancel)
            await asyncio.wait(callers)
            beyond = looping().disarm()
            assert callers[1].result().tokens.ref == "ref-1"
            kept: list[Any] = []
            try:
                await mesh.aclose()
            except NotSaved as error:
                kept = [outcome.tokens.ref for outcome in error.outcomes or () if isinstance(outcome, Refreshed)]
            assert kept == (["ref-0"] if callers[0].cancelled() and was_in(k) else [])
            return not beyond

    def was_in(k: int) -> bool:
        """Before its first step, a cancelled task has not called anything."""
        return k > 0

    at_every_step(story)


def test_both_cancelled() -> None:
    """Two callers who share an exchange are cancelled at any step, one right after the other."""

    async def story(k: int) -> bool:
        async with FakeMesh() as fake:
            login, mesh = fake.login("coinbase"), fake.client(retry=PATIENT)
            callers = [asyncio.create_task(mesh.refresh(login.token)) for _ in range(2)]
            looping().arm(k, lambda: [caller.cancel() for caller in callers])
            await asyncio.wait(callers)
            beyond = looping().disarm()
            assert all(map(ended_well, callers))
            await mesh.aclose()
            assert fake.lost() == []
            assert len(fake.requests) <= 1
            return not beyond

    at_every_step(story)


def test_closed_at_every_step() -> None:
    """A client that is closed at any step loses nothing, and its caller has a result or a clear error."""

    async def story(k: int) -> bool:
        async with FakeMesh() as fake:
            login, mesh = fake.login("coinbase"), fake.client(retry=PATIENT)
            caller = asyncio.create_task(mesh.refresh(login.token))
            closing: list[asyncio.Task[None]] = []
            looping().arm(k, lambda: closing.append(looping().create_task(mesh.aclose())))
            await asyncio.wait((caller,))
            beyond = looping().disarm()
            await asyncio.gather(*closing)
            await mesh.aclose()
            if fake.requests:
                assert isinstance(caller.result(), Refreshed)
            else:
                assert type(caller.exception()).__name__ in ("NotSent", "InvalidRequest")
            assert fake.lost() == []
            assert len(fake.requests) <= 1
            return not beyond

    at_every_step(story)


@pytest.mark.parametrize("what", ["caller", "closer"])
def test_cancelled_while_closing(what: str) -> None:
    """A caller, or the aclose itself, that is cancelled at any step of a close loses nothing."""

    async def story(k: int) -> bool:
        async with FakeMesh() as fake:
            login, mesh = fake.login("coinbase"), fake.client(retry=PATIENT)
            gate = fake.hold()
            caller = asyncio.create_task(mesh.refresh(login.token))
            await gate.entered.wait()
            closer = asyncio.create_task(mesh.aclose())
            looping().arm(k, caller.cancel if what == "caller" else closer.cancel)
            gate.release()
            await asyncio.wait((caller, closer))
            beyond = looping().disarm()
            assert ended_well(caller)
            await mesh.aclose()
            assert fake.lost() == []
            assert len(fake.requests) == 1
            return not beyond

    at_every_step(story, at_least=8)


def test_code_in_hand() -> None:
    """A caller who submits a code and is cancelled at any step costs no token."""

    async def story(k: int) -> bool:
        async with FakeMesh() as fake:
            login, mesh = fake.login("vanguard", mfa=True), fake.client(retry=PATIENT)
            pending = await mesh.refresh(login.token)
            caller = asyncio.create_task(mesh.submit_mfa(pending, login.code))  # type: ignore[arg-type]
            looping().arm(k, caller.cancel)
            await asyncio.wait((caller,))
            beyond = looping().disarm()
            assert ended_well(caller)
            await mesh.aclose()
            assert fake.lost() == []
            return not beyond

    at_every_step(story, at_least=8)


def test_handle_of_a_late_caller() -> None:
    """A caller who brings a spent token within the half minute and is cancelled at any step loses nothing."""

    async def story(k: int) -> bool:
        async with FakeMesh() as fake:
            login, mesh = fake.login("coinbase", ref="first"), fake.client(retry=PATIENT)
            await mesh.refresh(login.token)
            caller = asyncio.create_task(mesh.refresh(renamed(login.token, "second")))
            looping().arm(k, caller.cancel)
            await asyncio.wait((caller,))
            beyond = looping().disarm()
            assert ended_well(caller)
            await mesh.aclose()
            assert fake.lost() == []
            assert len(fake.requests) == 1
            return not beyond

    at_every_step(story, at_least=3)


def unhooked(fake: FakeMesh) -> MeshClient:
    return MeshClient(fake.client_id, fake.client_secret, base_url=fake.base_url, retry=PATIENT)


def renamed(tokens: Tokens, ref: str) -> Tokens:
    return Tokens(
        tokens.broker,
        tokens.refresh_token,
        access_token=tokens.access_token,
        account_id=tokens.account_id,
        mesh_account_id=tokens.mesh_account_id,
        ref=ref,
    )
