"""Where a reply is split into segments, and where it ends. Pure."""

import re
from itertools import pairwise

from mesh_refresh.testing.faults.edge.steps import (
    Change,
    Close,
    HalfClose,
    Pause,
    Reset,
    Script,
    Step,
    Write,
    as_bytes,
    written_by,
)

_BORDER = re.compile(rb"\r|\n|[:{}\[\]]")
_ENDS = (Close, Reset, HalfClose)


def split(*places: int) -> Change:
    """A segment ends at each of `places`, in bytes of the whole script; negative ones count from its end."""

    def change(script: Script, _: object) -> Script:
        whole = written_by(as_bytes(script))
        return _split(script, {place % len(whole) if place < 0 else place for place in places} if whole else set())

    return change


def split_each(size: int) -> Change:
    """Segments of so many bytes."""
    return lambda script, _: _split(script, set(range(size, len(written_by(as_bytes(script))), size)))


def split_at_borders(script: Script, _: object) -> Script:
    """A segment ends before and behind everything that means something to a parser."""
    whole = written_by(as_bytes(script))
    return _split(script, {place for found in _BORDER.finditer(whole) for place in found.span()})


def cut(place: int, *, reset: bool) -> Change:
    """Nothing comes behind byte `place` (negative: counted from the end) but the end of the connection."""

    def change(script: Script, _: object) -> Script:
        script = as_bytes(script)
        whole = len(written_by(script))
        left = max(0, whole + place) if place < 0 else place
        kept: list[Step] = []
        for step in script:
            if not isinstance(step, Write):
                kept.append(step)
                continue
            if step.data[:left]:
                kept.append(Write(step.data[:left]))
            left -= len(step.data)
            if left <= 0:
                break
        end: Script = (Pause(), Reset()) if reset else (Close(),)
        return (*(step for step in kept if not isinstance(step, _ENDS)), *end)

    return change


def ended(*ends: Step) -> Change:
    """The connection ends so, and in no other way; without `ends`, it stays open."""
    return lambda script, _: (*(step for step in script if not isinstance(step, _ENDS)), *ends)


def _split(script: Script, places: set[int]) -> Script:
    steps: list[Step] = []
    at = 0
    for step in as_bytes(script):
        if not isinstance(step, Write):
            steps.append(step)
            continue
        end = at + len(step.data)
        bounds = [at, *sorted(place for place in places if at < place < end), end]
        for begin, stop in pairwise(bounds):
            if steps and isinstance(steps[-1], Write):
                steps.append(Pause())
            steps.append(Write(step.data[begin - at : stop - at]))
        at = end
    return tuple(steps)
