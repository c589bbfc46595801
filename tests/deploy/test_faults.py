"""Faults that are really made for a keeper, on a clock that leaps: what a scrape gives then makes their alerts fire."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field

from mesh_refresh import HttpReply, HttpRequest
from mesh_refresh.stores import NoticeRow
from mesh_refresh.telemetry import PrometheusObserver
from mesh_refresh.testing.clock import DEFAULT_START
from tests.deploy.promtool import EVERY, alerts, assert_firing, needs_promtool
from tests.keeper.leaping import Scene, Wire, always_fresh, leaping
from tests.keeper.stage import HOUR, MINUTE, SECOND, FaultyStore

pytestmark = [pytest.mark.once, needs_promtool]

BEGINS = 10 * 60
"""When a fault begins, in seconds."""
LABELS = {"job": "mesh", "instance": "worker"}


class Way(Wire):
    """To Mesh, which may refuse the client's keys."""

    refuses = False

    async def send(self, request: HttpRequest) -> HttpReply:
        reply = await super().send(request)
        return evolve(reply, status=401, body=b"{}") if self.refuses else reply


@define(eq=False)
class World:
    """A worker, its store, the way to Mesh, and what was scraped of it."""

    way: Way
    scene: Scene
    store: FaultyStore
    scrapes: list[dict[str, float]] = field(factory=list)

    def planted(self) -> dict[str, str]:
        """The scrapes as series of promtool, whose time begins with zero."""
        names = {name: "" for scrape in self.scrapes for name in scrape}
        values = {name: [scrape.get(name) for scrape in self.scrapes] for name in names}
        start = DEFAULT_START.timestamp()
        return {
            name: " ".join("_" if it is None else f"{it - (start if 'timestamp' in name else 0):g}" for it in found)
            for name, found in values.items()
        }


def lived(
    minutes: int, fault: Callable[[World], Awaitable[object] | None], *, spool: Path | None = None, concurrency: int = 8
) -> World:
    """What was scraped in so many minutes of a worker with sixty logins, the fault being made after ten."""

    async def story() -> World:
        way, observer = Way(always_fresh(HOUR), 0.3), PrometheusObserver()
        scene = Scene(way)
        world = World(way, scene, FaultyStore(scene.store))
        policy: dict[str, Any] = {"poll": 5 * SECOND, "spread": 0.0, "concurrency": concurrency, "drain": timedelta()}
        process = scene.process(store=world.store, observer=observer, spool=spool, **policy)
        keeper = await process.__aenter__()
        await keeper.add_many(scene.pairs(60, 12.5 * MINUTE))  # due after ten minutes, and then once in 48
        for number in range(minutes * 60 // EVERY):
            if number == BEGINS // EVERY and (made := fault(world)) is not None:
                await made
            world.scrapes.append(scraped(observer))
            await asyncio.sleep(EVERY)
        world.store.come_back()
        way.latency = 0.0
        await process.__aexit__(None, None, None)
        return world

    return leaping(story())


def scraped(observer: PrometheusObserver) -> dict[str, float]:
    """Each level and counter, as a series of promtool."""
    found = {}
    for family in observer.registry.collect():
        if family.type in ("gauge", "counter"):
            for sample in family.samples:
                labels = ", ".join(f'{name}="{value}"' for name, value in {**LABELS, **sample.labels}.items())
                found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def nothing(_: World) -> None:
    """An ordinary fleet."""


def store_away(world: World) -> None:
    world.store.lose()


def halted(world: World) -> None:
    world.way.refuses = True


def slow(world: World) -> None:
    """Mesh takes its time, and this worker sends one at a time."""
    world.way.latency = 45.0


def unsaved(world: World) -> None:
    world.store.lose("swap")


async def notices_old(world: World) -> None:
    """Nothing takes them."""
    now = world.scene.clock.now()
    assert world.store.outbox is not None
    await world.store.outbox.put([NoticeRow("n-1", "u0", now, now, b"sealed")])


def silent(world: World) -> None:
    """A claim hangs for ever."""
    world.store.meanwhile["claim"] = asyncio.Event().wait


@pytest.mark.parametrize(
    ("fault", "minutes", "names"),
    [
        (nothing, 60, []),
        (store_away, 16, ["MeshRefreshStoreAway"]),
        (halted, 16, ["MeshRefreshHalted"]),
        (slow, 50, ["MeshRefreshOverdue"]),
        (unsaved, 18, ["MeshRefreshUnsaved"]),
        (notices_old, 40, ["MeshRefreshNoticesOld"]),
        (silent, 16, ["MeshRefreshWorkerSilent"]),
    ],
    ids=lambda it: getattr(it, "__name__", ""),
)
def test_a_fault_makes_its_alert_fire(
    tmp_path: Path, fault: Callable[[World], Awaitable[object] | None], minutes: int, names: list[str]
) -> None:
    """It, and no other one."""
    planted = lived(minutes, fault, concurrency=1 if fault is slow else 8).planted()
    assert_firing(tmp_path, planted, {}, 10)
    assert_firing(tmp_path, planted, {name: [_labels(name)] for name in names}, minutes - 1)


def test_results_in_a_spool_make_its_alert_fire(tmp_path: Path) -> None:
    """They are not in the store either."""
    spool = tmp_path / "spool"
    planted = lived(20, unsaved, spool=spool).planted()
    firing = ("MeshRefreshSpool", "MeshRefreshUnsaved")
    assert_firing(tmp_path, planted, {name: [_labels(name)] for name in firing}, 19)


def _labels(name: str) -> dict[str, str]:
    if name == "MeshRefreshHalted":
        return {"job": "mesh", "fault": "client_refused"}
    return {"job": "mesh"} if "max by (job)" in alerts()[name]["expr"] else LABELS
