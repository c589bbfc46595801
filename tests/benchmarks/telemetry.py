"""The section on telemetry: CPU a refresh with an observer and without one, in turns."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta

from mesh_refresh.telemetry import Observer, PrometheusObserver
from tests.benchmarks.cores import apart, pin
from tests.benchmarks.figures import spread
from tests.benchmarks.grown_fleet import Fleet, grown
from tests.benchmarks.keeping import Burst, Setting, durable
from tests.benchmarks.report import How, Report, Table, at_most
from tests.benchmarks.serving import answering

OBSERVERS: Mapping[str, Callable[[], Observer | None]] = {"none": lambda: None, "Prometheus": PrometheusObserver}


def section(how: How) -> Report:
    """The rows of a keeper on SQLite with each of `OBSERVERS`."""
    many, rounds = (200, 9) if how.quick else (500, 60)
    fleet = grown(Fleet(how.disk / "observed.db", how.key), max(1_000, many))
    with answering(how.server_core, timedelta()) as base_url:
        found = apart(in_turns, how.client_core, Setting(base_url, many, watched=False), fleet, rounds)
    cpu = {name: [burst.cpu for burst in bursts] for name, bursts in found.items()}
    rows = [(name, [spread(1e6 * each for each in costs).text(0)]) for name, costs in cpu.items()]
    more = [100 * (cost / other - 1) for cost, other in zip(cpu["Prometheus"], cpu["none"], strict=True)]
    target = at_most("Prometheus' observer, more CPU a refresh", 2, spread(more), digits=1, unit=" %")
    return Report([Table("observer of a keeper on SQLite", ["CPU us a refresh"], rows)], [target])


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
