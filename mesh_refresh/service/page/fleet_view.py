"""The fleet as the page shows it. Pure: from what was read of the store, to what the template writes down."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from attrs import evolve, field, frozen
from markupsafe import Markup

from mesh_refresh.keeper import AccountState, Minute, Process
from mesh_refresh.keeper.advice import PARKED
from mesh_refresh.observing import BrokerFigures, Figures
from mesh_refresh.service.page.plots import BarSeries, bars
from mesh_refresh.service.page.words import count, fault, number, span
from mesh_refresh.stores import BrokerPause
from mesh_refresh.stores.store import ALL_BROKERS

_HOUR, _MINUTE = 60, timedelta(minutes=1)
_LATE = 120.0
"""Seconds for which a login may be due before that is shown as trouble: a loop in order takes seconds."""
_NOTHING = BrokerFigures(0, {}, 0, 0)
_UNCOUNTED_AFTER = timedelta(minutes=15)
"""A large fleet is counted rarely, and so far no fleet as rarely as that."""


@frozen
class Snapshot:
    """What the page shows of a fleet, as it was read at one time for all who look."""

    at: datetime
    figures: Figures | None
    processes: Sequence[Process]
    pauses: Mapping[str, BrokerPause]


@frozen
class Tile:
    """A number that matters."""

    label: str
    value: str
    note: str = ""
    mood: str = ""
    """``warn`` or ``bad``; empty where all is well."""


@frozen
class Trouble:
    """Something to look after."""

    mood: str
    text: str
    broker: str = ""
    """It is about this one, which the template names."""
    state: str = ""
    """Its logins can be listed by this state."""


@frozen
class OpenBreaker:
    """A breaker as the processes see it together."""

    broker: str
    faults: tuple[str, ...]
    next_probe: datetime | None
    processes: int
    """In how many it is open."""


@frozen
class BrokerRow:
    """A broker in the table."""

    name: str
    counts: BrokerFigures
    pause: BrokerPause | None
    breaker: OpenBreaker | None

    def in_state(self, state: str) -> int:
        """Logins with an account in `state`."""
        return self.counts.states.get(state, 0)


@frozen
class Plot:
    """A picture, with what it says in words."""

    title: str
    picture: Markup
    summary: str
    legend: tuple[tuple[str, str], ...] = ()
    """Class and meaning of each colour, where there are several."""


@frozen
class FleetView:
    """All of the page about the fleet."""

    snapshot: Snapshot
    tiles: Sequence[Tile]
    troubles: Sequence[Trouble]
    brokers: Sequence[BrokerRow]
    breakers: Sequence[OpenBreaker]
    plots: Sequence[Plot]
    processes: Sequence[Process] = field(factory=tuple)

    @property
    def mood(self) -> str:
        """The worst of the troubles: ``bad``, ``warn`` or ``good``."""
        moods = {trouble.mood for trouble in self.troubles}
        return next((mood for mood in ("bad", "warn") if mood in moods), "good")

    def held(self, broker: str) -> str | None:
        """Why nothing of `broker` is exchanged now, as a sentence; None where that is not so."""
        names = {broker, ALL_BROKERS}
        if names & set(self.snapshot.pauses):
            return "Exchanges of its broker are paused."
        if faults := [fault(name) for it in self.breakers if it.broker in names for name in it.faults]:
            return f"Exchanges of its broker are held back by an open breaker: {'; '.join(faults)}."
        return None


def view_fleet(snapshot: Snapshot) -> FleetView:
    """What the page shows of `snapshot`."""
    breakers = open_breakers(snapshot.processes)
    minutes = last_hour(snapshot.processes, snapshot.at)
    return FleetView(
        snapshot,
        tiles=list(_tiles(snapshot)),
        troubles=sorted(_troubles(snapshot, breakers), key=lambda it: it.mood != "bad"),
        brokers=_brokers(snapshot, breakers),
        breakers=breakers,
        plots=[plot_outcomes(minutes), plot_lateness(minutes), plot_due(snapshot.figures)],
        processes=sorted(snapshot.processes, key=lambda it: (it.role, it.process)),
    )


def open_breakers(processes: Iterable[Process]) -> list[OpenBreaker]:
    """The breakers that are open in any of the processes, by their brokers; that of all brokers first."""
    found: dict[str, OpenBreaker] = {}
    for process in processes:
        if process.state is None:
            continue
        for broker, name in process.state.breakers.items():
            known = found.get(broker, OpenBreaker(broker, (), None, 0))
            faults = known.faults if name in known.faults else (*known.faults, name)
            probes = [at for at in (known.next_probe, process.state.next_probes.get(broker)) if at is not None]
            found[broker] = OpenBreaker(broker, faults, min(probes, default=None), known.processes + 1)
    return [found[broker] for broker in sorted(found, key=lambda name: (name != ALL_BROKERS, name))]


def last_hour(processes: Iterable[Process], now: datetime) -> list[Minute]:
    """The sixty minutes up to now, of all processes together. A minute without an exchange is among them."""
    last = now.replace(second=0, microsecond=0)
    found = {at: Minute(at) for at in (last - _MINUTE * back for back in range(_HOUR - 1, -1, -1))}
    for process in processes:
        for it in process.hour:
            at = it.at.replace(second=0, microsecond=0)
            if (sum_ := found.get(at)) is not None:
                found[at] = evolve(
                    sum_,
                    refreshed=sum_.refreshed + it.refreshed,
                    asked=sum_.asked + it.asked,
                    failed=sum_.failed + it.failed,
                    latest=max(sum_.latest, it.latest),
                )
    return list(found.values())


# The numbers at the top.


def _tiles(snapshot: Snapshot) -> Iterable[Tile]:
    figures = snapshot.figures
    brokers = figures.brokers.values() if figures is not None else ()
    states: Counter[str] = Counter()
    for broker in brokers:
        states.update(broker.states)
    parked = sum(states[state] for state in PARKED)
    known = figures is not None
    yield Tile("Logins", number(sum(it.logins for it in brokers)) if known else "–", _of_brokers(figures))
    yield Tile("Need a person", number(parked) if known else "–", _who_waits(states), "warn" if parked else "")
    yield Tile("Due now", number(figures.due) if figures else "–", *_how_late(figures))
    doing = [it.state for it in snapshot.processes if it.state is not None]
    yield Tile("In flight", number(sum(it.in_flight for it in doing)), "exchanges under way")
    unsaved, spools = sum(it.unsaved_logins for it in doing), [it.spool_files for it in doing]
    spooled = sum(filter(None, spools))
    yield Tile("Unsaved", number(unsaved), "new tokens, not in the store yet", "warn" if unsaved else "")
    has_spool = any(it is not None for it in spools)
    yield Tile(
        "Spool",
        number(spooled) if has_spool else "–",
        "files that wait" if has_spool else "no process has one",
        "warn" if spooled else "",
    )
    yield _notices(figures, snapshot.at)


def _of_brokers(figures: Figures | None) -> str:
    return "not counted yet" if figures is None else f"at {count(len(figures.brokers), 'broker')}"


def _who_waits(states: Mapping[str, int]) -> str:
    short = {"mfa_required": "code", "reconnect_required": "log in again", "unreadable": "unreadable"}
    return " · ".join(f"{number(states[name])} {words}" for name, words in short.items() if states.get(name)) or "none"


def _how_late(figures: Figures | None) -> tuple[str, str]:
    if figures is None or not figures.due:
        return "nothing is late" if figures else "", ""
    return (
        f"at most {span(timedelta(seconds=figures.most_overdue))} late",
        "bad" if figures.most_overdue >= _LATE else "",
    )


def _notices(figures: Figures | None, now: datetime) -> Tile:
    if figures is None or figures.notices_waiting is None:
        return Tile("Notices", "–", "none are kept")
    dead = figures.notices_dead or 0
    oldest = f"oldest {span(now - figures.oldest_notice)}" if figures.oldest_notice is not None else "none waits"
    return Tile(
        "Notices",
        number(figures.notices_waiting),
        f"{count(dead, 'was', 'were')} given up" if dead else oldest,
        "warn" if dead else "",
    )


# What to look after.


def _troubles(snapshot: Snapshot, breakers: Iterable[OpenBreaker]) -> Iterable[Trouble]:
    figures, now = snapshot.figures, snapshot.at
    for breaker in breakers:
        mood = "bad" if breaker.broker == ALL_BROKERS else "warn"
        yield Trouble(mood, "breaker", breaker.broker)
    if figures is None:
        yield Trouble("warn", "The fleet has not been counted yet. A process with a loop counts it within a minute.")
    elif now - figures.at > max(_UNCOUNTED_AFTER, timedelta(seconds=200 * figures.seconds)):
        yield Trouble("bad", f"The fleet was counted {span(now - figures.at)} ago. No process counts it any more.")
    if figures is not None and figures.due and figures.most_overdue >= _LATE:
        late = span(timedelta(seconds=figures.most_overdue))
        yield Trouble("bad", f"{count(figures.due, 'login')} due now, the most overdue for {late}.")
    if not any(it.has_loop and not it.is_silent(now) for it in snapshot.processes):
        yield Trouble("bad", "No process with a loop tells of itself: logins are refreshed for callers only.")
    for silent in (it for it in snapshot.processes if it.is_silent(now)):
        yield Trouble("warn", f"A process ({silent.role}) has been silent for {span(now - silent.at)}.")
    for it in snapshot.processes:
        if it.state is not None and it.state.unopened_logins:
            sealed = count(it.state.unopened_logins, "login")
            yield Trouble("bad", f"A process ({it.role}) has met {sealed} that no key of it opens.")
    for state, parked in PARKED.items():
        waiting = sum(it.states.get(state, 0) for it in figures.brokers.values()) if figures else 0
        if waiting:
            mood = "bad" if state is AccountState.UNREADABLE else "warn"
            yield Trouble(mood, f"{parked.what}: {count(waiting, 'login')}.", state=state)
    unsaved = sum(it.state.unsaved_logins for it in snapshot.processes if it.state is not None)
    if unsaved:
        yield Trouble("bad", f"New tokens of {count(unsaved, 'login')} are not in the store yet.")
    if figures is not None and figures.notices_dead:
        yield Trouble("warn", f"{count(figures.notices_dead, 'notice')} given up: mesh-refresh webhooks list --dead")
    for broker in sorted(snapshot.pauses):
        yield Trouble("warn", "pause", broker)


def _brokers(snapshot: Snapshot, breakers: Iterable[OpenBreaker]) -> list[BrokerRow]:
    counted = snapshot.figures.brokers if snapshot.figures is not None else {}
    opened = {breaker.broker: breaker for breaker in breakers}
    names = sorted({*counted, *opened, *snapshot.pauses} - {ALL_BROKERS})
    return [BrokerRow(name, counted.get(name, _NOTHING), snapshot.pauses.get(name), opened.get(name)) for name in names]


# Pictures.


def plot_outcomes(minutes: Sequence[Minute]) -> Plot:
    """Refreshes, questions for codes and failures of the last hour."""
    totals = tuple(sum(getattr(it, name) for it in minutes) for name in ("refreshed", "asked", "failed"))
    summary = "{} refreshed, {} asked for a code, {} failed".format(*map(number, totals))
    most = max((it.refreshed + it.asked + it.failed for it in minutes), default=0)
    picture = bars(
        [
            BarSeries("good", [it.refreshed for it in minutes]),
            BarSeries("warn", [it.asked for it in minutes]),
            BarSeries("bad", [it.failed for it in minutes]),
        ],
        told=f"Exchanges of the last hour: {summary}. At most {count(most, 'exchange')} in a minute.",
        notes=[
            f"{it.at:%H:%M} UTC: {it.refreshed} refreshed, {it.asked} asked for a code, {it.failed} failed"
            for it in minutes
        ],
        left="an hour ago",
        right="now",
        most=f"{number(most)} a minute",
    )
    legend = (("good", "refreshed"), ("warn", "asked for a code"), ("bad", "failed"))
    return Plot("Exchanges, last hour", picture, summary, legend)


def plot_lateness(minutes: Sequence[Minute]) -> Plot:
    """For how long logins had been due when they were exchanged."""
    most = max((it.latest for it in minutes), default=0.0)
    words = _seconds(most)
    summary = f"at most {words} late" if most else "nothing was late"
    picture = bars(
        [BarSeries("plain", [it.latest for it in minutes])],
        told=f"Lateness in the last hour: {summary}.",
        notes=[f"{it.at:%H:%M} UTC: {_seconds(it.latest)} late" for it in minutes],
        left="an hour ago",
        right="now",
        most=words,
    )
    return Plot("Lateness, last hour", picture, summary)


def plot_due(figures: Figures | None) -> Plot:
    """What falls due in each of the next 24 hours."""
    hours = figures.due_by_hour if figures is not None else ()
    most = max(hours, default=0)
    summary = f"{count(sum(hours), 'login')} in 24 hours" if hours else "not counted yet"
    busiest = f" Most in hour {hours.index(most) + 1}: {number(most)}." if most else ""
    picture = bars(
        [BarSeries("plain", hours)],
        told=f"Due in the next 24 hours: {summary}.{busiest}",
        notes=[f"in {hour} to {hour + 1} h: {count(it, 'login')}" for hour, it in enumerate(hours)],
        left="now",
        right="in 24 h",
        most=f"{number(most)} an hour",
    )
    return Plot("Due, next 24 hours", picture, summary)


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 10 else span(timedelta(seconds=value))
