"""A broken edge in the terms of a world: what the transport hands up of replies whose bytes an edge has damaged.

The default transport is under it, on simloop's network; what that makes of the bytes themselves is for
tests/transport/edges_at_scale.py.
"""

import json
from collections.abc import Callable
from random import Random

from attrs import evolve

from mesh_refresh import AiohttpTransport, HttpReply, HttpRequest
from mesh_refresh.testing.model.ledger import TokenKind
from tests.simulation.judge import Judge

_HEAD = b"HTTP/1.1 200 OK\r\nX-Odd no colon\r\nContent-Type: application/json\r\n\r\n"
_SHARE = 0.1


class EdgeTransport:
    """Some successes come as an edge leaves them, for as long as `is_broken` says so."""

    def __init__(self, judge: Judge, chance: Random, others: dict[str, bytes], is_broken: Callable[[], bool]) -> None:
        self._inner = AiohttpTransport()
        self._judge, self._chance, self._is_broken = judge, chance, is_broken
        self._others = others
        """The last success of each login, that of another login to come behind."""

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send once."""
        reply = await self._inner.send(request)
        sent = str(json.loads(request.body).get("refreshToken"))
        record = self._judge.fake.ledger.find(sent, TokenKind.REFRESH)
        if record is None or reply.status != 200 or not reply.complete or not reply.body.startswith(b'{"status"'):
            return reply
        kinds = (self._refused, self._broken, self._early, self._behind)
        if self._is_broken() and self._chance.random() < _SHARE:
            reply = self._chance.choice(kinds)(request, reply, sent, record.login)
        else:
            self._others[record.login] = reply.body
        return reply

    async def aclose(self) -> None:
        """Close the real one."""
        await self._inner.aclose()

    def _refused(self, request: HttpRequest, reply: HttpReply, sent: str, login: str) -> HttpReply:
        """The parser refuses the head; the envelope is whole."""
        self._judge.covered["edge: a head that is refused"] += 1
        if b'"status":"succeeded"' not in reply.body:
            self._expect(sent, reply.body)  # in such bytes, only what brings something is believed
        return evolve(reply, body=b"", complete=False, raw=_HEAD + reply.body, fault="it has an odd header")

    def _broken(self, request: HttpRequest, reply: HttpReply, sent: str, login: str) -> HttpReply:
        """All tokens came, and the last brace did not."""
        self._judge.covered["edge: a body that breaks off"] += 1
        self._expect(sent, reply.body[:-1])
        return evolve(reply, body=reply.body[:-1], complete=False)

    def _early(self, request: HttpRequest, reply: HttpReply, sent: str, login: str) -> HttpReply:
        """An answer of the edge's own, and the real one behind it."""
        self._judge.covered["edge: an early reply"] += 1
        self._expect(sent, _HEAD + reply.body)
        self._judge.loop.call_soon(request.late, HttpReply.behind(_HEAD + reply.body))
        return HttpReply(200, {}, b"{}")

    def _behind(self, request: HttpRequest, reply: HttpReply, sent: str, login: str) -> HttpReply:
        """The reply once more, or another login's, behind the reply."""
        others = [body for name, body in sorted(self._others.items()) if name != login]
        if others and self._chance.random() < 0.5:
            self._judge.covered["edge: another login's reply behind"] += 1
            body = _HEAD + self._chance.choice(others)
            self._expect(sent, body)
        else:
            self._judge.covered["edge: a reply that comes again"] += 1
            body = _HEAD + reply.body
        self._judge.loop.call_later(self._chance.random(), request.late, HttpReply.behind(body))
        return reply

    def _expect(self, sent: str, body: bytes) -> None:
        """A keeper may park the login with it, whatever of its tokens it has by then."""
        tokens = self._judge.fake.ledger.tokens
        for value in (sent, *(tokens[sent].successors if sent in tokens else ())):
            self._judge.parking.unreadable.setdefault(value, []).append(body)
