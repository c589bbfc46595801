"""What can be wrong with a server: each gives an error that says which and what to do, and loses nothing."""

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from attrs import evolve

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.stores import PlainText, Row, StoreError, StoreRefused, StoreUnavailable
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.stores.postgres.connection import connecting
from mesh_refresh.stores.postgres.connection.failures import failure
from mesh_refresh.stores.postgres.connection.sessions import SESSION
from mesh_refresh.testing.conformance.store_kit import LEASE, a_request, a_row, fill, kept, take
from tests.postgres_server import with_options
from tests.stores.postgres.bystander import Fleet, a_role

pytestmark = pytest.mark.once

_SOON = timedelta(seconds=0.3)
_ALL = ("GRANT ALL ON SCHEMA {schema} TO {role}", "GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}")


@asynccontextmanager
async def listener(answer: Callable[[Any, Any], Any]) -> AsyncIterator[str]:
    """The URL of something that takes connections, and is no PostgreSQL."""
    writers = []

    async def serve(reader: Any, writer: Any) -> None:
        writers.append(writer)
        await answer(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1")
    try:
        yield f"postgresql://someone:a-secret@127.0.0.1:{server.sockets[0].getsockname()[1]}/fleet"
    finally:
        server.close()
        for writer in writers:
            writer.close()


def a_store(url: str, timeout: timedelta = _SOON) -> PostgresStore:
    return PostgresStore.open(url, cipher=PlainText(), timeout=timeout)


async def test_a_server_that_never_answers_is_told_at_the_time_out() -> None:
    """It takes the connection, and that is all."""

    async def nothing(reader: Any, writer: Any) -> None:
        await reader.read()

    async with listener(nothing) as url:
        store = a_store(url)
        with pytest.raises(StoreUnavailable, match=r"127.0.0.1:\d+/fleet .* did not answer in time") as caught:
            _ = await asyncio.wait_for(store.__aenter__(), 60)
        assert caught.value.retryable


async def test_something_else_that_answers_is_told() -> None:
    """No PostgreSQL speaks like this."""

    async def something(reader: Any, writer: Any) -> None:
        await reader.read(8)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with listener(something) as url:
        store = a_store(url)
        with pytest.raises(StoreUnavailable, match="what answers there is no PostgreSQL") as caught:
            _ = await asyncio.wait_for(store.__aenter__(), 60)
        assert not isinstance(caught.value, StoreRefused)


async def without_tls(reader: Any, writer: Any) -> None:
    """As a PostgreSQL answers that has none."""
    await reader.read(8)
    writer.write(b"N")
    await writer.drain()
    await reader.read()


@pytest.mark.parametrize("mode", ["require", "verify-full"])
async def test_a_server_without_tls_is_told(mode: str, tmp_path: Path) -> None:
    """It was reached, and waiting does not help."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "root.crt")
    async with listener(without_tls) as url:
        store = a_store(f"{url}?sslmode={mode}&sslrootcert={tmp_path / 'root.crt'}")
        with pytest.raises(StoreRefused, match="offers no TLS, and sslmode asks for it"):
            _ = await asyncio.wait_for(store.__aenter__(), 60)


async def test_a_server_that_wants_tls_where_none_was_made_is_told(fleet: Fleet) -> None:
    """With ``sslmode=allow`` its own answer counts, and not that of the second attempt."""
    refuses = b"SFATAL\0C28000\0Mno pg_hba.conf entry, no encryption\0\0"

    async def first_plain(reader: Any, writer: Any) -> None:
        asked = await reader.read(8)
        code = int.from_bytes(asked[4:8], "big")
        writer.write(b"N" if code == 80877103 else b"E" + (len(refuses) + 4).to_bytes(4, "big") + refuses)
        await writer.drain()
        writer.close()

    async with listener(first_plain) as url:
        store = a_store(f"{url}?sslmode=allow")
        with pytest.raises(StoreRefused, match=r"refused the login: .* \(SQLSTATE 28000\)"):
            _ = await asyncio.wait_for(store.__aenter__(), 60)


async def test_a_certificate_that_does_not_hold_is_told(tmp_path: Path) -> None:
    """Somebody else may be listening; it is no fault of the URL."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "root.crt")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def with_tls(reader: Any, writer: Any) -> None:
        await reader.read(8)
        writer.write(b"S")
        with suppress(OSError):
            await writer.start_tls(context)

    async with listener(with_tls) as url:
        options = f"sslmode=verify-full&sslrootcert={tmp_path / 'root.crt'}"
        store = a_store(f"{url}?{options}", timeout=timedelta(seconds=5))
        with pytest.raises(StoreRefused, match="certificate does not hold, or not for this host"):
            _ = await asyncio.wait_for(store.__aenter__(), 60)


async def test_no_server_as_it_was_asked_for_is_told(fleet: Fleet) -> None:
    """One may become it."""
    store = fleet.store(url=with_options(fleet.url, target_session_attrs="standby"))
    with pytest.raises(StoreUnavailable, match="no server of its URL is as target_session_attrs asks") as caught:
        _ = await store
    assert not isinstance(caught.value, StoreRefused)


@pytest.mark.parametrize("host", ["127.0.0.1:9", "no-such-host.invalid", "[::1]:9"])
async def test_a_server_that_is_not_there_is_told(host: str) -> None:
    """Nobody takes the connection, or nobody knows the name."""
    store = a_store(f"postgresql://someone:a-secret@{host}/fleet")
    with pytest.raises(StoreUnavailable, match=r"cannot be reached|did not answer in time"):
        _ = await store


def test_where_the_way_to_a_server_ends_is_told_in_words() -> None:
    """And not by the name of an exception of Python's."""
    refused = f"[Errno {errno.ECONNREFUSED}] Connect call failed"
    other = f"[Errno {errno.ENETUNREACH}] Connect call failed"
    cases: dict[str, OSError] = {
        ": the name of its host is not known here.": socket.gaierror(socket.EAI_NONAME, "not known"),
        ": no server listens at its address and port.": ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        ": there is no socket of a server at its path and port.": FileNotFoundError(errno.ENOENT, "no such file"),
        " (OSError).": OSError(f"Multiple exceptions: {refused} ('::1', 9, 0, 0), {other} ('127.0.0.1', 9)"),
    }
    cases[": no server listens at its address and port. "] = OSError(
        f"Multiple exceptions: {refused} ('::1', 9, 0, 0), {refused} ('127.0.0.1', 9)"
    )
    for words, error in cases.items():
        assert f"The store x cannot be reached{words}" in str(failure(error, "x"))


async def test_a_role_that_only_reads_is_told(fleet: Fleet) -> None:
    """`StoreUnavailable` for what writes; reads go on, and once it may write again all works."""
    async with fleet.store() as store:
        await fill(store, a_row())
    async with (
        a_role(fleet, *_ALL, "ALTER ROLE {role} SET default_transaction_read_only = on") as url,
        fleet.store(url=url) as store,
    ):
        assert not await store.paused()
        verbs: list[Any] = [store.insert(a_row("b")), store.claim(a_request()), store.swap(await kept(store))]
        for verb in [*verbs, store.claim_one("a", "me", LEASE), store.delete("a"), store.pause("x")]:
            with pytest.raises(StoreUnavailable, match="is read-only: is it a standby"):
                await verb
        await fleet.sql(f"ALTER ROLE role_of_{fleet.schema} RESET default_transaction_read_only")
        await fill(store, a_row("b"))
        assert await store.claim(a_request(limit=1))


async def test_what_only_a_person_can_mend_is_told_apart(fleet: Fleet) -> None:
    """`StoreRefused`: no such database, no login, no rights. It is a `StoreUnavailable`, so that keepers ask again."""
    elsewhere = urlsplit(fleet.url)._replace(path="/no_such_database").geturl()
    with pytest.raises(StoreRefused, match="has no such database"):
        _ = await fleet.store(url=elsewhere)
    async with a_role(fleet) as url:
        with pytest.raises(StoreRefused, match="does not let this role do that"):
            _ = await fleet.store(url=url)
    async with a_role(fleet, *_ALL) as url, fleet.store(url=url) as store:
        await fill(store, a_row())
        await fleet.sql(f"ALTER ROLE role_of_{fleet.schema} NOLOGIN")
        by_role = "SELECT coalesce(array_agg(pid), '{}') FROM pg_stat_activity WHERE usename = $1"
        await fleet.ended(await fleet.sql(by_role, f"role_of_{fleet.schema}"))
        with pytest.raises(StoreUnavailable):
            await store.read("a")
        with pytest.raises(StoreRefused, match="refused the login: check the user, the password") as caught:
            await store.read("a")
        assert isinstance(caught.value, StoreUnavailable)
        assert caught.value.retryable
        await fleet.sql(f"ALTER ROLE role_of_{fleet.schema} LOGIN")
        assert await store.read("a")


async def test_a_database_of_another_encoding_is_no_damaged_store(fleet: Fleet) -> None:
    """There is nothing to restore: another database has to be made."""
    await fleet.sql(f"CREATE DATABASE {fleet.schema} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        elsewhere = urlsplit(fleet.url)._replace(path=f"/{fleet.schema}").geturl()
        for migrate in (False, True):
            store = fleet.store(url=elsewhere, migrate=migrate)
            with pytest.raises(StoreRefused, match="encoding UTF8: make one by CREATE DATABASE") as caught:
                _ = await store
            assert "backup" not in str(caught.value)
    finally:
        await fleet.sql(f"DROP DATABASE {fleet.schema} WITH (FORCE)")


async def test_a_server_that_is_too_old_is_no_damaged_store(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has to be another one."""
    monkeypatch.setattr("mesh_refresh.stores.postgres.connection.connecting.OLDEST", 990_000)
    store = fleet.store()
    with pytest.raises(StoreRefused, match="needs PostgreSQL 99 or newer"):
        _ = await store


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("set_to", ["off", "local", "remote_write", "on", "remote_apply"])
async def test_what_is_committed_is_on_the_disk(fleet: Fleet, set_to: str, pooled: bool) -> None:
    """A role that was told to wait for less waits for that here, and where the server's file says so later."""
    how = f"ALTER ROLE {{role}} SET synchronous_commit = {set_to}"
    looked = "SELECT setting || ' by ' || source FROM pg_settings WHERE name = 'synchronous_commit'"
    async with a_role(fleet, *_ALL, how) as url, fleet.store(url=url, transaction_pooling=pooled) as store:
        waits = await store.fetchval(looked)
        assert waits == f"{'remote_apply' if set_to == 'remote_apply' else 'on'} by session"


async def test_the_settings_of_a_role_do_not_change_what_verbs_mean(fleet: Fleet) -> None:
    """Isolation, time zone, how dates and bytes are written, and a search path that leads elsewhere."""
    settings = (
        "default_transaction_isolation = serializable", "timezone = 'Asia/Kathmandu'", "datestyle = 'SQL, DMY'",
        "bytea_output = escape", "intervalstyle = sql_standard", "search_path = nowhere", "client_encoding = latin1",
        "standard_conforming_strings = off",
    )  # fmt: skip
    async with (
        a_role(fleet, *_ALL, *(f"ALTER ROLE {{role}} SET {setting}" for setting in settings)) as url,
        fleet.store(url=url) as store,
    ):
        isolation = await store.fetchval("SHOW transaction_isolation")
        assert isolation == "read committed"
        rows = [a_row("\\'é😀\0"), a_row("b")]
        await fill(store, *rows)
        row = await take(store, rows[0].login_id)
        assert row == evolve(rows[0], revision=2, attempt=1)
        assert await store.swap(evolve(row, sealed=b"\0\xff\\"), owner="me")
        assert (await kept(store, row.login_id)).sealed == b"\0\xff\\"


async def test_a_statement_that_takes_too_long_for_the_server_is_told(fleet: Fleet) -> None:
    """By `statement_timeout`; the connection is as good as before."""
    async with fleet.store() as store:
        await fill(store, a_row())
    async with (
        a_role(fleet, *_ALL, "ALTER ROLE {role} SET statement_timeout = '150ms'") as url,
        fleet.store(url=url) as store,
    ):
        async with fleet.locked():
            with pytest.raises(StoreUnavailable, match="broke off the statement: statement_timeout"):
                await store.claim_one("a", "me", LEASE)
        assert isinstance(await store.claim_one("a", "me", LEASE), Row)


async def test_a_lock_that_is_waited_for_too_long_is_told(fleet: Fleet) -> None:
    """By `lock_timeout`."""
    async with (
        a_role(fleet, *_ALL, "ALTER ROLE {role} SET lock_timeout = '100ms'") as url,
        fleet.store(url=url) as store,
    ):
        async with fleet.locked():
            with pytest.raises(StoreUnavailable, match="locked by another program"):
                await store.swap(a_row())
        assert await store.swap(a_row()) is False


async def test_a_deadlock_is_resolved_unseen(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server undoes one of both; the store asks for it again."""
    # On a busy machine that would end the store's wait before there is a deadlock.
    monkeypatch.setattr(connecting, "SESSION", SESSION.replace("lock_timeout = 250", "lock_timeout = 0"))
    async with fleet.store() as store:
        await fill(store, a_row("a"), a_row("b"))
        touch = "UPDATE {schema}.login SET sealed = 'theirs' WHERE login_id = "
        async with fleet.holding(touch + "'b'") as other:
            # Whoever waits first with the shorter patience is the one who is undone.
            await other.execute("SET LOCAL deadlock_timeout = '1h'")
            rows = [a_row(login_id, revision=1, sealed=b"mine") for login_id in ("a", "b")]
            swaps = asyncio.gather(*(store.swap(row) for row in rows))
            await fleet.waiting()  # has a, wants b
            await other.execute((touch + "'a'").replace("{schema}", f'"{fleet.schema}"'))
        assert await swaps == [True, True]
        assert [(await kept(store, row.login_id)).sealed for row in rows] == [b"mine", b"mine"]


async def test_a_transaction_that_is_undone_again_and_again_is_told(fleet: Fleet) -> None:
    """After a few times; nothing was done."""
    await fleet.sql(
        "CREATE FUNCTION {schema}.undo() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM nextval('{schema}.times'); RAISE SQLSTATE '40001'; END$$"
    )
    await fleet.sql("CREATE SEQUENCE {schema}.times")
    await fleet.sql("CREATE TRIGGER undo BEFORE INSERT ON {schema}.login EXECUTE FUNCTION {schema}.undo()")
    async with fleet.store() as store:
        with pytest.raises(StoreUnavailable, match="undid the transaction again and again"):
            await store.insert(a_row())
        assert await fleet.sql("SELECT last_value FROM {schema}.times") == 5
        assert await store.read("a") is None


async def test_what_nobody_foresaw_is_told_by_its_code(fleet: Fleet) -> None:
    """`StoreError`, and nothing of the server's own message, which may have values in it."""
    await fleet.sql("ALTER TABLE {schema}.login ADD CHECK (sealed <> 'a secret')")
    async with fleet.store() as store:
        with pytest.raises(StoreError, match="SQLSTATE 23514") as caught:
            await store.insert(a_row(sealed=b"a secret"))
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("options", [{"connections": 0}, {"timeout": timedelta()}, {"timeout": 3}, {"cipher": None}])
async def test_options_that_make_no_sense_are_refused(fleet: Fleet, options: Any) -> None:
    """`InvalidRequest`, at once."""
    with pytest.raises(InvalidRequest):
        _ = fleet.store(**options)
