"""What all keepers do that one observer is told of, at this moment. What is not known is left out, and is never 0."""

from collections import Counter
from collections.abc import Callable, Iterator

from attrs import define, field

from mesh_refresh.observing import Figures, FleetCounted, KeeperEntered, KeeperLeft, KeeperState, Observation
from mesh_refresh.telemetry import series
from mesh_refresh.telemetry.series import Series, broker_label
from mesh_refresh.version import VERSION

Level = tuple[Series, tuple[str, ...], float]
"""A series, the values of its labels, and its own value."""


@define(eq=False)
class _Watched:
    look: Callable[[], KeeperState]
    breakers: set[tuple[str, str]] = field(factory=set)
    """Those that were seen open: known to be closed, where they are not open."""
    figures: Figures | None = None


class Levels:
    """The keepers that are at work, and what they have counted."""

    def __init__(self) -> None:
        self._keepers: dict[str, _Watched] = {}
        self._dropped: int | None = None
        """Events that were dropped by keepers that were left since. None: there was no keeper yet."""

    def observe(self, told: Observation) -> None:
        """Note keepers that come and go, and figures. Other values are passed over."""
        match told:
            case KeeperEntered(keeper, look):
                self._keepers[keeper] = _Watched(look)
                self._dropped = self._dropped or 0
            case KeeperLeft(keeper) if keeper in self._keepers:
                self._dropped = (self._dropped or 0) + self._keepers.pop(keeper).look().events_dropped
            case FleetCounted(keeper, figures) if keeper in self._keepers:
                self._keepers[keeper].figures = figures
            case _:
                pass

    def read(self) -> Iterator[Level]:
        """Every level that is known. May be called from any thread."""
        yield series.BUILD_INFO, (VERSION,), 1
        keepers = list(self._keepers.values())
        if self._dropped is not None:
            states = [(keeper, keeper.look()) for keeper in keepers]
            yield series.EVENTS_DROPPED, (), self._dropped + sum(state.events_dropped for _, state in states)
            if states:
                yield from _levels_of(states)
        counted = [keeper.figures for keeper in keepers if keeper.figures is not None]
        if counted:
            yield from _levels_of_fleet(max(counted, key=lambda figures: figures.at))


def _levels_of(states: list[tuple[_Watched, KeeperState]]) -> Iterator[Level]:
    yield series.IN_FLIGHT, (), sum(state.in_flight for _, state in states)
    yield series.UNSAVED, (), sum(state.unsaved_logins for _, state in states)
    spools = [state.spool_files for _, state in states if state.spool_files is not None]
    if spools:
        yield series.SPOOL_FILES, (), sum(spools)
    rounds = [state.last_round.timestamp() for _, state in states if state.last_round is not None]
    if rounds:
        yield series.LAST_ROUND, (), min(rounds)
    breakers: Counter[tuple[str, str]] = Counter()
    for keeper, state in states:
        is_open = {(broker_label(broker), fault) for broker, fault in state.breakers.items()}
        keeper.breakers |= is_open
        for breaker in keeper.breakers:
            breakers[breaker] |= breaker in is_open
    for breaker, value in breakers.items():
        yield series.BREAKER_OPEN, breaker, value


def _levels_of_fleet(figures: Figures) -> Iterator[Level]:
    logins: Counter[tuple[str, str]] = Counter()
    for broker, counted in figures.brokers.items():
        for state, number in counted.states.items():
            logins[broker_label(broker), state] += number
    for labels, number in logins.items():
        yield series.LOGINS, labels, number
    yield series.LOGINS_DUE, (), figures.due
    yield series.MOST_OVERDUE, (), figures.most_overdue
    if figures.notices_waiting is not None and figures.notices_dead is not None:
        yield series.NOTICES, ("waiting",), figures.notices_waiting
        yield series.NOTICES, ("dead",), figures.notices_dead
    if figures.oldest_notice is not None:
        yield series.NOTICE_OLDEST, (), max(0.0, (figures.at - figures.oldest_notice).total_seconds())
