"""The keeper's section: durable refreshes on SQLite, a million logins, `tokens()`, how long the loop is blocked.

The server is a process of its own on another core, and answers in 5 ms. What is compared runs in turns.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial

from attrs import evolve

from tests.benchmarks import plots, waiting
from tests.benchmarks.cores import apart
from tests.benchmarks.figures import Spread, percentile, spread
from tests.benchmarks.grown_fleet import Fleet, grown
from tests.benchmarks.keeping import Beside, Burst, Setting, beside_bare, counting, in_turns
from tests.benchmarks.report import How, Report, Table, Target, at_least, at_most, shown
from tests.benchmarks.serving import answering

DELAY = timedelta(milliseconds=5)
SHARES = (0.5, 0.9, 0.99, 0.999)


def section(how: How) -> Report:
    """The rows of the keeper on SQLite."""
    size, many, rounds = (100_000, 1_000, 3) if how.quick else (1_000_000, 1_000, 15)
    small = grown(Fleet(how.disk / "small.db", how.key), max(1_000, many))
    large = grown(Fleet(how.disk / "large.db", how.key), size)  # the one that the section on growth has left
    with answering(how.server_core, DELAY) as base_url:
        setting = Setting(base_url, many)
        beside = apart(beside_bare, how.client_core, setting, small, rounds, many)
        turns = apart(in_turns, setting, [small, large], rounds)
        # One burst in a process of its own: what it takes at the most, and not what came before it.
        reads = apart(waiting.reads, evolve(setting, many=many // 2), small)  # one of the others is waited for
        alone = [apart(in_turns, setting, [fleet], 1)[0][0] for fleet in (small, large)]
    counted = [apart(counting, large) for _ in range(3)]
    names = [f"{fleet.size:,} logins" for fleet in (small, large)]
    blocked = {name: _blocked([turn[number] for turn in turns]) for number, name in enumerate(names)}
    return Report(
        [_table(names, turns, alone), _blocking(blocked)],
        [*_targets(beside, turns, alone, large), *_asides(reads, counted, large)],
        {"keeper-blocked": partial(plots.percentiles, blocked, SHARES, "ms that the event loop was late")},
    )


def _blocked(bursts: Sequence[Burst]) -> list[float]:
    late = [late for burst in bursts for late in burst.blocked]
    return [percentile(late, share) for share in SHARES]


def _table(names: Sequence[str], turns: Sequence[Sequence[Burst]], alone: Sequence[Burst]) -> Table:
    rows = []
    for number, name in enumerate(names):
        speed = spread(turn[number].per_second for turn in turns)
        cpu = spread(1e6 * turn[number].cpu for turn in turns)
        rows.append((name, [speed.text(0), cpu.text(0), f"{alone[number].memory:.0f}", f"{alone[number].held:.0f}"]))
    columns = ["refreshes/s", "CPU us a refresh", "MB for it", "MB of the process"]
    return Table("keeper on SQLite, durable, 64 in flight", columns, rows)


def _blocking(blocked: dict[str, list[float]]) -> Table:
    rows = [(name, [f"{late:.1f}" for late in found]) for name, found in blocked.items()]
    return Table("ms that the event loop was late", [f"p{100 * share:g}" for share in SHARES], rows)


def _targets(
    beside: Sequence[Beside], turns: Sequence[Sequence[Burst]], alone: Sequence[Burst], large: Fleet
) -> Iterator[Target]:
    bare = spread(found.kept.per_second / found.alone for found in beside)
    yield at_least("keeper on SQLite, durable, x bare MeshClient, refreshes/s", 0.4, bare)
    least = spread(found.by_hand / found.alone for found in beside)
    yield shown("the least keeper by hand, durable, x bare MeshClient, refreshes/s", least)
    careful = spread(found.kept.per_second / found.by_hand for found in beside)
    yield at_least("keeper on SQLite, durable, x the least keeper by hand, refreshes/s", 0.72, careful)
    speeds = spread(found.answers for found in beside)
    yield at_least("keeper.tokens() of a fresh login, SQLite", 6_000, speeds, digits=0, unit="/s")
    what = f"keeper with {large.size:,} logins"
    yield at_least(f"{what}, x 1,000 logins, refreshes/s", 0.95, spread(b.per_second / a.per_second for a, b in turns))
    more = alone[1].held - alone[0].held
    yield at_most(f"{what}, more memory than with 1,000", 20, Spread(more, more, more), digits=0, unit=" MB")
    late = spread(percentile(turn[1].blocked, 0.999) for turn in turns)
    yield at_most(f"{what}, loop blocked, 99.9th percentile", 15, late, digits=1, unit=" ms")


def _asides(reads: tuple[float, float], counted: Sequence[float], large: Fleet) -> Iterator[Target]:
    without, beside = reads
    what = f"store reads for each exchange, while {waiting.WAITING} callers wait inside min_interval"
    yield Target(what, f"as without, {without:g}", f"{beside:g}", beside <= without)
    what = f"figures of {large.size:,} logins, share of one core"
    yield at_most(what, 1, spread(counted), digits=2, unit=" %")
