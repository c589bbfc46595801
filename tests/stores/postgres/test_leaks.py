"""Neither the password nor what is sealed is shown: not by the store, its errors, its logs, or asyncio's debug mode."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.stores import Cipher, Page, PlainText, StoreError
from mesh_refresh.stores.postgres.jobs import VerbRunner
from mesh_refresh.testing.conformance.store_kit import LEASE, NOW, a_request, a_row, fill, kept, take
from tests.leaks.witness import MARK, Witness, outcome_of, planted, watching
from tests.postgres_server import with_options
from tests.stores.postgres.bystander import Fleet, connected
from tests.stores.postgres.test_failures import listener

pytestmark = pytest.mark.once

PASSWORD, SEALED, KEY_CHECK = planted("password"), planted("sealed").encode(), planted("check").encode()
"""Each begins and ends with the mark: what is cut shows a part of it."""
assert SEALED.startswith(MARK.encode())


class Marked(PlainText):
    """Seals into something that the witness knows."""

    def seal(self, text: str, context: str = "") -> bytes:
        return KEY_CHECK + text.encode() + KEY_CHECK if context == "key check" else SEALED

    def open(self, sealed: bytes, context: str = "") -> str:
        return "text"


def a_url(fleet: Fleet) -> str:
    return with_options(fleet.url, password=PASSWORD)


@pytest.mark.parametrize("pooled", [False, True])
async def test_work_that_goes_well_shows_nothing(empty: Fleet, pooled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In asyncio's debug mode, which writes down each task and what comes of it; nor what tasks wait for."""
    future = VerbRunner.future

    def looked_at(jobs: VerbRunner) -> "asyncio.Future[Any]":
        made = future(jobs)
        made.add_done_callback(witness.look_at)
        return made

    monkeypatch.setattr(VerbRunner, "future", looked_at)
    with watching(Witness()) as witness:
        options: Any = {"url": a_url(empty), "cipher": Marked(), "transaction_pooling": pooled}
        async with empty.store(migrate=True, **options) as store:
            woken = asyncio.Event()
            store.watch(woken.set)
            tasks = [asyncio.ensure_future(store.insert(a_row(str(number), sealed=SEALED))) for number in range(5)]
            witness.look_at(store)
            for task in tasks:
                witness.look_at(task)
                assert await task
                witness.look_at(task)
            row = await take(store, "0")
            assert await store.swap(evolve(row, sealed=SEALED), owner="me", hold=LEASE)
            verbs: list[Any] = [store.claim(a_request()), store.rows(Page(9)), store.read("1"), store.counts(NOW)]
            for verb in verbs:
                task = asyncio.ensure_future(verb)
                assert await task
                witness.look_at(task)
            await store.reseal()
            if not pooled:
                await woken.wait()
            witness.look_inside(store, "store")
            witness.look_inside(store.verbs, "jobs")
            witness.look_inside(store.listener, "ears")
    assert witness.found == []


async def test_errors_show_nothing(fleet: Fleet) -> None:
    """Of the server's, of the driver's and of our own; with the locals of every frame."""
    await fleet.sql("ALTER TABLE {schema}.login ADD CONSTRAINT sealed CHECK (states <> 'bad')")
    with watching(Witness()) as witness:
        async with fleet.store(url=a_url(fleet), timeout=timedelta(seconds=0.3)) as store:
            await fill(store, a_row(sealed=SEALED))
            row = await kept(store)
            errors = [await outcome_of(store.insert(a_row("b", states=frozenset({"bad"}), sealed=SEALED)))]
            errors += [await outcome_of(store.swap(evolve(row, states=frozenset({"bad"}), sealed=SEALED)))]
            async with fleet.locked():
                verbs = (store.claim(a_request()), store.swap(evolve(row, sealed=SEALED)), store.rows(Page(1)))
                errors += await asyncio.gather(*verbs, return_exceptions=True)
            await fleet.sql("DROP TABLE {schema}.login")
            errors += [await outcome_of(store.read("a")), await outcome_of(store.rows(Page(1)))]
            for error in errors:
                assert isinstance(error, StoreError), error
                witness.look_at(error)
    assert witness.found == []


async def test_a_store_that_does_not_open_shows_nothing(fleet: Fleet) -> None:
    """With a wrong key, without tables, and where nobody answers as PostgreSQL does."""

    async def silent(reader: Any, writer: Any) -> None:
        await reader.read()

    async def cut(reader: Any, writer: Any) -> None:
        await reader.read(8)
        writer.close()

    await fleet.sql("UPDATE {schema}.seal SET sealed = $1", KEY_CHECK)
    soon = timedelta(seconds=0.3)
    with watching(Witness()) as witness:
        stores = [fleet.store(url=a_url(fleet), cipher=Cipher([Cipher.generate_key()]))]
        stores += [fleet.store(url=a_url(fleet), schema=f"{fleet.schema}_missing")]
        stores += [fleet.store(url=f"postgresql://me:{PASSWORD}@/postgres?host=/nowhere")]
        async with listener(silent) as one, listener(cut) as other:
            stores += [fleet.store(url=url.replace("a-secret", PASSWORD), timeout=soon) for url in (one, other)]
            for store in stores:
                error = await outcome_of(store.__aenter__())
                assert isinstance(error, MeshRefreshError), error
                witness.look_at(error)
                witness.look_at(store)
                witness.look_inside(store, "store")
    assert witness.found == []


async def test_a_listener_that_cannot_listen_shows_nothing(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, once, that it does not."""
    with watching(Witness()) as witness:
        async with fleet.store(url=a_url(fleet)) as store, connected(fleet.url):
            said = asyncio.Event()

            async def refuse(to: Any) -> Any:
                said.set()
                raise OSError(f"no way to {to.url}")

            monkeypatch.setattr("mesh_refresh.stores.postgres.connection.listener.connect", refuse)
            store.watch(lambda: None)
            await said.wait()
            await store.paused()
            witness.look_inside(store, "store")
    assert witness.found == []
    assert [record.message for record in caplog.records if "not listening" in record.message]
