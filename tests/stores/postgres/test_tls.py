"""To another machine a store speaks TLS, unless somebody wrote that it does not."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme

from mesh_refresh.stores import StoreRefused
from mesh_refresh.stores.postgres.connection.tls import required
from mesh_refresh.testing.conformance.store_kit import a_row, fill, kept
from tests.postgres_server import with_options
from tests.stores.postgres.bystander import Fleet
from tests.stores.postgres.pooling import connection_to

pytestmark = pytest.mark.once

_SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
ELSEWHERE = "0.0.0.0"  # noqa: S104 - Linux takes it for this machine, and nobody would know that it is
HERE = "127.0.0.1"


class Front:
    """Stands before the server on an address of its own, with or without TLS."""

    def __init__(self, server: str, context: ssl.SSLContext | None) -> None:
        self._server = server
        self._context = context
        self.plain = self.encrypted = 0
        """Connections over which a login went."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client, until it goes."""
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readexactly(8)
            if head == _SSL_REQUEST and self._context is not None:
                writer.write(b"S")
                await writer.start_tls(self._context)
                self.encrypted += 1
                head = b""
            elif head == _SSL_REQUEST:
                writer.write(b"N")
                head = await reader.readexactly(8)
            if not writer.get_extra_info("ssl_object"):
                self.plain += 1
            there, their = await connection_to(self._server)
            their.write(head)
            await asyncio.gather(_piped(reader, their), _piped(there, writer))
        writer.close()


async def _piped(reader: asyncio.StreamReader, writer: Any) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def front(url: str, *, tls: bool) -> AsyncIterator[tuple[str, Front]]:
    """The user, port and database of a URL for it, and it."""
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("db.internal").configure_cert(context)
    it = Front(url, context)
    server = await asyncio.start_server(it.serve, HERE)
    parts = urlsplit(url)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"postgresql://{parts.username or 'postgres'}@{{host}}:{port}{parts.path}", it
    finally:
        server.close()


@pytest.mark.parametrize("asked", ["", "sslmode=prefer", "sslmode=allow"])
async def test_a_server_elsewhere_without_tls_is_refused(
    fleet: Fleet, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a password or anything else is sent; the error says both ways out."""
    monkeypatch.delenv("PGSSLMODE", raising=False)
    async with front(fleet.url, tls=False) as (url, it):
        with pytest.raises(StoreRefused, match=r"offers no TLS, .*; or write sslmode=disable into the URL"):
            _ = await fleet.store(url=f"{url.format(host=ELSEWHERE)}?{asked}")
        assert it.plain == 0


@pytest.mark.parametrize("by_variable", [False, True])
async def test_who_wrote_that_it_is_without_tls_has_it(
    fleet: Fleet, by_variable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the URL, or in libpq's variable."""
    monkeypatch.setenv("PGSSLMODE", "disable" if by_variable else "prefer")
    for tls in (False, True):
        async with front(fleet.url, tls=tls) as (url, it):
            written = "" if by_variable else "?sslmode=disable"
            async with fleet.store(url=url.format(host=ELSEWHERE) + written):
                assert (it.plain > 0, it.encrypted) == (True, 0)


@pytest.mark.parametrize("asked", ["", "?sslmode=prefer", "?sslmode=allow", "?sslmode=require"])
async def test_a_server_elsewhere_with_tls_is_spoken_to_by_it(fleet: Fleet, asked: str) -> None:
    """By every verb, and by who listens; the whole way through a real server."""
    async with front(fleet.url, tls=True) as (url, it):
        async with fleet.store(url=url.format(host=ELSEWHERE) + asked) as store:
            store.watch(lambda: None)
            await fill(store, a_row())
            assert (await kept(store)).login_id == "a"
        assert (it.plain, it.encrypted > 0) == (0, True)


async def test_a_server_on_this_machine_needs_none(fleet: Fleet) -> None:
    """Nobody else reads what goes over loopback."""
    async with front(fleet.url, tls=False) as (url, it), fleet.store(url=url.format(host=HERE)):
        assert it.plain


def test_which_servers_are_elsewhere() -> None:
    """All that is not a socket or loopback; also one of several, and what a file may name."""
    here = (
        "postgresql://", "postgresql:///db?host=/run/x", "postgresql://%2Frun%2Fx/db", "postgresql://u:p@localhost/db",
        "postgresql://127.0.0.7:1/db", "postgresql://[::1]:5432/db", "postgresql:///db?host=localhost,/run",
    )  # fmt: skip
    there = (
        "postgresql://db/x", "postgresql://u:p@localhost.example/db", "postgresql://10.0.0.1/db", "postgresql://[::2]/db",
        "postgresql://localhost,db:5433/x", "postgresql:///x?host=/run,db", "postgresql:///x?service=a",
        "postgresql://u:p@db.internal/x?sslmode=",
    )  # fmt: skip
    assert [url for url in here if required(url, {})] == []
    assert [url for url in there if not required(url, {})] == []
    assert required("postgresql:///x", {"PGHOST": "db"})
    assert required("postgresql:///x", {"PGSERVICE": "db"})
    assert not required("postgresql://db/x", {"PGSSLMODE": "disable"})
    assert required("postgresql://db/x?sslmode=prefer", {"PGSSLMODE": "disable"})
    assert not required(with_options("postgresql://db/x", sslmode="verify-full"), {})
