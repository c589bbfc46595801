"""Bursts of a keeper, and of a bare client in the same setting. Run in processes of their own."""

import asyncio
import gc
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from attrs import frozen

from mesh_refresh import MeshClient
from mesh_refresh.keeper import Keeper, Policy
from mesh_refresh.stores import Store
from mesh_refresh.telemetry import Observer
from tests.benchmarks.clients import CLIENT_ID, CLIENT_SECRET
from tests.benchmarks.cores import forget_peak, peak, pin, resident
from tests.benchmarks.grown_fleet import Fleet, make_due, name_of, some_tokens
from tests.benchmarks.hand_keeper import by_hand

_STRIDE = 7_919
"""A prime: what is asked for one after the other lies on different pages of the file."""


@frozen
class Burst:
    """What one burst gave."""

    per_second: float
    cpu: float
    """Seconds of CPU a refresh, with those of the store's thread."""
    memory: float
    """MB at the most beyond what was there before the keeper."""
    held: float
    """MB at the most of the whole process, store and all."""
    blocked: Sequence[float]
    """How many ms late the loop came back to somebody who had asked for the next millisecond."""


@frozen
class Setting:
    """In what a keeper works."""

    base_url: str
    many: int
    """Logins that are due."""
    in_flight: int = 64
    watched: bool = True
    """Whether to look how long the loop is blocked. It wakes a thousand times a second, and that is CPU too."""


def client_of(setting: Setting) -> MeshClient:
    """As it comes."""
    return MeshClient(CLIENT_ID, CLIENT_SECRET, base_url=setting.base_url)


async def bare(setting: Setting) -> float:
    """Refreshes a second of `MeshClient` alone."""
    async with client_of(setting) as mesh:
        now = datetime.now(UTC)
        left = iter([some_tokens(number, now, due=True) for number in range(setting.many)])

        async def worker() -> None:
            for tokens in left:
                await mesh.refresh(tokens)

        gc.collect()
        begun = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(setting.in_flight)))
        return setting.many / (time.perf_counter() - begun)


async def durable(setting: Setting, store: Store, observer: Observer | None = None) -> Burst:
    """A keeper refreshes what is due: every pair is on the disk before the next exchange of its login."""
    await make_due(store, setting.many)
    gc.collect()
    forget_peak()
    before = resident()
    policy = Policy(concurrency=setting.in_flight, concurrency_each=setting.in_flight)
    keeper = Keeper(mesh := client_of(setting), store, policy=policy, background=False, observer=observer)
    async with mesh, keeper:
        blocked: list[float] = []
        watch = asyncio.create_task(_watch(blocked)) if setting.watched else None
        gc.freeze()  # as `mesh-refresh run` does
        begun, cpu = time.perf_counter(), time.process_time()
        done = await keeper.refresh_due()
        taken, cpu = time.perf_counter() - begun, time.process_time() - cpu
        gc.unfreeze()
        if watch is not None:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
    assert done == setting.many, (done, setting.many)
    return Burst(setting.many / taken, cpu / setting.many, peak() - before, peak(), blocked)


async def _watch(blocked: list[float]) -> None:
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(0.001)
        blocked.append(1e3 * (time.perf_counter() - begun) - 1)


def counting(fleet: Fleet) -> float:
    """What the figures of the fleet take, in per cent of one core: see `Reporter`, which counts for a hundredth of the
    time at the most.
    """

    async def run() -> float:
        every = 4 * Policy().report_every.total_seconds()
        async with fleet.opened() as store:
            wall, cpu = time.perf_counter(), time.process_time()
            now = datetime.now(UTC)
            await store.counts(now)
            await store.due_by_hour(now)
            await store.outbox.counts()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            return 100 * cpu / (wall + max(every, 100 * wall))

    return asyncio.run(run())


async def answers(base_url: str, fleet: Fleet, store: Store, many: int) -> float:
    """`tokens()` a second, one after the other, for fresh logins from all over the fleet."""
    setting = Setting(base_url, many)
    fresh = [name_of(number * _STRIDE % fleet.size) for number in range(many)]
    async with client_of(setting) as mesh, Keeper(mesh, store, background=False) as keeper:
        begun = time.perf_counter()
        for login in fresh:
            await keeper.tokens(login)
        return many / (time.perf_counter() - begun)


@frozen
class Beside:
    """A round of a keeper beside a bare client, and beside what is written by hand."""

    alone: float
    by_hand: float
    """Of the least that somebody writes to keep tokens."""
    kept: Burst
    answers: float


def beside_bare(core: int, setting: Setting, fleet: Fleet, rounds: int, asked: int) -> list[Beside]:
    """Rounds of all, in turns, on one core with their store's threads: another has the server."""
    pin(core)

    async def run() -> list[Beside]:
        found = []
        async with fleet.opened() as store:
            for _ in range(rounds):
                alone = await bare(setting)
                async with client_of(setting) as mesh:
                    least = await by_hand(mesh, fleet.path.with_name("by-hand.db"), setting.many, setting.in_flight)
                kept = await durable(setting, store)
                found.append(Beside(alone, least, kept, await answers(setting.base_url, fleet, store, asked)))
        return found

    return asyncio.run(run())


def in_turns(setting: Setting, fleets: Sequence[Fleet], rounds: int) -> list[list[Burst]]:
    """Rounds of bursts, each over all fleets."""

    async def run() -> list[list[Burst]]:
        found: list[list[Burst]] = []
        for _ in range(rounds):
            found.append([])
            for fleet in fleets:
                async with fleet.opened() as store:
                    found[-1].append(await durable(setting, store))
        return found

    return asyncio.run(run())
