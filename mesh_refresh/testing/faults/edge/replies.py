"""Replies that come too often, too early, or in the wrong place. Pure."""

from enum import Enum

from mesh_refresh.testing.fake.gate import Gate
from mesh_refresh.testing.faults.edge import steps
from mesh_refresh.testing.faults.edge.message import Message

REQUEST_TIMEOUT = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/html\r\nContent-Length: 24\r\nConnection: close\r\n\r\n"
    b"<h1>Request Timeout</h1>"
)
"""What many servers write on a connection that was idle for long."""

_PAGE = b"<html><body><h1>The server is busy</h1></body></html>"
_EMPTY_OBJECT = b"{}"


class Moment(Enum):
    """When bytes come that are no reply to the request."""

    AT_ONCE = "at once"
    """In the same segment."""
    NEXT_SEGMENT = "in the next segment"
    IDLE = "while idle"
    """Once a client that reads has read the reply."""
    NEXT_REQUEST = "after the next request"
    """Once that has come on the same connection, and before its own reply."""


def waiting(when: Moment | Gate) -> steps.Script:
    """The steps up to then."""
    if isinstance(when, Gate):
        return (steps.Wait(when),)
    waits: dict[Moment, steps.Script] = {
        Moment.AT_ONCE: (),
        Moment.NEXT_SEGMENT: (steps.Pause(),),
        Moment.IDLE: (steps.IDLE,),
        Moment.NEXT_REQUEST: (steps.NextRequest(),),
    }
    return waits[when]


def repeated(times: int, when: Moment | Gate, *, foreign: bool) -> steps.Change:
    """The reply `times` times; with `foreign`, another login's in place of each but the first."""

    def change(script: steps.Script, context: steps.StepContext) -> steps.Script:
        messages = [step for step in script if isinstance(step, steps.SendStep)]
        extra = [steps.SendStep(context.foreign)] if foreign and context.foreign is not None else messages
        return _after_messages(script, (*waiting(when), *extra) * (times - 1))

    return change


def early(status: int, when: Moment | Gate) -> steps.Change:
    """A reply of the edge's own before the true one."""
    return lambda script, _: (steps.SendStep(own_reply(status)), *waiting(when), *script)


def stray(data: bytes, when: Moment | Gate) -> steps.Change:
    """Bytes behind the reply."""
    return lambda script, _: _after_messages(script, (*waiting(when), steps.Write(data)))


def led(data: bytes) -> steps.Change:
    """Bytes before the reply."""
    return lambda script, _: (steps.Write(data), *script)


def instead(status: int) -> steps.Change:
    """A reply of the edge's own in place of the true one."""
    return lambda *_: (steps.SendStep(own_reply(status)),)


def interim(*codes: int) -> steps.Change:
    """Interim replies before the true one, in a segment of their own."""
    heads = b"".join(_INTERIM.get(code, b"HTTP/1.1 %d Odd\r\n\r\n" % code) for code in codes)
    return lambda script, _: (steps.Write(heads), steps.Pause(), *script)


_INTERIM = {
    100: b"HTTP/1.1 100 Continue\r\n\r\n",
    101: b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    102: b"HTTP/1.1 102 Processing\r\n\r\n",
    103: b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nContent-Length: 7\r\n\r\n",
}


def own_reply(status: int) -> Message:
    """A reply with ``{}`` for a success, and with a page for all else."""
    if status < 300:
        return Message(b"HTTP/1.1 %d OK" % status).with_payload(_EMPTY_OBJECT, b"Content-Type: application/json")
    return Message(b"HTTP/1.1 %d Busy" % status).with_payload(_PAGE, b"Content-Type: text/html")


def _after_messages(script: steps.Script, more: tuple[steps.Step, ...]) -> steps.Script:
    """`more` behind the last message, and before what ends the connection."""
    last = max((at for at, step in enumerate(script) if isinstance(step, steps.SendStep)), default=len(script) - 1)
    return (*script[: last + 1], *more, *script[last + 1 :])
