"""What an edge does on a connection, as values: a script is made by pure functions, and `Connection` plays it."""

from collections.abc import Callable, Iterable
from enum import IntEnum

from attrs import field, frozen

from mesh_refresh.masking import masked_size
from mesh_refresh.testing.fake.gate import Gate
from mesh_refresh.testing.faults.edge.message import Message


@frozen
class SendStep:
    """Write this message. What follows without a `Pause` goes out in the same segment."""

    message: Message


@frozen
class Write:
    """Write these bytes. What follows without a `Pause` goes out in the same segment."""

    data: bytes = field(repr=masked_size)


@frozen
class Pause:
    """Let the client read what was written: wait `turns` turns of the event loop, and the edge's `beat` in each."""

    turns: int = 4


@frozen
class Wait:
    """Wait until the gate is opened."""

    gate: Gate = field(eq=False)


@frozen
class NextRequest:
    """Wait until the next request has come on this connection. It is answered when the script is over."""


@frozen
class HalfClose:
    """Send FIN, and go on reading; no further request is answered."""


@frozen
class Close:
    """Send FIN behind what was written, and be done with the connection."""


@frozen
class Reset:
    """Send RST."""


Step = SendStep | Write | Pause | Wait | NextRequest | HalfClose | Close | Reset
Script = tuple[Step, ...]

IDLE = Pause(20)
"""Long enough for a client of the same event loop to have its connection back in its pool."""


@frozen
class StepContext:
    """What a fault may know beside the reply."""

    foreign: Message | None = None
    """A reply that was meant for another login."""


Change = Callable[[Script, StepContext], Script]


class Stage(IntEnum):
    """The order in which the changes of combined faults are made, in whichever order they were combined."""

    CODING = 1
    FRAMING = 2
    HEAD = 3
    REPLIES = 4
    SEGMENTS = 5
    END = 6


def on_messages(change: Callable[[Message], Message]) -> Change:
    """A change of every message."""
    return lambda script, _: tuple(
        SendStep(change(step.message)) if isinstance(step, SendStep) else step for step in script
    )


def as_bytes(script: Iterable[Step]) -> Script:
    """The same script with messages as bytes, and one `Write` for all that goes out in one segment."""
    merged: list[Step] = []
    for step in script:
        data = step.message.raw if isinstance(step, SendStep) else step.data if isinstance(step, Write) else None
        if data is None:
            merged.append(step)
            continue
        last = merged[-1] if merged else None
        if isinstance(last, Write):
            merged[-1] = Write(last.data + data)
        else:
            merged.append(Write(data))
    return tuple(merged)


def written_by(script: Iterable[Step]) -> bytes:
    """All bytes that a script of bytes writes."""
    return b"".join(step.data for step in script if isinstance(step, Write))
