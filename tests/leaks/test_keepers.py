"""Keepers: their errors, with all that a traceback shows of our own frames and of libraries below them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import DefaultStrategy, MeshClient, MfaPending, RefreshOptions, RefreshRequest, RetryPolicy, Tokens
from mesh_refresh.keeper import Keeper, Policy
from mesh_refresh.keeper.rules.attempt import Attempt, ReplyEntry, Success
from mesh_refresh.keeper.runtime.spool import Spool
from mesh_refresh.stores import Cipher, MemoryStore, Page, PlainText, Store
from mesh_refresh.testing import FakeMesh, Fault
from tests.keeper.making import START
from tests.keeper.stage import FaultyStore
from tests.leaks.witness import KEYS, TOKENS, Witness, outcome_of, planted

SECRET = planted("secret")
ATTEMPT = Attempt("a", "L", 1, "e", SECRET, (("e", SECRET),), START)
KEPT = Success((ReplyEntry(TOKENS, frozenset({"refresh_token", "access_token"}), asked=True),))


@pytest.mark.parametrize(
    "wrong", [SECRET, SECRET.encode(), {"a": SECRET}, [SECRET], [("a", SECRET)], [("a", [SECRET])]]
)
async def test_what_is_no_login(watched: Witness, fake: FakeMesh, wrong: Any) -> None:
    """A secret where logins should be, or with a span that is none."""
    async with (
        MeshClient(fake.client_id, KEYS["client secret"], base_url=fake.base_url) as mesh,
        Keeper(mesh, MemoryStore(), background=False) as keeper,
    ):
        watched.look_at(await outcome_of(keeper.add_many(wrong)))
        watched.look_at(await outcome_of(keeper.add("a", wrong)))
        watched.look_at(await outcome_of(keeper.add_many([("a", TOKENS)], spread=timedelta(-1))))


async def test_a_spool_in_plain_text(watched: Witness, tmp_path: Path) -> None:
    """Files that cannot be written, that are damaged, and that are sealed with another key."""
    spool = Spool(tmp_path / "spool", PlainText())
    path = await spool.write(ATTEMPT, KEPT)
    whole = path.read_bytes()
    for content in (whole[:-9], whole.replace(b"number", b"numero"), whole[1:]):
        path.write_bytes(content)
        watched.look_at(await outcome_of(spool.read()))
    (tmp_path / "no folder").write_text("")
    watched.look_at(await outcome_of(Spool(tmp_path / "no folder", PlainText()).write(ATTEMPT, KEPT)))


@asynccontextmanager
async def opened(
    witness: Witness, fake: FakeMesh, store: Store | None = None, *, spool: Path | None = None, **options: Any
) -> AsyncIterator[Keeper]:
    """A keeper without a loop. What leaving it raises is looked at too."""
    retry = RetryPolicy(max_requests=1)
    mesh = MeshClient(fake.client_id, KEYS["client secret"], base_url=fake.base_url, retry=retry, **options)
    async with mesh:
        policy = Policy(max_wait=timedelta(seconds=0.5), drain=timedelta(seconds=0.1))
        keeper = Keeper(mesh, store or MemoryStore(), policy=policy, background=False, spool=spool)
        await keeper.__aenter__()
        try:
            yield keeper
        finally:
            witness.look_at(await outcome_of(keeper.__aexit__(None, None, None)))
            witness.also(*fake.ledger.tokens)


def prepared(fake: FakeMesh, broker: str = "weBull", **choices: Any) -> Tokens:
    return evolve(
        fake.login(broker, **choices).token, trade_token=planted("trade"), metadata={"a": planted("metadata")}
    )


@pytest.mark.once
@pytest.mark.parametrize("name", Fault.all())
async def test_every_fault(watched: Witness, fake: FakeMesh, name: str) -> None:
    """Whatever comes of a keeper's exchange, its errors show no secret."""
    tokens = prepared(fake)
    async with opened(watched, fake) as keeper:
        await keeper.add("a", tokens)
        fake.fail(Fault.all()[name])
        for call in (keeper.refresh("a"), keeper.tokens("a", rejected=tokens), keeper.login("a")):
            watched.look_at(await outcome_of(call))


async def test_codes(watched: Witness, fake: FakeMesh) -> None:
    """A question and a wrong code show neither code nor tokens."""
    async with opened(watched, fake) as keeper:
        await keeper.add("a", prepared(fake, "vanguard", mfa=True))
        asked = await outcome_of(keeper.refresh("a"))
        assert isinstance(asked, MfaPending)
        watched.look_at(asked)
        for call in (keeper.submit_mfa("a", planted("code")), keeper.submit_mfa("a", planted("code"), pending_id="no")):
            watched.look_at(await outcome_of(call))


@pytest.mark.parametrize("spooled", [False, True])
async def test_a_store_that_is_gone(watched: Witness, fake: FakeMesh, tmp_path: Path, spooled: bool) -> None:
    """New tokens that the store does not take are in no log line, and not in what leaving raises."""
    store = FaultyStore(MemoryStore())
    async with opened(watched, fake, store, spool=tmp_path / "spool" if spooled else None) as keeper:
        await keeper.add("a", prepared(fake))
        store.lose("swap")
        watched.look_at(await outcome_of(keeper.refresh("a")))
        store.lose()
        for call in (keeper.add("b", prepared(fake)), keeper.tokens("a"), keeper.login("a"), keeper.summary()):
            watched.look_at(await outcome_of(call))


class Odd(DefaultStrategy):
    """Fails while it builds."""

    def build(self, tokens: Tokens, options: RefreshOptions) -> RefreshRequest:
        request = super().build(tokens, options)
        raise KeyError(request.type)


async def test_a_strategy_that_fails(watched: Witness, fake: FakeMesh) -> None:
    """Where a strategy raised, our frames show nothing of the tokens that it was given."""
    async with opened(watched, fake, strategies={"weBull": Odd()}) as keeper:
        await keeper.add("a", prepared(fake))
        watched.look_at(await outcome_of(keeper.refresh("a")))


async def test_rows_that_cannot_be_read(watched: Witness, fake: FakeMesh) -> None:
    """A damaged row in plain text, and a row of another key."""
    for cipher in (PlainText(), Cipher([Cipher.generate_key()])):
        store = MemoryStore(cipher=cipher)
        async with opened(watched, fake, store) as keeper:
            await keeper.add("a", prepared(fake))
            for row in await store.rows(Page(1)):
                assert row is not None
                for sealed in (row.sealed[:-9], row.sealed.replace(b"epoch", b"epoca"), row.sealed[1:]):
                    await store.swap(evolve(row, sealed=sealed, revision=(await _revision(store))))
                    for call in (keeper.login("a"), keeper.tokens("a"), keeper.refresh("a")):
                        watched.look_at(await outcome_of(call))


async def _revision(store: MemoryStore) -> int:
    row = await store.read("a")
    assert row is not None
    return row.revision
