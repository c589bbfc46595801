"""`mesh-refresh health`: what a person or a container's health check reads of a worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from attrs import evolve

from mesh_refresh.keeper import Keeper
from mesh_refresh.keeper.status import Health
from mesh_refresh.service.web.addresses import parse_address
from mesh_refresh.service.web.listening import Listening
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.stores import MemoryStore
from tests.cli.conftest import Cli, Ran
from tests.service.web.conftest import make_probed


class Worker:
    """What a worker shows, in the loop of the fake Mesh."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.probes = Probes()

    def listen(self, place: str = "127.0.0.1:0", app: web.Application | None = None) -> str:
        """The address."""
        app = app or make_probed(self.probes)
        self.listening = Listening(app, parse_address(place))
        self.cli.served.wait(self.listening.__aenter__())
        return str(self.listening.addresses[0])

    def close(self) -> None:
        self.cli.served.wait(self.listening.__aexit__(None, None, None))


@pytest.fixture
def worker(cli: Cli) -> Iterator[Worker]:
    worker = Worker(cli)
    yield worker
    worker.close()


def test_a_worker_is_told_from_one_that_is_not_ready(cli: Cli, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    address = worker.listen()
    url = f"http://{address}"
    worker.probes.stage = "the store is\x1b[2J away"
    ran = cli("health", url)
    assert (ran.code, ran.out) == (1, "alive, and not ready\nthe store is [2J away\n")
    assert cli("health", "--live", url).out == "alive\n"
    assert cli("health", "--live", address).out == "alive\n"
    halted = Health(alive=True, ready=True, ok=False, problems=("everything is halted: throttled",))
    monkeypatch.setattr(Keeper, "health", lambda _: halted)
    worker.probes.keeper = Keeper(cli.served.fake.client(), MemoryStore())
    assert cli("health", url) == Ran(0, "alive and ready\neverything is halted: throttled\n", "")
    monkeypatch.setattr(Keeper, "health", lambda _: evolve(halted, alive=False, ready=False))
    assert cli("health", url) == Ran(1, "not alive: restart it\n", "")


def test_a_unix_socket_is_asked(cli: Cli, worker: Worker, tmp_path: Path) -> None:
    address = worker.listen(f"unix:{tmp_path / 'w'}")
    assert cli("health", "--live", address).code == 0
    assert cli("health", address).code == 1


def test_no_answer_is_said_in_words(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for address, reason in (("http://127.0.0.1:1", "Connect"), ("unix:none", "No such file"), ("unix:file", "refused")):
        ran = cli("health", address)
        assert ran.code == 1
        assert ran.out.startswith("no answer: ")
        assert reason in ran.out


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda: web.Response(status=302, headers={"Location": "/other"}), "HTTP status 302"),
        (lambda: web.Response(text="<html>"), "no JSON"),
        (lambda: web.Response(text="[]"), "no JSON"),
        (lambda: web.Response(text="[" * 60_000), "no JSON"),
        (lambda: web.json_response({"alive": "x" * 100_000}), "too long"),
    ],
)
def test_what_is_no_worker_is_not_believed(cli: Cli, worker: Worker, answer: object, told: str) -> None:
    async def reply(_: web.Request) -> web.Response:
        return answer()  # type: ignore[operator, no-any-return]

    app = web.Application()
    app.router.add_get("/livez", reply)
    ran = cli("health", f"http://{worker.listen(app=app)}/")
    assert ran.code == 1
    assert ran.out.startswith("no worker answers there: ")
    assert told in ran.out


@pytest.mark.parametrize("problems", [None, 5, "the store"])
def test_problems_that_are_no_list_are_passed_over(cli: Cli, worker: Worker, problems: object) -> None:
    async def reply(_: web.Request) -> web.Response:
        return web.json_response({"alive": True, "ready": False, "problems": problems})

    app = web.Application()
    app.router.add_get("/{path}", reply)
    assert cli("health", f"http://{worker.listen(app=app)}") == Ran(1, "alive, and not ready\n", "")


@pytest.mark.parametrize(
    "url",
    [
        *("", "worker:8321", "ftp://a", "http://", "http://[", "http://a:99999", "unix:"),
        *("http://a:b@c", "http://a/livez", "http://a?b", "http://a#b"),
    ],
)
def test_a_wrong_url_is_refused_without_quoting_it(cli: Cli, url: str) -> None:
    ran = cli("health", url)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "mesh-refresh: The URL must be an address such as http://127.0.0.1:8321, without a path, or unix:PATH.\n"
    )
