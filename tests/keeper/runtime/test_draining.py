"""A drain loses no pair: whenever the reply comes, and whatever the store does, it is in the store or in the spool."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh import HttpReply, HttpRequest, NotSaved, RetryPolicy, Tokens
from mesh_refresh.keeper import LeftInSpool
from mesh_refresh.keeper.rules.attempt import Success
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.runtime.spool import files, unsealed
from mesh_refresh.stores import Cipher, MemoryStore, Page, Row, StoreUnavailable
from tests.keeper.leaping import LeapingClock, Scene, Wire, leaping

HOUR = timedelta(hours=1)
DRAIN, DEADLINE = 0.5, 12.0
MOMENTS = [*(DRAIN * tenth / 10 for tenth in range(21)), 1.1, 5.0, 11.5]
"""Seconds from the begin of the drain to the reply: every tenth of it, and later, until the client's deadline."""
TOO_LATE = [12.3, 13.0, 20.0]
"""The client has given up by then, and the keeper is left at the last of them; what comes is told all the same."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of the package: time leaps here."""
    monkeypatch.setattr(Runtime, "patience", 3.0)


class SlowStore(MemoryStore):
    """Takes its time with each verb, raises or never answers, once it is `told` to."""

    told: float | str | None = None

    def __init__(self, clock: LeapingClock) -> None:
        super().__init__(cipher=Cipher([Cipher.generate_key()]), clock=clock)

    async def _as_told(self) -> None:
        if self.told == "hangs":
            await asyncio.Event().wait()
        if self.told == "raises":
            raise StoreUnavailable
        await asyncio.sleep(self.told if isinstance(self.told, float) else 0)

    async def read(self, login_id: str) -> Row | None:
        await self._as_told()
        return await super().read(login_id)

    async def swap(self, row: Row, **options: Any) -> bool:
        await self._as_told()
        return await super().swap(row, **options)


class Mesh:
    """Answers each request at a moment of its own, and knows what it gave out."""

    def __init__(self, moments: list[float]) -> None:
        self._left = moments.copy()
        self.has_all = asyncio.Event()
        self.leaving = asyncio.Event()
        self.issued: list[str] = []

    async def answer(self, request: HttpRequest) -> bytes:
        sent, moment = json.loads(request.body)["refreshToken"], self._left.pop(0)
        if not self._left:
            self.has_all.set()
        self.issued.append(f"{sent}-next")
        body = _reply(sent)
        await self.leaving.wait()
        if moment > DEADLINE:
            asyncio.get_running_loop().call_later(moment, request.late, HttpReply(200, {}, body))
        await asyncio.sleep(moment)
        return body


def _reply(sent: str) -> bytes:
    entry = {"accessToken": f"{sent}-access", "refreshToken": f"{sent}-next"}
    content = {"status": "succeeded", "expiresInSeconds": 3600, "brokerAccountTokens": [entry]}
    return json.dumps({"status": "ok", "content": content}).encode()


async def pairs_after(told: float | str, moments: list[float], spool: Path | None) -> tuple[list[str], list[str]]:
    """What was issued, and what of that is in the store, in the spool or on what leaving raised."""
    mesh = Mesh(moments)
    scene = Scene(Wire(mesh.answer))
    store = SlowStore(scene.clock)
    retry = RetryPolicy(deadline=timedelta(seconds=DEADLINE))
    process = scene.process(
        store=store, spool=spool, retry=retry, concurrency=99, drain=timedelta(seconds=DRAIN), lease=HOUR
    )
    kept: list[str | None] = []
    try:
        async with process.mesh:
            try:
                async with process.keeper as keeper:
                    await keeper.add_many(scene.pairs(len(moments), HOUR), at_once=True)
                    await mesh.has_all.wait()
                    store.told = told
                    mesh.leaving.set()
            finally:
                await asyncio.sleep(30)
    except NotSaved as error:
        if spool is not None and not isinstance(error, LeftInSpool):
            raise
        for outcome in error.outcomes or ():
            kept += [it.refresh_token for it in getattr(outcome, "all_tokens", ())]
    store.told = None
    kept += [it.refresh_token for it in await stored(store)]
    for file in files(spool) if spool is not None else []:
        _, came = unsealed(store.cipher, file.read_bytes())
        assert isinstance(came, Success)
        kept += [entry.tokens.refresh_token for entry in came.entries]
    return mesh.issued, [it for it in kept if it is not None]


async def stored(store: MemoryStore) -> list[Tokens]:
    found = [await store.get(row.login_id) for row in await store.rows(Page(1000))]
    return [account.tokens for login in found if login is not None for account in login.accounts]


STORES = [0.0, 0.02, 0.2, "raises", "hangs"]


@pytest.mark.parametrize("told", STORES)
@pytest.mark.parametrize("with_spool", [True, False])
def test_no_pair_is_lost_whenever_its_reply_comes(told: float | str, with_spool: bool, tmp_path: Path) -> None:
    """It is in the store or in the spool; without a spool, it is raised. The spool has nothing that the store took."""
    for moment in MOMENTS:
        spool = tmp_path / str(moment) if with_spool else None
        issued, kept = leaping(pairs_after(told, [moment, moment], spool))
        assert not set(issued) - set(kept), f"lost: the reply came {moment} s after the begin of the drain"
        assert spool is None or len(files(spool)) == (2 if isinstance(told, str) else 0)


@pytest.mark.parametrize("told", STORES)
def test_late_replies_beside_those_in_time(told: float | str, tmp_path: Path) -> None:
    """Also those that come when the keeper is left already."""
    issued, kept = leaping(pairs_after(told, [*MOMENTS, *TOO_LATE], tmp_path))
    assert not set(issued) - set(kept)
    assert len(files(tmp_path)) == (len(issued) if isinstance(told, str) else 0)
