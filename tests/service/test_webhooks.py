"""Webhooks over real sockets: what a receiver gets, and what each of its failures does."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import aiohttp
import pytest
import trustme
from aiohttp import web
from standardwebhooks import Webhook

from mesh_refresh import InvalidRequest
from mesh_refresh.keeper import NoticeKind, PacedHandler, StopNotices, TryNoticeAgain
from mesh_refresh.observing import WebhookAttempted
from mesh_refresh.service import WebhookNotTaken, Webhooks, webhooks
from mesh_refresh.testing import ManualClock
from tests.service.notices import NOTICE, OTHER_SECRET, SECRET, Receiver, notice


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as found:
        yield found


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime.now(UTC))


@pytest.fixture
async def hooks(receiver: Receiver, clock: ManualClock) -> AsyncIterator[Webhooks]:
    async with Webhooks(receiver.url, SECRET, clock=clock) as found:
        yield found


def answering(status: int, **headers: str) -> Callable[[web.Request], web.Response]:
    return lambda _: web.Response(status=status, headers={name.replace("_", "-"): it for name, it in headers.items()})


async def fails(hooks: Webhooks, times: int = 1) -> None:
    for number in range(times):
        with pytest.raises(WebhookNotTaken):
            await hooks(notice(number))


async def test_the_library_verifies_what_a_receiver_gets(receiver: Receiver, hooks: Webhooks) -> None:
    await hooks(NOTICE)
    ((headers, body),) = receiver.seen
    document = Webhook(SECRET).verify(body, headers)
    assert document["type"] == "login.reconnect_required"
    assert document["data"]["loginId"] == "user-7"
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == NOTICE.id
    assert headers["user-agent"].startswith("mesh_refresh/")


async def test_the_signature_by_hand(receiver: Receiver, hooks: Webhooks, clock: ManualClock) -> None:
    """A fault of the library would not show where the library verifies."""
    await hooks(NOTICE)
    ((headers, body),) = receiver.seen
    assert headers["webhook-timestamp"] == str(int(clock.now().timestamp()))
    signed = b".".join((b"n_1-aZ", headers["webhook-timestamp"].encode(), body))
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


async def test_a_secret_that_changes_signs_from_then_on(receiver: Receiver) -> None:
    """A callable is asked before each post: a secret in a file is rotated without a restart."""
    secrets = [SECRET]
    async with Webhooks(receiver.url, lambda: secrets[-1]) as hooks:
        await hooks(NOTICE)
        secrets.append(OTHER_SECRET)
        await hooks(NOTICE)
    (first, second) = receiver.seen
    assert Webhook(SECRET).verify(first[1], first[0]) == Webhook(OTHER_SECRET).verify(second[1], second[0])
    with pytest.raises(InvalidRequest, match="secret"):
        Webhooks(receiver.url, lambda: "hunter2")


async def test_with_two_secrets_a_receiver_may_know_either(receiver: Receiver) -> None:
    async with Webhooks(receiver.url, f"{SECRET} {OTHER_SECRET}") as hooks:
        await hooks(NOTICE)
    ((headers, body),) = receiver.seen
    assert Webhook(SECRET).verify(body, headers) == Webhook(OTHER_SECRET).verify(body, headers)


async def test_a_later_try_has_the_same_id_and_body_and_a_time_of_its_own(
    receiver: Receiver, hooks: Webhooks, clock: ManualClock
) -> None:
    """A receiver refuses what is older than five minutes."""
    receiver.answer = answering(500)
    await fails(hooks)
    clock.advance(timedelta(days=1))
    await fails(hooks)
    (first, body), (second, same_body) = receiver.seen
    assert first["webhook-id"] == second["webhook-id"]
    assert body == same_body
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 86_400
    assert first["webhook-signature"] != second["webhook-signature"]


async def test_kinds_that_are_not_wanted_count_as_taken(receiver: Receiver) -> None:
    async with Webhooks(receiver.url, SECRET, kinds=["recovered", NoticeKind.MFA_NEEDED]) as hooks:
        for number, kind in enumerate(NoticeKind):
            await hooks(notice(number, kind=kind))
    types = [json.loads(body)["type"] for _, body in receiver.seen]
    assert types == ["login.recovered", "login.mfa_needed"]


async def test_one_connection_serves_many(receiver: Receiver, hooks: Webhooks) -> None:
    peers: set[Any] = set()

    def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.json_response({"ok": True})

    receiver.answer = answer
    for number in range(5):
        await hooks(notice(number))
    assert len(peers) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 422, 429, 500, 503])
async def test_a_reply_that_is_not_2xx_takes_nothing(receiver: Receiver, hooks: Webhooks, status: int) -> None:
    receiver.answer = answering(status)
    with pytest.raises(WebhookNotTaken, match=f"HTTP {status}"):
        await hooks(NOTICE)


@pytest.mark.parametrize("to", ["/elsewhere", "https://receiver.example/", "file:///etc/passwd"])
async def test_a_redirect_is_not_followed(receiver: Receiver, hooks: Webhooks, to: str) -> None:
    receiver.answer = answering(307, Location=to)
    with pytest.raises(WebhookNotTaken, match="a redirect, which is not followed"):
        await hooks(NOTICE)
    assert len(receiver.seen) == 1


async def test_no_cookie_is_kept(receiver: Receiver) -> None:
    """Under a name: aiohttp keeps none of an IP address in any case."""
    receiver.answer = answering(200, Set_Cookie="session=fake; Path=/")
    async with Webhooks(receiver.url.replace("127.0.0.1", "localhost"), SECRET) as hooks:
        await hooks(NOTICE)
        await hooks(NOTICE)
    assert "cookie" not in receiver.seen[1][0]


async def test_a_receiver_that_is_gone_stops_them(receiver: Receiver, hooks: Webhooks) -> None:
    receiver.answer = answering(410)
    with pytest.raises(StopNotices, match="410 Gone"):
        await hooks(NOTICE)
    assert hooks.capacity() == 0
    receiver.answer = answering(200)
    with pytest.raises(StopNotices):
        await hooks(NOTICE)
    assert len(receiver.seen) == 1


async def test_retry_after_holds_back_all(receiver: Receiver, hooks: Webhooks, clock: ManualClock) -> None:
    receiver.answer = answering(429, Retry_After="120")
    await fails(hooks)
    assert hooks.capacity() == 0
    clock.advance(119)
    with pytest.raises(TryNoticeAgain) as raised:
        await hooks(notice(2))
    assert raised.value.after == timedelta(seconds=1)
    clock.advance(1)
    assert hooks.capacity() == 10
    assert len(receiver.seen) == 1


async def test_retry_after_as_a_date(receiver: Receiver, hooks: Webhooks, clock: ManualClock) -> None:
    at = (clock.now() + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    receiver.answer = answering(503, Retry_After=at)
    await fails(hooks)
    clock.advance(88)
    assert hooks.capacity() == 0
    clock.advance(2)
    assert hooks.capacity() == 10


async def test_after_five_failures_one_probe_a_minute_for_all(
    receiver: Receiver, hooks: Webhooks, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answer = answering(500)
    await fails(hooks, 5)
    assert [record.levelname for record in caplog.records if "is down (HTTP 500)" in record.getMessage()] == ["WARNING"]
    for _ in range(3):
        assert hooks.capacity() == 0
        with pytest.raises(TryNoticeAgain):
            await hooks(NOTICE)
        clock.advance(60)
        assert hooks.capacity() == 1
        await fails(hooks)
    assert len(receiver.seen) == 8
    clock.advance(60)
    receiver.answer = answering(200)
    await hooks(NOTICE)
    assert hooks.capacity() == 10
    assert "up again" in caplog.records[-1].getMessage()


async def test_ten_at_once_at_the_most(receiver: Receiver, hooks: Webhooks) -> None:
    go = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        await go.wait()
        return web.Response()

    receiver.answer = wait
    assert isinstance(hooks, PacedHandler)
    tasks = [asyncio.ensure_future(hooks(notice(number))) for number in range(10)]
    await asyncio.sleep(0)
    assert hooks.capacity() == 0
    with pytest.raises(TryNoticeAgain):
        await hooks(notice(10))
    go.set()
    await asyncio.gather(*tasks)
    assert hooks.capacity() == 10
    assert len(receiver.seen) == 10


async def test_a_cancelled_attempt_counts_for_nothing(receiver: Receiver, hooks: Webhooks) -> None:
    """The keeper is left, or the lease ends."""
    came, never = asyncio.Event(), asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        came.set()
        await never.wait()
        return web.Response()

    receiver.answer = hang
    task = asyncio.ensure_future(hooks(NOTICE))
    await came.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert hooks.capacity() == 10
    never.set()


async def test_a_receiver_that_does_not_answer(
    receiver: Receiver, hooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_TIMEOUT", 0.05)
    never = asyncio.Event()
    receiver.answer = lambda _: never.wait()
    with pytest.raises(WebhookNotTaken, match="did not answer within"):
        await hooks(NOTICE)
    never.set()


async def test_twenty_seconds_are_the_limit(receiver: Receiver, hooks: Webhooks) -> None:
    with mock.patch.object(aiohttp, "ClientTimeout", wraps=aiohttp.ClientTimeout) as limit:
        await hooks(NOTICE)
    limit.assert_called_once_with(total=20)


async def raw(answer: bytes | None) -> tuple[asyncio.Server, str]:
    """A server that answers these bytes to whatever comes, and closes, or holds the connection where they are none."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer or b"")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"\x00" * 5_000,
    ],
    ids=["nothing", "cut status", "cut head", "no HTTP", "huge head", "zeros"],
)
async def test_what_is_no_reply_takes_nothing(answer: bytes) -> None:
    server, url = await raw(answer)
    async with server, Webhooks(url, SECRET) as hooks:
        await fails(hooks)


@pytest.mark.parametrize("status", [b"200 OK", b"500 No"])
async def test_the_body_of_a_reply_is_not_waited_for(status: bytes) -> None:
    """It may come slowly, be cut, or have no end: the head has said all."""
    stop = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 1000000000000\r\n\r\n" + b"x" * 1_000)
        await stop.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, Webhooks(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", SECRET) as hooks:
        if status.startswith(b"200"):
            await hooks(NOTICE)
        else:
            await fails(hooks)
        stop.set()


async def test_little_of_a_huge_body_is_read() -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while sent < 100_000_000:
                writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                await writer.drain()
                sent += 0x10000
        except OSError:
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, Webhooks(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", SECRET) as hooks:
        await hooks(NOTICE)
    assert sent < 100_000_000


async def test_no_receiver_at_all() -> None:
    server, url = await raw(None)
    server.close()
    await server.wait_closed()
    async with Webhooks(url, SECRET) as hooks:
        with pytest.raises(WebhookNotTaken, match="ClientConnectorError"):
            await hooks(NOTICE)


async def test_a_certificate_that_is_not_trusted_takes_nothing_and_one_of_the_own_authority_does() -> None:
    authority = trustme.CA()
    server_side, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    authority.configure_trust(trusting)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with Webhooks(url, SECRET) as hooks:
            with pytest.raises(WebhookNotTaken, match="Certificate"):
                await hooks(NOTICE)
        async with Webhooks(url, SECRET, ssl=trusting) as hooks:
            await hooks(NOTICE)


async def test_a_test_is_posted_and_signed_and_tells_nothing(receiver: Receiver, hooks: Webhooks) -> None:
    await hooks.send_test()
    await hooks.send_test()
    (first, body), (second, _) = receiver.seen
    document = Webhook(SECRET).verify(body, first)
    assert (document["type"], document["data"]) == ("webhook.test", {})
    assert first["webhook-id"] != second["webhook-id"]
    receiver.answer = answering(410)
    with pytest.raises(WebhookNotTaken, match="410"):
        await hooks.send_test()
    assert hooks.capacity() == 10


async def test_an_observer_is_told_of_each_attempt(receiver: Receiver) -> None:
    told: list[Any] = []

    class Watching:
        def observe(self, seen: Any, /) -> None:
            told.append(seen)

    async with Webhooks(receiver.url, SECRET, observer=Watching()) as hooks:
        await hooks(NOTICE)
        for status in (404, 429, 502):
            receiver.answer = answering(status)
            await fails(hooks)
        receiver.answer = answering(410)
        with pytest.raises(StopNotices):
            await hooks(NOTICE)
    assert told == [WebhookAttempted(outcome) for outcome in ("taken", "refused", "throttled", "failed", "gone")]


async def test_nothing_of_a_webhook_is_logged_or_in_an_error(
    receiver: Receiver, hooks: Webhooks, caplog: pytest.LogCaptureFixture
) -> None:
    """A receiver sends back what it got, as a validating framework does, and adds what would break a log."""
    caplog.set_level(logging.DEBUG)

    async def echo(request: web.Request) -> web.Response:
        text = (await request.read()).decode() + repr(dict(request.headers)) + "\x1b[2J\n"
        return web.Response(status=422, text=text, reason="hunter2")

    receiver.answer = echo
    errors = []
    for _ in range(6):
        with pytest.raises((WebhookNotTaken, TryNoticeAgain)) as raised:
            await hooks(NOTICE)
        errors.append(raised.value)
    ((headers, body), *_) = receiver.seen
    parts = [SECRET.removeprefix("whsec_"), headers["webhook-signature"], body.decode(), "account-1", "Log in again"]
    shown = caplog.text + "".join(f"{error!r} {error.__context__!r}" for error in errors)
    assert not [part for part in (*parts, "hunter2", "\x1b", "team=fake") if part in shown]
    assert all(error.__context__ is None for error in errors)


async def test_closing_twice_and_with_nothing_open() -> None:
    hooks = Webhooks("http://127.0.0.1:1/", SECRET)
    await hooks.aclose()
    await hooks.aclose()
