import functools
import gc
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh.testing import FakeMesh
from tests.deploy import promtool
from tests.postgres_server import server_folder, server_url
from tests.stores.postgres import bouncer
from tests.watchdog import watch

_HERE = Path(__file__).parent
_WATCHED = [_HERE / name for name in ("client", "transport", "keeper")]
_UNWATCHED = _HERE / "keeper" / "processes"

# aiohttp reads all authorities when it is imported, an eighth of what a process takes to start. No test needs one.
os.environ["SSL_CERT_FILE"] = os.devnull


@pytest.fixture
async def fake() -> AsyncIterator[FakeMesh]:
    """A fake Mesh of its own for each test."""
    async with FakeMesh() as fake:
        yield fake


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> str:
    """The URL of a database, on a server that all processes of this run share."""
    folder = tmp_path_factory.getbasetemp()
    return server_url(server_folder(folder if worker_id == "master" else folder.parent))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the watchdog on tests that wait in this process. Tests of `processes` wait for other programs."""
    watch(items, _is_watched)


@functools.cache
def _is_watched(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in _WATCHED) and not path.is_relative_to(_UNWATCHED)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for garbage neither while ten thousand tests are collected, nor ever again among them."""
    gc.disable()
    yield
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say loudly what did not run because a program is missing."""
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())]
    for missing in (bouncer.MISSING, promtool.MISSING):
        if any(missing in why for why in skipped):
            terminalreporter.write_sep("!", missing, red=True)
