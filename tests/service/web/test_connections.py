"""Connections to the service: slow and bad requests end, and nothing that came is quoted."""

import asyncio
import gzip
import logging

import pytest
from aiohttp import web

from mesh_refresh.service.web.connection import ServedConnection, watch_body
from mesh_refresh.service.web.listening import Listening
from tests.service.web.conftest import connect, exchange, get, serve

SECRET = "mrk_planted"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServedConnection, "patience", 0.05)


def taking(handler: object = None) -> web.Application:
    """An application that reads a body, unless it has another handler."""

    async def read(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    app = web.Application(middlewares=[watch_body])
    app.router.add_post("/", handler or read)  # type: ignore[arg-type]
    return app


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("sent", [b"", b"GET", b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"])
async def test_headers_that_do_not_come_end_the_connection(port: int, sent: bytes) -> None:
    assert (await exchange(port, sent)).startswith(b"HTTP/1.1 408 ")


@pytest.mark.usefixtures("impatient")
async def test_a_body_that_does_not_come_ends_the_connection() -> None:
    async with serve(taking()) as port:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1234"
        assert not await exchange(port, head)


async def test_a_body_is_not_unpacked() -> None:
    """Callers without a key could stop the event loop for minutes with a megabyte that unpacks to a thousand."""
    packed = gzip.compress(bytes(1 << 20))
    head = f"POST / HTTP/1.0\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    async with serve(taking()) as port:
        assert (await exchange(port, head + packed)).endswith(f"\r\n\r\n{len(packed)}".encode())


@pytest.mark.usefixtures("impatient")
async def test_a_slow_answer_is_waited_for() -> None:
    """Only what the caller owes has a limit: while its request is worked on, it owes nothing."""
    other = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await request.read()
        await other.wait()
        return web.Response(text="done")

    async with serve(taking(slow)) as port:
        asking = asyncio.create_task(exchange(port, b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n12"))
        await exchange(port, b"")  # a connection that is ended for its patience, twice after the other one
        await exchange(port, b"")
        other.set()
        assert (await asking).endswith(b"done")


@pytest.mark.usefixtures("impatient")
async def test_a_connection_between_two_requests_stays(port: int) -> None:
    reader, writer = await connect(port, get("/livez").replace(b"close", b"keep-alive"))
    assert b"200 OK" in await reader.readuntil(b"}")
    await exchange(port, b"")  # one that is ended for its patience
    writer.write(get("/livez")[:9])
    await exchange(port, b"")
    assert (await reader.read()).startswith(b"HTTP/1.1 408 ")  # the second request does not come in time
    writer.close()


async def test_too_many_connections_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Listening, "limit", 2)
    async with serve(taking()) as port:
        taken = [await connect(port, b"POST") for _ in range(2)]
        refused = await exchange(port, b"")
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in refused
        for reader, writer in taken:
            writer.write(b" / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert b"200 OK" in await reader.read()
            writer.close()
        assert b"200 OK" in await exchange(port, get("/", method="POST"))


async def test_a_caller_who_does_not_read_loses_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a thousand of them, without a key, would shut out all others for ever, and probes too."""
    monkeypatch.setattr(Listening, "limit", 1)
    monkeypatch.setattr(ServedConnection, "reading", 0.05)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=bytes(int(await request.read() or 0)))

    async with serve(taking(answer)) as port, asyncio.timeout(5):
        _, unread = await connect(port, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n33554432")
        while b" 200 OK" not in await exchange(port, get("/", method="POST")):
            pass
        unread.close()


@pytest.mark.parametrize(
    "sent",
    [
        f"{SECRET}\r\n\r\n".encode(),
        f"GET /{SECRET}\x01 HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\nHost: a\r\nX-Odd\x00: {SECRET}\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {SECRET}\r\n\r\n".encode(),
        f"GET /{SECRET * 1000} HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\nHost: a\r\nX-Long: {SECRET * 1000}\r\n\r\n".encode(),
        get(f"/{SECRET}"),
        get("/livez", "Host: a", f"Expect: {SECRET}"),
        get("/livez", "Host: a", method=SECRET.replace("_", "").upper()),
    ],
)
async def test_what_came_is_quoted_nowhere(port: int, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Keys and tokens stand in requests: aiohttp's words about bad ones would carry them into logs and answers."""
    caplog.set_level(logging.DEBUG)
    answer = await exchange(port, sent)
    assert answer.startswith(b"HTTP/1.1 4")
    assert b"Server:" not in answer
    assert b"Cache-Control: no-store\r\n" in answer
    assert b"X-Content-Type-Options: nosniff\r\n" in answer
    assert SECRET[4:].encode() not in answer.lower()
    told = [record for record in caplog.records if record.name.startswith("aiohttp") or SECRET in record.getMessage()]
    assert not told


async def test_a_bug_is_told_by_class_and_place(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: web.Request) -> web.Response:
        raise ZeroDivisionError(SECRET)

    async with serve(taking(fail)) as port:
        answer = await exchange(port, get("/", method="POST"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert SECRET.encode() not in answer
    (record,) = caplog.records
    assert vars(record)["error"] == "ZeroDivisionError"
    assert vars(record)["raised_at"].startswith("test_connections.py:")
    assert record.exc_info is None


async def test_an_application_may_be_served_by_another_server() -> None:
    """Then the limits of that one hold."""
    runner = web.AppRunner(taking())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        assert b"200 OK" in await exchange(port, get("/", method="POST"))
    finally:
        await runner.cleanup()
