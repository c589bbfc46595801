"""Transports that are wrong, each in one thing that the contract says, and the test that finds it out."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
from attrs import evolve, frozen

from mesh_refresh import AiohttpTransport, HttpReply, HttpRequest, NotSent, OutcomeUnknown


class Around:
    """A transport that does one thing in another way than the right one inside of it."""

    def __init__(self, send: Callable[[AiohttpTransport, HttpRequest], Any]) -> None:
        self.inner, self._send = AiohttpTransport(), send

    async def send(self, request: HttpRequest) -> HttpReply:
        reply: HttpReply = await self._send(self.inner, request)
        return reply

    async def aclose(self) -> None:
        await self.inner.aclose()


class ClosedOnce(Around):
    """Cannot be closed again."""

    closed = False

    async def aclose(self) -> None:
        assert not self.closed, "closed before"
        self.closed = True
        await super().aclose()


@frozen
class Wrong:
    """One wrong thing."""

    what: str
    check: str
    """The test that fails."""
    transport: Callable[[], Around]
    edge_faults: tuple[str, ...] = ()
    """Of all edge faults these suffice."""


def sending(send: Callable[[AiohttpTransport, HttpRequest], Any]) -> Callable[[], Around]:
    return lambda: Around(send)


async def _nothing() -> None:
    pass


async def _other_body(inner: AiohttpTransport, request: HttpRequest) -> HttpReply:
    return await inner.send(evolve(request, body=request.body.replace(b"|", b"%7C")))


async def _without_asking(inner: AiohttpTransport, request: HttpRequest) -> HttpReply:
    return await inner.send(evolve(request, before_send=_nothing))


async def _asks_twice(inner: AiohttpTransport, request: HttpRequest) -> HttpReply:
    await request.before_send()
    return await inner.send(request)


async def _asks_afterwards(inner: AiohttpTransport, request: HttpRequest) -> HttpReply:
    reply = await inner.send(evolve(request, before_send=_nothing))
    await request.before_send()
    return reply


async def _deaf(inner: AiohttpTransport, request: HttpRequest) -> HttpReply:
    async def before_send() -> None:
        try:
            await request.before_send()
        except Exception:  # noqa: BLE001
            return

    return await inner.send(evolve(request, before_send=before_send))


async def _vague(inner: AiohttpTransport, request: HttpRequest) -> HttpReply:
    try:
        return await inner.send(request)
    except NotSent:
        raise OutcomeUnknown from None


async def _follows(_: AiohttpTransport, request: HttpRequest) -> HttpReply:
    await request.before_send()
    async with (
        aiohttp.ClientSession() as session,
        session.post(request.url, data=request.body, headers=request.headers) as reply,
    ):
        return HttpReply(reply.status, dict(reply.headers), await reply.read())


async def _again(inner: AiohttpTransport, request: HttpRequest) -> HttpReply:
    try:
        return await inner.send(request)
    except OutcomeUnknown:
        return await inner.send(evolve(request, before_send=_nothing))


async def _whole_only(inner: AiohttpTransport, request: HttpRequest) -> HttpReply:
    reply = await inner.send(request)
    if not reply.complete:
        raise OutcomeUnknown
    return reply


async def _stubborn(inner: AiohttpTransport, request: HttpRequest) -> HttpReply:
    sending = asyncio.ensure_future(inner.send(request))
    try:
        return await asyncio.shield(sending)
    except asyncio.CancelledError:
        sending.cancel()
        await asyncio.wait((sending,))
        raise OutcomeUnknown from None


WRONG: tuple[Wrong, ...] = (
    Wrong("changes the body", "test_a_refresh_is_one_post", sending(_other_body)),
    Wrong("does not ask before it sends", "test_before_send_is_asked_once_and_before_the_bytes",
          sending(_without_asking)),
    Wrong("asks twice", "test_before_send_is_asked_once_and_before_the_bytes", sending(_asks_twice)),
    Wrong("asks afterwards", "test_before_send_is_asked_once_and_before_the_bytes", sending(_asks_afterwards)),
    Wrong("sends all the same", "test_what_before_send_raises_goes_through", sending(_deaf)),
    Wrong("does not say that nothing was sent", "test_nobody_listens", sending(_vague)),
    Wrong("follows redirects", "test_no_redirect_is_followed", sending(_follows)),
    Wrong("sends again", "test_a_request_goes_out_once", sending(_again)),
    Wrong("drops what came of a body", "test_a_body_that_breaks_off_is_kept", sending(_whole_only)),
    Wrong("cannot be closed twice", "test_closing_twice_does_no_harm",
          lambda: ClosedOnce(lambda inner, request: inner.send(request))),
    Wrong("takes a deadline for an error", "test_a_deadline_ends_it", sending(_stubborn)),
    Wrong("loses what is framed badly", "test_every_edge_fault", sending(_whole_only),
          ("length +500, closed", "one chunk")),
)  # fmt: skip
