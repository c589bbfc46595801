"""Bugs to plant into the default transport, for as long as a block runs: the edge's tests must find each of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from attrs import evolve

from mesh_refresh.messages import HttpReply
from mesh_refresh.transport.incoming import Incoming
from mesh_refresh.transport.wire import WireProtocol


@contextmanager
def dropped_what_the_parser_refuses() -> Iterator[None]:
    """W2: of a reply that the parser refuses, nothing is handed up."""
    right = Incoming.reply

    def reply(self: Incoming, ended: str | None = None) -> HttpReply:
        found = right(self, ended)
        return evolve(found, body=b"", raw=b"") if self.fault is not None else found

    with patch.object(Incoming, "reply", reply):
        yield


@contextmanager
def a_connection_that_has_spoken() -> Iterator[None]:
    """W1: what comes while a connection is idle is the answer to the next request on it."""
    ahead: dict[WireProtocol, list[bytes]] = {}
    right: Any = WireProtocol.send

    def take_stray(self: WireProtocol, data: bytes) -> None:
        ahead.setdefault(self, []).append(data)

    def send(self: WireProtocol, *arguments: Any) -> None:
        right(self, *arguments)
        for data in ahead.pop(self, []):
            self.data_received(data)

    with (
        patch.object(WireProtocol, "_take_stray", take_stray),
        patch.object(WireProtocol, "is_silent", lambda self: not self.is_lost),
        patch.object(WireProtocol, "send", send),
    ):
        yield


@contextmanager
def dropped_what_comes_late() -> Iterator[None]:
    """Bytes behind a reply are thrown away."""
    with (
        patch.object(WireProtocol, "_hand_over", lambda self: None),
        patch.object(WireProtocol, "_hand_over_stray", lambda self: None),
    ):
        yield


BUGS: dict[str, Callable[[], Any]] = {
    "what the parser refuses is dropped": dropped_what_the_parser_refuses,
    "a connection that has spoken is used": a_connection_that_has_spoken,
    "what comes late is dropped": dropped_what_comes_late,
}
