"""Points of the curves: what a refresh costs at one size, concurrency or latency. Each in a process of its own."""

import asyncio
import statistics
import time
from collections.abc import Callable
from datetime import timedelta

from attrs import fields, frozen

from tests.benchmarks.bursts import burst
from tests.benchmarks.clients import CLIENTS
from tests.benchmarks.cores import apart, forget_peak, peak, pin, resident
from tests.benchmarks.grown_fleet import Fleet
from tests.benchmarks.keeping import Burst, Setting, answers, durable
from tests.benchmarks.report import How
from tests.benchmarks.serving import answering

IN_FLIGHT = 64


@frozen
class Point:
    """What was found there."""

    per_second: float
    cpu: float
    """Microseconds a refresh."""
    memory: float
    """MB at the most beyond what was there before."""
    answers: float = 0.0
    """`tokens()` a second, of a keeper."""


@frozen
class Load:
    """What is asked of it."""

    in_flight: int
    delay: timedelta
    """Of the server."""
    refreshes: int


def load(seconds: float, in_flight: int, delay: timedelta, fastest: float) -> Load:
    """So many refreshes that they take about `seconds`, and two for each in flight at least."""
    possible = min(fastest, in_flight / (delay.total_seconds() + 1 / fastest))
    return Load(in_flight, delay, max(2 * in_flight, round(seconds * possible)))


def of_client(how: How, name: str, load: Load) -> Point:
    """A client on its own core, with tokens that were never sent before."""
    with answering(how.server_core, load.delay) as base_url:
        return apart(_client, how.client_core, name, base_url, load)


def _client(core: int, name: str, base_url: str, load: Load) -> Point:
    async def run() -> Point:
        async with CLIENTS[name](base_url) as refresh:
            await burst(refresh, load.in_flight, load.in_flight)
            forget_peak()
            before = resident()
            cost = await burst(refresh, load.in_flight, load.refreshes)
            return Point(1 / cost.wall, 1e6 * cost.cpu, peak() - before)

    pin(core)
    return asyncio.run(run())


def of_keeper(how: How, fleet: Fleet, load: Load, seconds: float = 0) -> Point:
    """A keeper on all cores: it has a thread for its store. Bursts of that load until `seconds` are over."""
    with answering(how.server_core, load.delay) as base_url:
        return apart(_keeper, fleet, Setting(base_url, load.refreshes, load.in_flight, watched=False), seconds)


def _keeper(fleet: Fleet, setting: Setting, seconds: float) -> Point:
    async def run() -> Point:
        bursts: list[Burst] = []
        end = time.monotonic() + seconds
        async with fleet.opened() as store:
            while not bursts or time.monotonic() < end:
                bursts.append(await durable(setting, store))
            asked = await answers(setting.base_url, fleet, store, min(fleet.size, 1_000))
        return Point(
            statistics.median(found.per_second for found in bursts),
            1e6 * statistics.median(found.cpu for found in bursts),
            max(found.memory for found in bursts),
            asked,
        )

    return asyncio.run(run())


def median_of(rounds: int, measure: Callable[[], Point]) -> Point:
    """The median of several processes, each figure by itself."""
    found = [measure() for _ in range(rounds)]
    return Point(*(statistics.median(getattr(point, field.name) for point in found) for field in fields(Point)))
