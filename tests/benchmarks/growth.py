"""The section on growth: logins, refreshes in flight and the server's latency, each over some decades."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial

from attrs import frozen

from tests.benchmarks import plots
from tests.benchmarks.clients import BASELINE, OURS
from tests.benchmarks.figures import rises
from tests.benchmarks.growing import IN_FLIGHT, Load, Point, load, median_of, of_client, of_keeper
from tests.benchmarks.grown_fleet import Fleet, grown
from tests.benchmarks.report import How, Report, Table

KEEPER = "keeper on SQLite"
LOGINS, FLYING, LATENCY = "logins", "refreshes in flight", "ms that the server takes"
_AT_ONCE, _FIVE = timedelta(), timedelta(milliseconds=5)

Curve = dict[float, Point]


@frozen
class Plan:
    """Which points, and how long each takes."""

    logins: Sequence[int]
    flying: Sequence[int]
    latencies: Sequence[int]
    seconds: float
    rounds: int


QUICK = Plan((100, 1_000, 10_000), (1, 64, 1_000), (0, 500), 0.2, 1)
FULL = Plan(
    (100, 1_000, 10_000, 100_000, 1_000_000),
    (1, 4, 16, 64, 250, 1_000),
    (0, 1, 5, 20, 50, 100, 200, 500),
    1.2,
    3,
)


def section(how: How) -> Report:
    """Curves of the client and the keeper."""
    plan = QUICK if how.quick else FULL
    of_fleet, fleet = _keeper_logins(how, plan, Fleet(how.disk / "large.db", how.key))
    keeper = partial(of_keeper, how, fleet)  # as it has become
    flying = {who: _flying(plan, _AT_ONCE, 6_000, partial(of_client, how, who)) for who in (BASELINE, OURS)}
    latency = {who: _latency(plan, 6_000, partial(of_client, how, who)) for who in (BASELINE, OURS)}
    found = {
        LOGINS: {OURS: _client_logins(how, plan), KEEPER: of_fleet},
        FLYING: {**flying, KEEPER: _flying(plan, _FIVE, 2_000, keeper)},
        LATENCY: {**latency, KEEPER: _latency(plan, 2_000, keeper)},
    }
    tables = [_table(axis, who, curve) for axis, curves in found.items() for who, curve in curves.items()]
    fleet_size = {KEEPER: found[LOGINS][KEEPER]}
    return Report(
        [*tables, _steps(found)],
        plots={
            "keeper-fleet": partial(plots.curves, _fleet_panels(fleet_size), 1),
            "growth": partial(plots.curves, list(_panels(found)), 3),
        },
    )


def _client_logins(how: How, plan: Plan) -> Curve:
    """As many logins as fast as it goes: a token each, and none of them twice."""
    curve = {}
    for many in plan.logins:
        rounds = plan.rounds if many <= 100_000 else 1  # the last point takes minutes
        curve[float(many)] = median_of(rounds, partial(of_client, how, OURS, Load(IN_FLIGHT, _AT_ONCE, many)))
    return curve


def _keeper_logins(how: How, plan: Plan, fleet: Fleet) -> tuple[Curve, Fleet]:
    """The fleet grows; what is due of it stays the same, or is all of it where that is less."""
    curve = {}
    for size in plan.logins:
        fleet = grown(fleet, size)
        due = Load(IN_FLIGHT, _FIVE, min(size, 1_000))
        curve[float(size)] = median_of(plan.rounds, partial(of_keeper, how, fleet, due, plan.seconds))
    return curve, fleet


def _flying(plan: Plan, delay: timedelta, fastest: float, measure: Callable[[Load], Point]) -> Curve:
    loads = {float(flying): load(plan.seconds, flying, delay, fastest) for flying in plan.flying}
    return {flying: median_of(plan.rounds, partial(measure, asked)) for flying, asked in loads.items()}


def _latency(plan: Plan, fastest: float, measure: Callable[[Load], Point]) -> Curve:
    delays = {float(latency): timedelta(milliseconds=latency) for latency in plan.latencies}
    loads = {latency: load(plan.seconds, IN_FLIGHT, delay, fastest) for latency, delay in delays.items()}
    return {latency: median_of(plan.rounds, partial(measure, asked)) for latency, asked in loads.items()}


def _table(axis: str, who: str, curve: Curve) -> Table:
    rows = [
        (f"{x:,.0f}", [f"{p.per_second:,.0f}", f"{p.cpu:,.0f}", f"{p.memory:,.1f}", f"{p.answers:,.0f}"])
        for x, p in curve.items()
    ]
    columns = ["refreshes/s", "CPU us a refresh", "MB more", "tokens()/s"]
    if who != KEEPER:
        columns, rows = columns[:-1], [(name, cells[:-1]) for name, cells in rows]
    return Table(f"{who}: {axis}", columns, rows)


def _steps(found: Mapping[str, Mapping[str, Curve]]) -> Table:
    """Where a refresh costs more than a quarter more than at the point before."""
    rows = []
    for axis, curves in found.items():
        for who, curve in curves.items():
            for before, after, factor in rises({x: point.cpu for x, point in curve.items()}):
                rows.append((f"{who}: {axis}", [f"{before:,.0f}", f"{after:,.0f}", f"x {factor:.2f}"]))
    notes = [] if rows else ["none: no step makes a refresh cost a quarter more CPU than the point before"]
    return Table("super-linear steps", ("from", "to", "CPU a refresh"), rows, notes)


def _panels(found: Mapping[str, Mapping[str, Curve]]) -> Iterator[plots.Panel]:
    kinds = (("refreshes a second", "per_second"), ("CPU us a refresh", "cpu"), ("MB more", "memory"))
    for label, name in kinds:
        for axis, curves in found.items():
            lines = {who: {x: getattr(p, name) for x, p in curve.items()} for who, curve in curves.items()}
            yield plots.Panel("", axis, label, lines, from_zero=axis == LATENCY, y_log=name != "memory")


def _fleet_panels(curves: Mapping[str, Curve]) -> list[plots.Panel]:
    kinds = (("refreshes a second", "per_second"), ("tokens() a second", "answers"), ("MB while refreshing", "memory"))
    return [
        plots.Panel(
            "",
            "logins in the store",
            label,
            {who: {x: getattr(p, name) for x, p in c.items()} for who, c in curves.items()},
        )
        for label, name in kinds
    ]
