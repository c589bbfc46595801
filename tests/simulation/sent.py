"""What is known of a request, and of the times at which a process could do nothing."""

from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from mesh_refresh.testing.fake.traffic import SentRequest

_LONGEST_PAUSE = 5.0
"""Seconds between two tries of a keeper to write new tokens, at the most."""


@define(eq=False)
class Sent:
    """One request, and the process that sent it."""

    host: str
    token: str
    login: str
    """The broker's name of it; the keepers' is the same."""
    arrived: float
    lease_end: float
    """Nobody else may send before the wait that begins then is over."""
    ended: float | None = None
    record: "SentRequest | None" = None
    successors: tuple[str, ...] = ()
    repeats: "list[Sent]" = field(factory=list)
    """Requests with the same token, which the broker answered once more with what came for this one."""
    why: str | None = None
    """Where it carries a spent token: why nobody has what came for that."""
    changed: bool = False
    """The person logged in anew, or was removed, while it was under way and what came of it was not in the store."""
    crashed: bool = False
    """Its process died then."""
    stopped: bool = False
    """Its process was stopped then."""


@define
class Span:
    """From when until when (no end yet: None) a process could not write."""

    begin: float
    end: float | None = None

    def until(self, now: float) -> float:
        return now if self.end is None else self.end


@define(eq=False)
class Hindrances:
    """By keeper, whichever of its lives: stops, the time between two lives, and outages of its store."""

    spans: dict[str, list[Span]] = field(factory=dict)
    continued: dict[str, float] = field(factory=dict)
    """When a process went on that had been stopped."""

    def begin(self, keeper: str, now: float) -> Span:
        """It cannot write from now on."""
        span = Span(now)
        self.spans.setdefault(keeper, []).append(span)
        return span

    def stood_still(self, process: str, since: float) -> bool:
        """Whether that process was stopped for a part of the time since then."""
        return self.continued.get(process, -1.0) >= since

    def reach(self, keeper: str, since: float, now: float) -> float | None:
        """Until when they kept it, one after the other, from writing what it got at `since`; None: not at all."""
        reached, hindered = since, False
        pause = 0.5
        for span in sorted(self.spans.get(keeper, ()), key=lambda it: it.begin):
            if span.begin <= reached + pause and span.until(now) >= reached:
                pause = min(_LONGEST_PAUSE, max(pause, span.until(now) - since)) + 0.5
                reached, hindered = span.until(now), True
        return reached + pause if hindered else None

    def any_between(self, begin: float, end: float, now: float) -> bool:
        """Whether any of them was in that time."""
        return any(it.begin <= end and it.until(now) >= begin for spans in self.spans.values() for it in spans)


def keeper_of(host: str) -> str:
    """The keeper of which that process is a life."""
    return host.rpartition("-")[0]
