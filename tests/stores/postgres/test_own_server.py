"""What only a server of the tests' own can show: it is stopped and started, asks for passwords, and is full."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import asyncpg
import pytest

from mesh_refresh.stores import Page, StoreUnavailable
from mesh_refresh.testing.conformance.store_kit import NOW, a_request, a_row, fill, kept
from tests.postgres_server import server_folder
from tests.stores.postgres.bystander import Fleet, connected
from tests.stores.postgres.own_server import OwnServer
from tests.stores.postgres.postgres_handles import new_schema

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    own = OwnServer(server_folder(tmp_path_factory.mktemp("own")))
    yield own
    own.end()


@pytest.fixture
async def fleet(server: OwnServer) -> AsyncIterator[Fleet]:
    """A store with a row, on that server."""
    async with connected(server.url) as connection:
        fleet = Fleet(server.url, new_schema(), connection)
        async with fleet.store(migrate=True) as store:
            await fill(store, a_row())
        yield fleet


async def test_a_server_that_is_started_again_is_found_again(fleet: Fleet, server: OwnServer) -> None:
    """Verbs say so while it is gone, and work by themselves once it is back; nothing that was answered is lost."""
    async with fleet.store() as store:
        await fill(store, a_row("b"))
        await asyncio.to_thread(server.stop)
        for verb in (store.read("a"), store.insert(a_row("c")), store.claim(a_request()), store.counts(NOW)):
            with pytest.raises(StoreUnavailable, match=r"cannot be reached|lost the connection"):
                await verb
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            _ = await fleet.store()
        await asyncio.to_thread(server.start)
        assert [row.login_id for row in await store.rows(Page(10))] == ["a", "b"]


async def test_a_wrong_password_is_told(fleet: Fleet, server: OwnServer) -> None:
    """And neither it nor the right one."""
    await fleet.sql("CREATE ROLE worker LOGIN PASSWORD 'right password'")
    await fleet.sql("GRANT ALL ON SCHEMA {schema} TO worker")
    await fleet.sql("GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO worker")
    try:
        for role, password in (("worker", "wrong%20password"), ("worker", ""), ("nobody", "x")):
            store = fleet.store(url=server.url_of(role, password))
            with pytest.raises(StoreUnavailable, match="refused the login: check the user, the password") as caught:
                _ = await store
            assert not re.search("wrong|right", str(caught.value))
        async with fleet.store(url=server.url_of("worker", "right%20password")) as store:
            assert (await kept(store)).login_id == "a"
    finally:
        await fleet.sql("DROP OWNED BY worker")
        await fleet.sql("DROP ROLE worker")


async def test_a_database_that_is_not_there_is_told(fleet: Fleet, server: OwnServer) -> None:
    """`StoreUnavailable`: somebody may be about to restore it."""
    store = fleet.store(url=server.url_of("postgres", "", "missing"))
    with pytest.raises(StoreUnavailable, match="has no such database"):
        _ = await store


async def test_a_full_server_is_told_and_works_again(fleet: Fleet, server: OwnServer) -> None:
    """When others have taken all connections; what is open goes on."""
    await fleet.sql("CREATE ROLE many LOGIN PASSWORD 'x'")
    await fleet.sql("GRANT ALL ON SCHEMA {schema} TO many")
    await fleet.sql("GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO many")
    url = server.url_of("many", "x")
    try:
        async with fleet.store(url=url) as store, AsyncExitStack() as others:
            assert not await store.paused()
            await _fill_up(others, url)
            verbs = [store.claim_one(str(number), "me", NOW - NOW) for number in range(2)]
            found = await asyncio.gather(*verbs, return_exceptions=True)
            assert found[0] is None
            assert isinstance(found[1], StoreUnavailable)
            assert "raise max_connections, or run fewer workers. Each takes up to 5;" in str(found[1])
            late = fleet.store(url=url)
            with pytest.raises(StoreUnavailable, match="no free connection"):
                _ = await late
            await others.aclose()
            verbs = [store.claim_one(str(number), "me", NOW - NOW) for number in range(2)]
            assert await asyncio.gather(*verbs) == [None, None]
    finally:
        await fleet.sql("DROP OWNED BY many")
        await fleet.sql("DROP ROLE many")


async def _fill_up(others: AsyncExitStack, url: str) -> None:
    while True:
        try:
            await others.enter_async_context(connected(url))
        except asyncpg.TooManyConnectionsError:
            return


async def test_a_server_that_could_lose_what_was_written_is_refused(fleet: Fleet, server: OwnServer) -> None:
    """With fsync=off, a power cut loses tokens that a verb said were kept."""
    settings = server.folder / "postgresql.conf"
    safe = settings.read_text()
    settings.write_text(safe + "fsync = off\n")
    try:
        await fleet.sql("SELECT pg_reload_conf()")
        await _until(fleet, "SELECT current_setting('fsync') = 'off'")
        store = fleet.store()
        with pytest.raises(StoreUnavailable, match="fsync=off"):
            _ = await store
    finally:
        settings.write_text(safe)
        await fleet.sql("SELECT pg_reload_conf()")
        await _until(fleet, "SELECT current_setting('fsync') = 'on'")
    async with fleet.store():
        pass


async def _until(fleet: Fleet, question: str) -> None:
    while not await fleet.sql(question):
        pass
