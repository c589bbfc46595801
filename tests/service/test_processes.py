"""What several processes show as one, while they start, work, hang and end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from mesh_refresh.observing import StoreFailed
from mesh_refresh.service import processes
from mesh_refresh.service.access import Access
from mesh_refresh.service.processes import Processes
from mesh_refresh.service.service import make_guard
from mesh_refresh.service.web.addresses import UnixAddress
from mesh_refresh.service.web.app import make_app
from mesh_refresh.service.web.exposure import Exposure
from mesh_refresh.service.web.listening import Listening
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.telemetry import PrometheusObserver

pytestmark = pytest.mark.once


class FixedProbes(Probes):
    """Those of a process that is in the state that a test wants."""

    is_alive = is_ready = True
    wrong: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        return self.is_alive

    @property
    def ready(self) -> bool:
        return self.is_ready

    @property
    def problems(self) -> tuple[str, ...]:
        return self.wrong


@asynccontextmanager
async def answering(path: Path, probes: Probes, observer: PrometheusObserver) -> AsyncIterator[None]:
    """A process that answers at `path`."""
    app: web.Application = make_app(make_guard(probes, Access(), Exposure(is_local=True)), observer)
    async with Listening(app, UnixAddress(path)):
        yield


async def until(holds: Callable[[], object]) -> None:
    while not holds():  # noqa: ASYNC110 - the answers of sockets set no event
        await asyncio.sleep(0)


@pytest.fixture
def together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Processes:
    monkeypatch.setattr(processes, "_EVERY", 0.01)
    monkeypatch.setattr(processes, "_AT_START", 0.01)
    return Processes(sockets={name: tmp_path / f"{name}.sock" for name in "12"})


async def test_all_must_be_alive_and_ready(together: Processes) -> None:
    first, second, observer = FixedProbes(), FixedProbes(), PrometheusObserver()
    second.is_ready, second.wrong = False, ("the store has not answered for 12 s",)
    ready = []
    together.on_ready = lambda: ready.append(together.has_started)
    assert together.alive
    assert not together.ready
    assert together.problems == tuple(f"process {name}: it has not been started yet" for name in "12")
    paths = together.sockets
    async with (
        answering(paths["1"], first, observer),
        answering(paths["2"], second, observer),
        asyncio.TaskGroup() as group,
    ):
        watching = [group.create_task(together.watch(name)) for name in "12"]
        await until(lambda: ready == [False] and "12 s" in str(together.problems))
        assert together.problems == ("process 2: the store has not answered for 12 s",)
        second.is_ready, second.wrong = True, ()
        await until(lambda: together.ready)
        assert ready == [False, True]
        assert together.alive
        first.is_alive = False
        await until(lambda: not together.alive)
        first.is_alive = True
        await until(lambda: together.alive)
        for task in watching:
            task.cancel()
    together.is_ending = True
    assert (together.alive, together.ready, together.problems) == (True, False, ("the process is ending",))


async def test_a_process_that_is_silent_counts_as_dead(together: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that is being started again; the next life begins anew."""
    moment = [100.0]
    together.now = lambda: moment[0]
    asked = asyncio.Event()

    async def ask(_: Processes, name: str, what: str, __: object) -> object:
        asked.set()
        return None if name == "2" else {"alive": True, "ready": True, "problems": [], "of": what}

    monkeypatch.setattr(Processes, "_get", ask)
    watching = [asyncio.create_task(together.watch(name)) for name in "12"]
    await until(lambda: not together.problems[0].startswith("process 1"))
    assert together.alive
    assert together.problems == ("process 2: it is starting",)
    moment[0] += 59.0
    await until(lambda: together.problems == ("process 2: it is starting",))
    assert together.alive
    moment[0] += 1.5
    await until(lambda: together.problems == ("process 2: it has not answered for 60 s",))
    assert not together.alive
    watching[1].cancel()
    together.ended("2", "it has ended by SIGKILL, and is started again")
    assert together.problems == ("process 2: it has ended by SIGKILL, and is started again",)
    assert not together.alive
    watching[1] = asyncio.create_task(together.watch("2"))
    await until(lambda: together.alive)
    watching[0].cancel()
    moment[0] += 10.5
    assert together.problems[0].startswith("process 1: it has not answered for ")
    watching[1].cancel()
    await asyncio.wait(watching)


async def test_series_are_joined_with_a_label(together: Processes) -> None:
    """Those of a process that does not answer are absent, and never 0."""
    observers = {name: PrometheusObserver() for name in together.sockets}
    observers["1"].observe(StoreFailed("claim"))
    whole = make_app(make_guard(together, Access(), Exposure(is_local=True)), PrometheusObserver())
    place = together.sockets["1"].with_name("whole.sock")

    async def ask(accept: str = "text/plain") -> str:
        reader, writer = await asyncio.open_unix_connection(place)
        writer.write(f"GET /metrics HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        return answer

    async with Listening(whole, UnixAddress(place)), answering(together.sockets["1"], Probes(), observers["1"]):
        async with answering(together.sockets["2"], Probes(), observers["2"]):
            shown = await ask()
            assert 'mesh_refresh_store_failures_total{process="1",verb="claim"} 1.0\n' in shown
            assert shown.count("# TYPE mesh_refresh_build_info gauge\n") == 1
            assert shown.count("mesh_refresh_build_info{") == 2
            opened = await ask("application/openmetrics-text")
            assert opened.endswith("# EOF\n")
            assert "# TYPE mesh_refresh_store_failures counter\n" in opened
        assert 'process="2"' not in await ask()


async def test_without_prometheus_there_is_nothing_to_join(together: Processes) -> None:
    assert await together.series(None) is None
