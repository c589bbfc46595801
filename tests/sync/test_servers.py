"""Servers, task systems and notebooks that run our verbs, and those that cannot."""

import asyncio
import signal
import sys
import urllib.request
from types import ModuleType

import pytest

from mesh_refresh import InvalidRequest, MeshClient, sync
from tests.sync.programs import HEAD, Run, Scene

pytestmark = pytest.mark.once


async def test_gunicorn_ends_with_requests_out(scene: Scene) -> None:
    """The keeper was used before the fork, in the process that never answers a request."""
    await scene.add(u=scene.fake.login("coinbase"), v=scene.fake.login("etoro"))
    (scene.folder / "app.py").write_text(
        HEAD
        + """
keeper.tokens("v")

def app(environ, start_response):
    token = keeper.refresh(environ["PATH_INFO"][1:]).refresh_token
    start_response("200 OK", [])
    return [b"refreshed"]
"""
    )
    command = ["-m", "gunicorn", "--preload", "-w", "2", "-b", "127.0.0.1:0", "--graceful-timeout", "60", "app:app"]
    server = await scene.start(sys.executable, *command)
    url = (await _err_until(server, "Listening at: ")).split("Listening at: ")[1].split()[0]
    gate = scene.fake.hold(after_rotation=True)
    answer = asyncio.create_task(asyncio.to_thread(_answer, f"{url}/u"))
    await server.reached(gate)
    server.process.send_signal(signal.SIGTERM)
    await _err_until(server, "Handling signal: term")
    gate.release()
    assert await answer == "refreshed"
    _, _, err = await server.over()
    assert "Traceback" not in err
    await scene.assert_whole()


async def test_celery_ends_with_an_exchange_out(scene: Scene) -> None:
    """A warm shutdown waits for the tasks; what a task left under way, `close` in the signal's handler waits for."""
    await scene.add(u=scene.fake.login("coinbase"))
    (scene.folder / "queue").mkdir()
    (scene.folder / "tasks.py").write_text(
        HEAD
        + """
from celery import Celery
from celery.signals import worker_process_shutdown

app = Celery("tasks", broker="filesystem://")
app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue"}

@worker_process_shutdown.connect
def close(**_):
    keeper.close()

@app.task
def refresh(login):
    threading.Thread(target=keeper.refresh, args=[login], daemon=True).start()
"""
    )
    gate = scene.fake.hold(after_rotation=True)
    await (await scene.start(sys.executable, "-c", "import tasks; tasks.refresh.delay('u')")).is_done()
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    worker = await scene.start(sys.executable, "-m", "celery", "-A", "tasks", "worker", "-c", "1", "-l", "INFO", *quiet)
    await worker.reached(gate)
    worker.process.send_signal(signal.SIGTERM)
    await _err_until(worker, "succeeded")
    gate.release()
    code, _, err = await worker.over()
    assert code == 0, err
    await scene.assert_whole()


_KERNEL = """
from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel()
try:
    for cell in open("cells.py").read().split("# %%"):
        ended = client.execute_interactive(cell, timeout=60)["content"]
        assert ended["status"] == "ok", ended
finally:
    client.stop_channels()
    manager.shutdown_kernel()
"""


async def test_cells_of_a_notebook(scene: Scene) -> None:
    """An event loop runs in the thread of a cell; all code of a cell stops it."""
    await scene.add(u=scene.fake.login("coinbase"))
    (scene.folder / "cells.py").write_text(f"{HEAD}# %%\nassert keeper.refresh('u')\n# %%\nkeeper.close()")
    kernel = await scene.start(sys.executable, "-c", _KERNEL)
    await kernel.is_done()
    await scene.assert_whole()


async def test_green_threads_are_refused(scene: Scene) -> None:
    """In words, where the keeper is made."""
    program = """
from gevent import monkey
from mesh_refresh import MeshClient, sync
sync.MeshClient(MeshClient.from_env).close()  # gevent alone does no harm
monkey.patch_all()
sync.MeshClient(MeshClient.from_env)
"""
    code, _, err = await (await scene.start(sys.executable, "-W", "ignore", "-c", program)).over()
    assert code == 1
    assert "mesh_refresh.sync does not work under gevent" in err


def test_eventlet_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what its `patcher` says. It is not installed here: its makers ask to use it no more."""
    patcher = ModuleType("eventlet.patcher")
    patcher.is_monkey_patched = "thread".__eq__  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "eventlet.patcher", patcher)
    with pytest.raises(InvalidRequest, match="under eventlet"):
        sync.MeshClient(MeshClient.from_env)


async def _err_until(run: Run, text: str) -> str:
    assert run.process.stderr is not None
    async with asyncio.timeout(60):
        while line := (await run.process.stderr.readline()).decode():
            if text in line:
                return line
    raise AssertionError(f"it never said {text}")


def _answer(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - our own server
        return str(answer.read().decode())
