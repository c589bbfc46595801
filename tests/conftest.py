import signal
from typing import Any

import pytest

from tests.postgres_server import server_folder, server_url
from tests.stores.postgres.bouncer import MISSING

# A shell starts what ends in `&` with SIGINT and SIGQUIT ignored, `nohup` with SIGHUP, and children inherit that: tests
# that send one would wait for it.
signal.signal(signal.SIGINT, signal.default_int_handler)
for ignored in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(ignored, signal.SIG_DFL)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> str:
    """The URL of a database, on a server that all processes of this run share."""
    folder = tmp_path_factory.getbasetemp()
    return server_url(server_folder(folder if worker_id == "master" else folder.parent))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say loudly what did not run because a program is missing."""
    if any(MISSING in str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())):
        terminalreporter.write_sep("!", MISSING, red=True)
