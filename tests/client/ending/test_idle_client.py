"""Half a minute after an exchange, nothing in an idle client holds its tokens; nor does a client that is closed."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import HttpReply, NotSaved, Refreshed, SystemClock
from mesh_refresh.client import memory
from mesh_refresh.client.answers import Answered
from mesh_refresh.client.exchange import Exchange
from mesh_refresh.testing import FakeMesh
from mesh_refresh.transport import wire

SHORT = 0.05


_of_others: list[object] = []
"""What tests before have left in this process, in the frames of an error that was kept say."""


def kept() -> list[object]:
    gc.collect()
    others = {id(it) for it in _of_others}
    return [it for it in gc.get_objects() if isinstance(it, Answered | Exchange | HttpReply) and id(it) not in others]


async def until(condition: Any) -> None:
    """The tests' watchdog ends it."""
    while not condition():  # noqa: ASYNC110 - there is no event for what is not there any more
        await asyncio.sleep(SHORT / 5)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    _of_others.extend(kept())
    monkeypatch.setattr(memory, "REMEMBERED", SHORT)
    monkeypatch.setattr(wire, "BELONGS", SHORT)


async def test_idle_client(fake: FakeMesh) -> None:
    """Without any other call, an idle client drops answers, and the connection in its pool drops the exchange."""
    async with fake.client() as mesh:
        for _ in range(3):
            await mesh.refresh(fake.login("coinbase").token)
        assert kept()
        await until(lambda: not kept())
        await mesh.refresh(fake.login("coinbase").token)
        await until(lambda: not kept())
    assert fake.lost() == []


async def test_closed_client(fake: FakeMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that was closed holds none at once."""
    monkeypatch.setattr(memory, "REMEMBERED", 30.0)
    monkeypatch.setattr(wire, "BELONGS", 30.0)
    mesh = fake.client()
    await mesh.refresh(fake.login("coinbase").token)
    await mesh.aclose()
    await asyncio.sleep(0)
    assert kept() == []


async def test_what_reached_nobody_stays(fake: FakeMesh) -> None:
    """The half minute is not for what reached nobody: that stays until somebody brings its tokens, and goes then."""
    entered = asyncio.Event()

    async def save(_: object) -> None:
        entered.set()
        await asyncio.sleep(0)
        raise OSError

    login = fake.login("coinbase")
    mesh = fake.client(on_outcome=save)
    caller = asyncio.create_task(mesh.refresh(login.token))
    await entered.wait()
    caller.cancel()
    await asyncio.wait((caller,))
    await asyncio.sleep(3 * SHORT)
    with pytest.raises(NotSaved) as caught:
        await mesh.refresh(evolve(login.token, ref="another"))
    assert isinstance(caught.value.outcome, Refreshed)
    del caught
    with pytest.raises(NotSaved):
        await mesh.aclose()


async def test_goes_away_without_being_closed() -> None:
    """A timer keeps no client that nobody has any more."""
    found = memory.Memory(SystemClock())
    found._forget_in(30.0)  # noqa: SLF001 - the timer alone, without what else keeps a client
    there = weakref.ref(found)
    del found
    gc.collect()
    assert there() is None
