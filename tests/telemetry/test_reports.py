"""What processes tell each other by the store: each of itself, and one of them of the fleet. On a clock that leaps."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from mesh_refresh.keeper.reporting.documents import LastHour, Minute, figures_of
from mesh_refresh.observing import ExchangeEnded, Figures
from mesh_refresh.stores import Cipher, Count, MemoryStore, NoticeCounts, ProcessReport, StoredFigures
from mesh_refresh.telemetry import PrometheusObserver
from tests.keeper.leaping import Scene, Wire, always_fresh, leaping
from tests.keeper.making import START
from tests.keeper.stage import DAY, HOUR, MINUTE, SECOND, FaultyStore, SharedStore
from tests.telemetry.test_keepers import value


def scene() -> Scene:
    return Scene(Wire(always_fresh(HOUR), 0.1))


async def pass_by(seconds: float) -> None:
    await asyncio.sleep(seconds)


def test_each_process_tells_of_itself_every_15_seconds() -> None:
    """With its role and the last hour by minutes; one that has ended in order is gone."""

    async def story() -> None:
        it = scene()
        async with it.process(role="run") as keeper, it.process(role="web", spool=None) as other:
            await keeper.add_many(it.pairs(3, HOUR))
            await pass_by(30 * 60)
            for name in ("u0", "u1"):
                await keeper.refresh(name)
            await pass_by(15)
            first, second = sorted(await other.processes(), key=lambda process: process.role)
            assert (first.role, second.role) == ("run", "web")
            assert it.clock.now() - first.at <= 15 * SECOND
            assert first.version
            assert first.state is not None
            assert first.state.last_round is not None
            assert (first.state.in_flight, first.state.unsaved_logins, first.state.spool_files) == (0, 0, None)
            assert sum(minute.refreshed for minute in first.hour) >= 2
            assert sum(minute.failed for minute in first.hour) == 0
            assert not second.hour
            assert not first.is_silent(it.clock.now())
            assert first.is_silent(it.clock.now() + MINUTE)
        assert await it.store.registry.reports() == []

    leaping(story())


def test_what_it_tells_is_sealed_to_it() -> None:
    """A row is listed without what it says, where that is another's, of another key, or damaged."""

    async def story() -> None:
        it = scene()
        it.store = MemoryStore(clock=it.clock, cipher=Cipher([Cipher.generate_key()]))
        async with it.process(role="run") as keeper:
            await pass_by(1)
            (report,) = await it.store.registry.reports()
            assert b"last_round" not in report.sealed
            others = [report.sealed, Cipher([Cipher.generate_key()]).seal("{}"), b"damaged"]
            for number, sealed in enumerate(others):
                await it.store.registry.put_report(ProcessReport(f"z{number}", "run", it.clock.now(), sealed))
            mine, *strange = await keeper.processes()
            assert mine.state is not None
            assert [(process.version, process.state) for process in strange] == [(None, None)] * 3
            await it.store.registry.put_figures(StoredFigures(it.clock.now(), report.sealed))
            assert await keeper.figures() is None

    leaping(story())


class Slow(SharedStore):
    """Takes long to count, and notes when it was asked to."""

    def __init__(self, of: MemoryStore, takes: float) -> None:
        super().__init__(of)
        self.takes = takes
        self.begun = list[float]()

    async def counts(self, now: datetime) -> Sequence[Count]:
        self.begun.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes)
        return await super().counts(now)


@pytest.mark.parametrize(("takes", "at_least"), [(0.01, 60.0), (5.0, 500.0), (20.0, 2000.0)])
def test_the_fleet_is_counted_once_a_minute_and_for_a_hundredth_of_the_time(takes: float, at_least: float) -> None:
    """By one of its processes, however many there are, however long it takes, and whoever ends meanwhile."""

    async def story() -> None:
        it = scene()
        store = Slow(it.store, takes)
        async with it.process(store=store, poll=HOUR):
            async with it.process(store=store, poll=HOUR):
                await pass_by(at_least * 3)
            async with it.process(store=store, poll=HOUR):
                await pass_by(at_least * 2)
        async with it.process(store=store, poll=HOUR):
            await pass_by(at_least * 3)
        pauses = [after - before for before, after in zip(store.begun, store.begun[1:], strict=False)]
        assert len(pauses) >= 4
        assert min(pauses) >= at_least
        assert max(pauses) <= at_least + takes + 90, "and then it is counted again"

    leaping(story())


def test_figures_are_exported_by_the_process_that_counted_and_read_by_all() -> None:
    """When that one ends, the next one takes over; what it had counted is absent then."""

    async def story() -> None:
        it, one, other = scene(), PrometheusObserver(), PrometheusObserver()
        async with it.process(observer=other) as late:
            async with it.process(observer=one):
                await late.add_many(it.pairs(5, HOUR))
                await pass_by(61)
                first, second = sorted((one, other), key=lambda its: value(its, "logins_due") is None)
                assert value(first, "logins", {"broker": "coinbase", "state": "active"}) == 5
                assert value(first, "most_overdue_seconds") == 0
                assert value(first, "notices", {"state": "waiting"}) == 0
                assert value(first, "notice_oldest_seconds") is None
                assert value(second, "logins_due") is None
                figures = await late.figures()
                assert isinstance(figures, Figures)
                assert figures.brokers["coinbase"].logins == 5
            await pass_by(120)
            assert value(one, "logins_due") is None
            assert value(other, "logins_due") == 0

    leaping(story())


def test_a_process_that_dies_leaves_its_duty_and_its_row() -> None:
    """Another one counts after a minute, and deletes the row of the dead one a day later."""

    async def story() -> None:
        it = scene()
        died = it.clock.now() - DAY + 5 * MINUTE
        await it.store.registry.put_report(ProcessReport("dead", "run", died, b""))
        await it.store.registry.claim_duty("figures", "dead", MINUTE)
        async with it.process(poll=HOUR) as keeper:
            await pass_by(50)
            assert await keeper.figures() is None
            await pass_by(30)
            assert await keeper.figures() is not None
            assert "dead" in [process.process for process in await keeper.processes()]
            await pass_by(300)
            assert "dead" not in [process.process for process in await keeper.processes()]

    leaping(story())


def test_figures_of_a_store_that_fails_are_absent() -> None:
    """And come back with it."""

    async def story() -> None:
        it, observer = scene(), PrometheusObserver()
        store = FaultyStore(it.store)
        async with it.process(store=store, observer=observer):
            for is_there in (True, False, True):
                store.lose() if not is_there else store.come_back()
                await pass_by(90)
                assert (value(observer, "logins_due") is not None) is is_there

    leaping(story())


def test_figures_are_absent_where_counting_never_ends() -> None:
    """A store that hangs: what was counted before is out of date."""

    async def story() -> None:
        it, observer = scene(), PrometheusObserver()
        store = Slow(it.store, 0.0)
        async with it.process(store=store, observer=observer, poll=HOUR):
            await pass_by(30)
            assert value(observer, "logins_due") == 0
            store.takes = 10_000.0
            await pass_by(800)
            assert value(observer, "logins_due") is None

    leaping(story())


def test_a_store_without_a_registry(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is counted, and that is said once. Without a role, nothing is told, and nothing is said."""

    class Bare(SharedStore):
        @property
        def registry(self) -> Any:
            return None

    async def story(role: str | None) -> None:
        it, observer = scene(), PrometheusObserver()
        async with it.process(store=Bare(it.store), observer=observer, role=role) as keeper:
            await pass_by(200)
            assert value(observer, "in_flight") == 0
            assert value(observer, "logins_due") is None
            assert await keeper.figures() is None
            assert await keeper.processes() == ()
        assert await it.store.registry.reports() == []

    caplog.set_level("INFO", "mesh_refresh.keeper")
    leaping(story("run"))
    assert caplog.text.count("has no registry") == 1
    leaping(story(None))
    assert caplog.text.count("has no registry") == 1


def test_paused_brokers_are_not_overdue() -> None:
    """Nothing is the matter with them."""
    at = START + HOUR

    def count(broker: str, late: float) -> Count:
        return Count(broker, frozenset({"active"}), 2, 1, 1, at - late * SECOND, 0)

    def overdue(*paused: str) -> tuple[float, int]:
        counts = [count("coinbase", 600), count("etoro", 60), count("gemini", -60)]
        figures = figures_of(counts, paused, None, at, 0.1)
        return figures.most_overdue, figures.due

    assert overdue() == (600, 3)
    assert overdue("coinbase") == (60, 2)
    assert overdue("coinbase", "etoro") == (0, 1)
    assert overdue("*") == (0, 0)


def test_states_are_counted_by_broker() -> None:
    """A login whose accounts are in two states counts under both."""
    counts = [
        Count("coinbase", frozenset({"active", "mfa_required"}), 3, 1, 1, None, 1),
        Count("coinbase", frozenset({"active"}), 4, 0, 2, None, 0),
    ]
    figures = figures_of(counts, (), NoticeCounts(7, 1, START), START, 0.5, due_by_hour=(1, 2))
    broker = figures.brokers["coinbase"]
    assert broker.states == {"active": 7, "mfa_required": 3}
    assert (broker.logins, broker.expired, broker.due) == (7, 1, 3)
    assert (figures.due, figures.leased, figures.notices_waiting, figures.notices_dead) == (3, 1, 7, 1)
    assert figures.due_by_hour == (1, 2)


def test_the_last_hour_by_minutes() -> None:
    """What is older is forgotten, and minutes without an exchange are left out."""
    hour = LastHour()
    for minutes, outcome, late in (
        (0, "refreshed", 5),
        (0, "not_sent", 9),
        (30, "mfa_required", None),
        (70, "refreshed", 1),
    ):
        hour.count(ExchangeEnded("coinbase", outcome, 0.1, 1, late), START + minutes * MINUTE + SECOND)
    assert hour.minutes(START + 40 * MINUTE)[:2] == (
        Minute(START, refreshed=1, failed=1, latest=9),
        Minute(START + 30 * MINUTE, asked=1),
    )
    assert [it.at for it in hour.minutes(START + 71 * MINUTE)] == [START + 30 * MINUTE, START + 70 * MINUTE]
