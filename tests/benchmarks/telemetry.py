"""The section on telemetry: CPU a refresh with an observer and without one, in turns."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta

from mesh_refresh.telemetry import Observer, PrometheusObserver
from tests.benchmarks.cores import apart, pin
from tests.benchmarks.figures import Spread, percentile
from tests.benchmarks.grown_fleet import Fleet, grown
from tests.benchmarks.keeping import Burst, Setting, durable
from tests.benchmarks.report import How, Report, Table, at_most
from tests.benchmarks.serving import answering

OBSERVERS: Mapping[str, Callable[[], Observer | None]] = {"none": lambda: None, "Prometheus": PrometheusObserver}


def section(how: How) -> Report:
    """The rows of a keeper on SQLite with each of `OBSERVERS`."""
    many, rounds = 200, 20 if how.quick else 120
    fleet = grown(Fleet(how.disk / "observed.db", how.key), 1_000)
    with answering(how.server_core, timedelta()) as base_url:
        found = apart(in_turns, how.client_core, Setting(base_url, many, watched=False), fleet, rounds)
    # What disturbs a burst only adds to it, far more than an observer does: the quickest tenth shows the difference.
    cpu = {name: percentile([burst.cpu for burst in bursts], 0.1) for name, bursts in found.items()}
    rows = [(name, [f"{1e6 * cost:,.0f}"]) for name, cost in cpu.items()]
    more = 100 * (cpu["Prometheus"] / cpu["none"] - 1)
    target = at_most("Prometheus' observer, more CPU a refresh", 2, Spread(more, more, more), digits=1, unit=" %")
    return Report([Table("observer of a keeper on SQLite, tenth percentile", ["CPU us a refresh"], rows)], [target])


def in_turns(core: int, setting: Setting, fleet: Fleet, rounds: int) -> dict[str, list[Burst]]:
    """Rounds of bursts, each with every observer; who begins takes turns too."""
    pin(core)
    observers = {name: make() for name, make in OBSERVERS.items()}
    found: dict[str, list[Burst]] = {name: [] for name in observers}

    async def run() -> None:
        async with fleet.opened() as store:
            for number in range(rounds + 1):
                for name in [*observers][:: 1 if number % 2 else -1]:
                    burst = await durable(setting, store, observers[name])
                    if number:  # the first round warms up
                        found[name].append(burst)

    asyncio.run(run())
    return found
