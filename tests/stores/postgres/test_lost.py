"""The connection lost at any verb: the verb says so, and the next one works by itself."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh.stores import Page, ProcessReport, Row, StoreUnavailable
from mesh_refresh.stores.postgres import PostgresStore, claiming
from mesh_refresh.stores.postgres.connection import connecting
from mesh_refresh.stores.postgres.connection.sessions import SESSION
from mesh_refresh.testing.conformance.store_kit import LEASE, NOW, a_request, a_row, fill, kept, take
from mesh_refresh.testing.conformance.store_outbox import a_notice
from tests.stores.postgres.bystander import Fleet

pytestmark = pytest.mark.once

_ROW = a_row(revision=1)
_NEW = evolve(_ROW, sealed=b"new")

Verb = Callable[[PostgresStore], Coroutine[Any, Any, Any]]

VERBS: dict[str, tuple[str, Verb]] = {
    "insert": ("login", lambda store: store.insert(a_row("b"))),
    "read": ("login", lambda store: store.read("a")),
    "swap": ("login", lambda store: store.swap(_NEW)),
    "claim": ("login", lambda store: store.claim(a_request())),
    "claim_one": ("login", lambda store: store.claim_one("a", "me", LEASE)),
    "delete": ("login", lambda store: store.delete("a")),
    "rows": ("login", lambda store: store.rows(Page(1))),
    "counts": ("login", lambda store: store.counts(NOW)),
    "pause": ("pause", lambda store: store.pause("coinbase")),
    "resume": ("pause", lambda store: store.pause("coinbase", paused=False)),
    "paused": ("pause", lambda store: store.paused()),
    "resumed": ("resumed", lambda store: store.resumed()),
    "swap with a notice": ("notice", lambda store: store.swap(_NEW, notices=[a_notice("1")])),
    "claim of notices": ("notice", lambda store: store.outbox.claim("me", LEASE, now=NOW, limit=1)),
    "report": ("report", lambda store: store.registry.put_report(ProcessReport("me", "run", NOW, b""))),
    "reseal": ("login", lambda store: store.reseal()),
}
each_verb = pytest.mark.parametrize(("table", "verb"), VERBS.values(), ids=VERBS)


@each_verb
async def test_a_connection_that_is_lost_in_the_middle_is_told(fleet: Fleet, table: str, verb: Verb) -> None:
    """`StoreUnavailable`; what was under way is not done, and once more it is."""
    async with fleet.store(connections=1) as store:
        await fill(store, evolve(_ROW, sealed=store.cipher.seal("text", "login:a")))
        before = await kept(store)
        async with fleet.locked(table):
            asked = asyncio.ensure_future(verb(store))
            await fleet.ended(await fleet.waiting())
            with pytest.raises(StoreUnavailable, match=r"ended the connection|lost the connection"):
                await asked
        assert (await kept(store), len(await store.rows(Page(10))), await store.paused()) == (before, 1, {})
        await verb(store)


@each_verb
async def test_an_answer_that_does_not_come_is_told(
    fleet: Fleet, table: str, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`StoreUnavailable` at the time-out, and the server is told to leave it: it would come to it later, by itself."""
    without = SESSION.replace("lock_timeout = 250", "lock_timeout = 0")  # the server waits for ever
    monkeypatch.setattr(connecting, "SESSION", without)
    monkeypatch.setattr(claiming, "LONG", 0.4)  # a minute else
    async with fleet.store() as patient, fleet.store(timeout=timedelta(seconds=0.5)) as store:
        await fill(patient, evolve(_ROW, sealed=store.cipher.seal("text", "login:a")))
        before = await kept(patient)
        if verb is VERBS["counts"][1]:
            return  # takes as long as it takes
        async with fleet.locked(table):
            asked = asyncio.ensure_future(verb(store))
            pids = await fleet.waiting()
            with pytest.raises(StoreUnavailable, match="did not answer in time"):
                await asked
            await fleet.gone(pids)
        assert await kept(patient) == before
        await verb(store)


async def test_what_a_claim_found_is_given_though_its_second_look_failed(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its leases are taken: nobody else would get those rows until the leases end."""

    async def lost(connection: Any, *_: object) -> None:
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setattr(claiming, "claim_ahead", lost)
    async with fleet.store() as store:
        await fill(store, _ROW)
        assert [it.login_id for it in await store.claim(a_request())] == ["a"]
        with pytest.raises(StoreUnavailable):
            await store.claim(a_request())


async def test_connections_that_end_while_nobody_uses_them_are_made_anew(fleet: Fleet) -> None:
    """All of them, as when a server is started again; nobody is told."""
    async with fleet.store() as store:
        await fill(store, a_row())
        four = asyncio.Barrier(4)

        noticed = asyncio.Semaphore(0)

        async def together(link: Any) -> None:
            link.add_termination_listener(lambda _: noticed.release())
            await link.execute(f"SELECT '\"{fleet.schema}\"'")
            await four.wait()

        await asyncio.gather(*(store.verbs.write(None, together) for _ in range(4)))
        pids = await fleet.pids()
        assert len(pids) == 4
        await fleet.ended(pids)
        for _ in range(4):
            await noticed.acquire()
        for _ in range(10):
            assert await store.read("a") == evolve(_ROW)
        assert isinstance(await store.claim_one("a", "me", LEASE), Row)


async def test_no_more_connections_are_made_than_were_asked_for(fleet: Fleet) -> None:
    """However many verbs come at once."""
    async with fleet.store(connections=2) as store:
        await fill(store, a_row())
        async with fleet.locked():
            asked = [asyncio.ensure_future(store.claim_one(str(number), "me", LEASE)) for number in range(20)]
            await fleet.waiting(2)
            assert len(await fleet.pids()) == 2
        assert await asyncio.gather(*asked) == [None] * 20
        assert len(await fleet.pids()) == 2


@pytest.mark.parametrize("table", ["version", "seal"])
async def test_a_connection_that_is_lost_while_opening_is_told(fleet: Fleet, table: str) -> None:
    """`StoreUnavailable`, and the store opens anew."""
    late = fleet.store()
    async with fleet.locked(table):
        opening = asyncio.ensure_future(late.__aenter__())
        await fleet.ended(await fleet.waiting())
        with pytest.raises(StoreUnavailable, match=r"ended the connection|lost the connection"):
            _ = await opening
    with pytest.raises(StoreUnavailable, match="is not open"):
        await late.read("a")
    async with fleet.store():
        pass


async def test_a_verb_that_waited_for_another_sees_what_that_one_wrote(fleet: Fleet) -> None:
    """A claim of one, a swap and a claim of many, each behind somebody who has the row."""
    async with fleet.store() as store:
        await fill(store, a_row(), a_row("b"))
        write = "UPDATE {schema}.login SET revision = revision + 1, sealed = 'theirs' WHERE login_id = 'a'"
        async with fleet.holding(write):
            swapped = asyncio.ensure_future(store.swap(evolve(_ROW, sealed=b"mine")))
            await fleet.waiting()
            leased = asyncio.ensure_future(take(store))
            await fleet.waiting(2)
            assert [row.login_id for row in await store.claim(a_request(owner="other"))] == ["b"]
        assert await swapped is False
        assert await leased == evolve(_ROW, sealed=b"theirs", revision=3, attempt=1)
        assert await store.claim(a_request()) == []


async def test_those_who_wait_for_a_connection_are_told(fleet: Fleet) -> None:
    """At the time-out, and not each after the other: a fleet's worth of verbs may wait."""
    async with fleet.store(timeout=timedelta(seconds=0.2), connections=1) as store:
        async with fleet.locked():
            verbs = (store.claim_one(str(number), "me", LEASE) for number in range(200))
            found = await asyncio.wait_for(asyncio.gather(*verbs, return_exceptions=True), 30)
            assert {type(it) for it in found} == {StoreUnavailable}
        assert await store.claim_one("a", "me", LEASE) is None
