"""The verbs of `mesh_refresh.sync` in a thread without an event loop, and what they refuse."""

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from traceback import TracebackException
from typing import Any

import pytest

from mesh_refresh import InvalidRequest, MeshClient, MfaRequired, NotSaved, Refreshed, sync
from mesh_refresh.keeper import AccountRefreshed, CodeNotWanted, KeeperClosed, UnknownLogin
from mesh_refresh.stores import MemoryStore, StoreUnavailable
from mesh_refresh.sync.calls import Call
from mesh_refresh.testing import FakeMesh

Make = Callable[..., MeshClient]


@pytest.fixture
def make(fake: FakeMesh) -> Make:
    """What makes a client of the fake."""

    def make(**options: Any) -> MeshClient:
        return MeshClient(fake.client_id, fake.client_secret, base_url=fake.base_url, **options)

    return make


async def test_the_client(fake: FakeMesh, make: Make) -> None:
    """It gives what the async one gives, and is closed for good."""
    login, asked = fake.login("coinbase"), fake.login("coinbase", mfa=True)

    def program() -> None:
        with sync.MeshClient(make) as mesh:
            assert isinstance(mesh.refresh(login.token), Refreshed)
            pending = mesh.refresh(asked.token)
            assert isinstance(pending, MfaRequired)
            mesh.submit_mfa(pending, asked.code).unwrap()
        with pytest.raises(InvalidRequest, match="closed"):
            mesh.refresh(login.token)
        mesh.close()

    await asyncio.to_thread(program)


async def test_the_keeper(fake: FakeMesh, make: Make) -> None:
    """Every verb, and the events, whose handler is called in a thread and may call the keeper."""
    login, asked = fake.login("coinbase"), fake.login("etoro", mfa=True)
    seen: list[Any] = []

    def program() -> None:
        def handle(event: object) -> None:
            if isinstance(event, AccountRefreshed):
                seen.append(keeper.login(event.login_id).login_id)

        with sync.Keeper(make, MemoryStore, on_event=handle) as keeper:
            assert keeper.add("u", login.token).new
            keeper.add("v", asked.token)
            before = keeper.tokens("u")
            assert keeper.refresh("u") != before
            assert keeper.tokens("u", rejected=before) == keeper.tokens("u") != before
            with pytest.raises(Exception, match="code"):
                keeper.refresh("v")
            keeper.restart_mfa("v")
            keeper.submit_mfa("v", asked.code)
            with pytest.raises(CodeNotWanted):
                keeper.submit_mfa("v", asked.code)
            assert [found.login_id for found in keeper.logins()] == ["u", "v"]
            assert [found.login_id for found in keeper.logins(after="u", limit=5)] == ["v"]
            assert list(keeper.logins(limit=0)) == []
            assert keeper.summary().logins == 2
            assert keeper.remove("v")
            with pytest.raises(UnknownLogin):
                keeper.login("v")
        with pytest.raises(KeeperClosed):
            keeper.tokens("u")

    await asyncio.to_thread(program)
    assert seen == ["u", "v"]


async def test_logins_are_read_page_by_page(fake: FakeMesh, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page is a verb of its own, so that nothing stays open between two."""
    monkeypatch.setattr("mesh_refresh.sync.keeper._PAGE", 2)
    tokens = [fake.login("coinbase").token for _ in range(5)]

    def program() -> None:
        with sync.Keeper(make, MemoryStore) as keeper:
            for number, each in enumerate(tokens):
                keeper.add(str(number), each)
            assert [found.login_id for found in keeper.logins()] == list("01234")
            assert [found.login_id for found in keeper.logins(limit=3)] == list("012")

    await asyncio.to_thread(program)


async def test_a_hook_sees_the_context_of_its_caller_in_another_thread(fake: FakeMesh, make: Make) -> None:
    """Where no event loop runs: Django's database refuses to work in one."""
    request: ContextVar[str] = ContextVar("request")
    seen: list[object] = []

    def save(outcome: object) -> None:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        seen.append((request.get(), threading.current_thread() is me))

    request.set("7")
    me = threading.current_thread()

    def program() -> None:
        with sync.MeshClient(lambda: make(on_outcome=save)) as mesh:
            mesh.refresh(fake_token)

    fake_token = fake.login("coinbase").token
    await asyncio.to_thread(program)
    assert seen == [("7", False)]


async def test_what_its_caller_could_not_take_is_raised_by_close(
    fake: FakeMesh, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C may come between the end of the exchange and its caller."""
    login = fake.login("coinbase")
    wait = Call.wait

    def interrupted(call: Call[Any]) -> None:
        wait(call)
        raise KeyboardInterrupt

    def program() -> None:
        mesh = sync.MeshClient(make)
        monkeypatch.setattr(Call, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mesh.refresh(login.token)
        monkeypatch.undo()
        with pytest.raises(NotSaved) as caught:
            mesh.close()
        assert not fake.lost(caught.value.outcome.all_tokens)

    await asyncio.to_thread(program)


async def test_a_store_that_cannot_be_opened_is_tried_again(fake: FakeMesh, make: Make) -> None:
    """By the next call; each caller gets an error of its own."""
    token, failing = fake.login("coinbase").token, [True]

    def store() -> MemoryStore:
        if failing.pop() if failing else False:
            raise StoreUnavailable("not now")
        return MemoryStore()

    def program() -> None:
        with sync.Keeper(make, store) as keeper:
            with pytest.raises(StoreUnavailable):
                keeper.add("u", token)
            assert keeper.add("u", token).new

    await asyncio.to_thread(program)


async def test_a_traceback_with_locals_shows_no_code(make: Make) -> None:
    """The frames between a caller and the loop hold the arguments."""

    code = "code"

    def program() -> str:
        with sync.Keeper(make, MemoryStore) as keeper, pytest.raises(UnknownLogin) as caught:
            keeper.submit_mfa("nobody", "s3cret-" + code)
        return "".join(TracebackException.from_exception(caught.value, capture_locals=True).format())

    shown = await asyncio.to_thread(program)
    assert "submit_mfa" in shown
    assert "s3cret-code" not in shown


async def test_in_an_event_loop_it_says_what_to_use(make: Make) -> None:
    """Each verb, `close` too: it would stop the loop."""
    keeper, mesh = sync.Keeper(make, MemoryStore), sync.MeshClient(make)
    with pytest.raises(InvalidRequest, match=r"Use mesh_refresh\.keeper\.Keeper there"):
        keeper.tokens("u")
    with pytest.raises(InvalidRequest, match=r"asyncio\.to_thread"):
        keeper.close()
    with pytest.raises(InvalidRequest, match=r"Use mesh_refresh\.MeshClient there"):
        mesh.close()


def test_wrong_arguments(make: Make) -> None:
    """They are refused where they are passed."""
    wrong: Any = MemoryStore()
    with pytest.raises(InvalidRequest, match="callables"):
        sync.Keeper(MeshClient.from_env, wrong)
    with pytest.raises(InvalidRequest, match="callables"):
        sync.MeshClient(wrong)
    with pytest.raises(TypeError, match="background"):
        sync.Keeper(MeshClient.from_env, MemoryStore, background=True)  # type: ignore[call-arg]
    keeper = sync.Keeper(MeshClient.from_env, MemoryStore)
    with pytest.raises(InvalidRequest, match="limit"):
        keeper.logins(limit=-1)
    keeper.close()
    for made in (None, timedelta()):
        nothing: Any = lambda made=made: made  # noqa: E731 - made is the point
        with sync.Keeper(nothing, MemoryStore) as kept, pytest.raises(InvalidRequest, match="no client or store"):
            kept.summary()
        with sync.MeshClient(nothing) as mesh, pytest.raises(InvalidRequest, match="makes no"):
            mesh.refresh(wrong)
