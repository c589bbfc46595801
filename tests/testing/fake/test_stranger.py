"""A service in another language against ``mesh-refresh sandbox``: the ledger sees each of its faults, and no other."""

import json
import os
import shutil
import subprocess
import sys
from asyncio import to_thread
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh.testing import LossReason

SERVICE = Path(__file__).parent / "stranger" / "service.mjs"
NODE = shutil.which("node")
pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(NODE is None, reason="NOT RUN: there is no node, so no stranger's service was tried"),
]
CLEAN: dict[str, Any] = {"lost": [], "reuses": [], "sentTwice": 0}
GONE, LATE = LossReason.NOT_HELD.value, LossReason.UNDELIVERED.value


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """A sandbox in a process of its own, and the variables that it prints."""
    command = [sys.executable, "-u", "-m", "mesh_refresh", "sandbox", "--port", "0"]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **path}) as sandbox:
        try:
            found: dict[str, str] = {}
            assert sandbox.stdout is not None
            while len(found) < 3:
                line = sandbox.stdout.readline()
                assert line, "the sandbox did not start"
                if line.startswith("  MESH_"):
                    name, _, value = line.strip().partition("=")
                    found[name] = value
            yield {**os.environ, **found}
        finally:
            sandbox.terminate()


async def seen(environment: dict[str, str], *flags: str) -> dict[str, Any]:
    """What the ledger says after a run of the service."""
    command = [NODE or "node", str(SERVICE), *flags]
    ran = await to_thread(subprocess.run, command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


async def test_a_right_service_has_no_fault(environment: dict[str, str]) -> None:
    """In fair weather and, but for what a cut connection takes with it, in bad."""
    assert await seen(environment) == CLEAN
    assert await seen(environment, "--weather") == {**CLEAN, "lost": [["etoro", 1, LATE]]}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--drop-access"], {"lost": [["weBull", 1, LossReason.ACCESS_TOKEN.value]]}),
        (["--drop-trade"], {"lost": [["weBull", 1, LossReason.TRADE_TOKEN.value]]}),
        (["--swap"], {"lost": [["etoro", number, LossReason.SWAPPED.value] for number in (1, 2)]}),
        (["--erase"], {"lost": [["tdAmeritrade", 1, GONE]]}),
        (["--forget"], {"lost": [["coinbase", 1, GONE], ["etoro", 1, GONE], ["etoro", 2, GONE],
                                 ["binanceInternational", 1, GONE], ["binanceInternational", 2, GONE],
                                 ["weBull", 1, GONE]], "reuses": ["binanceInternational"]}),
        (["--first-only"], {"lost": [["binanceInternational", 2, GONE]], "reuses": ["binanceInternational"]}),
        (["--weather", "--retry"], {"lost": [["etoro", 1, LATE]], "reuses": ["etoro"]}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
async def test_each_of_its_faults_is_seen(
    environment: dict[str, str], flags: list[str], expected: dict[str, Any]
) -> None:
    """Exactly that one, at the accounts that it harms."""
    assert await seen(environment, *flags) == {**CLEAN, **expected}


async def test_requests_that_run_at_once_are_seen(environment: dict[str, str]) -> None:
    """Each token twice: the second is a reuse where the broker rotates, and nothing is lost by it."""
    told = await seen(environment, "--twice")
    assert told["lost"] == []
    assert told["sentTwice"] >= 5
    assert "tdAmeritrade" not in told["reuses"]
    assert len(told["reuses"]) >= 3
