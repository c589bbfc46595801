"""The client's section: CPU and wall time of one refresh beside other clients, and how long one waits for it."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from tests.benchmarks import imports, memory, plots
from tests.benchmarks.bursts import CONCURRENCIES, LATENCIES_AT, Cost, Measured, measured
from tests.benchmarks.clients import BASELINE, HOOKED, OURS
from tests.benchmarks.cores import apart
from tests.benchmarks.figures import Spread, percentile, ratios, spread
from tests.benchmarks.loops import ASYNCIO, UVLOOP
from tests.benchmarks.report import How, Report, Table, Target, at_most
from tests.benchmarks.rivals import AIOHTTP, HTTPX
from tests.benchmarks.serving import answering

SHARES = (0.5, 0.9, 0.99, 0.999)
LIMITS = (1.00, 0.88, 0.80)
"""Of `MeshClient`, for each of `CONCURRENCIES`."""


def section(how: How) -> Report:
    """Everything about `MeshClient`."""
    with answering(how.server_core) as base_url:
        found = {loop: apart(measured, how, loop, base_url) for loop in (ASYNCIO, UVLOOP)}
    bars = {f"{loop}, c={c}": _cpu(found[loop], c) for loop in found for c in CONCURRENCIES}
    waits = {name: [1e3 * percentile(taken, s) for s in SHARES] for name, taken in found[ASYNCIO].latencies.items()}
    tables = [
        *(_table(loop, kind, found[loop]) for loop in found for kind in ("cpu", "wall")),
        _waiting(waits, len(found[ASYNCIO].latencies[OURS])),
    ]
    return Report(
        tables,
        [*_targets(found), *imports.targets(how), *memory.targets(how)],
        {
            "ratios": partial(plots.ratios, bars),
            "latency": partial(plots.percentiles, waits, SHARES, "ms until a refresh is back"),
        },
    )


def _costs(rounds: Sequence[Cost], kind: str) -> list[float]:
    return [getattr(cost, kind) for cost in rounds]


def _cpu(found: Measured, concurrency: int) -> dict[str, float]:
    rounds = found.costs[concurrency]
    return {name: _against(rounds, name, BASELINE, "cpu").median for name in rounds}


def _against(rounds: Mapping[str, Sequence[Cost]], name: str, other: str, kind: str) -> Spread:
    return ratios(_costs(rounds[name], kind), _costs(rounds[other], kind))


def _table(loop: str, kind: str, found: Measured) -> Table:
    what = {"cpu": "CPU", "wall": "wall time"}[kind]
    rows = []
    for name in found.costs[1]:
        cells = [_against(found.costs[c], name, BASELINE, kind).text() for c in CONCURRENCIES]
        rows.append((name, cells))
    alone = (spread(_costs(found.costs[c][BASELINE], kind)).median for c in CONCURRENCIES)
    base = ", ".join(f"{1e6 * seconds:.0f}" for seconds in alone)
    note = f"1.00 is {base} microseconds a refresh"
    return Table(f"{what} of a refresh, {loop}", [f"c={c}" for c in CONCURRENCIES], rows, [note])


def _waiting(waits: Mapping[str, Sequence[float]], count: int) -> Table:
    rows = [(name, [f"{wait:.2f}" for wait in waited]) for name, waited in waits.items()]
    columns = [f"p{100 * share:g}" for share in SHARES]
    note = f"of {count:,} refreshes each, on asyncio; the server answers at once"
    return Table(f"ms until a refresh is back, c={LATENCIES_AT}", columns, rows, [note])


def _targets(found: Mapping[str, Measured]) -> Iterator[Target]:
    for loop, result in found.items():
        for concurrency, limit in zip(CONCURRENCIES, LIMITS, strict=True):
            against = _against(result.costs[concurrency], OURS, BASELINE, "cpu")
            yield at_most(f"refresh, x hand-written aiohttp, CPU, {loop}, c={concurrency}", limit, against)
        hooked = _against(result.costs[16], HOOKED, BASELINE, "cpu")
        yield at_most(f"refresh with a hook, x hand-written aiohttp, CPU, {loop}, c=16", 1.05, hooked)
    for loop, result in found.items():
        worst = max((_against(result.costs[c], OURS, AIOHTTP, "cpu") for c in CONCURRENCIES), key=lambda s: s.median)
        yield at_most(f"refresh, x the generated aiohttp client, CPU, {loop}, worst c", 0.26, worst)
        against = _against(result.costs[16], OURS, HTTPX, "cpu")
        yield at_most(f"refresh, x the generated httpx client, CPU, {loop}, c=16", 0.06, against, digits=3)
