"""What a keeper tells its observer, as Prometheus would see it. What is not known is absent, and never 0."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from mesh_refresh import MeshClient
from mesh_refresh.keeper import Keeper, NotReadyInTime, UnknownLogin
from mesh_refresh.stores import Cipher, MemoryStore
from mesh_refresh.telemetry import CombinedObserver, ExchangeEnded, Observation, PrometheusObserver
from mesh_refresh.testing import Fault
from tests.client.odd_parts import raising
from tests.keeper.processes.scene import until
from tests.keeper.stage import HOUR, MINUTE, NOTHING, SECOND, FaultyStore, Stage
from tests.telemetry.test_observers import Noting

HALT = {"broker": "*", "fault": "client_refused"}


def value(observer: PrometheusObserver, name: str, labels: Mapping[str, str] | None = None) -> float | None:
    """Of one series, without its prefix; None: it is absent."""
    return observer.registry.get_sample_value(f"mesh_refresh_{name}", dict(labels or {}))


async def test_nothing_is_known_before_there_is_a_keeper(stage: Stage) -> None:
    """But the version: a web process without a keeper must not set off an alert. The same after the keeper was left."""
    observer = PrometheusObserver()
    assert [family.name for family in observer.registry.collect()] == ["mesh_refresh_build_info"]
    async with stage.keeper(observer=observer):
        assert value(observer, "in_flight") == 0
        assert value(observer, "unsaved_logins") == 0
        assert value(observer, "events_dropped_total") == 0
        assert value(observer, "spool_files") is None, "it has no spool"
        assert value(observer, "loop_last_round_timestamp_seconds") is None, "it has no loop"
    gone = [family.name for family in observer.registry.collect()]
    assert gone == ["mesh_refresh_events_dropped", "mesh_refresh_build_info"]


async def test_what_is_under_way(stage: Stage) -> None:
    """An exchange under way is in flight; then it is counted, with how late it began."""
    observer = PrometheusObserver()
    async with stage.keeper(observer=observer, spread=0) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        await keeper.add("b", stage.fake.login("etoro").token)
        stage.clock.advance(HOUR * 3)
        gate = stage.fake.hold(times=2)
        due = asyncio.create_task(keeper.refresh_due())
        await gate.entered.wait()
        assert value(observer, "in_flight") == 2
        gate.release()
        await due
    assert value(observer, "exchanges_total", {"broker": "coinbase", "outcome": "refreshed"}) == 1
    assert value(observer, "exchanges_total", {"broker": "etoro", "outcome": "refreshed"}) == 1
    assert value(observer, "exchange_seconds_count", {"broker": "coinbase"}) == 1
    assert value(observer, "exchange_lateness_seconds_count") == 2
    assert value(observer, "exchange_lateness_seconds_bucket", {"le": "3600.0"}) == 0
    assert value(observer, "exchange_lateness_seconds_bucket", {"le": "10800.0"}) == 2


def test_brokers_that_are_not_known_share_a_label() -> None:
    """The number of series must not grow with what users type."""
    observer = PrometheusObserver()
    for broker in ("a broker of tomorrow", "another one"):
        observer.observe(ExchangeEnded(broker, "refreshed", 0.1, 1))
    assert value(observer, "exchanges_total", {"broker": "other", "outcome": "refreshed"}) == 2


async def test_where_answers_come_from(stage: Stage) -> None:
    """Stored, brought by an exchange, or none."""
    observer = PrometheusObserver()
    async with stage.keeper(observer=observer) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        await keeper.tokens("a")
        stage.clock.advance(HOUR * 30)
        await keeper.tokens("a")
        stage.clock.advance(HOUR * 30)
        stage.fake.fail(Fault.unavailable())
        with pytest.raises(NotReadyInTime):
            await keeper.tokens("a", max_wait=NOTHING)
        with pytest.raises(UnknownLogin):
            await keeper.tokens("nobody")
    answers = {it: value(observer, "tokens_seconds_count", {"answer": it}) for it in ("store", "refreshed", "failed")}
    assert answers == {"store": 1, "refreshed": 1, "failed": 2}


@pytest.mark.parametrize("role", ["keeper", None])
async def test_one_observer_of_client_and_keeper_hears_of_each_exchange_once(stage: Stage, role: str | None) -> None:
    """The client's own and the keeper's own hear of it too."""
    both, mine, its = Noting(), Noting(), Noting()
    keys = stage.fake.client_id, stage.fake.client_secret
    async with (
        MeshClient(
            *keys, base_url=stage.fake.base_url, clock=stage.clock, observer=CombinedObserver(both, its)
        ) as mesh,
        Keeper(mesh, stage.store, background=False, role=role, observer=CombinedObserver(both, mine)) as keeper,
    ):
        await keeper.add("a", stage.fake.login("coinbase").token)
        await keeper.refresh("a")
    for noting in (both, mine, its):
        assert [type(it).__name__ for it in noting.told].count("ExchangeEnded") == 1


async def test_a_breaker(stage: Stage) -> None:
    """It is absent until it opens, 1 while it is open, and 0 afterwards."""
    observer = PrometheusObserver()
    async with stage.keeper(observer=observer, secret="fake-wrong", halt_probe=MINUTE) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        assert value(observer, "breaker_open", HALT) is None
        with pytest.raises(NotReadyInTime):
            await keeper.refresh("a", max_wait=SECOND / 2)
        assert value(observer, "breaker_open", HALT) == 1
        (own,) = await keeper.processes()
        assert own.state is not None
        assert own.state.next_probes == {"*": stage.clock.now() + MINUTE}
    assert value(observer, "breaker_open", HALT) is None


async def test_a_store_that_fails(stage: Stage, tmp_path: Path) -> None:
    """Each verb that raises is counted; the new tokens are unsaved, and in the spool, until the store is back."""
    observer = PrometheusObserver()
    stage.store = MemoryStore(clock=stage.clock, cipher=Cipher([Cipher.generate_key()]))
    store = FaultyStore(stage.store)
    async with stage.keeper(observer=observer, store=store, spool=tmp_path / "spool") as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        assert value(observer, "spool_files") == 0
        store.lose("swap")
        asked = asyncio.create_task(keeper.refresh("a"))
        await store.has_failed("swap", 2)
        assert value(observer, "unsaved_logins") == 1
        assert value(observer, "spool_files") == 1
        failures = value(observer, "store_failures_total", {"verb": "swap"})
        assert failures is not None
        assert failures >= 2
        store.come_back()
        await asked
        assert value(observer, "unsaved_logins") == 0
        assert value(observer, "spool_files") == 0
    assert value(observer, "store_failures_total", {"verb": "read"}) is None


class Hanging(MemoryStore):
    """Never answers a ping."""

    async def ping(self) -> None:
        await asyncio.Event().wait()


async def test_a_store_that_does_not_answer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ping that takes too long counts as a failure."""
    monkeypatch.setattr("mesh_refresh.keeper.runtime.health._PATIENCE", 0.01)
    observer = PrometheusObserver()
    async with stage.keeper(observer=observer, store=Hanging(clock=stage.clock), role=None):
        assert value(observer, "store_failures_total", {"verb": "ping"}) == 1


async def test_the_loop_s_last_round(stage: Stage) -> None:
    """By the wall clock, and only where there is a loop."""
    observer = PrometheusObserver()
    async with stage.keeper(observer=observer, background=True) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        for _ in range(2):
            stage.clock.advance(HOUR)
            last = lambda: value(observer, "loop_last_round_timestamp_seconds")  # noqa: E731 - it is asked again
            await until(last, lambda found: found == stage.now.timestamp())
    assert value(observer, "loop_last_round_timestamp_seconds") is None


async def test_events_that_were_dropped(stage: Stage) -> None:
    """They stay counted when the keeper was left."""
    observer, free = PrometheusObserver(), asyncio.Event()

    async def slow(_: object) -> None:
        await free.wait()

    async with stage.keeper(observer=observer, on_event=slow, event_queue=1, min_interval=NOTHING) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        for _ in range(4):
            await keeper.refresh("a")
        assert value(observer, "events_dropped_total") == 2
        free.set()
    assert value(observer, "events_dropped_total") == 2


async def test_an_observer_that_raises_costs_no_keeper_anything(stage: Stage) -> None:
    """Whatever it is told."""

    class Odd:
        def observe(self, told: Observation, /) -> None:
            raising(BaseException("fake"))()

    async with stage.keeper(observer=Odd(), background=True) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        await keeper.refresh("a")
        stage.clock.advance(HOUR * 30)
        await keeper.tokens("a")
    await stage.assert_whole()


async def test_two_keepers_of_one_observer(stage: Stage) -> None:
    """Levels are added up."""
    observer = PrometheusObserver()
    async with stage.keeper(observer=observer) as one, stage.keeper(observer=observer) as other:
        await one.add("a", stage.fake.login("coinbase").token)
        await one.add("b", stage.fake.login("coinbase").token)
        gates = [stage.fake.hold(), stage.fake.hold()]
        asked = [asyncio.create_task(keeper.refresh(name)) for keeper, name in ((one, "a"), (other, "b"))]
        for gate in gates:
            await gate.entered.wait()
        assert value(observer, "in_flight") == 2
        for gate in gates:
            gate.release()
        await asyncio.gather(*asked)
        assert value(observer, "in_flight") == 0
