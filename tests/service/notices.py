"""Notices as a keeper tells them, and the receiver of webhooks that the tests drive."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self

from aiohttp import web
from attrs import define, evolve, field

from mesh_refresh.keeper import Notice, NoticeKind, Reason

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The example of the specification."""
OTHER_SECRET = "whsec_" + "b3RoZXIgZmFrZSBzZWNyZXQgb2YgYSB0ZXN0IQ=="

NOTICE = Notice(
    id="n_1-aZ",
    kind=NoticeKind.RECONNECT_REQUIRED,
    login_id="user-7",
    account_id="account-1",
    broker="coinbase",
    at=datetime(2026, 11, 23, 16, 0, 0, 250_000, tzinfo=UTC),
    sequence=3,
    reason=Reason.REFUSED,
    display_message="Log in again",
)


def notice(number: int, **changes: Any) -> Notice:
    """One of many, each of another login."""
    return evolve(NOTICE, id=f"n{number}", login_id=f"user-{number}", **changes)


@define
class Receiver:
    """An aiohttp server on loopback, which keeps what it was sent and answers what the test says."""

    answer: Callable[[web.Request], Any] = lambda _: web.Response(status=204)
    seen: list[tuple[dict[str, str], bytes]] = field(factory=list)
    """Headers, their names in lower case, and the body."""
    url: str = ""
    _runner: web.AppRunner = field(init=False)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._receive)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hooks?team=fake"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(({name.lower(): value for name, value in request.headers.items()}, body))
        answer = self.answer(request)
        found: web.StreamResponse = await answer if hasattr(answer, "__await__") else answer
        return found
