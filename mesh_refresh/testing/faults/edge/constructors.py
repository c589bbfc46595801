"""How to make each fault that an edge can do to a reply."""

from collections.abc import Callable
from typing import Self

from attrs import evolve, field, frozen

from mesh_refresh.testing.fake.gate import Gate
from mesh_refresh.testing.faults.edge import bodies, replies, segments
from mesh_refresh.testing.faults.edge.bodies import Body, Chunks
from mesh_refresh.testing.faults.edge.message import Message
from mesh_refresh.testing.faults.edge.reach import Reach, worst
from mesh_refresh.testing.faults.edge.replies import Moment
from mesh_refresh.testing.faults.edge.steps import (
    Change,
    Close,
    HalfClose,
    Pause,
    Reset,
    Script,
    Stage,
    StepContext,
    on_messages,
)


@frozen
class EdgeFaultConstructors:
    """The fields of an `EdgeFault`, a class method for each kind, and how faults combine.

    Base class: `EdgeFault` is what tests use.
    """

    name: str
    reach: Reach
    """What is left to a client at best. What was left of one reply is `Relay.reach`: a cut may leave less."""
    changes: tuple[tuple[Stage, Change], ...] = field(repr=False, eq=False)
    forwards: bool = True
    """Whether the request goes on to Mesh."""
    mingles: bool = False
    """Whether an envelope comes along that is not the login's own."""

    def __or__(self, other: Self) -> Self:
        """Both at once."""
        forwards = self.forwards and other.forwards
        reach = worst(self.reach, other.reach) if forwards else Reach.UNTOUCHED
        if reach is Reach.WHOLE and (self._overlaps(other) or self.mingles or other.mingles):
            reach = Reach.BYTES
        return type(self)(
            f"{self.name} + {other.name}", reach, (*self.changes, *other.changes),
            forwards, self.mingles or other.mingles,
        )  # fmt: skip

    def script(self, script: Script, context: StepContext) -> Script:
        """What the edge does in place of `script`."""
        for _, change in sorted(self.changes, key=lambda staged: staged[0]):
            script = change(script, context)
        return script

    def _overlaps(self, other: Self) -> bool:
        shared = {stage for stage, _ in self.changes} & {stage for stage, _ in other.changes}
        return bool(shared - {Stage.SEGMENTS})

    @classmethod
    def none(cls) -> Self:
        """The edge does nothing; for a place in the queue."""
        return cls("none", Reach.WHOLE, ())

    # The head.

    @classmethod
    def header(cls, line: bytes, name: str) -> Self:
        """One more header line, with any bytes in it, before all others."""
        return cls._of_message(name, Stage.HEAD, lambda message: message.with_lines(line))

    @classmethod
    def long_header(cls, size: int = 20_000) -> Self:
        """One more header line, of `size` bytes. Many parsers stop at 8,190."""
        return cls.header(b"X-Long: ".ljust(size, b"x"), f"long header of {size} bytes")

    @classmethod
    def many_headers(cls, count: int = 200) -> Self:
        """`count` more header lines."""
        lines = [b"X-Many-%d: %d" % (number, number) for number in range(count)]
        return cls._of_message(f"{count} headers", Stage.HEAD, lambda message: message.with_lines(*lines))

    @classmethod
    def start_line(cls, line: bytes | None, name: str, *, reach: Reach = Reach.WHOLE) -> Self:
        """Another status line, or none; ``%d`` in it is the true code."""

        def change(message: Message) -> Message:
            code = message.status or 200
            return evolve(message, start=(line or b"").replace(b"%d", b"%d" % code))

        return cls._of_message(name, Stage.HEAD, change, reach)

    @classmethod
    def line_ends(cls, end: bytes = b"\n") -> Self:
        """Lines of the head that end in something else."""
        name = f"line ends {end!r}"[:-1].replace("b'", "")
        return cls._of_message(name, Stage.HEAD, lambda message: evolve(message, newline=end))

    @classmethod
    def lead(cls, data: bytes = b"\r\n", name: str = "empty line first") -> Self:
        """Bytes before the status line."""
        return cls(name, Reach.WHOLE, ((Stage.REPLIES, replies.led(data)),))

    # Lengths.

    @classmethod
    def content_length(cls, *values: str, name: str) -> Self:
        """``Content-Length`` once for each of `values`, in which ``{n}`` is the true length; none without values."""
        return cls._of_message(name, Stage.FRAMING, bodies.sized(*values))

    @classmethod
    def length_off(cls, by: int = 0, *, part: float = 1, close: bool = False) -> Self:
        """A ``Content-Length`` of `part` times the true length, plus `by` bytes. `close`: then the connection ends."""
        size = f"times {part:g}" if part != 1 else f"{by:+d}"
        return cls._ended(f"length {size}", bodies.off_by(by, part), close=close)

    @classmethod
    def length_in_characters(cls) -> Self:
        """A body with letters beyond ASCII, and a length that counts characters: too small."""
        return cls._of_message("length in characters", Stage.CODING, bodies.in_characters)

    @classmethod
    def no_length(cls, *, close: bool) -> Self:
        """Neither a length nor chunks: then the connection is closed, or stays open."""
        return cls._ended("no length", bodies.unsized, close=close)

    @classmethod
    def no_body(cls) -> Self:
        """The head alone, with its length, as to HEAD."""
        return cls._of_message("no body", Stage.FRAMING, bodies.emptied, Reach.GONE)

    # Codings and chunks.

    @classmethod
    def coding(cls, *named: str, body: Body = Body.PLAIN, name: str | None = None) -> Self:
        """A ``Content-Encoding`` for each of `named`, over a body in perhaps another coding."""
        shown = name or f"coding {', '.join(named) or 'unnamed'} over {body.name.lower().replace('_', ' ')}"
        return cls._of_message(shown, Stage.CODING, bodies.coded(named, body))

    @classmethod
    def chunked(
        cls, chunks: Chunks, name: str, *, coding: str | None = "chunked", lengths: tuple[str, ...] = ()
    ) -> Self:
        r"""A chunked body under any ``Transfer-Encoding`` (None: under none; one line for each part between ``\n``).

        With `lengths`, there are lengths beside it, in which ``{n}`` is the true one.
        """
        return cls._of_message(name, Stage.FRAMING, bodies.chunked(chunks, coding, sizes=lengths))

    # More than one reply.

    @classmethod
    def repeat(cls, times: int = 2, *, when: Moment | Gate = Moment.AT_ONCE, foreign: bool = False) -> Self:
        """The reply `times` times. With `foreign`, those after the first are a reply to another login."""
        what = "another login's reply" if foreign else f"the reply {times} times"
        reach = Reach.GAP if when is Moment.NEXT_REQUEST else Reach.WHOLE
        change = replies.repeated(times, when, foreign=foreign)
        return cls(f"{what}, {_moment(when)}", reach, ((Stage.REPLIES, change),), mingles=foreign)

    @classmethod
    def early(cls, status: int = 200, *, when: Moment | Gate = Moment.AT_ONCE) -> Self:
        """A reply of the edge's own (``{}`` for 200, else a page), and the true one behind it."""
        if when is Moment.AT_ONCE:
            reach = Reach.LATE
        elif status >= 300:
            reach = Reach.CLOSED
        else:
            reach = Reach.GAP if when is Moment.NEXT_REQUEST else Reach.LATE
        return cls(f"early {status}, {_moment(when)}", reach, ((Stage.REPLIES, replies.early(status, when)),))

    @classmethod
    def stray(cls, data: bytes, name: str, *, when: Moment | Gate = Moment.IDLE) -> Self:
        """Bytes behind the reply."""
        return cls(f"{name}, {_moment(when)}", Reach.WHOLE, ((Stage.REPLIES, replies.stray(data, when)),))

    @classmethod
    def interim(cls, *codes: int) -> Self:
        """Interim replies (1xx) before the true one."""
        reach = Reach.BYTES if 101 in codes else Reach.WHOLE
        return cls(f"interim {', '.join(map(str, codes))}", reach, ((Stage.REPLIES, replies.interim(*codes)),))

    @classmethod
    def unsent(cls, status: int = 502) -> Self:
        """The edge answers by itself, and Mesh does not see the request."""
        return cls(f"unsent {status}", Reach.UNTOUCHED, ((Stage.REPLIES, replies.instead(status)),), forwards=False)

    # Segments and ends.

    @classmethod
    def split_at(cls, *places: int) -> Self:
        """A segment ends at each of these bytes; negative places count from the end."""
        return cls(f"split at {', '.join(map(str, places))}", Reach.WHOLE, ((Stage.SEGMENTS, segments.split(*places)),))

    @classmethod
    def split_each(cls, size: int = 1) -> Self:
        """Segments of `size` bytes."""
        return cls(f"segments of {size}", Reach.WHOLE, ((Stage.SEGMENTS, segments.split_each(size)),))

    @classmethod
    def split_at_borders(cls) -> Self:
        """A segment ends before and behind each line end, colon and bracket."""
        return cls("split at borders", Reach.WHOLE, ((Stage.SEGMENTS, segments.split_at_borders),))

    @classmethod
    def cut_at(cls, place: int, *, reset: bool = False) -> Self:
        """The connection ends behind `place` bytes (negative: counted from the end), by FIN or by RST."""
        name = f"{'reset' if reset else 'cut'} at {place}"
        return cls(name, Reach.WHOLE if place else Reach.GONE, ((Stage.END, segments.cut(place, reset=reset)),))

    @classmethod
    def end(cls, how: str) -> Self:
        """How the connection ends behind the reply: ``closed``, ``half-closed``, ``reset``, or ``kept`` in any case."""
        ends: dict[str, Script] = {
            "closed": (Close(),), "half-closed": (HalfClose(),), "reset": (Pause(), Reset()), "kept": ()
        }  # fmt: skip
        return cls(f"{how} after the reply", Reach.WHOLE, ((Stage.END, segments.ended(*ends[how])),))

    @classmethod
    def _of_message(
        cls, name: str, stage: Stage, change: Callable[[Message], Message], reach: Reach = Reach.WHOLE
    ) -> Self:
        return cls(name, reach, ((stage, on_messages(change)),))

    @classmethod
    def _ended(cls, name: str, change: Callable[[Message], Message], *, close: bool) -> Self:
        end = cls.end("closed" if close else "kept")
        changes = ((Stage.FRAMING, on_messages(change)), *end.changes)
        return cls(f"{name}, {'closed' if close else 'kept alive'}", Reach.WHOLE, changes)


def _moment(when: Moment | Gate) -> str:
    return "at the gate" if isinstance(when, Gate) else when.value
