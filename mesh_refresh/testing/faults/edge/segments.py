"""Where a reply is split into segments, and where it ends. Pure."""

import re
from itertools import pairwise

from mesh_refresh.testing.faults.edge import steps

_BORDER = re.compile(rb"\r|\n|[:{}\[\]]")
_ENDS = (steps.Close, steps.Reset, steps.HalfClose)


def split(*places: int) -> steps.Change:
    """A segment ends at each of `places`, in bytes of the whole script; negative ones count from its end."""

    def change(script: steps.Script, _: object) -> steps.Script:
        whole = steps.written_by(steps.as_bytes(script))
        return _split(script, {place % len(whole) if place < 0 else place for place in places} if whole else set())

    return change


def split_each(size: int) -> steps.Change:
    """Segments of so many bytes."""
    return lambda script, _: _split(script, set(range(size, len(steps.written_by(steps.as_bytes(script))), size)))


def split_at_borders(script: steps.Script, _: object) -> steps.Script:
    """A segment ends before and behind everything that means something to a parser."""
    whole = steps.written_by(steps.as_bytes(script))
    return _split(script, {place for found in _BORDER.finditer(whole) for place in found.span()})


def cut(place: int, *, reset: bool) -> steps.Change:
    """Nothing comes behind byte `place` (negative: counted from the end) but the end of the connection."""

    def change(script: steps.Script, _: object) -> steps.Script:
        script = steps.as_bytes(script)
        whole = len(steps.written_by(script))
        left = max(0, whole + place) if place < 0 else place
        kept: list[steps.Step] = []
        for step in script:
            if not isinstance(step, steps.Write):
                kept.append(step)
                continue
            if step.data[:left]:
                kept.append(steps.Write(step.data[:left]))
            left -= len(step.data)
            if left <= 0:
                break
        end: steps.Script = (steps.Pause(), steps.Reset()) if reset else (steps.Close(),)
        return (*(step for step in kept if not isinstance(step, _ENDS)), *end)

    return change


def ended(*ends: steps.Step) -> steps.Change:
    """The connection ends so, and in no other way; without `ends`, it stays open."""
    return lambda script, _: (*(step for step in script if not isinstance(step, _ENDS)), *ends)


def _split(script: steps.Script, places: set[int]) -> steps.Script:
    pieces: list[steps.Step] = []
    at = 0
    for step in steps.as_bytes(script):
        if not isinstance(step, steps.Write):
            pieces.append(step)
            continue
        end = at + len(step.data)
        bounds = [at, *sorted(place for place in places if at < place < end), end]
        for begin, stop in pairwise(bounds):
            if pieces and isinstance(pieces[-1], steps.Write):
                pieces.append(steps.Pause())
            pieces.append(steps.Write(step.data[begin - at : stop - at]))
        at = end
    return tuple(pieces)
